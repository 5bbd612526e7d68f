//! From a request to what is asked.

use std::borrow::Cow;
use std::ops::Deref;

use coordinator::{FailMode, Policy, Strategy};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::RateLimit;
use limiter::{Key, NAMESPACE, Refusal, Selected};
use quota::{Algorithm, Cost, Limit};

use crate::answer::Told;
use crate::descriptor::{ENTRIES_MAX, Entry, key_of_all};
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
    /// What counts, unless everything or nothing passes.
    pub(crate) limit: Option<Cow<'r, Selected>>,
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

/// Why a request is not asked. Nothing was counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotAsked {
    /// It makes no sense, for this reason.
    Invalid(String),
    /// The rule of the descriptor in this place is of a limit that there is not, or not yet.
    NoLimit(usize, Refusal),
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
/// replaces. `find` finds limits by their names.
pub(crate) fn read<'r>(
    rules: &'r Rules,
    find: impl Fn(&str) -> Result<Selected, Refusal>,
    request: &'r RateLimitRequest,
) -> Result<Vec<Option<Ask<'r>>>, NotAsked> {
    check(request)?;
    let descriptors = request.descriptors.iter().enumerate();
    let asks = descriptors
        .map(|(index, descriptor)| ask(rules, &find, request, descriptor, index))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(without_replaced(asks))
}

/// Whether anything would be asked for `request`, where limits have no names. Nobody calls it but the fuzzer, which cannot
/// see what is within this crate.
#[doc(hidden)]
#[must_use]
pub fn is_read(rules: &Rules, request: &RateLimitRequest) -> bool {
    let find = |name: &str| Err(Refusal::unknown_limit(name));
    match read(rules, find, request) {
        Ok(asks) => {
            assert_eq!(asks.len(), request.descriptors.len());
            asks.iter().any(Option::is_some)
        }
        Err(_) => false,
    }
}

fn check(request: &RateLimitRequest) -> Result<(), NotAsked> {
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
    find: &impl Fn(&str) -> Result<Selected, Refusal>,
    request: &'r RateLimitRequest,
    descriptor: &'r RateLimitDescriptor,
    index: usize,
) -> Result<Option<Ask<'r>>, NotAsked> {
    if let Some(limit) = &descriptor.limit
        && rules.has_domain(&request.domain)
    {
        let rule = override_of(&request.domain, limit, index)?;
        let limit = match &rule.bound {
            Bound::Limit(limit) => Some(Cow::Owned(limit.clone())),
            _ => None,
        };
        let held_to = HeldTo::Override(Box::new(InForce::new(rule)));
        let key = key_of_all(&descriptor.entries).into();
        return Ok(Some(Ask::new(held_to, limit, key, request, descriptor)));
    }
    let Some((in_force, captured)) = rules.find(&request.domain, &descriptor.entries) else {
        return Ok(None);
    };
    let limit = match &in_force.rule.bound {
        Bound::Limit(limit) => Some(Cow::Borrowed(limit)),
        Bound::Nothing(_) | Bound::Everything => None,
        Bound::Named(name) => match find(name) {
            Ok(limit) => Some(Cow::Owned(limit)),
            // It turns nobody away.
            Err(_) if in_force.rule.is_shadow => return Ok(None),
            Err(refusal) => return Err(NotAsked::NoLimit(index, refusal)),
        },
    };
    let held_to = HeldTo::Rule(in_force);
    Ok(Some(Ask::new(
        held_to,
        limit,
        captured.key(),
        request,
        descriptor,
    )))
}

impl<'r> Ask<'r> {
    fn new(
        held_to: HeldTo<'r>,
        limit: Option<Cow<'r, Selected>>,
        key: Cow<'r, str>,
        request: &RateLimitRequest,
        descriptor: &RateLimitDescriptor,
    ) -> Self {
        Self {
            held_to,
            limit,
            key: Key::new(key, "descriptor")
                .expect("values are made into keys that may be counted"),
            deed: deed(request, descriptor),
        }
    }

    /// `current_limit` of its status. `None`: everything passes.
    pub(crate) fn current_limit(&self) -> Option<RateLimit> {
        let (requests_per_unit, unit) = match (&self.limit, &self.held_to.rule.bound) {
            (Some(limit), _) => {
                let limit = &limit.policy().limit;
                (limit.units(), Unit::number_for(limit))
            }
            (None, Bound::Nothing(period)) => (0, Unit::number_of(*period)),
            (None, _) => return None,
        };
        Some(RateLimit {
            name: self.held_to.rule.name.clone(),
            requests_per_unit,
            unit,
        })
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

/// What clients see a limit called that a descriptor brought along.
const OVERRIDE: &str = "override";

/// The limit that a descriptor brought along: counted as a file of envoyproxy/ratelimit would, for all of its entries.
fn override_of(domain: &str, limit: &RateLimitOverride, index: usize) -> Result<Rule, NotAsked> {
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
            Ok(limit) => {
                let policy = Policy {
                    namespace: NAMESPACE.into(),
                    name: format!("@override:{},{domain}", period.ceil_secs()).into(),
                    limit,
                    strategy: Strategy::Owner,
                    on_failure: FailMode::Deny,
                    top_keys: false,
                };
                Bound::Limit(Selected::shown_as(policy, OVERRIDE))
            }
            Err(error) => {
                return invalid(format!(
                    "the limit of descriptor {index} has {units} requests_per_unit, accepted: {}",
                    error.accepted()
                ));
            }
        },
    };
    Ok(Rule {
        name: OVERRIDE.to_owned(),
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
            replaced.contains(&rule.replaced_as) && !matches!(rule.bound, Bound::Everything)
        }) {
            *ask = None;
        }
    }
    asks
}

fn invalid<T>(what: impl Into<String>) -> Result<T, NotAsked> {
    Err(NotAsked::Invalid(what.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::Strategy;
    use prost::Message as _;

    use super::*;
    use crate::ratelimit_config;

    fn none(name: &str) -> Result<Selected, Refusal> {
        Err(Refusal::unknown_limit(name))
    }

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
            match read(&rules, none, &request) {
                Ok(asks) => prop_assert_eq!(asks.len(), request.descriptors.len()),
                Err(error) => prop_assert!(matches!(error, NotAsked::Invalid(_))),
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
                let _ = read(&rules, none, &request);
            }
        }
    }
}
