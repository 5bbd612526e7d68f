//! Limits that are played.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Answer, Counted, Error, Key, Limits, Operation, Rule};

/// Each limit lets as many units pass as its name says; `away` decides nothing, and `none` is no limit. What costs 100
/// never passes.
#[derive(Clone, Default)]
pub(crate) struct Played(Arc<Mutex<HashMap<(String, String), u32>>>);

impl Played {
    pub(crate) fn used(&self, limit: &str, key: &str) -> u32 {
        let used = self.0.lock().unwrap();
        used.get(&(limit.to_owned(), key.to_owned()))
            .copied()
            .unwrap_or_default()
    }
}

impl Limits for Played {
    type Found = String;

    fn find(&self, name: &str) -> Result<String, Error> {
        Ok(name.to_owned())
    }

    fn rule(&self, _: Rule) -> Result<String, Error> {
        Err(Error::Unsupported { what: "played" })
    }

    fn name<'f>(&self, found: &'f String) -> &'f str {
        found
    }

    async fn ask(
        &self,
        found: &String,
        key: &Key<'_>,
        operation: Operation,
    ) -> Result<Answer, Error> {
        if found == "none" {
            let name = found.clone();
            return Err(Error::UnknownLimit { name });
        }
        if operation == Operation::Hit(100) {
            return Err(Error::NeverConforms { cost: 100 });
        }
        let Ok(limit) = found.parse::<u32>() else {
            return Err(Error::NoDecision {
                why: "played".to_owned(),
                counted: Counted::No,
                retry_after: Duration::from_secs(3),
            });
        };
        let mut used = self.0.lock().unwrap();
        let used = used
            .entry((found.clone(), key.as_str().to_owned()))
            .or_default();
        let allowed = match operation {
            Operation::Hit(cost) if *used + cost <= limit => {
                *used += cost;
                true
            }
            Operation::Hit(_) => false,
            Operation::Refund(cost) => {
                *used -= cost;
                true
            }
            Operation::Reset => true,
        };
        Ok(Answer {
            allowed,
            limit,
            per: Some(Duration::from_secs(60)),
            burst: None,
            remaining: limit - *used,
            grows_after: Duration::from_millis(1_500),
            reset_after: Duration::from_secs(60),
            retry_after: (!allowed).then_some(Duration::from_millis(41_001)),
            by_fail_mode: false,
        })
    }
}
