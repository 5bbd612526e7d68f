//! An account that tests ask and tell, without a socket.

use serde_json::Value;

use crate::books::{Answer, Books, Request, Settings, VERSION};
use crate::control::Reply;

/// 2026-11-27, 12:00 UTC.
pub(super) const START: i64 = 1_795_780_800;
pub(super) const HOUR: i64 = 3_600;
pub(super) const DAY: i64 = 24 * HOUR;
/// 2026-12-01, 00:00 UTC.
pub(super) const DECEMBER: i64 = START + 3 * DAY + 12 * HOUR;
pub(super) const JANUARY: i64 = DECEMBER + 31 * DAY;

pub(super) struct Account {
    pub(super) books: Books,
}

impl Account {
    pub(super) fn new() -> Self {
        let books = Books::new(START, Settings::new(), "http://fake", "run");
        Self { books }
    }

    pub(super) fn request(method: &str, path: &str, form: &str) -> Request {
        let (query, body) = match method {
            "POST" => ("", form),
            _ => (form, ""),
        };
        Request {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            body: body.into(),
            authorization: Some("Bearer sk_test_1".into()),
            version: Some(VERSION.into()),
            content_type: Some("application/x-www-form-urlencoded".into()),
            idempotency_key: None,
        }
    }

    pub(super) fn answer(&mut self, method: &str, path: &str, form: &str) -> Answer {
        self.books
            .on_request(START, &Self::request(method, path, form))
    }

    pub(super) fn ask(&mut self, method: &str, path: &str, form: &str) -> Value {
        let answer = self.answer(method, path, form);
        assert_eq!(
            answer.status, 200,
            "{method} {path} {form}: {:#}",
            answer.body
        );
        answer.body
    }

    pub(super) fn refuse(&mut self, method: &str, path: &str, form: &str) -> (u16, Value) {
        let answer = self.answer(method, path, form);
        let error = &answer.body["error"];
        let what = if error["code"].is_null() {
            "type"
        } else {
            "code"
        };
        (answer.status, error[what].clone())
    }

    pub(super) fn tell(&mut self, path: &str, form: &str) -> Value {
        let request = Self::request("POST", path, form);
        match self.books.on_control(START, &request).unwrap() {
            Reply::Json(value) => value,
            reply => panic!("{reply:?}"),
        }
    }

    /// A plan of 20.00 a month and one of 50.00, with a meter at 0.01 each. Returns a customer that pays for the first.
    pub(super) fn subscribe(&mut self) -> (String, String) {
        for product in ["small", "big"] {
            let form = format!("id={product}&name={product}");
            self.ask("POST", "/v1/products", &form);
        }
        let meter = "display_name=Requests&event_name=requests&default_aggregation[formula]=sum&event_time_window=day";
        let meter = id(&self.ask("POST", "/v1/billing/meters", meter));
        for (key, amount) in [("small", 2_000), ("big", 5_000)] {
            let form = format!(
                "product={key}&currency=eur&unit_amount={amount}&recurring[interval]=month&lookup_key={key}"
            );
            self.ask("POST", "/v1/prices", &form);
        }
        let form = format!(
            "product=big&currency=eur&unit_amount_decimal=1&recurring[interval]=month&recurring[usage_type]=metered\
             &recurring[meter]={meter}&lookup_key=used"
        );
        self.ask("POST", "/v1/prices", &form);
        let customer = id(&self.ask(
            "POST",
            "/v1/customers",
            "email=a@example.com&metadata[weir_tenant]=tn_1",
        ));
        let session = self.checkout(&customer, &["small", "used"]);
        let session = self.tell(&format!("/_pay/{session}"), "");
        (customer, text(&session["subscription"]))
    }

    /// An open session for these prices, by their lookup keys.
    pub(super) fn checkout(&mut self, customer: &str, keys: &[&str]) -> String {
        let mut form = format!(
            "mode=subscription&customer={customer}&client_reference_id=tn_1\
             &subscription_data[metadata][weir_tenant]=tn_1\
             &subscription_data[billing_cycle_anchor_config][day_of_month]=1\
             &subscription_data[billing_cycle_anchor_config][hour]=0\
             &subscription_data[billing_cycle_anchor_config][minute]=0\
             &subscription_data[billing_cycle_anchor_config][second]=0\
             &subscription_data[proration_behavior]=create_prorations\
             &success_url=http://weir/?session={{CHECKOUT_SESSION_ID}}&cancel_url=http://weir/&expires_at={}",
            self.books.now + 30 * 60
        );
        for (place, key) in keys.iter().enumerate() {
            let price = self.price(key);
            form += &format!("&line_items[{place}][price]={price}");
            if *key != "used" {
                form += &format!("&line_items[{place}][quantity]=1");
            }
        }
        id(&self.ask("POST", "/v1/checkout/sessions", &form))
    }

    pub(super) fn price(&mut self, key: &str) -> String {
        let form = format!("lookup_keys[]={key}&active=true");
        let found = self.ask("GET", "/v1/prices", &form);
        id(&found["data"][0])
    }

    pub(super) fn to(&mut self, at: i64) {
        self.tell("/_clock", &format!("to={at}"));
    }

    pub(super) fn object(&mut self, kind: &str, id: &str) -> Value {
        self.ask("GET", &format!("/v1/{kind}/{id}"), "")
    }

    pub(super) fn subscription(&mut self, id: &str) -> Value {
        self.ask(
            "GET",
            &format!("/v1/subscriptions/{id}"),
            "expand[]=latest_invoice",
        )
    }

    /// What has happened since the newest event that was seen, the oldest first.
    pub(super) fn events(&mut self, seen: &mut String) -> Vec<String> {
        let form = match seen.is_empty() {
            true => "limit=100".to_owned(),
            false => format!("limit=100&ending_before={seen}"),
        };
        let list = self.ask("GET", "/v1/events", &form);
        let events = list["data"].as_array().unwrap();
        if let Some(newest) = events.first() {
            *seen = id(newest);
        }
        events
            .iter()
            .rev()
            .map(|event| text(&event["type"]))
            .collect()
    }

    pub(super) fn use_up(
        &mut self,
        customer: &str,
        at: i64,
        identifier: &str,
        value: &str,
    ) -> (u16, Value) {
        let form = format!(
            "event_name=requests&identifier={identifier}&timestamp={at}&payload[stripe_customer_id]={customer}\
             &payload[value]={value}"
        );
        let answer = self.answer("POST", "/v1/billing/meter_events", &form);
        (answer.status, answer.body["error"]["message"].clone())
    }
}

pub(super) fn id(object: &Value) -> String {
    text(&object["id"])
}

pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value:#}"))
        .to_owned()
}
