//! What the command asks of a node about people, and what it prints of the answer: a link alone on stdout.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

/// What a node says to one request, and of whom a change is not confirmed.
struct Says {
    status: u16,
    body: &'static str,
    pending: Option<&'static str>,
}

const NOTHING: Says = Says {
    status: 204,
    body: "",
    pending: None,
};

/// What the command asked for, and what came of it.
#[derive(PartialEq, Eq, Debug)]
struct Ran {
    /// Method, path and body, between spaces.
    asked: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the command against a node that knows one answer.
fn run(arguments: &str, says: &Says) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        let node = scope.spawn(|| answer(&listener.accept().unwrap().0, says));
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments.split(' '))
            .args(["--url", &url, "--api-token", "abracadabra"])
            .output()
            .unwrap();
        // Whoever asked nothing would be waited for.
        drop(TcpStream::connect(listener.local_addr().unwrap()));
        Ran {
            asked: node.join().unwrap(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    })
}

fn answer(mut stream: &TcpStream, says: &Says) -> String {
    let mut reader = BufReader::new(stream);
    let (mut asked, mut length, mut is_signed) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        match line.split_once(": ") {
            None if line.is_empty() => break,
            None => asked = line.trim_end_matches("HTTP/1.1").to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("Content-Length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) => {
                is_signed |=
                    name.eq_ignore_ascii_case("Authorization") && value == "Bearer abracadabra";
            }
        }
    }
    assert!(is_signed || asked.is_empty(), "{asked}: who asks?");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    asked.push_str(std::str::from_utf8(&body).unwrap());
    let pending = says
        .pending
        .map_or_else(String::new, |names| format!("Weir-Pending: {names}\r\n"));
    let _gone = write!(
        stream,
        "HTTP/1.1 {} Said\r\n{pending}Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        says.status,
        says.body.len(),
        says.body,
    );
    asked.trim_end().to_owned()
}

#[track_caller]
fn check(arguments: &str, says: &Says, asked: &str, stdout: &str, stderr: &str) {
    let expected = Ran {
        asked: asked.to_owned(),
        code: Some(0),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    };
    assert_eq!(run(arguments, says), expected, "{arguments}");
}

const OPERATOR: Says = Says {
    status: 201,
    body: r#"{"id":"us_0","email":"you@example.com","url":"https://w/reset#t","expires_at":"2026-11-21T11:00:00Z"}"#,
    pending: Some("oskar3"),
};

#[test]
fn a_link_is_alone_on_stdout() {
    let pending = "not confirmed yet by oskar3: in force there when it answers again\n";
    check(
        "operator create You@example.com",
        &OPERATOR,
        r#"POST /v1/operators {"email":"You@example.com"}"#,
        "https://w/reset#t\n",
        &format!(
            "you@example.com is an operator\n\
             a link for you@example.com to set a password: it works once, until 2026-11-21T11:00:00Z\n{pending}"
        ),
    );
    let link = Says {
        body: r#"{"url":"https://w/reset#t","expires_at":"2026-11-21T11:00:00Z"}"#,
        pending: None,
        ..OPERATOR
    };
    check(
        "user reset-link ada@example.com",
        &link,
        r#"POST /v1/users/reset-link {"email":"ada@example.com"}"#,
        "https://w/reset#t\n",
        "a link for ada@example.com to set a password: it works once, until 2026-11-21T11:00:00Z\n",
    );
}

#[test]
fn a_tenant_is_made_with_its_owner() {
    let tenant = |body| Says {
        status: 201,
        body,
        pending: None,
    };
    let table = "ID    NAME  STATUS  PLAN  REQUESTS A DAY  CREATED\n\
                 tn_0  Acme  active  pro   10              2026-11-21T10:00:00Z\n";
    check(
        "tenant create Acme --plan pro --owner ada@example.com",
        &tenant(
            r#"{"id":"tn_0","name":"Acme","status":"active","created_at":"2026-11-21T10:00:00Z","plan":{"name":"pro","requests_per_day":10},
                "owner":{"id":"us_1","email":"ada@example.com","url":"https://w/reset#t","expires_at":"2026-11-21T11:00:00Z"}}"#,
        ),
        r#"POST /v1/tenants {"name":"Acme","owner":"ada@example.com","plan":"pro","requests_per_day":null}"#,
        "https://w/reset#t\n",
        &format!(
            "{table}a link for ada@example.com to set a password: it works once, until 2026-11-21T11:00:00Z\n"
        ),
    );
    check(
        "tenant create Acme --owner ada@example.com",
        &tenant(
            r#"{"id":"tn_0","name":"Acme","status":"active","created_at":"2026-11-21T10:00:00Z","plan":{"name":"pro","requests_per_day":10},
                "owner":{"id":null,"email":"ada@example.com","url":"https://w/invite/t","expires_at":"2026-11-28T10:00:00Z"}}"#,
        ),
        r#"POST /v1/tenants {"name":"Acme","owner":"ada@example.com","plan":null,"requests_per_day":null}"#,
        "https://w/invite/t\n",
        &format!(
            "{table}ada@example.com has a password already: a link to join as owner: it works once, until 2026-11-28T10:00:00Z\n"
        ),
    );
    // A node that knows nobody refuses what it does not know: it is asked as before.
    check(
        "tenant create Acme",
        &tenant(
            r#"{"id":"tn_0","name":"Acme","status":"active","created_at":"2026-11-21T10:00:00Z","plan":{"name":"pro","requests_per_day":10}}"#,
        ),
        r#"POST /v1/tenants {"name":"Acme","plan":null,"requests_per_day":null}"#,
        table,
        "",
    );
}

#[test]
fn what_is_done_is_told() {
    for (arguments, asked, stdout) in [
        (
            "operator remove a+b@example.com",
            "DELETE /v1/operators/a%2Bb%40example.com",
            "a+b@example.com is no operator\n",
        ),
        (
            "user end-sessions ada@example.com",
            r#"POST /v1/users/end-sessions {"email":"ada@example.com"}"#,
            "ada@example.com is logged in nowhere\n",
        ),
        (
            "user disable ada@example.com",
            r#"POST /v1/users/disable {"email":"ada@example.com"}"#,
            "ada@example.com is disabled\n",
        ),
        (
            "user enable ada@example.com",
            r#"POST /v1/users/enable {"email":"ada@example.com"}"#,
            "ada@example.com is enabled\n",
        ),
    ] {
        check(arguments, &NOTHING, asked, stdout, "");
        let as_json = format!("{arguments} --json");
        let late = Says {
            pending: Some("oskar3"),
            ..NOTHING
        };
        let pending = "not confirmed yet by oskar3: in force there when it answers again\n";
        check(&as_json, &late, asked, "", pending);
        check(arguments, &late, asked, &format!("{stdout}{pending}"), "");
    }
}

#[test]
fn json_is_what_the_node_said() {
    let asked = r#"POST /v1/operators {"email":"you@example.com"}"#;
    let stdout = format!("{}\n", OPERATOR.body);
    check(
        "operator create you@example.com --json",
        &OPERATOR,
        asked,
        &stdout,
        "",
    );
    let none = Says {
        status: 200,
        body: r#"{"items":[]}"#,
        pending: None,
    };
    let asked = "GET /v1/operators?count=1000";
    check("operator list --json", &none, asked, "{\"items\":[]}\n", "");
    check("operator list", &none, asked, "ID  EMAIL  CREATED\n", "");
}

#[test]
fn what_is_refused_is_no_success() {
    let refused = Says {
        status: 404,
        body: r#"{"type":"/problems/not-found","title":"not found","detail":"nobody has this e-mail address"}"#,
        pending: None,
    };
    for arguments in [
        "operator create ada@example.com",
        "operator remove ada@example.com",
        "user reset-link ada@example.com",
        "user disable ada@example.com --json",
        "tenant create Acme --owner ada@example.com",
    ] {
        let ran = run(arguments, &refused);
        assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{arguments}");
        let told = "weir: not found: nobody has this e-mail address\n";
        assert_eq!(ran.stderr, told, "{arguments}");
    }
}
