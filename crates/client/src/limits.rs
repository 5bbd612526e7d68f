//! Whoever decides hits for a program.

use std::future::Future;
use std::time::Duration;

use coordinator::Strategy;
use futures_util::future::join_all;
use quota::{Algorithm, Nanos};

use crate::{Answer, Error, IntoKey, Key, Limit, Outcome};

/// What is asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Count so many units if they pass. 0 is a peek.
    Hit(u32),
    /// Give back so many units, never below empty. The answer is the state after, as of a peek.
    Refund(u32),
    /// Make the key full. The answer is the state after, as far as it is told.
    Reset,
}

/// A limit that is given where it is asked, not in a file.
///
/// The same rule has the same counters on every node and by every front. Its counters are not those of a limit of the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    pub(crate) limit: quota::Limit,
    pub(crate) strategy: Strategy,
}

impl Rule {
    /// `units` in every `per`, counted by `algorithm`. Spans are cut to whole milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what no limit can be.
    pub fn new(algorithm: Algorithm, units: u32, per: Duration) -> Result<Self, Error> {
        let millis = u64::try_from(per.as_millis()).unwrap_or(u64::MAX);
        let per = Nanos::from_millis(millis);
        let limit = quota::Limit::new(algorithm, units, per).map_err(|error| Error::Invalid {
            what: error.to_string(),
            accepted: "at least 1 unit, and a span from 1 ms to 366 days; sliding_log takes at most 10000 units".into(),
        })?;
        Ok(Self {
            limit,
            strategy: Strategy::Owner,
        })
    }

    /// The same with another burst: the most units that pass at once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the algorithm has none, or cannot have that much.
    pub fn with_burst(self, burst: u32) -> Result<Self, Error> {
        let limit = self
            .limit
            .with_burst(burst)
            .map_err(|error| Error::Invalid {
                what: error.to_string(),
                accepted: "a burst for gcra, token_bucket and leaky_bucket".into(),
            })?;
        Ok(Self { limit, ..self })
    }

    /// The same, counted by another strategy: with [`Strategy::Local`] every node counts for itself and tells the others.
    #[must_use]
    pub fn by(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// How many, how often, counted how.
    #[must_use]
    pub fn limit(&self) -> &quota::Limit {
        &self.limit
    }

    /// Who counts.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }
}

/// Whoever decides hits for a program. Clones share it.
///
/// A question that is dropped before it is answered leaves it unknown whether the hit was counted.
pub trait Limits: Clone + Send + Sync + 'static {
    /// A limit that was found, ready to be asked.
    type Found: Clone + Send + Sync + 'static;

    /// The limit called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLimit`], if that is known without asking.
    fn find(&self, name: &str) -> Result<Self::Found, Error>;

    /// The limit that `rule` describes.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a strategy that cannot be had here.
    fn rule(&self, rule: Rule) -> Result<Self::Found, Error>;

    /// What clients see the limit called.
    fn name<'f>(&self, found: &'f Self::Found) -> &'f str;

    /// Asks.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn ask(
        &self,
        found: &Self::Found,
        key: &Key<'_>,
        operation: Operation,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Asks several at once, each for itself. The answers come in the order of the questions.
    fn ask_all(
        &self,
        questions: &[(&Self::Found, &Key<'_>, Operation)],
    ) -> impl Future<Output = Vec<Result<Answer, Error>>> + Send {
        let asked = questions
            .iter()
            .map(|&(found, key, operation)| self.ask(found, key, operation));
        join_all(asked)
    }

    /// The limit called `name`, ready to be asked.
    ///
    /// # Errors
    ///
    /// As [`Self::find`].
    fn limit(&self, name: &str) -> Result<Limit<Self>, Error> {
        Ok(Limit::new(self.clone(), self.find(name)?))
    }

    /// A limit that is given here, ready to be asked.
    ///
    /// # Errors
    ///
    /// As [`Self::rule`].
    fn limit_of(&self, rule: Rule) -> Result<Limit<Self>, Error> {
        Ok(Limit::new(self.clone(), self.rule(rule)?))
    }

    /// One hit in every `per` passes: a sliding log of one.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    fn allow<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        per: Duration,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send {
        let rule = Rule::new(Algorithm::SlidingLog, 1, per);
        self.check_rule(rule, key.into_text(), 1)
    }

    /// Up to `limit` units pass in every window of `scale`, of which this hit costs `increment`: a fixed window that begins at
    /// the epoch, as Hammer has it. Another rule, or strategy, is asked by [`Self::limit_of`].
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    fn check_rate<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        scale: Duration,
        limit: u32,
        increment: u32,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send {
        let rule = Rule::new(Algorithm::FixedWindow, limit, scale);
        self.check_rule(rule, key.into_text(), increment)
    }

    /// [`Self::check_rate`], counted by `strategy`. [`Strategy::Local`] is Hammer over PubSub: no node waits for another.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    fn check_rate_by<'k>(
        &self,
        strategy: Strategy,
        key: impl IntoKey<'k> + Send,
        scale: Duration,
        limit: u32,
        increment: u32,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send {
        let rule = Rule::new(Algorithm::FixedWindow, limit, scale).map(|rule| rule.by(strategy));
        self.check_rule(rule, key.into_text(), increment)
    }

    /// Counts one hit on a rule.
    #[doc(hidden)]
    fn check_rule(
        &self,
        rule: Result<Rule, Error>,
        key: std::borrow::Cow<'_, str>,
        cost: u32,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send {
        async move {
            let found = self.rule(rule?)?;
            let key = Key::new(key)?;
            let answer = self.ask(&found, &key, Operation::Hit(cost)).await?;
            Ok(answer.outcome())
        }
    }
}
