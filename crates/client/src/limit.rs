//! One limit, ready to be asked.

use std::fmt;

use crate::{Answer, Error, IntoKey, Key, Limits, Operation, Outcome};

/// One limit of whoever decides, ready to be asked. Cheap to clone.
///
/// ```
/// # use client::{Error, Limits, Remote};
/// # async fn example(weir: &Remote) -> Result<(), Error> {
/// let login = weir.limit("login")?;
/// if login.key("u1").cost(3).check().await?.is_err() {
///     return Ok(());
/// }
/// // It was not needed after all.
/// login.key("u1").cost(3).refund().await?;
/// # Ok(())
/// # }
/// ```
pub struct Limit<L: Limits> {
    limits: L,
    found: L::Found,
}

impl<L: Limits> Limit<L> {
    pub(crate) fn new(limits: L, found: L::Found) -> Self {
        Self { limits, found }
    }

    /// What clients see it called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.limits.name(&self.found)
    }

    /// A question about `key`, of a hit that costs 1.
    pub fn key<'q, 'k>(&'q self, key: impl IntoKey<'k>) -> Asking<'q, 'k, L> {
        Asking {
            limit: self,
            key: Key::new(key.into_text()),
            cost: 1,
        }
    }

    /// Whoever is asked.
    #[must_use]
    pub fn limits(&self) -> &L {
        &self.limits
    }

    /// What it is to whoever is asked.
    #[must_use]
    pub fn found(&self) -> &L::Found {
        &self.found
    }
}

impl<L: Limits> Clone for Limit<L> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits.clone(),
            found: self.found.clone(),
        }
    }
}

impl<L: Limits> fmt::Debug for Limit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("name", &self.name()).finish()
    }
}

/// A question that is about to be asked. A key that no counter may have is told when it is.
#[must_use = "nothing is asked before `check`, `peek`, `refund` or `reset`"]
pub struct Asking<'q, 'k, L: Limits> {
    limit: &'q Limit<L>,
    key: Result<Key<'k>, Error>,
    cost: u32,
}

impl<L: Limits> Asking<'_, '_, L> {
    /// The same for a hit of so many units.
    pub fn cost(mut self, units: u32) -> Self {
        self.cost = units;
        self
    }

    /// Decides the hit, and counts it if it passes.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Being limited is none: it is the inner result.
    pub async fn check(self) -> Result<Outcome, Error> {
        let operation = Operation::Hit(self.cost);
        Ok(self.ask(operation).await?.outcome())
    }

    /// Tells the state of the key, and counts nothing.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn peek(self) -> Result<Answer, Error> {
        self.ask(Operation::Hit(0)).await
    }

    /// Gives the units back, never below empty, and tells the state after.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn refund(self) -> Result<Answer, Error> {
        let operation = Operation::Refund(self.cost);
        self.ask(operation).await
    }

    /// Makes the key full.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn reset(self) -> Result<(), Error> {
        self.ask(Operation::Reset).await.map(|_after| ())
    }

    async fn ask(self, operation: Operation) -> Result<Answer, Error> {
        let Limit { limits, found } = self.limit;
        limits.ask(found, &self.key?, operation).await
    }
}
