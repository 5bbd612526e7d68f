//! What is said on one connection, without the connection: bytes in, questions and replies out.

use accounts::Scope;
use bytes::BytesMut;
use connections::Then;
use coordinator::{Answer, Hit};
use limiter::{Caller, Given, Key, Limiter, Node, Refusal, Rule, Selected, Unknown};
use quota::Cost;

use crate::answer::{Form, write_refusal};
use crate::command::{self, Entry, RuleNumbers, Verb};
use crate::decode::{Arguments, Decoder};
use crate::session::{Server, Session, wrong_number};

/// Reads commands, answers those that are about the connection, and says what has to be asked for the others.
///
/// The driver keeps what has arrived, calls [`next`](Self::next) until it is [`Step::Starved`], drops what was read, and
/// adds more. It writes what is asked with [`told`](Self::told) and its siblings before it calls `next` again: so replies
/// come in the order of the commands, and a hit that comes after a reset is asked after it.
#[derive(Debug)]
pub(crate) struct Conversation {
    decoder: Decoder,
    session: Session,
    /// Rules that this client has asked by, so that a hit by one of them neither computes nor shares anything.
    rules: Vec<(Verb, RuleNumbers, Selected)>,
}

/// Rules that a connection keeps. Programs use a handful.
const RULES_MAX: usize = 8;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Hits, to be asked together.
    Ask(Vec<Asked<'a>>),
    /// Units to give back.
    Refund(Asked<'a>),
    /// A key that begins anew.
    Reset(Asked<'a>),
    /// What the next command brings and this node does not know, before it is read.
    LookUp(Unknown),
    /// A reply was written: there may be more to read.
    Said,
    /// Nothing until more arrives: what is there is the beginning of a command, or nothing.
    Starved,
    /// The last reply was written: whatever comes after it is not read.
    Over,
}

/// A hit, a refund or a reset, every part of which is known to be good.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    by: By,
    key: Key<'a>,
    cost: Cost,
    form: Form,
}

#[derive(Debug)]
enum By {
    /// A limit by its name.
    Limit(Selected),
    /// A rule that the conversation keeps, by its place.
    Rule(usize),
}

/// A command that has been read.
enum Command<'a> {
    Hit(Asked<'a>),
    Refund(Asked<'a>),
    Reset(Asked<'a>),
    Session(&'static Entry),
}

/// Why a command is refused: its code, and what it says; or what the limiter says.
enum Wrong {
    Said(&'static str, String),
    Refused(Refusal),
}

impl From<(&'static str, String)> for Wrong {
    fn from((code, text): (&'static str, String)) -> Self {
        Self::Said(code, text)
    }
}

impl From<command::Invalid> for Wrong {
    fn from(error: command::Invalid) -> Self {
        Self::Said("ERR", error.to_string())
    }
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Conversation {
    /// The conversation of a new connection, whose number in this process is `id`.
    pub(crate) fn new<N>(id: u64, server: &Server<N>) -> Self {
        Self {
            decoder: Decoder::default(),
            session: Session::new(id, server),
            rules: Vec::new(),
        }
    }

    /// Who asks, as of now. Rules count in the namespace of whoever gave them, and are looked up again by another.
    pub(crate) fn caller<N: Node>(&mut self, server: &Server<N>) -> Option<Caller<N>> {
        let caller = self.session.caller(server);
        let limiter = caller.as_ref().map_or(&server.limiter, |it| &it.limiter);
        let is_ours = |rule: &(Verb, RuleNumbers, Selected)| {
            *rule.2.policy().namespace == *limiter.namespace()
        };
        if !self.rules.first().is_none_or(is_ours) {
            self.rules.clear();
        }
        caller
    }

    /// Reads on in `input`, from `*read` on, which it moves behind what it has read.
    ///
    /// At most `hits_max` hits are asked together. Hits that stand one behind the other are; what stands between others
    /// is a step of its own.
    pub(crate) fn next<'a, N: Node>(
        &mut self,
        caller: Option<&Caller<N>>,
        server: &Server<N>,
        input: &'a [u8],
        read: &mut usize,
        hits_max: usize,
        out: &mut BytesMut,
    ) -> Step<'a> {
        if RULES_MAX < self.rules.len() {
            self.rules.truncate(RULES_MAX / 2);
        }
        let mut asked = Vec::new();
        while asked.len() < hits_max {
            let rest = &input[*read..];
            let length = match self.decoder.next(rest) {
                Ok(Some(length)) => length,
                Ok(None) if asked.is_empty() => return Step::Starved,
                Ok(None) => break,
                Err(error) if asked.is_empty() => {
                    let text = format!("Protocol error: {error}");
                    self.session.reply(out).error("ERR", &text);
                    return Step::Over;
                }
                // Found again when these have been asked.
                Err(_) => {
                    self.decoder.forget();
                    break;
                }
            };
            let command = self.read(caller, server, rest);
            if !asked.is_empty() && !matches!(command, Ok(Some(Command::Hit(_)) | None)) {
                self.decoder.forget();
                break;
            }
            if let Ok(Some(Command::Session(entry))) = &command {
                let arguments = self.decoder.arguments(rest);
                let unknown = self.session.unknown(entry.verb, &arguments, server);
                if let Some(unknown) = unknown {
                    self.decoder.forget();
                    return Step::LookUp(unknown);
                }
            }
            *read += length;
            let step = match command {
                Ok(Some(Command::Hit(hit))) => {
                    asked.push(hit);
                    None
                }
                Ok(None) => None,
                Ok(Some(Command::Refund(asked))) => Some(Step::Refund(asked)),
                Ok(Some(Command::Reset(asked))) => Some(Step::Reset(asked)),
                Ok(Some(Command::Session(entry))) => {
                    let arguments = self.decoder.arguments(rest);
                    match self.session.answer(entry, &arguments, server, out) {
                        Then::Stay => Some(Step::Said),
                        Then::Close => Some(Step::Over),
                    }
                }
                Err(wrong) => {
                    self.write_wrong(&wrong, out);
                    Some(Step::Said)
                }
            };
            self.decoder.forget();
            if let Some(step) = step {
                return step;
            }
        }
        Step::Ask(asked)
    }

    /// Another member was asked of what a command brings.
    pub(crate) fn on_looked_up(&mut self, is_known: bool) {
        self.session.on_looked_up(is_known);
    }

    /// Gives memory back that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        self.decoder.shrink();
        // Of a client that made rules up, hundreds would stay; those that are kept are asked by again.
        self.rules.truncate(RULES_MAX);
        self.rules.shrink_to(RULES_MAX);
    }

    /// The hit that `asked` stands for.
    #[inline]
    pub(crate) fn hit<'s>(&'s self, asked: &'s Asked<'_>) -> Hit<'s> {
        self.selected(asked).hit(&asked.key, asked.cost)
    }

    /// What `asked` is about: limit, key, cost.
    #[inline]
    pub(crate) fn parts<'s, 'a>(
        &'s self,
        asked: &'s Asked<'a>,
    ) -> (&'s Selected, &'s Key<'a>, Cost) {
        (self.selected(asked), &asked.key, asked.cost)
    }

    /// Writes what became of `asked`.
    pub(crate) fn told(
        &self,
        asked: &Asked<'_>,
        told: &Result<Answer, Refusal>,
        out: &mut BytesMut,
    ) {
        let mut reply = self.session.reply(out);
        match told {
            Ok(answer) => {
                let limit = &self.selected(asked).policy().limit;
                asked.form.write(limit, asked.cost, answer, &mut reply);
            }
            Err(refusal) => write_refusal(refusal, &mut reply),
        }
    }

    /// Writes what became of a reset.
    pub(crate) fn told_reset(&self, told: &Result<(), Refusal>, out: &mut BytesMut) {
        let mut reply = self.session.reply(out);
        match told {
            Ok(()) => reply.simple("OK"),
            Err(refusal) => write_refusal(refusal, &mut reply),
        }
    }

    /// Says that there is no room for a command, which is not read.
    pub(crate) fn told_no_room(&self, error: connections::NoRoom, out: &mut BytesMut) {
        let text = format!("{error}; nothing was counted");
        self.session.reply(out).error("ERR", &text);
    }

    fn selected<'s>(&'s self, asked: &'s Asked<'_>) -> &'s Selected {
        match &asked.by {
            By::Limit(selected) => selected,
            By::Rule(place) => &self.rules[*place].2,
        }
    }

    /// Reads the command that the decoder has found at the beginning of `rest`. `None`: an empty line or array.
    fn read<'a, N: Node>(
        &mut self,
        caller: Option<&Caller<N>>,
        server: &Server<N>,
        rest: &'a [u8],
    ) -> Result<Option<Command<'a>>, Wrong> {
        let arguments = self.decoder.arguments(rest);
        let Some(name) = arguments.get(0) else {
            return Ok(None);
        };
        let entry = command::find(name);
        if entry.is_none_or(|entry| !self.session.may(entry.verb)) && !self.session.may(Verb::Ping)
        {
            return Err(Wrong::Said("NOAUTH", "Authentication required.".to_owned()));
        }
        let entry = entry.ok_or_else(|| {
            Wrong::Said("ERR", format!("unknown command '{}'", Given::lossy(name)))
        })?;
        if !entry.arguments.contains(&(arguments.len() - 1)) {
            return Err(wrong_number(entry.name).into());
        }
        if let Some(caller) = caller {
            match entry.verb {
                Verb::CellThrottle | Verb::CrabThrottle | Verb::Check => {
                    caller.needs(Scope::Check)?;
                    caller.check_ceiling()?;
                }
                Verb::Refund | Verb::ResetKey => {
                    caller.needs(Scope::Adjust)?;
                    caller.check_ceiling()?;
                }
                _ => {}
            }
        }
        let limiter = caller.map_or(&server.limiter, |caller| &caller.limiter);
        let command = match entry.verb {
            Verb::CellThrottle | Verb::CrabThrottle => {
                let numbers = RuleNumbers::read(entry.verb, &arguments)?;
                let cost = command::cost(&arguments, 5, "quantity")?;
                let key = key(&arguments, 1)?;
                let by = By::Rule(rule(&mut self.rules, limiter, entry.verb, numbers)?);
                let form = match entry.verb {
                    Verb::CellThrottle => Form::Cell,
                    _ => Form::Crab,
                };
                Command::Hit(Asked {
                    by,
                    key,
                    cost,
                    form,
                })
            }
            Verb::Check => Command::Hit(by_limit(limiter, &arguments)?),
            Verb::Refund => Command::Refund(by_limit(limiter, &arguments)?),
            Verb::ResetKey => Command::Reset(by_limit(limiter, &arguments)?),
            _ => Command::Session(entry),
        };
        Ok(Some(command))
    }

    fn write_wrong(&self, wrong: &Wrong, out: &mut BytesMut) {
        let mut reply = self.session.reply(out);
        match wrong {
            Wrong::Said(code, text) => reply.error(code, text),
            Wrong::Refused(refusal) => write_refusal(refusal, &mut reply),
        }
    }
}

/// The place of a rule among those that the conversation keeps.
fn rule<N>(
    rules: &mut Vec<(Verb, RuleNumbers, Selected)>,
    limiter: &Limiter<N>,
    verb: Verb,
    numbers: RuleNumbers,
) -> Result<usize, command::Invalid> {
    let known = rules
        .iter()
        .position(|(of, known, _)| *of == verb && *known == numbers);
    if let Some(place) = known {
        return Ok(place);
    }
    let limit = numbers.limit(verb)?;
    rules.push((verb, numbers, limiter.inline(Rule::from(limit))));
    Ok(rules.len() - 1)
}

/// `limit key [cost]` behind the name of a command.
fn by_limit<'a, N: Node>(
    limiter: &Limiter<N>,
    arguments: &Arguments<'_, 'a>,
) -> Result<Asked<'a>, Wrong> {
    let cost = command::cost(arguments, 3, "cost")?;
    let key = key(arguments, 2)?;
    let name = arguments.get(1).unwrap_or_default();
    let limit = match std::str::from_utf8(name) {
        Ok(name) => limiter.find(name)?,
        Err(_) => {
            return Err(Refusal::unknown_limit("")
                .with_given(Given::lossy(name))
                .into());
        }
    };
    Ok(Asked {
        by: By::Limit(limit),
        key,
        cost,
        form: Form::Weir,
    })
}

fn key<'a>(arguments: &Arguments<'_, 'a>, place: usize) -> Result<Key<'a>, Refusal> {
    Key::from_bytes(arguments.get(place).unwrap_or_default(), "key")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use limiter::{Access, Front};

    use super::*;

    /// A batch of 256 hits, each by a rule of its own, left 12 KiB on a connection that was idle ever after.
    #[test]
    fn an_idle_connection_keeps_a_handful_of_rules() {
        let server = Server {
            limiter: Limiter::new(Arc::new(()), "default".into(), [], Front::Resp),
            access: Access::default(),
            clock: SystemTime::now,
        };
        let mut conversation = Conversation::new(1, &server);
        for count in 1..=256 {
            let numbers = RuleNumbers {
                burst: 1,
                count,
                period: 1,
            };
            let place = rule(
                &mut conversation.rules,
                &server.limiter,
                Verb::CrabThrottle,
                numbers,
            );
            assert!(place.is_ok());
        }
        conversation.rest();
        assert!(conversation.rules.capacity() <= RULES_MAX);
    }
}
