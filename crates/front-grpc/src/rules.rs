//! Which rule a descriptor matches.

mod level;
mod pattern;

use std::collections::HashMap;
use std::collections::hash_map;

pub(crate) use self::level::{Accepts, Follow, Level};
pub(crate) use self::pattern::Pattern;
use crate::descriptor::{Captured, ENTRIES_MAX, Entry};
use crate::in_force::InForce;
use crate::rule::Rule;

/// The rules of all domains.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Rules {
    domains: HashMap<Box<str>, Domain>,
    /// Domain and name of each, in the order of their places.
    named: Vec<(String, String)>,
}

#[derive(PartialEq, Eq, Debug)]
struct Domain {
    level: Level<InForce>,
    follow: Follow,
    /// Where it was told, for those who tell it again.
    place: String,
}

/// What one entry of a descriptor must be for a `[[rule]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// Its key, exactly.
    pub key: String,
    /// Its value: `None` takes any, a `*` at the end takes any rest.
    pub value: Option<String>,
}

/// Why a rule cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// It matches no entry, or more than a descriptor may have.
    #[error("found {0} entries")]
    Entries(usize),
    /// A value with a `*` that is not its last character.
    #[error("found {0:?}")]
    Star(String),
    /// The rules of its domain are those of a file of envoyproxy/ratelimit.
    #[error("the domain is that of {0}")]
    DomainTaken(String),
}

impl RuleError {
    /// What would do.
    #[must_use]
    pub fn accepted(&self) -> String {
        match self {
            Self::Entries(_) => format!("1 to {ENTRIES_MAX}"),
            Self::Star(_) => "a value, one that ends in its only *, or none".to_owned(),
            Self::DomainTaken(_) => "the rules of a domain in one place".to_owned(),
        }
    }
}

impl Rules {
    /// Adds a `[[rule]]`: descriptors of the domain with exactly these entries, in this order.
    ///
    /// Of several rules that match a descriptor, the most specific holds: compared entry by entry, from the first, an
    /// exact value comes before a prefix, a longer prefix before a shorter, and any value last. Of equal ones, the first
    /// that was added.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for what can match nothing.
    pub fn add(
        &mut self,
        domain_name: &str,
        entries: &[Match],
        rule: Rule,
    ) -> Result<(), RuleError> {
        if !(1..=ENTRIES_MAX).contains(&entries.len()) {
            return Err(RuleError::Entries(entries.len()));
        }
        let accepts = entries.iter().map(Match::accepts);
        let accepts = accepts.collect::<Result<Vec<_>, _>>()?;
        let domain = self.domains.entry(domain_name.into());
        let domain = domain.or_insert_with(|| Domain {
            level: Level::default(),
            follow: Follow::Fitting,
            place: "a [[rule]]".to_owned(),
        });
        if domain.follow == Follow::First {
            return Err(RuleError::DomainTaken(domain.place.clone()));
        }
        let keys = entries.iter().map(|entry| &*entry.key);
        let path: Vec<_> = keys.zip(accepts).collect();
        let matched = domain
            .level
            .at(&path, |new, known| known.prefix_len() >= new.prefix_len());
        if matched.rule.is_none() {
            let mut in_force = InForce::new(rule);
            number(domain_name, &mut in_force, &mut self.named);
            matched.rule = Some(in_force);
        }
        Ok(())
    }

    /// The rule that a descriptor of `domain` with these entries is held to, and the values that it leaves open.
    pub(crate) fn find<'e>(
        &self,
        domain: &str,
        entries: &'e [Entry],
    ) -> Option<(&InForce, Captured<'e>)> {
        let domain = self.domains.get(domain)?;
        let mut captured = Captured::default();
        let rule = domain.level.find(entries, domain.follow, &mut captured)?;
        Some((rule, captured))
    }

    /// How many rules there are, in all domains.
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.len()
    }

    /// Shows every rule, in no order, with its domain and the entries that lead to it: `edge: path = /login, remote_address`.
    pub fn each(&self, mut show: impl FnMut(String, &Rule)) {
        for (name, domain) in &self.domains {
            let mut entries = Vec::new();
            domain.level.each(&mut entries, &mut |entries, in_force| {
                show(format!("{name}: {}", entries.join(", ")), &in_force.rule);
            });
        }
    }

    /// Domain and name of each rule, in the order of their places.
    pub(crate) fn named(&self) -> &[(String, String)] {
        &self.named
    }

    /// Whether there are rules for this domain.
    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// Adds a whole domain that was told at `place`.
    ///
    /// # Errors
    ///
    /// Where it was told already.
    pub(crate) fn add_domain(
        &mut self,
        domain: &str,
        mut level: Level<InForce>,
        place: &str,
    ) -> Result<(), String> {
        match self.domains.entry(domain.into()) {
            hash_map::Entry::Occupied(known) => Err(known.get().place.clone()),
            hash_map::Entry::Vacant(vacant) => {
                let named = &mut self.named;
                level.each_mut(&mut |in_force| number(domain, in_force, named));
                vacant.insert(Domain {
                    level,
                    follow: Follow::First,
                    place: place.to_owned(),
                });
                Ok(())
            }
        }
    }
}

/// Gives a rule its place.
fn number(domain: &str, in_force: &mut InForce, named: &mut Vec<(String, String)>) {
    in_force.place = Some(named.len());
    named.push((domain.to_owned(), in_force.rule.name.clone()));
}

impl Match {
    fn accepts(&self) -> Result<Accepts, RuleError> {
        let Some(value) = &self.value else {
            return Ok(Accepts::Any);
        };
        match value.find('*') {
            None => Ok(Accepts::Exactly(value.as_str().into())),
            Some(star) if star + 1 < value.len() => Err(RuleError::Star(value.clone())),
            Some(_) => Ok(Pattern::new(value).map_or(Accepts::Any, Accepts::Like)),
        }
    }
}

#[cfg(test)]
mod tests;
