//! What has happened, and who has yet to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use crate::books::{Books, VERSION};
use crate::faults::Delivering;
use crate::form;
use crate::objects::page;
use crate::problem::Problem;
use crate::routes::{Call, Route};

/// How long an event can be listed.
const KEPT_SECS: i64 = 30 * 86_400;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1/events",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "type",
            "types[]",
            "delivery_success:bool",
            "created:int",
            "created[gt]:int",
            "created[gte]:int",
            "created[lt]:int",
            "created[lte]:int",
        ],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/events/{id}",
        params: &[],
        act: retrieve,
    },
];

/// All events, and what is to be sent of them.
#[derive(Debug, Default)]
pub(crate) struct Events {
    by_id: BTreeMap<String, Event>,
    outbox: VecDeque<(String, String)>,
    /// Of the endpoints, by id.
    pub(crate) secrets: BTreeMap<String, String>,
    sent: Vec<Value>,
}

#[derive(Debug)]
struct Event {
    value: Value,
    /// Endpoints that have not confirmed it.
    waiting: BTreeSet<String>,
}

impl Event {
    fn shown(&self) -> Value {
        let mut value = self.value.clone();
        value["pending_webhooks"] = self.waiting.len().into();
        value
    }
}

/// One event for one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) event: String,
    pub(crate) kind: String,
    pub(crate) endpoint: String,
    pub(crate) url: String,
    pub(crate) secret: String,
    pub(crate) body: String,
    pub(crate) how: Delivering,
}

impl Books {
    /// Something has happened to an object.
    pub(crate) fn emit(&mut self, kind: &str, object: Value, previous: Option<Value>) -> String {
        let id = self.next_id("evt_");
        let mut data = json!({ "object": self.objects.plain(object) });
        if let Some(previous) = previous {
            data["previous_attributes"] = previous;
        }
        let (request, key) = self.asked_by.clone().unzip();
        let value = json!({
            "id": id,
            "object": "event",
            "api_version": VERSION,
            "created": self.now,
            "data": data,
            "livemode": self.settings.livemode,
            "request": { "id": request, "idempotency_key": key.flatten() },
            "type": kind,
        });
        let waiting = self.wanting(kind);
        let outbox = waiting
            .iter()
            .map(|endpoint| (id.clone(), endpoint.clone()));
        self.events.outbox.extend(outbox);
        self.events
            .by_id
            .insert(id.clone(), Event { value, waiting });
        id
    }

    /// The endpoints that events of this type are sent to.
    fn wanting(&self, kind: &str) -> BTreeSet<String> {
        let told = self.objects.of("we_").filter(|endpoint| {
            let kinds = form::texts(&endpoint["enabled_events"]);
            endpoint["status"] == "enabled"
                && kinds.iter().any(|wanted| [kind, "*"].contains(wanted))
        });
        told.filter_map(|endpoint| endpoint["id"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// An endpoint is gone: nothing waits for it.
    pub(crate) fn forget_endpoint(&mut self, id: &str) {
        self.events.secrets.remove(id);
        for event in self.events.by_id.values_mut() {
            event.waiting.remove(id);
        }
    }

    /// Takes the next event to send. Sent or not, [`Self::on_delivered`] is told.
    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        loop {
            let (id, endpoint) = self.events.outbox.pop_front()?;
            let how = self.faults.on_delivery();
            if let Some(delivery) = self.delivery(&id, &endpoint, how) {
                return Some(delivery);
            }
        }
    }

    /// `None` where either is gone.
    fn delivery(&self, id: &str, endpoint: &str, how: Delivering) -> Option<Delivery> {
        let event = self.events.by_id.get(id)?.shown();
        let target = self.objects.get(endpoint)?;
        Some(Delivery {
            event: id.to_owned(),
            kind: event["type"].as_str()?.to_owned(),
            endpoint: endpoint.to_owned(),
            url: target["url"].as_str()?.to_owned(),
            secret: self.events.secrets.get(endpoint)?.clone(),
            body: format!("{event:#}"),
            how,
        })
    }

    /// An endpoint has answered so, or not at all: 0.
    pub(crate) fn on_delivered(&mut self, delivery: &Delivery, status: u16) {
        let is_done = (200..300).contains(&status);
        if let Some(event) = self.events.by_id.get_mut(&delivery.event)
            && is_done
        {
            event.waiting.remove(&delivery.endpoint);
        }
        self.events.sent.push(json!({
            "event": delivery.event,
            "type": delivery.kind,
            "endpoint": delivery.endpoint,
            "url": delivery.url,
            "status": status,
        }));
    }

    /// Sends an event once more to all that want it.
    pub(crate) fn deliver_again(&mut self, id: &str) -> Result<(), Problem> {
        let event = self.events.by_id.get(id);
        let event = event.ok_or_else(|| Problem::no_such("event", id, "id"))?;
        let kind = event.value["type"].as_str().unwrap_or_default();
        let again = self.wanting(kind).into_iter();
        let again = again.map(|endpoint| (id.to_owned(), endpoint));
        self.events.outbox.extend(again);
        Ok(())
    }

    /// What was sent, in order, and how many events some endpoint has not confirmed.
    pub(crate) fn sent(&self) -> Value {
        let waiting = self.events.by_id.values();
        let waiting = waiting.filter(|event| !event.waiting.is_empty()).count();
        json!({ "data": self.events.sent, "waiting": waiting })
    }
}

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let kinds = form::texts(&form["types"]);
    let kind = form["type"].as_str();
    let created = &form["created"];
    let is_created = |at: i64| {
        let holds = |name: &str, compare: fn(&i64, &i64) -> bool| {
            created[name]
                .as_i64()
                .is_none_or(|bound| compare(&at, &bound))
        };
        created.as_i64().is_none_or(|only| at == only)
            && holds("gt", i64::gt)
            && holds("gte", i64::ge)
            && holds("lt", i64::lt)
            && holds("lte", i64::le)
    };
    let oldest = books.now - KEPT_SECS;
    let found = books.events.by_id.values().rev().filter(|event| {
        let of = event.value["type"].as_str().unwrap_or_default();
        let at = event.value["created"].as_i64().unwrap_or_default();
        let is_delivered = event.waiting.is_empty();
        oldest <= at
            && (form["types"].is_null() || kinds.contains(&of))
            && kind.is_none_or(|kind| kind == of)
            && form["delivery_success"]
                .as_bool()
                .is_none_or(|wanted| wanted == is_delivered)
            && is_created(at)
    });
    page_of_events(&books.events, form, found.map(Event::shown).collect())
}

/// A place in the list is any event, also one that is not of those asked for.
fn page_of_events(events: &Events, form: &Value, found: Vec<Value>) -> Result<Value, Problem> {
    let mut form = form.clone();
    let mut found = found;
    for param in ["starting_after", "ending_before"] {
        let Some(id) = form[param].as_str().map(str::to_owned) else {
            continue;
        };
        if !events.by_id.contains_key(&id) {
            return Err(Problem::no_such("event", &id, param));
        }
        if found.iter().any(|event| event["id"] == *id) {
            continue;
        }
        found.retain(|event| {
            let other = event["id"].as_str().unwrap_or_default();
            match param {
                "starting_after" => other < id.as_str(),
                _ => id.as_str() < other,
            }
        });
        if param == "ending_before" {
            // Those nearest to it are the oldest that are left.
            let place = json!({ "id": id });
            found.push(place);
        } else {
            form[param] = Value::Null;
        }
    }
    page("/v1/events", &form, found)
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let event = books.events.by_id.get(&call.id);
    event
        .map(Event::shown)
        .ok_or_else(|| Problem::no_such("event", &call.id, "id"))
}
