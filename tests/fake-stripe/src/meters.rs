//! What customers have used.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::books::Books;
use crate::objects::{is_asked_for, page};
use crate::problem::Problem;
use crate::routes::{Call, Route};

pub(crate) const DAY_SECS: i64 = 86_400;

/// How long an identifier is remembered, how old an event may be, and how far ahead of the clock.
const IDENTIFIERS_KEPT_SECS: i64 = DAY_SECS;
const OLDEST_SECS: i64 = 35 * DAY_SECS;
const AHEAD_SECS: i64 = 5 * 60;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/billing/meters",
        params: &[
            "!display_name",
            "!event_name",
            "!default_aggregation[formula]:sum|count|last",
            "customer_mapping[event_payload_key]",
            "customer_mapping[type]:by_id",
            "event_time_window:day|hour",
            "value_settings[event_payload_key]",
        ],
        act: create,
    },
    Route {
        method: "GET",
        path: "/v1/billing/meters",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "status:active|inactive",
        ],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/billing/meters/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "POST",
        path: "/v1/billing/meters/{id}/deactivate",
        params: &[],
        act: deactivate,
    },
    Route {
        method: "GET",
        path: "/v1/billing/meters/{id}/event_summaries",
        params: &[
            "!customer",
            "!start_time:int",
            "!end_time:int",
            "value_grouping_window:hour|day",
            "limit:int",
            "starting_after",
            "ending_before",
        ],
        act: summaries,
    },
    Route {
        method: "POST",
        path: "/v1/billing/meter_events",
        params: &["!event_name", "!payload[*]", "identifier", "timestamp:int"],
        act: take,
    },
];

/// What a customer has used at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MeterEvent {
    meter: String,
    customer: String,
    timestamp: i64,
    value: u64,
    identifier: String,
    received: i64,
}

/// The events that count, of those of one meter and customer in the order in which they were received: with a window, the
/// one with the newest time in each, and of equal times the last.
fn counting<'a>(
    window_secs: Option<i64>,
    events: impl Iterator<Item = &'a MeterEvent>,
) -> Vec<&'a MeterEvent> {
    let Some(window) = window_secs else {
        return events.collect();
    };
    let mut newest = BTreeMap::<i64, &MeterEvent>::new();
    for event in events {
        let kept = newest
            .entry(event.timestamp.div_euclid(window))
            .or_insert(event);
        if kept.timestamp <= event.timestamp {
            *kept = event;
        }
    }
    newest.into_values().collect()
}

/// What events come to.
fn total(formula: &str, events: &[&MeterEvent]) -> u64 {
    match formula {
        "count" => events.len() as u64,
        "last" => {
            let last = events.iter().max_by_key(|event| event.timestamp);
            last.map_or(0, |event| event.value)
        }
        _ => events.iter().map(|event| event.value).sum(),
    }
}

impl Books {
    /// What a customer has used on a meter from `start` until before `end`.
    pub(crate) fn used(&self, meter: &str, customer: &str, start: i64, end: i64) -> u64 {
        let events = self.counting(meter, customer, start, end);
        total(self.formula(meter), &events)
    }

    /// The same by spans of this length, each with where it begins. Spans without events are left out.
    pub(crate) fn used_by(
        &self,
        span: i64,
        meter: &str,
        customer: &str,
        (start, end): (i64, i64),
    ) -> BTreeMap<i64, u64> {
        let mut groups = BTreeMap::<i64, Vec<&MeterEvent>>::new();
        for event in self.counting(meter, customer, start, end) {
            let begin = event.timestamp.div_euclid(span) * span;
            groups.entry(begin).or_default().push(event);
        }
        let totals = groups
            .into_iter()
            .map(|(begin, events)| (begin, total(self.formula(meter), &events)));
        totals.collect()
    }

    fn counting(&self, meter: &str, customer: &str, start: i64, end: i64) -> Vec<&MeterEvent> {
        let window = match self
            .objects
            .get(meter)
            .map(|meter| &meter["event_time_window"])
        {
            Some(window) if window == "day" => Some(DAY_SECS),
            Some(window) if window == "hour" => Some(3_600),
            _ => None,
        };
        let events = self.meter_events.iter().filter(|event| {
            event.meter == meter
                && event.customer == customer
                && (start..end).contains(&event.timestamp)
        });
        counting(window, events)
    }

    fn formula(&self, meter: &str) -> &str {
        let meter = self.objects.get(meter);
        let formula = meter.and_then(|meter| meter["default_aggregation"]["formula"].as_str());
        formula.unwrap_or("sum")
    }

    /// By the name of a meter's events, by customer and by day as `20260131`: what was used.
    pub(crate) fn all_used(&self) -> Value {
        let mut all = json!({});
        for event in &self.meter_events {
            let name = self.field(&event.meter, "event_name");
            let name = name.as_str().unwrap_or_default();
            let of = &mut all[name][&event.customer];
            if of.is_null() {
                let days = self.used_by(
                    DAY_SECS,
                    &event.meter,
                    &event.customer,
                    (i64::MIN, i64::MAX),
                );
                let days = days
                    .into_iter()
                    .map(|(day, sum)| (crate::clock::date(day), sum.into()));
                *of = Value::Object(days.collect());
            }
        }
        all
    }
}

fn create(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let is_taken = books
        .objects
        .of("mtr_")
        .any(|meter| meter["status"] == "active" && meter["event_name"] == form["event_name"]);
    if is_taken {
        return Err(Problem::parameter(
            "resource_already_exists",
            "event_name",
            "A meter with this event name already exists.",
        ));
    }
    let payload_key = |of: &str, otherwise: &str| {
        let key = form[of]["event_payload_key"].as_str();
        key.unwrap_or(otherwise).to_owned()
    };
    let meter = json!({
        "id": books.next_id("mtr_"),
        "object": "billing.meter",
        "created": books.now,
        "customer_mapping": {
            "event_payload_key": payload_key("customer_mapping", "stripe_customer_id"),
            "type": "by_id",
        },
        "default_aggregation": form["default_aggregation"],
        "display_name": form["display_name"],
        "event_name": form["event_name"],
        "event_time_window": form["event_time_window"],
        "livemode": books.settings.livemode,
        "status": "active",
        "status_transitions": { "deactivated_at": null },
        "updated": books.now,
        "value_settings": { "event_payload_key": payload_key("value_settings", "value") },
    });
    Ok(books.make(meter, "billing.meter.created"))
}

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books.objects.of("mtr_").rev();
    let all = all.filter(|meter| is_asked_for(meter, &call.form, &["status"]));
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    books.named("meter", "mtr_", &call.id, "id").cloned()
}

fn deactivate(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    retrieve(books, call)?;
    let fields =
        json!({ "status": "inactive", "status_transitions": { "deactivated_at": books.now } });
    books.change(&call.id, "billing.meter.deactivated", fields);
    retrieve(books, call)
}

fn summaries(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    retrieve(books, call)?;
    let customer = form["customer"].as_str().unwrap_or_default();
    books.named("customer", "cus_", customer, "customer")?;
    let span = match form["value_grouping_window"].as_str() {
        Some("day") => DAY_SECS,
        Some(_) => 3_600,
        None => 60,
    };
    for name in ["start_time", "end_time"] {
        if form[name].as_i64().is_none_or(|at| at % span != 0) {
            let message = format!("{name} must be a multiple of {span} seconds since 1970");
            return Err(Problem::parameter("parameter_invalid", name, message));
        }
    }
    let start = form["start_time"].as_i64().unwrap_or_default();
    let end = form["end_time"].as_i64().unwrap_or_default();
    if end <= start {
        return Err(Problem::parameter(
            "parameter_invalid",
            "end_time",
            "end_time must be after start_time",
        ));
    }
    let (span, used) = if span == 60 {
        let sum = books.used(&call.id, customer, start, end);
        (end - start, BTreeMap::from([(start, sum)]))
    } else {
        let used = books.used_by(span, &call.id, customer, (start, end));
        (span, used)
    };
    let newest_first = used.into_iter().rev().map(|(begin, sum)| {
        json!({
            "id": format!("mtrusg_{}{begin}", customer.trim_start_matches("cus_")),
            "object": "billing.meter_event_summary",
            "aggregated_value": sum,
            "end_time": begin + span,
            "livemode": books.settings.livemode,
            "meter": call.id,
            "start_time": begin,
        })
    });
    page(&call.path, form, newest_first.collect())
}

fn take(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let now = books.now;
    let name = form["event_name"].as_str().unwrap_or_default();
    let meter = books
        .objects
        .of("mtr_")
        .find(|meter| meter["event_name"] == name && meter["status"] == "active")
        .ok_or_else(|| {
            let message = format!("No active meter found for event name {name}");
            Problem::parameter("parameter_invalid", "event_name", message)
        })?;
    let payload = |of: &str| {
        let key = meter[of]["event_payload_key"].as_str().unwrap_or_default();
        let param = format!("payload[{key}]");
        let text = form["payload"][key].as_str().map(str::to_owned);
        text.map(|text| (param.clone(), text))
            .ok_or_else(|| Problem::missing_parameter(&param))
    };
    let (_, customer) = payload("customer_mapping")?;
    let value = match meter["default_aggregation"]["formula"] == "count" {
        true => 1,
        false => {
            let (param, text) = payload("value_settings")?;
            text.parse::<u64>().map_err(|_| {
                let message = format!("{param} must be a whole number that is not negative");
                Problem::parameter("parameter_invalid", &param, message)
            })?
        }
    };
    let timestamp = form["timestamp"].as_i64().unwrap_or(now);
    if timestamp < now - OLDEST_SECS || now + AHEAD_SECS < timestamp {
        return Err(Problem::parameter(
            "parameter_invalid",
            "timestamp",
            "The timestamp must be within the past 35 calendar days or up to 5 minutes in the future.",
        ));
    }
    let meter = meter["id"].as_str().unwrap_or_default().to_owned();
    let identifier = match form["identifier"].as_str() {
        Some(identifier) => identifier.to_owned(),
        None => books.next_id("auto_"),
    };
    let is_known = books.meter_events.iter().any(|event| {
        event.identifier == identifier && now - event.received < IDENTIFIERS_KEPT_SECS
    });
    if is_known {
        let message = format!("An event already exists with identifier {identifier}.");
        return Err(Problem::invalid(message));
    }
    let answer = json!({
        "object": "billing.meter_event",
        "created": now,
        "event_name": name,
        "identifier": identifier,
        "livemode": books.settings.livemode,
        "payload": form["payload"],
        "timestamp": timestamp,
    });
    // Stripe takes what it cannot use, and tells of it later, in a way of its own.
    if books.field(&customer, "object") != "customer" || books.field(&customer, "deleted") == true {
        books.meter_events_dropped += 1;
        return Ok(answer);
    }
    books.meter_events.push(MeterEvent {
        meter,
        customer,
        timestamp,
        value,
        identifier,
        received: now,
    });
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DAY_SECS, MeterEvent, counting, total};

    fn event(timestamp: i64, value: u64) -> MeterEvent {
        MeterEvent {
            meter: "mtr_1".into(),
            customer: "cus_1".into(),
            timestamp,
            value,
            identifier: String::new(),
            received: 0,
        }
    }

    fn sum(window: Option<i64>, events: &[MeterEvent]) -> u64 {
        total("sum", &counting(window, events.iter()))
    }

    #[test]
    fn of_a_day_the_newest_counts() {
        let events = [
            event(10, 5),
            event(20, 7),
            event(15, 100),
            event(DAY_SECS - 1, 8),
            event(DAY_SECS - 1, 9),
            event(DAY_SECS, 1),
        ];
        assert_eq!(sum(Some(DAY_SECS), &events), 10);
        assert_eq!(sum(None, &events), 130);
    }

    proptest! {
        /// A day told again, later in the day or at the same time, replaces what was told of it, whatever came before.
        #[test]
        fn days_told_again_are_not_counted_twice(
            before in prop::collection::vec((0..5 * DAY_SECS, 0_u64..1_000), 0..40),
            days in prop::collection::vec(0_u64..1_000, 5),
        ) {
            let mut events: Vec<MeterEvent> = before.iter().map(|(at, value)| event(*at, *value)).collect();
            for (day, value) in (0..).zip(&days) {
                events.push(event(day * DAY_SECS + DAY_SECS - 1, *value));
            }
            prop_assert_eq!(sum(Some(DAY_SECS), &events), days.iter().sum::<u64>());
        }

        /// The order in which they arrive matters to nothing but equal times.
        #[test]
        fn order_does_not_matter(
            times in prop::collection::btree_map(0..5 * DAY_SECS, 0_u64..1_000, 0..40),
        ) {
            let events: Vec<MeterEvent> = times.iter().map(|(at, value)| event(*at, *value)).collect();
            let reversed: Vec<MeterEvent> = events.iter().rev().cloned().collect();
            prop_assert_eq!(sum(Some(DAY_SECS), &events), sum(Some(DAY_SECS), &reversed));
        }
    }
}
