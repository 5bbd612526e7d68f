//! What is said on a connection, as its bytes: every command, and what bad input gets.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use accounts::{Plans, Scope};
use coordinator::{FailMode, NoDecision, Policy, Strategy};
use limiter::{Access, Front, Service};
use quota::{Algorithm, Limit, Nanos};

use super::*;
use crate::decode::BULK_MAX;
use fake_node::{API_KEY, FakeNode};

/// One connection to a node, and what it is told.
struct Client {
    common: Common<FakeNode>,
    conversation: Conversation,
    /// What the last input ended with.
    reading: Reading,
}

fn policy(name: &str, units: u32, on_failure: FailMode) -> Policy {
    Policy {
        namespace: "default".into(),
        name: name.into(),
        limit: Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap(),
        strategy: Strategy::Owner,
        on_failure,
        top_keys: false,
    }
}

impl Client {
    fn new() -> Self {
        Self::with_token(None)
    }

    fn with_token(token: Option<&str>) -> Self {
        Self::with_access(token.map_or_else(Access::default, Access::with_token))
    }

    fn with_access(access: Access) -> Self {
        let limits = [
            policy("login", 3, FailMode::Deny),
            policy("open", 3, FailMode::Allow),
        ];
        let node = Arc::new(FakeNode::new());
        let server = Server {
            limiter: Limiter::new(node, "default".into(), limits, Front::Resp),
            access,
            clock: || UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042),
        };
        Self {
            conversation: Conversation::new(7, &server),
            common: Common {
                server,
                memory: Memory::new(0),
            },
            reading: Reading::Starved,
        }
    }

    fn node(&self) -> &FakeNode {
        self.common.server.limiter.node()
    }

    /// What `input` is answered.
    fn say(&mut self, input: &[u8]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let mut out = BytesMut::new();
        let mut rest = input;
        loop {
            let answered = answer(
                &mut self.conversation,
                &self.common,
                rest,
                LARGE,
                || true,
                &mut out,
            );
            let (read, reading) = runtime.block_on(answered).unwrap();
            rest = &rest[read..];
            self.reading = reading;
            if reading != Reading::Waits {
                return String::from_utf8(out.to_vec()).unwrap();
            }
        }
    }

    /// Each line is a command of words, and behind `->` its reply without the last line break, `|` for those within.
    fn check(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (command, expected) = line.split_once("->").expect("a command has a reply");
            let words: Vec<_> = command.split_whitespace().map(str::as_bytes).collect();
            let reply = self.say(&array(&words)).replace("\r\n", "|");
            assert_eq!(reply.trim_end_matches('|'), expected.trim(), "{command}");
        }
    }
}

fn array(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// One every two seconds, three at once.
#[test]
fn cl_throttle_answers_as_redis_cell_does() {
    let mut client = Client::new();
    client.check(
        "CL.THROTTLE ada 2 30 60     -> *5|:0|:3|:2|:-1|:2
         cl.throttle ada 2 30 60 2   -> *5|:0|:3|:0|:-1|:6
         CL.THROTTLE ada 2 30 60     -> *5|:1|:3|:0|:2|:6
         CL.THROTTLE ada 2 30 60 0   -> *5|:0|:3|:0|:-1|:6
         CL.THROTTLE ada 2 30 60 4   -> *5|:1|:3|:0|:-1|:6
         CL.THROTTLE ada 0 30 60     -> *5|:0|:1|:0|:-1|:2",
    );
    client.node().advance(Nanos::from_millis(2_001));
    client.check(
        "CL.THROTTLE ada 2 30 60 2   -> *5|:1|:3|:1|:2|:4
         CL.THROTTLE ada 2 30 60     -> *5|:0|:3|:0|:-1|:6",
    );
}

#[test]
fn throttle_answers_as_throttlecrab_does() {
    let mut client = Client::new();
    client.check(
        "THROTTLE ada 3 30 60       -> *5|:1|:3|:2|:2|:0
         THROTTLE ada 3 30 60 2     -> *5|:1|:3|:0|:6|:0",
    );
    client.node().advance(Nanos::from_millis(500));
    client.check(
        "throttle ada 3 30 60       -> *5|:0|:3|:0|:5|:1
         THROTTLE ada 3 30 60 0     -> *5|:1|:3|:0|:5|:0
         THROTTLE ada 3 30 60 4     -> *5|:0|:3|:0|:5|:-1",
    );
}

/// The same rule is the same counter: a burst of three is a `max_burst` of 2 there, and of 3 here.
#[test]
fn both_throttles_count_by_the_rule_that_http_has() {
    let mut client = Client::new();
    client.check(
        "CL.THROTTLE ada 2 30 60    -> *5|:0|:3|:2|:-1|:2
         THROTTLE ada 3 30 60       -> *5|:1|:3|:1|:4|:0",
    );
    let counter = ("@rule/gcra/30/60000ms/3/epoch".to_owned(), "ada".to_owned());
    assert_eq!(client.node().counted(), [counter]);
}

#[test]
fn a_limit_of_the_file_is_checked_refunded_and_reset() {
    Client::new().check(
        "WEIR.CHECK login ada       -> *6|:1|:3|:2|:-1|:20000|:0
         WEIR.CHECK login ada 2     -> *6|:1|:3|:0|:-1|:60000|:0
         WEIR.CHECK login ada       -> *6|:0|:3|:0|:20000|:60000|:0
         WEIR.CHECK login ada 0     -> *6|:0|:3|:0|:20000|:60000|:0
         WEIR.CHECK login ada 4     -> *6|:0|:3|:0|:-2|:60000|:0
         WEIR.REFUND login ada      -> *6|:1|:3|:1|:-1|:40000|:0
         weir.refund login ada 9    -> *6|:1|:3|:3|:-1|:0|:0
         WEIR.CHECK login ada 3     -> *6|:1|:3|:0|:-1|:60000|:0
         WEIR.RESET login ada       -> +OK
         WEIR.CHECK login ada 0     -> *6|:1|:3|:3|:-1|:0|:0",
    );
}

#[test]
fn a_pipeline_is_asked_as_one_and_answered_in_order() {
    let mut client = Client::new();
    let hit = array(&[b"WEIR.CHECK", b"login", b"ada"]);
    let other = array(&[b"CL.THROTTLE", b"ada", b"0", b"30", b"60"]);
    let pipeline = [&hit[..], &other, &hit, &hit, &hit].concat();
    assert_eq!(
        client.say(&pipeline).replace("\r\n", " "),
        "*6 :1 :3 :2 :-1 :20000 :0 *5 :0 :1 :0 :-1 :2 *6 :1 :3 :1 :-1 :40000 :0 \
         *6 :1 :3 :0 :-1 :60000 :0 *6 :0 :3 :0 :20000 :60000 :0 "
    );
    assert_eq!(*client.node().batches.lock().unwrap(), [5]);
}

/// What stands between hits is neither asked before them nor answered before them.
#[test]
fn a_pipeline_keeps_its_order_whatever_is_in_it() {
    let mut client = Client::new();
    let hit = array(&[b"WEIR.CHECK", b"login", b"ada", b"3"]);
    let reset = array(&[b"WEIR.RESET", b"login", b"ada"]);
    let unknown = array(&[b"WEIR.CHECK", b"none", b"ada"]);
    let pipeline = [
        &hit[..],
        b"PING\r\n",
        &reset,
        b"\r\n",
        &hit,
        &unknown,
        &hit,
        b"*1\r\n:",
    ]
    .concat();
    assert_eq!(
        client.say(&pipeline).replace("\r\n", " "),
        "*6 :1 :3 :0 :-1 :60000 :0 +PONG +OK *6 :1 :3 :0 :-1 :60000 :0 -UNKNOWNLIMIT no limit has this name: 'none' \
         *6 :0 :3 :0 :60000 :60000 :0 -ERR Protocol error: expected '$', got ':' "
    );
    assert_eq!(client.reading, Reading::Over);
}

#[test]
fn clients_are_told_what_they_need() {
    Client::new().check(
        "PING                        -> +PONG
         ping hello                  -> $5|hello
         ECHO hello                  -> $5|hello
         SELECT 0                    -> +OK
         SELECT 1                    -> -ERR DB index is out of range
         CLIENT ID                   -> :7
         CLIENT GETNAME              -> $-1
         CLIENT SETNAME worker       -> +OK
         CLIENT GETNAME              -> $6|worker
         CLIENT SETINFO LIB-NAME x   -> +OK
         CLIENT NO-EVICT ON          -> +OK
         CLIENT SETNAME              -> -ERR wrong number of arguments for 'client|setname' command
         CONFIG GET save             -> *2|$4|save|$0
         CONFIG GET maxmemory        -> *0
         CONFIG SET save 1           -> -ERR unknown subcommand 'SET' of CONFIG; accepted: GET pattern [pattern ...]
         COMMAND COUNT               -> :17
         COMMAND INFO none           -> *1|$-1
         COMMAND INFO weir.reset     -> *1|*10|$10|weir.reset|:3|*1|+fast|:2|:2|:1|*0|*0|*0|*0
         TIME                        -> *2|$10|1700000000|$2|42
         RESET                       -> +RESET
         CLIENT GETNAME              -> $-1
         QUIT                        -> +OK",
    );
}

#[test]
fn hello_changes_the_version_and_tells_of_the_server() {
    let mut client = Client::new();
    client.check(
        "HELLO 4                     -> -NOPROTO unsupported protocol version
         HELLO three                 -> -ERR Protocol version is not an integer or out of range
         HELLO 3 SETNAME             -> -ERR Syntax error in HELLO option 'SETNAME'
         HELLO 3 NAME x              -> -ERR Syntax error in HELLO option 'NAME'",
    );
    let told = |kind: &str, proto: u8| {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{kind}|$6|server|$4|weir|$7|version|${}|{version}|$5|proto|:{proto}|$2|id|:7|$4|mode|$10|standalone|$4|role\
             |$6|master|$7|modules|*0|",
            version.len()
        )
    };
    let mut say = |line: &[u8]| client.say(line).replace("\r\n", "|");
    assert_eq!(say(b"HELLO\r\n"), told("*14", 2));
    assert_eq!(say(b"HELLO 3 SETNAME worker\r\n"), told("%7", 3));
    assert_eq!(say(b"CLIENT GETNAME\r\n"), "$6|worker|");
    assert_eq!(
        say(b"CONFIG GET appendonly\r\n"),
        "%1|$10|appendonly|$2|no|"
    );
    assert_eq!(say(b"COMMAND INFO none\r\n"), "*1|_|");
    assert_eq!(say(b"HELLO\r\n"), told("%7", 3));
    assert_eq!(say(b"RESET\r\n"), "+RESET|");
    assert_eq!(say(b"CLIENT GETNAME\r\n"), "$-1|");
}

/// Every reply about the commands is one whole frame for another implementation, in both versions.
#[test]
fn what_is_told_of_the_commands_is_well_formed() {
    for version in ["2", "3"] {
        let mut client = Client::new();
        let _hello = client.say(format!("HELLO {version}\r\n").as_bytes());
        for question in [
            "COMMAND",
            "COMMAND LIST",
            "COMMAND INFO ping",
            "COMMAND DOCS",
            "COMMAND DOCS throttle",
            "INFO",
            "CONFIG GET *",
        ] {
            let reply = client.say(format!("{question}\r\n").as_bytes());
            let read = match version {
                "2" => {
                    let (_frame, read) = redis_protocol::resp2::decode::decode(reply.as_bytes())
                        .unwrap()
                        .unwrap();
                    read
                }
                _ => {
                    let (_frame, read) =
                        redis_protocol::resp3::decode::complete::decode(reply.as_bytes())
                            .unwrap()
                            .unwrap();
                    read
                }
            };
            assert_eq!(read, reply.len(), "{question} in {version}");
        }
    }
}

const NOAUTH: &str = "-NOAUTH Authentication required.";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn a_credential_that_another_member_knows_is_asked_about() {
    let url = "https://weir.example.com".to_owned();
    let service = Service::new(b"the cookie of the tests", url, Plans::default());
    let access = Access::new(None, Some(service));
    let not_valid = "-WRONGPASS this API key is not valid";
    for command in ["AUTH", "AUTH anybody", "HELLO 2 AUTH anybody"] {
        let mut client = Client::with_access(access.clone());
        client.node().make_tenant([Scope::Check]);
        client.node().leave_elsewhere();
        let reply = client.say(format!("{command} {API_KEY}\r\n").as_bytes());
        assert!(
            ["+OK\r\n", "*14\r\n$6"]
                .iter()
                .any(|ok| reply.starts_with(ok)),
            "{reply}"
        );
        client.check("WEIR.CHECK none ada -> -UNKNOWNLIMIT no limit has this name: 'none'");

        // Nobody knows it, however often it comes; and in a pipeline each command has its reply.
        let mut client = Client::with_access(access.clone());
        for _ in 0..2 {
            client.check(&format!("{command} {API_KEY} -> {not_valid}"));
        }
        client.node().make_tenant([Scope::Check]);
        client.node().leave_elsewhere();
        let pipeline = format!("PING\r\nAUTH {API_KEY}\r\nPING\r\n");
        let reply = client.say(pipeline.as_bytes());
        assert_eq!(reply, format!("{NOAUTH}\r\n+OK\r\n+PONG\r\n"));
    }
}

/// What is right and may do nothing for now is told apart from what is wrong.
#[test]
fn a_credential_of_a_suspended_tenant_is_told_so() {
    let service = Service::new(b"cookie", String::new(), Plans::default());
    let mut client = Client::with_access(Access::new(None, Some(service)));
    client.node().make_tenant([Scope::Check]);
    client.node().suspend_tenant();
    let suspended = "-ERR this tenant is suspended; nothing was counted";
    client.check(&format!(
        "AUTH {API_KEY}                 -> {suspended}
         HELLO 3 AUTH anybody {API_KEY} -> {suspended}
         PING                           -> {NOAUTH}"
    ));
}

/// What nobody knew of one command was once held against the next, where the first was refused before its credential was looked at.
#[test]
fn a_credential_is_asked_about_whatever_became_of_the_one_before() {
    let plans = Plans::default();
    let service = Service::new(b"cookie", String::new(), plans);
    let mut client = Client::with_access(Access::new(None, Some(service)));
    client.check(&format!(
        "HELLO 4 AUTH anybody {API_KEY} -> -NOPROTO unsupported protocol version"
    ));
    client.node().make_tenant([Scope::Check]);
    client.node().leave_elsewhere();
    client.check(&format!("AUTH {API_KEY} -> +OK"));
}

#[test]
fn with_a_token_nothing_is_told_before_it_is_proven() {
    let mut client = Client::with_token(Some("secret"));
    client.check(&format!(
        "PING                        -> {NOAUTH}
         WEIR.CHECK login ada        -> {NOAUTH}
         WEIR.CHECK                  -> {NOAUTH}
         NONE                        -> {NOAUTH}
         AUTH wrong                  -> {WRONGPASS}
         AUTH secret wrong           -> {WRONGPASS}
         AUTH secre                  -> {WRONGPASS}
         AUTH                        -> -ERR wrong number of arguments for 'auth' command
         HELLO 3 AUTH default wrong  -> {WRONGPASS}
         HELLO 3 -> -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
         <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
         PING                        -> {NOAUTH}
         AUTH secret                 -> +OK
         PING                        -> +PONG
         AUTH wrong                  -> {WRONGPASS}
         PING                        -> +PONG
         RESET                       -> +RESET
         PING                        -> {NOAUTH}
         AUTH anything secret        -> +OK
         WEIR.RESET login ada        -> +OK"
    ));
    let mut client = Client::with_token(Some("secret"));
    assert!(
        client
            .say(b"HELLO 3 AUTH default secret\r\n")
            .starts_with("%7")
    );
    client.check("PING -> +PONG");
    let mut client = Client::with_token(Some("secret"));
    client.check("QUIT -> +OK");
    assert_eq!(client.reading, Reading::Over);
}

#[test]
fn a_token_that_nobody_asked_for_is_a_mistake() {
    Client::new().check(
        "AUTH secret -> -ERR AUTH <password> called without any password configured for the default user. Are you sure \
         your configuration is correct?",
    );
}

/// The table in this crate's documentation, but for what ends the connection. Nothing of it is counted.
#[test]
fn bad_input_is_told_what_is_wrong_with_it() {
    let mut client = Client::new();
    client.check(
        "GET ada                     -> -ERR unknown command 'GET'
         CL.THROTTLE                 -> -ERR wrong number of arguments for 'cl.throttle' command
         CL.THROTTLE a 1 1 1 1 1     -> -ERR wrong number of arguments for 'cl.throttle' command
         THROTTLE a 1 1              -> -ERR wrong number of arguments for 'throttle' command
         WEIR.CHECK login            -> -ERR wrong number of arguments for 'weir.check' command
         WEIR.CHECK login ada 1 1    -> -ERR wrong number of arguments for 'weir.check' command
         WEIR.RESET login            -> -ERR wrong number of arguments for 'weir.reset' command
         ECHO                        -> -ERR wrong number of arguments for 'echo' command
         CL.THROTTLE a -1 30 60      -> -ERR invalid max_burst: must be a whole number from 0 to 2147483646
         CL.THROTTLE a 2147483647 1 1 -> -ERR invalid max_burst: must be a whole number from 0 to 2147483646
         THROTTLE a 0 30 60          -> -ERR invalid max_burst: must be a whole number from 1 to 2147483647
         CL.THROTTLE a 1.5 30 60     -> -ERR invalid max_burst: must be a whole number from 0 to 2147483646
         CL.THROTTLE a 01 30 60      -> -ERR invalid max_burst: must be a whole number from 0 to 2147483646
         CL.THROTTLE a +1 30 60      -> -ERR invalid max_burst: must be a whole number from 0 to 2147483646
         CL.THROTTLE a 1 0 60        -> -ERR invalid count: must be a whole number from 1 to 2147483647
         CL.THROTTLE a 1 1e3 60      -> -ERR invalid count: must be a whole number from 1 to 2147483647
         CL.THROTTLE a 1 30 0        -> -ERR invalid period: must be a whole number from 1 to 31622400
         CL.THROTTLE a 1 30 31622401 -> -ERR invalid period: must be a whole number from 1 to 31622400
         CL.THROTTLE a 1 30 99999999999999999999 -> -ERR invalid period: must be a whole number from 1 to 31622400
         CL.THROTTLE a 1 30 60 -1    -> -ERR invalid quantity: must be a whole number from 0 to 4294967295
         THROTTLE a 1 30 60 4294967296 -> -ERR invalid quantity: must be a whole number from 0 to 4294967295
         CL.THROTTLE a 100 1 31622400 -> -ERR invalid max_burst: must be at most 98, so that it is back within 100 years
         THROTTLE a 101 1 31622400   -> -ERR invalid max_burst: must be at most 99, so that it is back within 100 years
         WEIR.CHECK login ada -1     -> -ERR invalid cost: must be a whole number from 0 to 4294967295
         WEIR.CHECK login ada x      -> -ERR invalid cost: must be a whole number from 0 to 4294967295
         WEIR.CHECK none ada         -> -UNKNOWNLIMIT no limit has this name: 'none'
         WEIR.REFUND none ada        -> -UNKNOWNLIMIT no limit has this name: 'none'
         WEIR.RESET none ada         -> -UNKNOWNLIMIT no limit has this name: 'none'",
    );
    let key = "-ERR invalid key: must be 1 to 1024 bytes of text without NUL\r\n";
    for (words, reply) in [
        (&[&b"WEIR.CHECK"[..], b"login", b""][..], key),
        (&[b"WEIR.CHECK", b"login", &[b'k'; 1_025]], key),
        (&[b"WEIR.CHECK", b"login", b"a\0b"], key),
        (&[b"WEIR.RESET", b"login", b""], key),
        (&[b"THROTTLE", b"", b"1", b"1", b"1"], key),
        (
            &[b"CL.THROTTLE", b"a\xff", b"1", b"1", b"1"],
            "-ERR invalid key: must be UTF-8\r\n",
        ),
        (
            &[b"WEIR.CHECK", b"lo\r\ngin", b"ada"],
            "-UNKNOWNLIMIT no limit has this name: 'lo  gin'\r\n",
        ),
        (
            &[b"a\r\n+OK\r\n\xff"],
            "-ERR unknown command 'a  +OK  \u{fffd}'\r\n",
        ),
        (
            &[&[b'x'; 1_000]],
            &format!("-ERR unknown command '{}…'\r\n", "x".repeat(100)),
        ),
        (&[b""], "-ERR unknown command ''\r\n"),
        (
            &[b"CLIENT", b"SETNAME", b"a b"],
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
        ),
        (
            &[b"CLIENT", b"SETNAME", &[b'x'; 129]],
            "-ERR Client names have at most 128 bytes\r\n",
        ),
    ] {
        assert_eq!(client.say(&array(words)), reply);
    }
    assert_eq!(client.node().counted(), []);
    assert_eq!(client.reading, Reading::Starved);
}

/// The rest of that table. Nothing can be read after these.
#[test]
fn what_is_no_command_ends_the_connection() {
    let long_line = "x".repeat(BULK_MAX + 1);
    let many = format!("*3\r\n$65536\r\n{}\r\n$65536\r\n", "x".repeat(BULK_MAX));
    for (input, reply) in [
        ("*1025\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*1\r\n$65537\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\n\n", "expected '$', got '\\n'"),
        ("*1\r\n$4\r\nPINGS\r\n", "expected CRLF after a bulk string"),
        (&many, "too big request, a command has at most 131072 bytes"),
        (&long_line, "too big inline request"),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nWEIR.RESET login ada\r\n",
            "this is not an HTTP server",
        ),
        ("GET / HTTP/1.1\r\n", "this is not an HTTP server"),
    ] {
        let mut client = Client::new();
        let reply = format!("+PONG\r\n-ERR Protocol error: {reply}\r\n");
        assert_eq!(client.say(format!("PING\r\n{input}").as_bytes()), reply);
        assert_eq!(client.reading, Reading::Over);
        assert_eq!(client.node().counted(), []);
    }
}

/// Every text says what became of the hit.
#[test]
fn without_a_decision_the_reply_says_whether_it_was_counted() {
    let retry_after = Nanos::from_secs(1);
    for (error, text) in [
        (
            NoDecision::Unavailable { retry_after },
            "no node could decide this hit, and it was not counted",
        ),
        (
            NoDecision::Unknown { retry_after },
            "the deciding node did not answer, and it is unknown whether this hit was counted",
        ),
        (
            NoDecision::Overloaded { retry_after },
            "too many hits are waiting, and this one was not counted",
        ),
        (
            NoDecision::Draining { retry_after },
            "this node is draining, and the hit was not counted",
        ),
    ] {
        let mut client = Client::new();
        client.node().fail(error);
        client.check(&format!(
            "WEIR.CHECK login ada       -> -NODECISION {text}
             WEIR.REFUND open ada       -> -NODECISION {text}
             WEIR.RESET open ada        -> -NODECISION {text}
             CL.THROTTLE ada 2 30 60    -> -NODECISION {text}
             WEIR.CHECK open ada        -> *6|:1|:3|:0|:-1|:0|:1
             WEIR.CHECK open ada 4      -> *6|:0|:3|:0|:-2|:0|:1"
        ));
    }
}

/// A connection keeps a few rules, and any number may come by it.
#[test]
fn rules_beyond_those_that_are_kept_count_all_the_same() {
    let mut client = Client::new();
    for _round in 0..2 {
        let mut pipeline = Vec::new();
        for burst in 1..=40_u32 {
            let burst = burst.to_string();
            pipeline.extend(array(&[b"THROTTLE", b"ada", burst.as_bytes(), b"1", b"60"]));
        }
        let reply = client.say(&pipeline);
        assert_eq!(
            reply.matches("*5\r\n:1\r\n:40\r\n").count() + reply.matches("*5\r\n").count(),
            41
        );
    }
    assert_eq!(client.node().counted().len(), 40);
}

/// Replies that nobody takes are not piled up: reading stops, and goes on where it was.
#[test]
fn a_long_pipeline_is_answered_in_shares() {
    let mut client = Client::new();
    let hit = array(&[b"WEIR.CHECK", b"open", b"ada"]);
    let pipeline = hit.repeat(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut out = BytesMut::new();
    let answered = answer(
        &mut client.conversation,
        &client.common,
        &pipeline,
        SMALL,
        || true,
        &mut out,
    );
    let (read, reading) = runtime.block_on(answered).unwrap();
    assert_eq!(reading, Reading::Waits);
    assert!(
        SMALL.bytes <= out.len() && out.len() < SMALL.bytes + SMALL.hits * 131,
        "{}",
        out.len()
    );
    let answered = read / hit.len();
    assert_eq!(out.iter().filter(|&&byte| byte == b'*').count(), answered);
    assert_eq!(
        client.say(&pipeline[read..]).matches('*').count(),
        1_000 - answered
    );
}

/// What is asked while its connection is dropped would be counted and not answered.
#[test]
fn on_a_connection_that_is_being_dropped_nothing_is_asked() {
    let mut client = Client::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut out = BytesMut::new();
    let hit = array(&[b"WEIR.CHECK", b"login", b"ada"]);
    let answered = answer(
        &mut client.conversation,
        &client.common,
        &hit,
        SMALL,
        || false,
        &mut out,
    );
    assert_eq!(runtime.block_on(answered), None);
    assert_eq!(client.node().counted(), []);
}
