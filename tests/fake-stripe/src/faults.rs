//! What goes wrong because a test said so.

use serde_json::Value;

use crate::problem::Problem;

/// What the faults make of one request.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Outcome {
    /// How long it waits before anything else.
    pub(crate) delay_ms: u64,
    /// Refused so, and nothing is done.
    pub(crate) before: Option<u16>,
    /// Done, and answered as if it were not.
    pub(crate) after: Option<u16>,
    /// Whoever asks again with the same key is told the same error.
    pub(crate) is_kept: bool,
    /// Not answered: the connection ends.
    pub(crate) reset: Option<When>,
    /// What the answer says of asking again, if it does.
    pub(crate) should_retry: Option<bool>,
}

impl Outcome {
    fn is_settled(&self) -> bool {
        self.before.is_some() || self.after.is_some() || self.reset.is_some()
    }
}

/// Whether what was asked has been done when something goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Before,
    After,
}

/// What becomes of one delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivering {
    Once,
    Lost,
    Doubled,
    /// After a while that differs from one to the next.
    Shuffled,
}

/// The faults that are left.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    left: Vec<Fault>,
}

#[derive(Debug)]
struct Fault {
    path: String,
    kind: Kind,
    should_retry: Option<bool>,
    /// How often yet. `None`: until cleared.
    count: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Delay { ms: u64 },
    Before { status: u16 },
    After { status: u16, is_kept: bool },
    Reset(When),
    Webhooks(Delivering),
}

impl Faults {
    /// What a form of these fields takes.
    pub(crate) const PARAMS: &[&str] = &[
        "path",
        "!kind:delay|error|rate_limit|reset|webhooks",
        "ms:int",
        "status:int",
        "when:before|after",
        "kept:bool",
        "should_retry:bool",
        "mode:lost|doubled|shuffled",
        "count:int",
    ];

    pub(crate) fn add(&mut self, form: &Value) -> Result<(), Problem> {
        let status = form["status"].as_u64().unwrap_or(500);
        let status = u16::try_from(status)
            .ok()
            .filter(|status| (400..600).contains(status))
            .ok_or_else(|| Problem::invalid("a status is 400 to 599"))?;
        let kind = match form["kind"].as_str().unwrap_or_default() {
            "delay" => Kind::Delay {
                ms: form["ms"]
                    .as_u64()
                    .ok_or_else(|| Problem::missing_parameter("ms"))?,
            },
            "error" if form["when"] == "after" => Kind::After {
                status,
                is_kept: form["kept"] == true,
            },
            "error" => Kind::Before { status },
            "rate_limit" => Kind::Before { status: 429 },
            "reset" if form["when"] == "before" => Kind::Reset(When::Before),
            "reset" => Kind::Reset(When::After),
            _ => Kind::Webhooks(match form["mode"].as_str() {
                Some("lost") => Delivering::Lost,
                Some("doubled") => Delivering::Doubled,
                Some(_) => Delivering::Shuffled,
                None => return Err(Problem::missing_parameter("mode")),
            }),
        };
        let path = form["path"].as_str().unwrap_or_default().to_owned();
        let count = form["count"].as_u64();
        self.left.push(Fault {
            path,
            kind,
            should_retry: form["should_retry"].as_bool(),
            count,
        });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.left.clear();
    }

    /// Uses up what meets a request for this path.
    pub(crate) fn on_request(&mut self, path: &str) -> Outcome {
        let mut outcome = Outcome::default();
        self.use_up(|fault| {
            let is_meant = path.starts_with(&fault.path);
            match fault.kind {
                _ if !is_meant => return false,
                Kind::Webhooks(_) => return false,
                Kind::Delay { ms } => outcome.delay_ms += ms,
                // Of several that answer, one at a time.
                _ if outcome.is_settled() => return false,
                Kind::Before { status } => outcome.before = Some(status),
                Kind::After { status, is_kept } => {
                    (outcome.after, outcome.is_kept) = (Some(status), is_kept);
                }
                Kind::Reset(when) => outcome.reset = Some(when),
            }
            outcome.should_retry = outcome.should_retry.or(fault.should_retry);
            true
        });
        outcome
    }

    /// Uses up what meets a delivery.
    pub(crate) fn on_delivery(&mut self) -> Delivering {
        let mut delivering = Delivering::Once;
        self.use_up(|fault| match fault.kind {
            Kind::Webhooks(how) if delivering == Delivering::Once => {
                delivering = how;
                true
            }
            _ => false,
        });
        delivering
    }

    fn use_up(&mut self, mut meets: impl FnMut(&Fault) -> bool) {
        self.left.retain_mut(|fault| {
            if !meets(fault) {
                return true;
            }
            fault.count = fault.count.map(|count| count.saturating_sub(1));
            fault.count != Some(0)
        });
    }
}
