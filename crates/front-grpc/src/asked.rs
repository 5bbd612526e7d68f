//! From a request to what is asked.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use coordinator::{FailMode, Policy, Strategy};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use limiter::Key;
use quota::{Algorithm, Cost, Limit};

use crate::answer::Told;
use crate::descriptor::{ENTRIES_MAX, Entry, NAMESPACE, key_of_all};
use crate::in_force::InForce;
use crate::rule::{Bound, Rule};
use crate::rules::Rules;
use crate::unit::Unit;

/// Most descriptors of a request.
pub(crate) const DESCRIPTORS_MAX: usize = 16;
/// Longest key and value of an entry, in bytes.
pub(crate) const TEXT_MAX: usize = 256;

/// What one descriptor asks, of the rule that it is held to.
#[derive(Debug)]
pub(crate) struct Ask<'r> {
    pub(crate) held_to: HeldTo<'r>,
    /// What is counted.
    pub(crate) key: Key<'r>,
    pub(crate) deed: Deed,
}

/// The rule that a descriptor is held to.
#[derive(Debug)]
pub(crate) enum HeldTo<'r> {
    /// One of this node's.
    Rule(&'r InForce),
    /// A limit that the descriptor brought along.
    Override(Box<InForce>),
}

/// What is done to a count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// Counts so many units if they pass; 0 peeks.
    Hit(Cost),
    /// Gives so many units back.
    Refund(Cost),
}

/// Why a request makes no sense. Nothing was counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; nothing was counted", self.0)
    }
}

impl Deref for HeldTo<'_> {
    type Target = InForce;

    fn deref(&self) -> &InForce {
        match self {
            Self::Rule(rule) => rule,
            Self::Override(rule) => rule,
        }
    }
}

/// What each descriptor of `request` asks, in their order. `None`: nothing, since no rule is for it, or only one that another
/// replaces.
pub(crate) fn read<'r>(
    rules: &'r Rules,
    request: &'r RateLimitRequest,
) -> Result<Vec<Option<Ask<'r>>>, Invalid> {
    check(request)?;
    let descriptors = request.descriptors.iter().enumerate();
    let asks = descriptors
        .map(|(index, descriptor)| ask(rules, request, descriptor, index))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(without_replaced(asks))
}

fn check(request: &RateLimitRequest) -> Result<(), Invalid> {
    if request.domain.is_empty() {
        return invalid("the domain is empty");
    }
    let count = request.descriptors.len();
    if !(1..=DESCRIPTORS_MAX).contains(&count) {
        return invalid(format!(
            "{count} descriptors, accepted: 1 to {DESCRIPTORS_MAX}"
        ));
    }
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        let count = descriptor.entries.len();
        if ENTRIES_MAX < count {
            return invalid(format!(
                "descriptor {index} has {count} entries, accepted: at most {ENTRIES_MAX}"
            ));
        }
        for (what, text) in descriptor.entries.iter().flat_map(texts) {
            if TEXT_MAX < text.len() {
                let length = text.len();
                return invalid(format!(
                    "descriptor {index} has a {what} of {length} bytes, accepted: at most {TEXT_MAX}"
                ));
            }
        }
    }
    Ok(())
}

fn texts(entry: &Entry) -> [(&'static str, &str); 2] {
    [("key", &entry.key), ("value", &entry.value)]
}

fn ask<'r>(
    rules: &'r Rules,
    request: &'r RateLimitRequest,
    descriptor: &'r RateLimitDescriptor,
    index: usize,
) -> Result<Option<Ask<'r>>, Invalid> {
    if let Some(limit) = &descriptor.limit
        && rules.has_domain(&request.domain)
    {
        let rule = override_of(&request.domain, limit, index)?;
        let held_to = HeldTo::Override(Box::new(InForce::new(rule)));
        let key = key_of_all(&descriptor.entries).into();
        return Ok(Some(Ask::new(held_to, key, request, descriptor)));
    }
    let found = rules.find(&request.domain, &descriptor.entries);
    Ok(found
        .map(|(rule, captured)| Ask::new(HeldTo::Rule(rule), captured.key(), request, descriptor)))
}

impl<'r> Ask<'r> {
    fn new(
        held_to: HeldTo<'r>,
        key: Cow<'r, str>,
        request: &RateLimitRequest,
        descriptor: &RateLimitDescriptor,
    ) -> Self {
        Self {
            held_to,
            key: Key::new(key, "descriptor")
                .expect("values are made into keys that may be counted"),
            deed: deed(request, descriptor),
        }
    }

    /// What is told where nobody could decide. `None`: nothing can be; a rule in shadow mode turns nobody away, whatever
    /// its limit does without a decision, and whether it was to count or to give back.
    pub(crate) fn told_without_decision(&self) -> Option<Told> {
        self.held_to.rule.is_shadow.then_some(Told::UNDECIDED)
    }
}

/// What the addends ask for. More than a limit can have is as good as all that it can: `u32::MAX` never passes.
fn deed(request: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> Deed {
    let units = match descriptor.hits_addend {
        Some(own) => u32::try_from(own.value).unwrap_or(u32::MAX),
        None => request.hits_addend.max(1),
    };
    match descriptor.is_negative_hits {
        true => Deed::Refund(Cost::new(units)),
        false => Deed::Hit(Cost::new(units)),
    }
}

/// The limit that a descriptor brought along: counted as a file of envoyproxy/ratelimit would, for all of its entries.
fn override_of(domain: &str, limit: &RateLimitOverride, index: usize) -> Result<Rule, Invalid> {
    let Some(unit) = Unit::numbered(limit.unit) else {
        return invalid(format!(
            "the limit of descriptor {index} has the unit {}, accepted: 1 to 7",
            limit.unit
        ));
    };
    let period = unit.period();
    let bound = match limit.requests_per_unit {
        0 => Bound::Nothing(period),
        units => match Limit::new(Algorithm::FixedWindow, units, period) {
            Ok(limit) => Bound::Limit(Policy {
                namespace: NAMESPACE.into(),
                name: format!("@override:{},{domain}", period.ceil_secs()).into(),
                limit,
                strategy: Strategy::Owner,
                on_failure: FailMode::Deny,
            }),
            Err(error) => {
                return invalid(format!(
                    "the limit of descriptor {index} has {units} requests_per_unit, accepted: {}",
                    error.accepted()
                ));
            }
        },
    };
    Ok(Rule {
        name: "override".to_owned(),
        bound,
        is_shadow: false,
        replaces: Vec::new(),
        replaced_as: String::new(),
    })
}

/// Takes out what other rules of the same request replace. What is unlimited stays so.
fn without_replaced(mut asks: Vec<Option<Ask<'_>>>) -> Vec<Option<Ask<'_>>> {
    let rules = asks.iter().flatten().map(|ask| &ask.held_to.rule);
    let replaced: Vec<String> = rules
        .flat_map(|rule| rule.replaces.iter().cloned())
        .collect();
    if replaced.is_empty() {
        return asks;
    }
    for ask in &mut asks {
        let rule = ask.as_ref().map(|ask| &ask.held_to.rule);
        if rule.is_some_and(|rule| {
            replaced.contains(&rule.replaced_as) && rule.bound != Bound::Everything
        }) {
            *ask = None;
        }
    }
    asks
}

fn invalid<T>(what: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(what.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::Strategy;
    use prost::Message as _;

    use super::*;
    use crate::ratelimit_config;

    /// Rules that most requests of the kind below match.
    fn rules() -> Rules {
        let (mut rules, mut problems) = (Rules::default(), Vec::new());
        let text = "
domain: d
descriptors:
  - {key: a, rate_limit: {unit: second, requests_per_unit: 1, name: one}}
  - {key: b, rate_limit: {unit: second, requests_per_unit: 0, replaces: [{name: one}]}}
  - {key: c, value: 'x*', descriptors: [{key: d, rate_limit: {unit: day, requests_per_unit: 9}}]}
";
        ratelimit_config::read("f", text, &mut rules, &mut problems);
        assert_eq!(problems, []);
        rules
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let value = prop_oneof![Just("x".to_owned()), ".{0,8}", Just("v".repeat(300))];
        ("[abcd]?", value).prop_map(|(key, value)| Entry { key, value })
    }

    fn descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
        let limit = prop::option::weighted(0.1, (any::<u32>(), -1..9));
        let addend = prop::option::of(any::<u64>());
        let entries = prop::collection::vec(entry(), 0..10);
        (entries, limit, addend, any::<bool>()).prop_map(
            |(entries, limit, addend, is_negative_hits)| RateLimitDescriptor {
                entries,
                limit: limit.map(|(requests_per_unit, unit)| RateLimitOverride {
                    requests_per_unit,
                    unit,
                }),
                hits_addend: addend
                    .map(|value| envoy_types::pb::google::protobuf::UInt64Value { value }),
                is_negative_hits,
            },
        )
    }

    fn requests() -> impl Strategy<Value = RateLimitRequest> {
        let descriptors = prop::collection::vec(descriptor(), 0..18);
        ("d?", descriptors, any::<u32>()).prop_map(|(domain, descriptors, hits_addend)| {
            RateLimitRequest {
                domain,
                descriptors,
                hits_addend,
            }
        })
    }

    proptest! {
        /// Whatever is asked is refused, or becomes as many asks as there are descriptors.
        #[test]
        fn any_request_is_read_or_refused(request in requests()) {
            let rules = rules();
            match read(&rules, &request) {
                Ok(asks) => prop_assert_eq!(asks.len(), request.descriptors.len()),
                Err(invalid) => prop_assert!(invalid.to_string().ends_with("nothing was counted")),
            }
        }

        /// The same for bytes that began as a request and were changed in places.
        #[test]
        fn any_bytes_are_a_request_or_none(
            request in requests(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut bytes = request.encode_to_vec();
            for (place, byte) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            if let Ok(request) = RateLimitRequest::decode(&*bytes) {
                let rules = rules();
                let _ = read(&rules, &request);
            }
        }
    }
}
