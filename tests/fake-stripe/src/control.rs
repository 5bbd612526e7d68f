//! What tests tell the fake, and what it tells them: paths that Stripe has not.

use serde_json::{Value, json};

use crate::books::{Books, Request};
use crate::faults::Faults;
use crate::form;
use crate::pages;
use crate::portal::ACTS;
use crate::problem::Problem;

/// What a path of the fake's own answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Json(Value),
    Page(String),
    /// 303, to there.
    SeeOther(String),
}

impl Books {
    /// Answers a request that is not for Stripe's API when the machine's clock shows `now`.
    pub(crate) fn on_control(&mut self, now: i64, request: &Request) -> Result<Reply, Problem> {
        self.on_time(now);
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        let read = |params: &[&str]| form::read(params, &request.body);
        let answer = match (request.method.as_str(), &parts[..]) {
            ("GET", ["_clock"]) => json!({ "now": self.now }),
            ("POST", ["_clock"]) => {
                let form = read(&["advance:int", "to:int"])?;
                self.move_clock(now, &form)?
            }
            ("POST", ["_cards", customer]) => {
                let form = read(&["!fails:bool"])?;
                self.named("customer", "cus_", customer, "id")?;
                match form["fails"] == true {
                    true => self.cards_failing.insert((*customer).to_owned()),
                    false => self.cards_failing.remove(*customer),
                };
                form
            }
            ("POST", ["_retry", invoice]) => {
                self.named("invoice", "in_", invoice, "id")?;
                self.collect(invoice);
                self.objects.get(invoice).cloned().unwrap_or_default()
            }
            ("POST", ["_finalize", invoice]) => {
                self.named("invoice", "in_", invoice, "id")?;
                self.finalize(invoice);
                self.objects.get(invoice).cloned().unwrap_or_default()
            }
            ("POST", ["_pay", session]) => return self.pay_or_redirect(session, &request.body),
            ("POST", ["_portal", subscription]) => {
                let form = read(ACTS)?;
                let changed = self.act(subscription, &form)?;
                match form["session"].as_str() {
                    Some(session) => return Ok(Reply::SeeOther(format!("/portal/{session}"))),
                    None => changed,
                }
            }
            ("POST", ["_subscriptions", subscription]) => {
                let form = read(&["!status"])?;
                self.named("subscription", "sub_", subscription, "id")?;
                self.change(subscription, "customer.subscription.updated", form);
                self.objects.get(subscription).cloned().unwrap_or_default()
            }
            ("POST", ["_emit"]) => {
                let form = read(&["!type", "!object"])?;
                self.emit_any(&form)
            }
            ("POST", ["_deliver", event]) => {
                self.deliver_again(event)?;
                json!({ "event": event })
            }
            ("POST", ["_faults"]) => {
                let form = read(Faults::PARAMS)?;
                self.faults.add(&form)?;
                form
            }
            ("DELETE", ["_faults"]) => {
                self.faults.clear();
                json!({})
            }
            ("POST", ["_settings"]) => {
                let form = read(&[
                    "livemode:bool",
                    "retries:int",
                    "after_retries:canceled|unpaid",
                ])?;
                self.set_settings(&form)
            }
            ("GET", ["_sent"]) => self.sent(),
            ("GET", ["_state"]) => self.state(),
            ("GET", ["_calls"]) => json!(self.calls),
            ("GET", ["pay", session]) => {
                return pages::checkout(self, session).map(Reply::Page);
            }
            ("GET", ["portal", session]) => {
                return pages::portal(self, session).map(Reply::Page);
            }
            ("GET", ["invoices", invoice]) => {
                return pages::invoice(self, invoice).map(Reply::Page);
            }
            (method, _) => return Err(Problem::no_such_route(method, &request.path)),
        };
        Ok(Reply::Json(answer))
    }

    fn move_clock(&mut self, now: i64, form: &Value) -> Result<Value, Problem> {
        let target = match (form["advance"].as_i64(), form["to"].as_i64()) {
            (Some(span), None) => self.now + span,
            (None, Some(to)) => to,
            _ => return Err(Problem::invalid("either advance or to")),
        };
        if target < self.now {
            return Err(Problem::invalid("the clock never goes back"));
        }
        self.ahead = target - now;
        self.pass_to(target);
        Ok(json!({ "now": self.now }))
    }

    /// A browser is sent on to where the session says; whoever asks from a test is told what has become of it.
    fn pay_or_redirect(&mut self, id: &str, body: &str) -> Result<Reply, Problem> {
        let form = form::read(&["from_page:bool", "outcome:paid|pending|failed"], body)?;
        let outcome = form["outcome"].as_str().unwrap_or("paid");
        let session = self.pay(id, outcome)?;
        let plain = self.objects.plain(session);
        match plain["success_url"].as_str() {
            Some(url) if form["from_page"] == true => {
                Ok(Reply::SeeOther(url.replace("{CHECKOUT_SESSION_ID}", id)))
            }
            _ => Ok(Reply::Json(plain)),
        }
    }

    /// An event of any type, about an object that is there or of which nothing is known but its id.
    fn emit_any(&mut self, form: &Value) -> Value {
        let id = form["object"].as_str().unwrap_or_default();
        let kind = form["type"].as_str().unwrap_or_default();
        let object = self.objects.get(id).cloned();
        let object = object.unwrap_or_else(|| json!({ "id": id }));
        let event = self.emit(kind, object, None);
        json!({ "event": event })
    }

    fn set_settings(&mut self, form: &Value) -> Value {
        let settings = &mut self.settings;
        if let Some(livemode) = form["livemode"].as_bool() {
            settings.livemode = livemode;
        }
        if let Some(retries) = form["retries"].as_u64() {
            settings.retries = retries;
        }
        if let Some(after) = form["after_retries"].as_str() {
            after.clone_into(&mut settings.after_retries);
        }
        json!({
            "livemode": settings.livemode,
            "retries": settings.retries,
            "after_retries": settings.after_retries,
        })
    }

    fn state(&self) -> Value {
        let all = |prefix: &str| -> Value {
            let objects = self.objects.of(prefix).cloned();
            objects.map(|object| self.objects.plain(object)).collect()
        };
        json!({
            "now": self.now,
            "customers": all("cus_"),
            "sessions": all("cs_"),
            "subscriptions": all("sub_"),
            "invoices": all("in_"),
            "used": self.all_used(),
            "meter_events": self.meter_events.len(),
            "meter_events_dropped": self.meter_events_dropped,
        })
    }
}
