//! A node as the program that it lives in asks it.

use std::time::Duration;

use client::{Answer, Counted, Error, IntoKey, Key, Limit, Limits, Operation, Outcome, Rule};
use coordinator::{Hit, Policy, Strategy};
use futures_util::future::join_all;
use limiter::{Kind, Refusal, Selected};
use quota::{Cost, Verdict};

use crate::node::Node;

impl Node {
    /// The limit called `name`, ready to be asked. See [`Limits::limit`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLimit`]
    pub fn limit(&self, name: &str) -> Result<Limit<Self>, Error> {
        Limits::limit(self, name)
    }

    /// One hit in every `per` passes. See [`Limits::allow`].
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    pub async fn allow<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        per: Duration,
    ) -> Result<Outcome, Error> {
        Limits::allow(self, key, per).await
    }

    /// Up to `limit` units pass in every window of `scale`. See [`Limits::check_rate`].
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    pub async fn check_rate<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        scale: Duration,
        limit: u32,
        increment: u32,
    ) -> Result<Outcome, Error> {
        Limits::check_rate(self, key, scale, limit, increment).await
    }

    /// [`Self::check_rate`], counted by `strategy`: one that a limit names, or that [`crate::Builder::strategy`] was given.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    pub async fn check_rate_by<'k>(
        &self,
        strategy: Strategy,
        key: impl IntoKey<'k> + Send,
        scale: Duration,
        limit: u32,
        increment: u32,
    ) -> Result<Outcome, Error> {
        Limits::check_rate_by(self, strategy, key, scale, limit, increment).await
    }
}

impl Limits for Node {
    type Found = Selected;

    fn find(&self, name: &str) -> Result<Selected, Error> {
        let found = self.inner.limiter.find(name);
        let error = |refusal: Refusal| match refusal.kind() {
            Kind::UnknownLimit => Error::UnknownLimit {
                name: name.to_owned(),
            },
            _ => told(&refusal, 0),
        };
        found.map_err(error)
    }

    fn rule(&self, rule: Rule) -> Result<Selected, Error> {
        if !self.inner.strategies.contains(&rule.strategy())
            && !self.inner.limiter.node().runs(rule.strategy())
        {
            return Err(Error::Unsupported {
                what: "this node does not run the strategy; give it to the builder",
            });
        }
        let mut inline = limiter::Rule::from(*rule.limit());
        inline.strategy = rule.strategy();
        Ok(self.inner.limiter.inline(inline))
    }

    fn name<'f>(&self, found: &'f Selected) -> &'f str {
        found.name()
    }

    async fn ask(
        &self,
        found: &Selected,
        key: &Key<'_>,
        operation: Operation,
    ) -> Result<Answer, Error> {
        self.check_runs()?;
        let limiter = &self.inner.limiter;
        let found = &*limiter.as_of_now(found);
        let key = limiter::Key::new(key.as_str(), "key").map_err(|refusal| told(&refusal, 0))?;
        let (answered, cost) = match operation {
            Operation::Hit(cost) => {
                let hit = limiter.check(found, &key, Cost::new(cost)).await;
                (hit, cost)
            }
            Operation::Refund(cost) => {
                let refund = limiter.refund(found, &key, Cost::new(cost)).await;
                (refund, cost)
            }
            Operation::Reset => {
                let reset = limiter.reset(found, &key).await;
                reset.map_err(|refusal| told(&refusal, 0))?;
                (limiter.check(found, &key, Cost::PEEK).await, 0)
            }
        };
        let answered = answered.map_err(|refusal| told(&refusal, cost))?;
        Ok(answer(found.policy(), &answered))
    }

    /// Hits are asked in one batch, which stays one to whoever decides them; a refund or a reset among them, one by one.
    async fn ask_all(
        &self,
        questions: &[(&Selected, &Key<'_>, Operation)],
    ) -> Vec<Result<Answer, Error>> {
        let costs = questions.iter().map(|(_, _, operation)| match operation {
            Operation::Hit(cost) => Some(*cost),
            Operation::Refund(_) | Operation::Reset => None,
        });
        let Some(costs) = costs.collect::<Option<Vec<u32>>>() else {
            let asked = questions
                .iter()
                .map(|&(found, key, operation)| self.ask(found, key, operation));
            return join_all(asked).await;
        };
        if let Err(error) = self.check_runs() {
            return vec![Err(error); questions.len()];
        }
        let limiter = &self.inner.limiter;
        let asked = questions.iter().zip(costs).map(|(&(found, key, _), cost)| {
            let key =
                limiter::Key::new(key.as_str(), "key").map_err(|refusal| told(&refusal, 0))?;
            Ok((limiter.as_of_now(found), key, cost))
        });
        let asked: Vec<Result<_, Error>> = asked.collect();
        let hits = asked.iter().flatten();
        let hits: Vec<Hit<'_>> = hits
            .map(|(found, key, cost)| found.hit(key, Cost::new(*cost)))
            .collect();
        let mut answers = limiter.hits(&hits).await.into_iter();
        let asked = asked.iter().map(|asked| {
            let (found, _, cost) = asked.as_ref().map_err(Error::clone)?;
            let answered = answers.next().expect("each hit has an answer");
            let answered = answered.map_err(|refusal| told(&refusal, *cost))?;
            match answered.decision.verdict {
                Verdict::NeverConforms => Err(Error::NeverConforms { cost: *cost }),
                Verdict::Allow | Verdict::Deny { .. } => Ok(answer(found.policy(), &answered)),
            }
        });
        asked.collect()
    }
}

impl Node {
    fn check_runs(&self) -> Result<(), Error> {
        if !self.inner.limiter.node().has_ended() {
            return Ok(());
        }
        Err(Error::NoDecision {
            why: "the node was stopped, and the hit was not counted".to_owned(),
            counted: Counted::No,
            retry_after: Duration::from_secs(1),
        })
    }
}

fn answer(policy: &Policy, answered: &coordinator::Answer) -> Answer {
    let (limit, decision) = (&policy.limit, &answered.decision);
    Answer {
        allowed: decision.is_allowed(),
        limit: limit.units(),
        per: Some(limiter::period_now(limit).into()),
        burst: (limit.burst() != limit.units()).then_some(limit.burst()),
        remaining: decision.remaining,
        grows_after: decision.grows_after.into(),
        reset_after: decision.reset_after.into(),
        retry_after: match decision.verdict {
            Verdict::Deny { retry_after } => Some(retry_after.into()),
            Verdict::Allow | Verdict::NeverConforms => None,
        },
        by_fail_mode: answered.by_fail_mode,
    }
}

/// What a program is told of a refusal.
fn told(refusal: &Refusal, cost: u32) -> Error {
    match refusal.kind() {
        Kind::NeverConforms => Error::NeverConforms { cost },
        Kind::NoDecision
        | Kind::NoQuorum
        | Kind::StaleConfiguration
        | Kind::Overloaded
        | Kind::Draining => Error::NoDecision {
            why: refusal.detail().to_owned(),
            counted: match refusal.counted() {
                limiter::Counted::No => Counted::No,
                limiter::Counted::Unknown => Counted::Unknown,
            },
            retry_after: Duration::from_secs(refusal.retry_after_secs().unwrap_or(1)),
        },
        _ => Error::Invalid {
            what: refusal.detail().to_owned(),
            accepted: refusal.accepted().unwrap_or_default().to_owned().into(),
        },
    }
}
