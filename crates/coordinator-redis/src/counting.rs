//! One operation on one counter: arguments to a script, its answer to a decision.

use std::time::{SystemTime, UNIX_EPOCH};

use quota::{Algorithm, Cost, Count, Decision, Limit, Nanos, Stamp, UnixNanos, Verdict};
use redis::Value;

use crate::failure::{Evidence, Failure};
use crate::link::Link;
use crate::scripts::{GRACE_MS, Scripts, arguments, edges};
use crate::state::{decoded, decoded_by, encoded, instant};

/// How often a state that was written under other parameters is taken over again because somebody else was faster.
///
/// After one has succeeded the script counts for all others, unless two nodes disagree about the limit; then they take
/// turns, and each turn is one that counted.
const TAKEOVERS_MAX: usize = 8;

/// What a write of a takeover is called. Logs tell entries apart by stamps, and those of a Redis are numbered from 0.
const STAMP: Stamp = Stamp {
    term: u64::MAX,
    seq: 0,
};

/// What to do with a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Decide a hit and count it if it passes.
    Hit(Cost),
    /// Give back up to these units.
    Refund(Cost),
}

impl Operation {
    fn signed_cost(self) -> i64 {
        match self {
            Self::Hit(cost) => i64::from(cost.units()),
            Self::Refund(cost) => -i64::from(cost.units()),
        }
    }
}

/// The counter's name, limit and what to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) limit: &'a Limit,
    pub(crate) operation: Operation,
}

/// When a script decides, and how long its state is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The instant to take for the server's, in microseconds. For tests; `None` is the server's own.
    pub(crate) at: Option<u64>,
    /// What this node takes for the server's time, in microseconds. For tests; `None` is what its own clock says.
    pub(crate) believed: Option<u64>,
    pub(crate) grace_ms: u32,
}

impl Clock {
    pub(crate) const SERVER: Self = Self {
        at: None,
        believed: None,
        grace_ms: GRACE_MS,
    };

    fn believed(self) -> UnixNanos {
        let read = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            UnixNanos::ZERO + since.map_or(Nanos::ZERO, Nanos::from)
        };
        self.believed.map_or_else(read, instant)
    }
}

/// Decides, and tells what that shows of the Redis. Without a deadline: the caller sets one for all of it.
pub(crate) async fn decide(
    link: &Link,
    scripts: &Scripts,
    subject: Subject<'_>,
    clock: Clock,
) -> Result<(Decision, Evidence), Failure> {
    let Subject {
        key,
        limit,
        operation,
    } = subject;
    let script = scripts.of(limit.algorithm());
    let packed = arguments(limit, operation.signed_cost(), clock.grace_ms);
    let at = clock.at.map(|at| at.to_string());
    let calendar = limit.anchor().calendar();
    let mut windows = calendar.map(|calendar| edges(calendar, clock.believed()));
    for _ in 0..TAKEOVERS_MAX {
        let mut args: Vec<&[u8]> = vec![&packed];
        match (&at, &windows) {
            (at, Some(windows)) => {
                let at = at.as_ref().map_or("", String::as_str);
                args.extend([at.as_bytes(), windows]);
            }
            (Some(at), None) => args.push(at.as_bytes()),
            (None, None) => {}
        }
        let reply = Reply::read(link.run(script, key, &args).await?, limit)?;
        match reply.done {
            Done::Elsewhen => {
                windows = calendar.map(|calendar| edges(calendar, reply.now));
                continue;
            }
            Done::Changed => return Ok(after_change(limit, operation, &reply)),
            Done::Nothing => {
                let decision = without_change(limit, operation, &reply)?;
                return Ok((decision, Evidence::Answers));
            }
            Done::Foreign => {}
        }
        if let Some(decided) = take_over(link, scripts, subject, clock, reply).await? {
            return Ok(decided);
        }
    }
    Err(Failure::contended())
}

/// What a script answered.
struct Reply {
    done: Done,
    now: UnixNanos,
    count: Option<Count>,
    state: Vec<u8>,
}

/// What a script did, as the prelude numbers it.
enum Done {
    Nothing,
    Changed,
    Foreign,
    Elsewhen,
}

impl Reply {
    fn read(value: Value, limit: &Limit) -> Result<Self, Failure> {
        let Value::Array(parts) = value else {
            return Err(Failure::reply("no array"));
        };
        let Ok([Value::Int(done), Value::Int(now), Value::BulkString(state)]) =
            <[Value; 3]>::try_from(parts)
        else {
            return Err(Failure::reply("other than two numbers and a state"));
        };
        let done = match done {
            0 => Done::Nothing,
            1 => Done::Changed,
            2 => Done::Foreign,
            3 => Done::Elsewhen,
            _ => return Err(Failure::reply("a number that means nothing")),
        };
        let now = instant(now.unsigned_abs());
        let count = match done {
            Done::Nothing | Done::Changed | Done::Elsewhen => decoded(&state),
            // From a clock that was ahead it is put where that limit's own script would.
            Done::Foreign => match decoded(&state) {
                Ok(Some(Count::FixedWindow(window)))
                    if limit.algorithm() == Algorithm::FixedWindow
                        && now + window.period() < window.end() =>
                {
                    let window = Count::FixedWindow(window);
                    Ok(Some(window.no_later_than(limit, now, now, 1)))
                }
                _ => decoded_by(&state, now),
            },
        };
        Ok(Self {
            done,
            now,
            count: count.map_err(|_| Failure::foreign_value())?,
            state,
        })
    }
}

/// A hit was admitted, or units were given back.
fn after_change(limit: &Limit, operation: Operation, reply: &Reply) -> (Decision, Evidence) {
    let peeked = limit.peek(reply.now, reply.count.as_ref());
    match operation {
        Operation::Hit(_) => {
            let admitted = Decision {
                verdict: Verdict::Allow,
                ..peeked
            };
            (admitted, Evidence::Writes)
        }
        // One that leaves nothing is done by a Redis without memory, too.
        Operation::Refund(_) => (peeked, Evidence::Answers),
    }
}

/// A peek, a denied hit, or a refund of a full key: `quota` tells the rest from the same state.
fn without_change(limit: &Limit, operation: Operation, reply: &Reply) -> Result<Decision, Failure> {
    let Operation::Hit(cost) = operation else {
        return Ok(limit.peek(reply.now, reply.count.as_ref()));
    };
    let taken = limit.hit(reply.now, &mut reply.count.clone(), cost, STAMP);
    if taken.added != 0 {
        // The script denied what the library admits: a bug in one of them, or numbers that neither wrote. Nothing was
        // counted, so nothing may pass.
        return Err(Failure::foreign_value());
    }
    Ok(taken.decision)
}

/// Does the operation here, on a state written under another rate, period or algorithm, and writes what comes of it.
/// `None` if somebody else wrote meanwhile.
async fn take_over(
    link: &Link,
    scripts: &Scripts,
    subject: Subject<'_>,
    clock: Clock,
    reply: Reply,
) -> Result<Option<(Decision, Evidence)>, Failure> {
    let limit = subject.limit;
    let kept = decoded(&reply.state).map_err(|_| Failure::foreign_value())?;
    let mut count = reply.count;
    let decision = match subject.operation {
        Operation::Hit(cost) => limit.hit(reply.now, &mut count, cost, STAMP).decision,
        Operation::Refund(cost) => limit.refund(reply.now, &mut count, cost).decision,
    };
    if count == kept {
        return Ok(Some((decision, Evidence::Answers)));
    }
    let written = count.and_then(|count| encoded(&count, limit, reply.now));
    let (state, left_ms) = written.unwrap_or_default();
    let left_ms = (left_ms + u64::from(clock.grace_ms)).to_string();
    let args: [&[u8]; 3] = [&reply.state, &state, left_ms.as_bytes()];
    match link.run(&scripts.replace, subject.key, &args).await? {
        Value::Int(1) => Ok(Some((decision, Evidence::Writes))),
        Value::Int(0) => Ok(None),
        _ => Err(Failure::reply("other than whether it wrote")),
    }
}
