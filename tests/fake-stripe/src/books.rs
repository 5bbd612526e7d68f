//! What the fake knows, and what each request does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::events::Events;
use crate::faults::{Faults, Outcome, When};
use crate::form;
use crate::meters::MeterEvent;
use crate::objects::Objects;
use crate::problem::Problem;
use crate::routes::{self, Call};

/// The version of Stripe's API that the fake speaks.
pub const VERSION: &str = "2026-10-28.endive";

/// How long an answer is kept for whoever asks again with the same `Idempotency-Key`.
const ANSWERS_KEPT_SECS: i64 = 24 * 3_600;

/// What differs between accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `livemode` is, everywhere.
    pub livemode: bool,
    /// How often a payment that failed is tried again, every three days.
    pub retries: u64,
    /// What a subscription becomes when the last of them has failed: `canceled` or `unpaid`.
    pub after_retries: String,
}

impl Settings {
    /// An account for tests: two retries, then the subscription ends.
    #[must_use]
    pub fn new() -> Self {
        Self {
            livemode: false,
            retries: 2,
            after_retries: "canceled".into(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// One request, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    pub(crate) authorization: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

/// What is sent back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// It was given before, to the same `Idempotency-Key`.
    pub(crate) is_repeated: bool,
    pub(crate) outcome: Outcome,
}

/// The state of an account, and its clock.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) settings: Settings,
    pub(crate) objects: Objects,
    pub(crate) events: Events,
    pub(crate) meter_events: Vec<MeterEvent>,
    /// What was sent for customers that are not there.
    pub(crate) meter_events_dropped: u64,
    /// Customers whose card is declined.
    pub(crate) cards_failing: BTreeSet<String>,
    /// Customers whose bank takes its time.
    pub(crate) banks_slow: BTreeSet<String>,
    /// Prices that subscriptions change to when their period ends.
    pub(crate) scheduled: BTreeMap<String, String>,
    /// Lines that the next invoice of a subscription gets besides.
    pub(crate) prorations: BTreeMap<String, Vec<Value>>,
    pub(crate) faults: Faults,
    /// How far the fake's clock is ahead of the machine's, in seconds.
    pub(crate) ahead: i64,
    /// What the fake's clock shows, in seconds since 1970.
    pub(crate) now: i64,
    /// Where its pages are.
    pub(crate) url: String,
    /// In every id, so that no two fakes give the same.
    pub(crate) run: String,
    /// Requests by method and template of their path.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Which request an event comes of.
    pub(crate) asked_by: Option<(String, Option<String>)>,
    answers: BTreeMap<String, Kept>,
}

/// An answer that is given again.
#[derive(Debug)]
struct Kept {
    asked: [u8; 32],
    at: i64,
    answer: Answer,
}

impl Books {
    /// An account with nothing in it, of a machine whose clock shows `now`.
    pub(crate) fn new(now: i64, settings: Settings, url: &str, run: &str) -> Self {
        Self {
            settings,
            objects: Objects::default(),
            events: Events::default(),
            meter_events: Vec::new(),
            meter_events_dropped: 0,
            cards_failing: BTreeSet::new(),
            banks_slow: BTreeSet::new(),
            scheduled: BTreeMap::new(),
            prorations: BTreeMap::new(),
            faults: Faults::default(),
            ahead: 0,
            now,
            url: url.to_owned(),
            run: run.to_owned(),
            calls: BTreeMap::new(),
            asked_by: None,
            answers: BTreeMap::new(),
        }
    }

    /// Answers a request for Stripe's API when the machine's clock shows `now`.
    pub(crate) fn on_request(&mut self, now: i64, request: &Request) -> Answer {
        self.on_time(now);
        let template = routes::template(&request.method, &request.path);
        let call = format!("{} {}", request.method, template.unwrap_or("unknown"));
        *self.calls.entry(call).or_default() += 1;
        if let Err(problem) = self.check(request) {
            return refused(&problem);
        }
        let outcome = self.faults.on_request(&request.path);
        let is_refused = outcome.before.is_some() || outcome.reset == Some(When::Before);
        if is_refused {
            let status = outcome.before.unwrap_or(500);
            return Answer {
                outcome,
                ..refused(&Problem::of_status(status))
            };
        }
        let mut answer = self.answer_once(request, outcome.after.filter(|_| outcome.is_kept));
        if let Some(status) = outcome.after {
            let problem = Problem::of_status(status);
            (answer.status, answer.body) = (status, problem.body());
        }
        Answer { outcome, ..answer }
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: i64) {
        self.asked_by = None;
        self.pass_to(now + self.ahead);
    }

    /// What a request must have, wherever it goes.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let key = request
            .authorization
            .as_deref()
            .and_then(|authorization| authorization.strip_prefix("Bearer "))
            .ok_or_else(|| Problem::unauthorized("You did not provide an API key."))?;
        let is_key = ["sk_", "rk_"].iter().any(|kind| {
            let rest = key.strip_prefix(kind);
            let is_live = rest.is_some_and(|rest| rest.starts_with("live_"));
            let is_test = rest.is_some_and(|rest| rest.starts_with("test_"));
            // Whoever makes an account live in the middle of a test goes on asking with the key that it has.
            is_test || (is_live && self.settings.livemode)
        });
        if !is_key {
            return Err(Problem::unauthorized("Invalid API Key provided."));
        }
        if request.version.as_deref() != Some(VERSION) {
            let given = request.version.as_deref().unwrap_or("none");
            return Err(Problem::invalid(format!(
                "Invalid Stripe API version: {given}. The fake speaks {VERSION}."
            )));
        }
        let content_type = request.content_type.as_deref().unwrap_or_default();
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        if request.method == "POST" && !request.body.is_empty() && !is_form {
            return Err(Problem::invalid(
                "The content type of a POST is application/x-www-form-urlencoded.",
            ));
        }
        Ok(())
    }

    fn answer_once(&mut self, request: &Request, kept_error: Option<u16>) -> Answer {
        let now = self.now;
        self.answers
            .retain(|_, kept| now - kept.at < ANSWERS_KEPT_SECS);
        let key = request
            .idempotency_key
            .clone()
            .filter(|_| request.method == "POST");
        let parts = [&request.path, &request.query, &request.body].map(String::as_bytes);
        let asked = Sha256::digest(parts.join(&b'\n')).into();
        if let Some(key) = &key
            && let Some(kept) = self.answers.get(key)
        {
            return match kept.asked == asked {
                true => Answer {
                    is_repeated: true,
                    ..kept.answer.clone()
                },
                false => refused(&Problem::other_body(key)),
            };
        }
        let id = self.objects.next_id("req_", &self.run);
        self.asked_by = Some((id, key.clone()));
        let answer = match self.answer(request) {
            Ok(body) => Answer {
                status: 200,
                body,
                is_repeated: false,
                outcome: Outcome::default(),
            },
            Err(problem) => refused(&problem),
        };
        // What was not begun is begun anew when it is asked again.
        if let Some(key) = key
            && answer.status == 200
        {
            let mut answer = answer.clone();
            if let Some(status) = kept_error {
                (answer.status, answer.body) = (status, Problem::of_status(status).body());
            }
            let at = self.now;
            self.answers.insert(key, Kept { asked, at, answer });
        }
        answer
    }

    fn answer(&mut self, request: &Request) -> Result<Value, Problem> {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        let (route, id) =
            routes::find(method, path).ok_or_else(|| Problem::no_such_route(method, path))?;
        let text = match method {
            "POST" if !request.query.is_empty() => {
                return Err(Problem::invalid("Parameters of a POST belong in its body."));
            }
            "POST" => &request.body,
            _ => &request.query,
        };
        let params = [route.params, &["expand[]"]].concat();
        let call = Call {
            id: id.to_owned(),
            path: path.to_owned(),
            form: form::read(&params, text)?,
        };
        let expand = form::texts(&call.form["expand"]);
        // Before anything is done.
        self.objects.show(Value::Null, &expand)?;
        let answer = (route.act)(self, &call)?;
        self.objects.show(answer, &expand)
    }

    /// An id that nothing has.
    pub(crate) fn next_id(&mut self, prefix: &str) -> String {
        self.objects.next_id(prefix, &self.run)
    }

    /// Keeps a new object, and tells of it.
    pub(crate) fn make(&mut self, object: Value, event: &str) -> Value {
        self.objects.put(object.clone());
        self.emit(event, object.clone(), None);
        object
    }

    /// Gives an object other values of some fields, and tells of it if any differs. Does nothing to what is not there.
    pub(crate) fn change(&mut self, id: &str, event: &str, fields: Value) {
        let Some(object) = self.objects.get_mut(id) else {
            return;
        };
        let Value::Object(fields) = fields else {
            return;
        };
        let mut before = json!({});
        for (name, value) in fields {
            if object[&name] != value {
                before[&name] = object[&name].take();
                object[&name] = value;
            }
        }
        if before != json!({}) {
            let object = object.clone();
            let previous = event.ends_with(".updated").then_some(before);
            self.emit(event, object, previous);
        }
    }

    /// As [`Self::change`], and nobody is told.
    pub(crate) fn set(&mut self, id: &str, fields: Value) {
        if let (Some(object), Value::Object(fields)) = (self.objects.get_mut(id), fields) {
            for (name, value) in fields {
                object[&name] = value;
            }
        }
    }

    /// A field of an object; null of what is not there.
    pub(crate) fn field(&self, id: &str, name: &str) -> Value {
        let object = self.objects.get(id);
        object.map_or(Value::Null, |object| object[name].clone())
    }

    /// The object that a parameter names.
    pub(crate) fn named(
        &self,
        kind: &str,
        prefix: &str,
        id: &str,
        param: &str,
    ) -> Result<&Value, Problem> {
        let object = self.objects.get(id).filter(|_| id.starts_with(prefix));
        object.ok_or_else(|| Problem::no_such(kind, id, param))
    }
}

pub(crate) fn refused(problem: &Problem) -> Answer {
    Answer {
        status: problem.status,
        body: problem.body(),
        is_repeated: false,
        outcome: Outcome::default(),
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
