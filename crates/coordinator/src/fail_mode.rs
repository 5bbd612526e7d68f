//! What a limit answers when no decision can be had.

use quota::{Cost, Decision, Limit, Nanos, Verdict};

use crate::{Answer, NoDecision};

/// What a limit answers when no decision can be had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailMode {
    /// Fail-closed: the client is told that there is no decision. For limits that protect something.
    Deny,
    /// Fail-open: the hit passes, uncounted or not known to be counted.
    Allow,
    /// For a limit that is counted in Redis: the cluster counts, by its own strategy `owner`, until Redis is back.
    ///
    /// No count is carried over in either direction, so a key may get its limit twice in the window of each switch.
    /// When the owner cannot decide either, this fails closed.
    Owner,
}

impl FailMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Allow, Self::Owner];

    /// Its name in files and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Owner => "owner",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The answer to a hit of `cost` that ended in `error`.
    ///
    /// Allowing tells nothing about the state: `remaining` is 0 and the spans are zero. A cost above the burst never
    /// conforms, whether or not anybody can be asked.
    ///
    /// # Errors
    ///
    /// Gives `error` back if the limit fails closed, and for [`FailMode::Owner`], after the owner was asked.
    pub const fn answer(
        self,
        limit: &Limit,
        cost: Cost,
        error: NoDecision,
    ) -> Result<Answer, NoDecision> {
        let verdict = match self {
            Self::Deny | Self::Owner => return Err(error),
            Self::Allow if limit.burst() < cost.units() => Verdict::NeverConforms,
            Self::Allow => Verdict::Allow,
        };
        Ok(Answer {
            decision: Decision {
                verdict,
                remaining: 0,
                grows_after: Nanos::ZERO,
                reset_after: Nanos::ZERO,
            },
            by_fail_mode: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use quota::Algorithm;

    use super::*;

    const ERROR: NoDecision = NoDecision::Unavailable {
        retry_after: Nanos::from_secs(1),
    };

    fn limit() -> Limit {
        Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(1)).unwrap()
    }

    #[test]
    fn each_is_found_by_its_name() {
        for mode in FailMode::ALL {
            assert_eq!(FailMode::named(mode.name()), Some(mode));
        }
        assert_eq!(
            FailMode::ALL.map(FailMode::name),
            ["deny", "allow", "owner"]
        );
        assert_eq!(FailMode::named("maybe"), None);
    }

    #[test]
    fn failing_closed_gives_the_error_back() {
        for mode in [FailMode::Deny, FailMode::Owner] {
            assert_eq!(mode.answer(&limit(), Cost::ONE, ERROR), Err(ERROR));
        }
    }

    #[test]
    fn failing_open_lets_pass_what_could_ever_pass() {
        for (cost, verdict) in [
            (Cost::PEEK, Verdict::Allow),
            (Cost::new(5), Verdict::Allow),
            (Cost::new(6), Verdict::NeverConforms),
        ] {
            let answer = FailMode::Allow.answer(&limit(), cost, ERROR).unwrap();
            assert_eq!(
                (answer.decision.verdict, answer.by_fail_mode),
                (verdict, true),
                "{cost:?}"
            );
        }
    }
}
