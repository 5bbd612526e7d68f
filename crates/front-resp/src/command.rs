//! The commands of this front, and what their arguments mean.

use std::ops::RangeInclusive;

use quota::{Algorithm, Cost, Limit, LimitError, Nanos};

use crate::decode::Arguments;

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    /// `CL.THROTTLE`: redis-cell's.
    CellThrottle,
    /// `THROTTLE`: throttlecrab's.
    CrabThrottle,
    /// `WEIR.CHECK`
    Check,
    /// `WEIR.REFUND`
    Refund,
    /// `WEIR.RESET`
    ResetKey,
    /// `PING`
    Ping,
    /// `ECHO`
    Echo,
    /// `HELLO`
    Hello,
    /// `AUTH`
    Auth,
    /// `CLIENT`
    Client,
    /// `COMMAND`
    Command,
    /// `SELECT`
    Select,
    /// `QUIT`
    Quit,
    /// `CONFIG`
    Config,
    /// `INFO`
    Info,
    /// `RESET`
    ResetConnection,
    /// `TIME`
    Time,
}

/// A command, as `COMMAND` tells of it.
pub(crate) struct Entry {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    /// How many arguments it takes, its name not counted.
    pub(crate) arguments: RangeInclusive<usize>,
    /// Where its key stands, counted from its name; 0: it has none.
    pub(crate) key: u8,
    /// What its arguments are, as its documentation names them.
    pub(crate) usage: &'static str,
    pub(crate) summary: &'static str,
}

const fn entry(
    name: &'static str,
    verb: Verb,
    arguments: RangeInclusive<usize>,
    key: u8,
    usage: &'static str,
    summary: &'static str,
) -> Entry {
    Entry {
        name,
        verb,
        arguments,
        key,
        usage,
        summary,
    }
}

/// Most arguments of a command whose number is not bounded otherwise.
pub(crate) const ANY: usize = usize::MAX;

/// All commands, those first that are asked most.
pub(crate) const COMMANDS: [Entry; 17] = [
    entry(
        "cl.throttle",
        Verb::CellThrottle,
        4..=5,
        1,
        "key max_burst count period [quantity]",
        "Counts a hit by a rule of its own, as redis-cell does",
    ),
    entry(
        "weir.check",
        Verb::Check,
        2..=3,
        2,
        "limit key [cost]",
        "Counts a hit by a limit that has a name; a cost of 0 peeks",
    ),
    entry(
        "throttle",
        Verb::CrabThrottle,
        4..=5,
        1,
        "key max_burst count period [quantity]",
        "Counts a hit by a rule of its own, as throttlecrab does",
    ),
    entry(
        "weir.refund",
        Verb::Refund,
        2..=3,
        2,
        "limit key [cost]",
        "Gives units back, and tells the state after",
    ),
    entry(
        "weir.reset",
        Verb::ResetKey,
        2..=2,
        2,
        "limit key",
        "Lets a key begin anew",
    ),
    entry("ping", Verb::Ping, 0..=1, 0, "[message]", "Answers"),
    entry("echo", Verb::Echo, 1..=1, 0, "message", "Answers the same"),
    entry(
        "hello",
        Verb::Hello,
        0..=ANY,
        0,
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the version of the protocol, and tells of this server",
    ),
    entry(
        "auth",
        Verb::Auth,
        1..=2,
        0,
        "[username] password",
        "Proves the API token",
    ),
    entry(
        "client",
        Verb::Client,
        1..=ANY,
        0,
        "ID | GETNAME | SETNAME name | SETINFO attribute value | NO-EVICT state | NO-TOUCH state",
        "Tells of this connection, or lets it be told",
    ),
    entry(
        "command",
        Verb::Command,
        0..=ANY,
        0,
        "[COUNT | LIST | INFO [name ...] | DOCS [name ...]]",
        "Tells of the commands",
    ),
    entry(
        "select",
        Verb::Select,
        1..=1,
        0,
        "0",
        "There is one database",
    ),
    entry("quit", Verb::Quit, 0..=ANY, 0, "", "Ends the connection"),
    entry(
        "config",
        Verb::Config,
        1..=ANY,
        0,
        "GET pattern [pattern ...]",
        "Tells what load generators ask for; nothing can be set",
    ),
    entry(
        "info",
        Verb::Info,
        0..=ANY,
        0,
        "[section ...]",
        "Tells of this server",
    ),
    entry(
        "reset",
        Verb::ResetConnection,
        0..=0,
        0,
        "",
        "Makes the connection as if it were new",
    ),
    entry(
        "time",
        Verb::Time,
        0..=0,
        0,
        "",
        "Tells the time of this node",
    ),
];

/// The command of that name, in any case.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Entry> {
    COMMANDS
        .iter()
        .find(|entry| entry.name.as_bytes().eq_ignore_ascii_case(name))
}

/// An argument that is not accepted. Nothing was counted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid {name}: must be {accepted}")]
pub(crate) struct Invalid {
    /// The argument, by its name in the documentation.
    pub(crate) name: &'static str,
    pub(crate) accepted: String,
}

/// A rule that a hit brings, as its arguments have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuleNumbers {
    /// Units that pass at once.
    pub(crate) burst: u32,
    /// Units for each period.
    pub(crate) count: u32,
    /// Seconds.
    pub(crate) period: u32,
}

/// The longest period that a limit takes, in seconds.
const PERIOD_MAX: u32 = (Limit::PERIOD_MAX.get() / 1_000_000_000) as u32;

impl RuleNumbers {
    /// Reads `max_burst count period` of a command. redis-cell's burst is one unit more than it is called, so that 0 is
    /// one at a time; throttlecrab's is what it is called.
    ///
    /// # Errors
    ///
    /// The first argument that is not a whole number in its range.
    pub(crate) fn read(verb: Verb, arguments: &Arguments<'_, '_>) -> Result<Self, Invalid> {
        let more = u32::from(verb == Verb::CellThrottle);
        let max_burst = number(
            arguments,
            2,
            "max_burst",
            1 - more..=Limit::UNITS_MAX - more,
        )?;
        Ok(Self {
            burst: max_burst + more,
            count: number(arguments, 3, "count", 1..=Limit::UNITS_MAX)?,
            period: number(arguments, 4, "period", 1..=PERIOD_MAX)?,
        })
    }

    /// The limit that they describe.
    ///
    /// # Errors
    ///
    /// A burst that would take more than a hundred years to come back.
    pub(crate) fn limit(self, verb: Verb) -> Result<Limit, Invalid> {
        let period = Nanos::from_secs(self.period.into());
        let limit = Limit::new(Algorithm::Gcra, self.count, period);
        let limit = limit.and_then(|limit| limit.with_burst(self.burst));
        limit.map_err(|error| match error {
            LimitError::BurstTooSlow { accepted_max, .. } => {
                let most = accepted_max - u32::from(verb == Verb::CellThrottle);
                Invalid {
                    name: "max_burst",
                    accepted: format!("at most {most}, so that it is back within 100 years"),
                }
            }
            // The ranges above are the limit's own.
            _ => Invalid {
                name: error.field(),
                accepted: error.accepted(),
            },
        })
    }
}

/// The units at `place`, 1 if there are none there; 0 peeks.
///
/// # Errors
///
/// What is not a whole number from 0 to 4294967295.
pub(crate) fn cost(
    arguments: &Arguments<'_, '_>,
    place: usize,
    name: &'static str,
) -> Result<Cost, Invalid> {
    match place < arguments.len() {
        true => Ok(Cost::new(number(arguments, place, name, 0..=u32::MAX)?)),
        false => Ok(Cost::ONE),
    }
}

#[inline]
fn number(
    arguments: &Arguments<'_, '_>,
    place: usize,
    name: &'static str,
    accepted: RangeInclusive<u32>,
) -> Result<u32, Invalid> {
    let number = arguments.get(place).and_then(digits);
    let number = number.filter(|number| accepted.contains(number));
    number.ok_or_else(|| Invalid {
        name,
        accepted: format!(
            "a whole number from {} to {}",
            accepted.start(),
            accepted.end()
        ),
    })
}

/// A whole number, as Redis reads it: digits alone, and no zeros in front.
#[inline]
fn digits(text: &[u8]) -> Option<u32> {
    let is_short = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() <= 10;
    if !is_short {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })?;
    u32::try_from(number).ok()
}
