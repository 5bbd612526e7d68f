//! What a connection has agreed on with its client, and the commands that are about nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use connections::Then;
use limiter::{Access, Caller, Given, Kind, Limiter, Node, Rights, Unknown};

use crate::answer::error_of;
use crate::command::{COMMANDS, Entry, Verb};
use crate::decode::Arguments;
use crate::documentation;
use crate::reply::{Reply, Version};

/// What all connections are told the same.
pub(crate) struct Server<N> {
    /// That of the file's namespace.
    pub(crate) limiter: Limiter<N>,
    /// What clients must prove, if anything.
    pub(crate) access: Access,
    /// What `TIME` tells.
    pub(crate) clock: fn() -> SystemTime,
}

/// What a connection has agreed on with its client.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique among the connections of this process.
    id: u64,
    version: Version,
    /// The client has proven what it must, or there is nothing to prove.
    is_trusted: bool,
    /// What it has proven, of a tenant: that may end while the connection goes on.
    credential: Option<Box<[u8]>>,
    /// The member that was asked of the credential which the command brings that is obeyed next did not know it, either.
    is_unknown: bool,
    /// What the client calls itself. At most [`NAME_MAX`] bytes.
    name: Option<Box<[u8]>>,
}

/// The longest name of a client, so that idle connections stay small.
const NAME_MAX: usize = 128;

/// The version of Redis whose replies these are like. Clients choose what they send by it.
const REDIS_VERSION: &str = "7.0.0";

const NOT_TRUSTED_HELLO: &str = "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
const NO_TOKEN: &str = "AUTH <password> called without any password configured for the default user. Are you sure your \
    configuration is correct?";
const WRONG_TOKEN: &str = "invalid username-password pair or user is disabled.";

/// A reply that is an error: its code, and what it says.
type Failure = (&'static str, String);

fn failure(text: impl Into<String>) -> Failure {
    ("ERR", text.into())
}

impl Session {
    /// The session of a new connection.
    pub(crate) fn new<N>(id: u64, server: &Server<N>) -> Self {
        Self {
            id,
            version: Version::Two,
            is_trusted: server.access.is_open(),
            credential: None,
            is_unknown: false,
            name: None,
        }
    }

    /// The tenant that asks, if one does. One whose credential has ended is trusted no more.
    pub(crate) fn caller<N: Node>(&mut self, server: &Server<N>) -> Option<Caller<N>> {
        let credential = self.credential.as_deref()?;
        let caller = server.access.admit(&server.limiter, Some(credential));
        if caller.is_err() {
            self.is_trusted = false;
            self.credential = None;
        }
        caller.ok()
    }

    /// What is to be looked up before this command is obeyed, of the credential that it brings.
    pub(crate) fn unknown<N: Node>(
        &mut self,
        verb: Verb,
        arguments: &Arguments<'_, '_>,
        server: &Server<N>,
    ) -> Option<Unknown> {
        // Of this command alone: it may be refused for something else, and the next one brings another.
        if std::mem::take(&mut self.is_unknown) || server.access.is_open() {
            return None;
        }
        let given = match verb {
            Verb::Auth => arguments.get(arguments.len() - 1),
            Verb::Hello => hello_options(arguments).ok()?.token,
            _ => return None,
        };
        server.access.unknown(&server.limiter, given)
    }

    /// Another member was asked of it.
    pub(crate) fn on_looked_up(&mut self, is_known: bool) {
        self.is_unknown = !is_known;
    }

    /// The next reply in `out`, as this client understands it.
    pub(crate) fn reply<'o>(&self, out: &'o mut BytesMut) -> Reply<'o> {
        Reply::new(out, self.version)
    }

    /// Whether the client may ask for this before it has proven the token.
    #[inline]
    pub(crate) fn may(&self, verb: Verb) -> bool {
        self.is_trusted
            || matches!(
                verb,
                Verb::Auth | Verb::Hello | Verb::Quit | Verb::ResetConnection
            )
    }

    /// Answers a command that is about the connection or this server. The number of its arguments has been checked.
    pub(crate) fn answer<N: Node>(
        &mut self,
        entry: &Entry,
        arguments: &Arguments<'_, '_>,
        server: &Server<N>,
        out: &mut BytesMut,
    ) -> Then {
        if let Err((code, text)) = self.obey(entry.verb, arguments, server, out) {
            self.reply(out).error(code, &text);
        }
        match entry.verb {
            Verb::Quit => Then::Close,
            _ => Then::Stay,
        }
    }

    fn obey<N: Node>(
        &mut self,
        verb: Verb,
        arguments: &Arguments<'_, '_>,
        server: &Server<N>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let first = arguments.get(1);
        match verb {
            Verb::Ping => match first {
                None => self.reply(out).simple("PONG"),
                Some(message) => self.reply(out).bulk(message),
            },
            Verb::Echo => self.reply(out).bulk(first.unwrap_or_default()),
            Verb::Hello => self.hello(arguments, server, out)?,
            Verb::Auth => {
                let last = arguments.get(arguments.len() - 1).unwrap_or_default();
                self.prove(last, server)?;
                self.reply(out).simple("OK");
            }
            Verb::Client => self.client(arguments, out)?,
            Verb::Command => documentation::answer(arguments, &mut self.reply(out))?,
            Verb::Select if first == Some(b"0") => self.reply(out).simple("OK"),
            Verb::Select => return Err(failure("DB index is out of range")),
            Verb::Quit => self.reply(out).simple("OK"),
            Verb::Config => self.config(arguments, out)?,
            Verb::Info => self.reply(out).bulk(info().as_bytes()),
            Verb::ResetConnection => {
                *self = Self::new(self.id, server);
                self.reply(out).simple("RESET");
            }
            Verb::Time => {
                let since = (server.clock)().duration_since(UNIX_EPOCH);
                let since = since.unwrap_or_default();
                let mut reply = self.reply(out);
                reply.array(2);
                reply.bulk(since.as_secs().to_string().as_bytes());
                reply.bulk(since.subsec_micros().to_string().as_bytes());
            }
            Verb::CellThrottle
            | Verb::CrabThrottle
            | Verb::Check
            | Verb::Refund
            | Verb::ResetKey => unreachable!("the limiter answers {verb:?}"),
        }
        Ok(())
    }

    fn prove<N: Node>(&mut self, given: &[u8], server: &Server<N>) -> Result<(), Failure> {
        if server.access.is_open() {
            return Err(failure(NO_TOKEN));
        }
        let caller = server.access.admit(&server.limiter, Some(given));
        let caller = caller.map_err(|refusal| match refusal.kind() {
            Kind::Unauthorized if refusal.has_invalid_token() => {
                ("WRONGPASS", refusal.detail().to_owned())
            }
            Kind::Unauthorized | Kind::Forbidden => ("WRONGPASS", WRONG_TOKEN.to_owned()),
            // It may be right, and is taken at another time or by another node.
            _ => {
                let (code, text) = error_of(&refusal);
                (code, text.into_owned())
            }
        })?;
        self.is_trusted = true;
        self.credential = match caller.rights {
            Rights::All => None,
            Rights::ApiKey { .. } | Rights::User { .. } => Some(given.into()),
        };
        Ok(())
    }

    fn hello<N: Node>(
        &mut self,
        arguments: &Arguments<'_, '_>,
        server: &Server<N>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let version = match arguments.get(1) {
            None => self.version,
            Some(b"2") => Version::Two,
            Some(b"3") => Version::Three,
            Some(other) if other.iter().all(u8::is_ascii_digit) => {
                return Err(("NOPROTO", "unsupported protocol version".to_owned()));
            }
            Some(_) => {
                let text = "Protocol version is not an integer or out of range";
                return Err(failure(text));
            }
        };
        let HelloOptions { token, name } = hello_options(arguments)?;
        let name = name.map(accept_name).transpose()?;
        if let Some(token) = token {
            self.prove(token, server)?;
        }
        if !self.is_trusted {
            return Err(("NOAUTH", NOT_TRUSTED_HELLO.to_owned()));
        }
        if let Some(name) = name {
            self.name = name;
        }
        self.version = version;
        let id = i64::try_from(self.id).unwrap_or(i64::MAX);
        let mut reply = self.reply(out);
        reply.map(7);
        for (name, value) in [("server", "weir"), ("version", env!("CARGO_PKG_VERSION"))] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        for (name, value) in [("proto", version.number()), ("id", id)] {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        }
        for (name, value) in [("mode", "standalone"), ("role", "master")] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"modules");
        reply.array(0);
        Ok(())
    }

    fn client(&mut self, arguments: &Arguments<'_, '_>, out: &mut BytesMut) -> Result<(), Failure> {
        let subcommand = arguments.get(1).unwrap_or_default().to_ascii_lowercase();
        let value = arguments.get(2);
        match (subcommand.as_slice(), arguments.len()) {
            (b"id", 2) => {
                let id = i64::try_from(self.id).unwrap_or(i64::MAX);
                self.reply(out).integer(id);
            }
            (b"getname", 2) => match &self.name {
                Some(name) => self.reply(out).bulk(name),
                None => self.reply(out).null(),
            },
            (b"setname", 3) => {
                self.name = accept_name(value.unwrap_or_default())?;
                self.reply(out).simple("OK");
            }
            (b"setinfo", 4) | (b"no-evict" | b"no-touch", 3) => self.reply(out).simple("OK"),
            (b"id" | b"getname" | b"setname" | b"setinfo" | b"no-evict" | b"no-touch", _) => {
                let name = format!("client|{}", Given::lossy(&subcommand));
                return Err(wrong_number(&name));
            }
            _ => return Err(unknown_subcommand("CLIENT", &subcommand)),
        }
        Ok(())
    }

    /// Load generators ask how often the server saves: it does not.
    fn config(&mut self, arguments: &Arguments<'_, '_>, out: &mut BytesMut) -> Result<(), Failure> {
        const SETTINGS: [(&str, &str); 2] = [("save", ""), ("appendonly", "no")];
        let subcommand = arguments.get(1).unwrap_or_default();
        if !subcommand.eq_ignore_ascii_case(b"GET") {
            return Err(unknown_subcommand("CONFIG", subcommand));
        }
        if arguments.len() == 2 {
            return Err(wrong_number("config|get"));
        }
        let is_asked = |name: &str| {
            let mut patterns = arguments.from(2);
            patterns.any(|pattern| pattern == b"*" || pattern.eq_ignore_ascii_case(name.as_bytes()))
        };
        let asked = SETTINGS.iter().filter(|(name, _)| is_asked(name));
        let mut reply = self.reply(out);
        reply.map(asked.clone().count());
        for (name, value) in asked {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        Ok(())
    }
}

/// What a client says in its `HELLO` beside the version.
#[derive(Default)]
struct HelloOptions<'i> {
    token: Option<&'i [u8]>,
    name: Option<&'i [u8]>,
}

fn hello_options<'i>(arguments: &Arguments<'_, 'i>) -> Result<HelloOptions<'i>, Failure> {
    let mut told = HelloOptions::default();
    let mut options = arguments.from(2);
    while let Some(option) = options.next() {
        let refused = || {
            let option = Given::lossy(option);
            failure(format!("Syntax error in HELLO option '{option}'"))
        };
        if option.eq_ignore_ascii_case(b"AUTH") {
            let _user = options.next().ok_or_else(refused)?;
            told.token = Some(options.next().ok_or_else(refused)?);
        } else if option.eq_ignore_ascii_case(b"SETNAME") {
            told.name = Some(options.next().ok_or_else(refused)?);
        } else {
            return Err(refused());
        }
    }
    Ok(told)
}

/// A name that a client may have; an empty one is none.
fn accept_name(name: &[u8]) -> Result<Option<Box<[u8]>>, Failure> {
    if NAME_MAX < name.len() {
        let text = format!("Client names have at most {NAME_MAX} bytes");
        return Err(failure(text));
    }
    if !name.iter().all(u8::is_ascii_graphic) {
        let text = "Client names cannot contain spaces, newlines or special characters.";
        return Err(failure(text));
    }
    Ok((!name.is_empty()).then(|| name.into()))
}

fn info() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let pid = std::process::id();
    format!(
        "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nweir_version:{version}\r\nprocess_id:{pid}\r\n\
         \r\n# Persistence\r\nloading:0\r\n\r\n# Replication\r\nrole:master\r\n"
    )
}

/// A command that takes more arguments, or fewer. `name` as it is documented.
pub(crate) fn wrong_number(name: &str) -> (&'static str, String) {
    let text = format!("wrong number of arguments for '{name}' command");
    failure(text)
}

/// A command of which this front has a part, and not that one.
pub(crate) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> (&'static str, String) {
    let subcommand = Given::lossy(subcommand);
    let known = COMMANDS
        .iter()
        .find(|entry| entry.name.eq_ignore_ascii_case(command));
    let usage = known.map_or("", |entry| entry.usage);
    failure(format!(
        "unknown subcommand '{subcommand}' of {command}; accepted: {usage}"
    ))
}
