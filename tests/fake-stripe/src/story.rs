//! Stories of an account, told to the books alone.

use serde_json::{Value, json};

use crate::books::{Answer, Books, Request, Settings, VERSION};
use crate::control::Reply;

/// 2026-11-27, 12:00 UTC.
const START: i64 = 1_795_780_800;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// 2026-12-01, 00:00 UTC.
const DECEMBER: i64 = START + 3 * DAY + 12 * HOUR;
const JANUARY: i64 = DECEMBER + 31 * DAY;

struct Account {
    books: Books,
}

impl Account {
    fn new() -> Self {
        let books = Books::new(START, Settings::new(), "http://fake", "run");
        Self { books }
    }

    fn request(method: &str, path: &str, form: &str) -> Request {
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

    fn answer(&mut self, method: &str, path: &str, form: &str) -> Answer {
        self.books
            .on_request(START, &Self::request(method, path, form))
    }

    fn ask(&mut self, method: &str, path: &str, form: &str) -> Value {
        let answer = self.answer(method, path, form);
        assert_eq!(
            answer.status, 200,
            "{method} {path} {form}: {:#}",
            answer.body
        );
        answer.body
    }

    fn refuse(&mut self, method: &str, path: &str, form: &str) -> (u16, Value) {
        let answer = self.answer(method, path, form);
        let error = &answer.body["error"];
        let what = if error["code"].is_null() {
            "type"
        } else {
            "code"
        };
        (answer.status, error[what].clone())
    }

    fn tell(&mut self, path: &str, form: &str) -> Value {
        let request = Self::request("POST", path, form);
        match self.books.on_control(START, &request).unwrap() {
            Reply::Json(value) => value,
            reply => panic!("{reply:?}"),
        }
    }

    /// A plan of 20.00 a month and one of 50.00, with a meter at 0.01 each. Returns a customer that pays for the first.
    fn subscribe(&mut self) -> (String, String) {
        self.ask("POST", "/v1/products", "id=plans&name=Plans");
        let meter = "display_name=Requests&event_name=requests&default_aggregation[formula]=sum&event_time_window=day";
        let meter = id(&self.ask("POST", "/v1/billing/meters", meter));
        for (key, amount) in [("small", 2_000), ("big", 5_000)] {
            let form = format!(
                "product=plans&currency=eur&unit_amount={amount}&recurring[interval]=month&lookup_key={key}"
            );
            self.ask("POST", "/v1/prices", &form);
        }
        let form = format!(
            "product=plans&currency=eur&unit_amount_decimal=1&recurring[interval]=month&recurring[usage_type]=metered\
             &recurring[meter]={meter}&lookup_key=used"
        );
        self.ask("POST", "/v1/prices", &form);
        let customer = id(&self.ask(
            "POST",
            "/v1/customers",
            "email=a@example.com&metadata[weir_tenant]=tn_1",
        ));
        let session = self.checkout(&customer);
        let session = self.tell(&format!("/_pay/{session}"), "");
        (customer, text(&session["subscription"]))
    }

    fn checkout(&mut self, customer: &str) -> String {
        let mut price = |key: &str| {
            let found = self.ask(
                "GET",
                "/v1/prices",
                &format!("lookup_keys[]={key}&active=true"),
            );
            id(&found["data"][0])
        };
        let (small, used) = (price("small"), price("used"));
        let form = format!(
            "mode=subscription&customer={customer}&client_reference_id=tn_1&line_items[0][price]={small}\
             &line_items[0][quantity]=1&line_items[1][price]={used}&subscription_data[metadata][weir_tenant]=tn_1\
             &subscription_data[billing_cycle_anchor_config][day_of_month]=1\
             &subscription_data[billing_cycle_anchor_config][hour]=0\
             &subscription_data[billing_cycle_anchor_config][minute]=0\
             &subscription_data[billing_cycle_anchor_config][second]=0\
             &subscription_data[proration_behavior]=create_prorations\
             &success_url=http://weir/?session={{CHECKOUT_SESSION_ID}}&cancel_url=http://weir/&expires_at={}",
            self.books.now + 30 * 60
        );
        id(&self.ask("POST", "/v1/checkout/sessions", &form))
    }

    fn to(&mut self, at: i64) {
        self.tell("/_clock", &format!("to={at}"));
    }

    fn object(&mut self, kind: &str, id: &str) -> Value {
        self.ask("GET", &format!("/v1/{kind}/{id}"), "")
    }

    fn subscription(&mut self, id: &str) -> Value {
        self.ask(
            "GET",
            &format!("/v1/subscriptions/{id}"),
            "expand[]=latest_invoice",
        )
    }

    /// What has happened since the newest event that was seen, the oldest first.
    fn events(&mut self, seen: &mut String) -> Vec<String> {
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

    fn use_up(&mut self, customer: &str, at: i64, identifier: &str, value: &str) -> (u16, Value) {
        let form = format!(
            "event_name=requests&identifier={identifier}&timestamp={at}&payload[stripe_customer_id]={customer}\
             &payload[value]={value}"
        );
        let answer = self.answer("POST", "/v1/billing/meter_events", &form);
        (answer.status, answer.body["error"]["message"].clone())
    }
}

fn id(object: &Value) -> String {
    text(&object["id"])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value:#}"))
        .to_owned()
}

#[test]
fn who_pays_has_a_subscription_until_the_first_of_the_month() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    let subscription = account.subscription(&id);
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["customer"], *customer);
    assert_eq!(subscription["metadata"], json!({ "weir_tenant": "tn_1" }));
    assert_eq!(subscription["billing_cycle_anchor"], DECEMBER);
    let items = subscription["items"]["data"].as_array().unwrap();
    assert_eq!(items[0]["current_period_start"], START);
    assert_eq!(items[0]["current_period_end"], DECEMBER);
    assert_eq!(items[0]["price"]["lookup_key"], "small");
    assert_eq!(items[1]["price"]["recurring"]["usage_type"], "metered");
    let invoice = &subscription["latest_invoice"];
    assert_eq!(invoice["status"], "paid");
    // 3.5 of the 30 days that are a month from now.
    assert_eq!(invoice["total"], 233);
    let kinds = account.events(&mut String::new());
    assert_eq!(
        kinds[kinds.len() - 6..],
        [
            "customer.subscription.created",
            "invoice.created",
            "invoice.finalized",
            "invoice.paid",
            "invoice.payment_succeeded",
            "checkout.session.completed",
        ]
    );
}

#[test]
fn what_was_used_is_on_the_invoice_of_the_period() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    let mut seen = String::new();
    account.events(&mut seen);
    assert_eq!(account.use_up(&customer, START, "a", "10").0, 200);
    assert_eq!(account.use_up(&customer, START + 60, "b", "30").0, 200);
    let (status, message) = account.use_up(&customer, START + 60, "b", "30");
    assert_eq!(status, 400);
    assert_eq!(message, "An event already exists with identifier b.");
    account.to(DECEMBER);
    assert_eq!(
        account.events(&mut seen),
        ["invoice.created", "customer.subscription.updated"]
    );
    let invoice = account.subscription(&id)["latest_invoice"].clone();
    assert_eq!(invoice["status"], "draft");
    assert_eq!(invoice["billing_reason"], "subscription_cycle");
    assert_eq!(invoice["automatically_finalizes_at"], DECEMBER + HOUR);
    assert_eq!(invoice["period_end"], DECEMBER);
    assert_eq!(
        invoice["parent"]["subscription_details"]["subscription"],
        *id
    );
    let path = format!("/v1/invoices/{}", text(&invoice["id"]));
    let later = format!(
        "auto_advance=true&automatically_finalizes_at={}",
        DECEMBER + 5 * HOUR
    );
    account.ask("POST", &path, &later);
    // Of the last day, told late.
    account.to(DECEMBER + 4 * HOUR);
    assert_eq!(account.use_up(&customer, DECEMBER - 120, "c", "500").0, 200);
    assert_eq!(
        account.object("invoices", &text(&invoice["id"]))["status"],
        "draft"
    );
    account.to(DECEMBER + 5 * HOUR);
    let invoice = account.object("invoices", &text(&invoice["id"]));
    assert_eq!(invoice["status"], "paid");
    assert_eq!(
        invoice["status_transitions"]["finalized_at"],
        DECEMBER + 5 * HOUR
    );
    assert_eq!(invoice["lines"]["data"][0]["quantity"], 530);
    assert_eq!(invoice["total"], 2_530);
    assert_eq!(account.refuse("POST", &path, "auto_advance=true").0, 400);
}

#[test]
fn usage_is_told_by_day() {
    let mut account = Account::new();
    let (customer, _) = account.subscribe();
    for (at, identifier, value) in [
        (START, "a", "1"),
        (START + 1, "b", "7"),
        (START - DAY, "c", "5"),
    ] {
        assert_eq!(account.use_up(&customer, at, identifier, value).0, 200);
    }
    let meters = account.ask("GET", "/v1/billing/meters", "status=active");
    let path = format!(
        "/v1/billing/meters/{}/event_summaries",
        id(&meters["data"][0])
    );
    let midnight = START - 12 * HOUR;
    let form = format!(
        "customer={customer}&start_time={}&end_time={}&value_grouping_window=day",
        midnight - DAY,
        midnight + DAY
    );
    let days = account.ask("GET", &path, &form);
    assert_eq!(days["data"][0]["aggregated_value"], 7);
    assert_eq!(days["data"][0]["start_time"], midnight);
    assert_eq!(days["data"][1]["aggregated_value"], 5);
    let form = format!(
        "customer={customer}&start_time={START}&end_time={}&value_grouping_window=day",
        START + DAY
    );
    assert_eq!(account.refuse("GET", &path, &form).0, 400);
    assert_eq!(account.use_up(&customer, START + 301, "d", "1").0, 400);
    assert_eq!(
        account.use_up(&customer, START - 35 * DAY - 1, "d", "1").0,
        400
    );
    assert_eq!(account.use_up(&customer, START, "d", "-1").0, 400);
    assert_eq!(account.use_up(&customer, START, "d", "1.5").0, 400);
    // Forgotten after a day.
    account.to(START + DAY);
    assert_eq!(account.use_up(&customer, START + 1, "b", "8").0, 200);
}

#[test]
fn a_card_that_fails_and_recovers() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    account.tell(&format!("/_cards/{customer}"), "fails=true");
    account.to(DECEMBER);
    let mut seen = String::new();
    account.events(&mut seen);
    account.to(DECEMBER + HOUR);
    assert_eq!(
        account.events(&mut seen),
        [
            "invoice.finalized",
            "invoice.payment_failed",
            "customer.subscription.updated"
        ]
    );
    let subscription = account.subscription(&id);
    assert_eq!(subscription["status"], "past_due");
    let invoice = &subscription["latest_invoice"];
    assert_eq!(invoice["status"], "open");
    assert_eq!(invoice["next_payment_attempt"], DECEMBER + HOUR + 3 * DAY);
    account.tell(&format!("/_cards/{customer}"), "fails=false");
    account.to(DECEMBER + HOUR + 3 * DAY);
    assert_eq!(account.subscription(&id)["status"], "active");
    assert_eq!(
        account.subscription(&id)["latest_invoice"]["status"],
        "paid"
    );
}

#[test]
fn a_card_that_goes_on_failing_ends_the_subscription() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    account.tell(&format!("/_cards/{customer}"), "fails=true");
    account.to(DECEMBER + HOUR + 6 * DAY);
    let subscription = account.subscription(&id);
    assert_eq!(subscription["status"], "canceled");
    assert_eq!(subscription["ended_at"], DECEMBER + HOUR + 6 * DAY);
    assert_eq!(subscription["latest_invoice"]["status"], "uncollectible");
    let mut account = Account::new();
    account.tell("/_settings", "after_retries=unpaid&retries=0");
    let (customer, id) = account.subscribe();
    account.tell(&format!("/_cards/{customer}"), "fails=true");
    account.to(JANUARY + DAY);
    let subscription = account.subscription(&id);
    assert_eq!(subscription["status"], "unpaid");
    assert_eq!(subscription["latest_invoice"]["status"], "draft");
    let invoices = account.ask(
        "GET",
        "/v1/invoices",
        &format!("subscription={id}&status=open"),
    );
    account.tell(&format!("/_cards/{customer}"), "fails=false");
    account.tell(&format!("/_retry/{}", text(&invoices["data"][0]["id"])), "");
    assert_eq!(account.subscription(&id)["status"], "active");
}

#[test]
fn the_portal_changes_and_cancels() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    let portal = format!("/_portal/{id}");
    let changed = account.tell(&portal, "act=change&price=big");
    assert_eq!(changed["items"]["data"][0]["price"]["lookup_key"], "big");
    assert_eq!(changed["items"]["data"][1]["price"]["lookup_key"], "used");
    account.to(DECEMBER + HOUR);
    // 50.00, and of 30.00 more the part that was left of November.
    assert_eq!(account.subscription(&id)["latest_invoice"]["total"], 5_350);
    let form = "features[subscription_update][enabled]=true\
         &features[subscription_update][schedule_at_period_end][conditions][0][type]=decreasing_item_amount";
    let configuration = account.ask("POST", "/v1/billing_portal/configurations", form);
    let form = format!(
        "customer={customer}&configuration={}",
        text(&configuration["id"])
    );
    assert!(
        text(&account.ask("POST", "/v1/billing_portal/sessions", &form)["url"])
            .contains("/portal/bps_")
    );
    let changed = account.tell(&portal, "act=change&price=small");
    assert_eq!(changed["items"]["data"][0]["price"]["lookup_key"], "big");
    account.to(JANUARY);
    let subscription = account.subscription(&id);
    assert_eq!(
        subscription["items"]["data"][0]["price"]["lookup_key"],
        "small"
    );
    let canceled = account.tell(&portal, "act=cancel");
    assert_eq!(canceled["cancel_at_period_end"], true);
    assert_eq!(canceled["cancel_at"], JANUARY + 31 * DAY);
    assert!(account.tell(&portal, "act=resume")["cancel_at"].is_null());
    account.tell(&portal, "act=cancel");
    let mut seen = String::new();
    account.events(&mut seen);
    account.to(JANUARY + 31 * DAY);
    let ends = ["customer.subscription.deleted", "invoice.created"];
    assert_eq!(account.events(&mut seen), ends);
    let list = |account: &mut Account, status: &str| {
        let list = account.ask(
            "GET",
            "/v1/subscriptions",
            &format!("customer={customer}{status}"),
        );
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(list(&mut account, ""), 0);
    assert_eq!(list(&mut account, "&status=all"), 1);
}

#[test]
fn a_session_ends_paid_expired_or_forgotten() {
    let mut account = Account::new();
    let (customer, _) = account.subscribe();
    let open = account.checkout(&customer);
    let path = format!("/v1/checkout/sessions/{open}");
    assert!(account.ask("GET", &path, "")["line_items"].is_null());
    assert_eq!(
        account.ask("GET", &path, "expand[]=line_items")["line_items"]["data"][0]["quantity"],
        1
    );
    account.ask("POST", &format!("{path}/expire"), "");
    assert_eq!(account.refuse("POST", &format!("{path}/expire"), "").0, 400);
    let left = account.checkout(&customer);
    account.to(START + 31 * 60);
    assert_eq!(
        account.object("checkout/sessions", &left)["status"],
        "expired"
    );
    let list = account.ask(
        "GET",
        "/v1/checkout/sessions",
        &format!("customer={customer}&status=open"),
    );
    assert_eq!(list["data"], json!([]));
}

#[test]
fn who_is_deleted_has_no_subscription() {
    let mut account = Account::new();
    let (customer, id) = account.subscribe();
    let path = format!("/v1/customers/{customer}");
    assert_eq!(account.ask("DELETE", &path, "")["deleted"], true);
    assert_eq!(account.ask("GET", &path, "")["deleted"], true);
    assert_eq!(account.subscription(&id)["status"], "canceled");
    let list = account.ask("GET", "/v1/customers", "email=a@example.com");
    assert_eq!(list["data"], json!([]));
}

#[test]
fn the_same_key_does_the_same_once() {
    let mut account = Account::new();
    let request = |name: &str| Request {
        idempotency_key: Some("key-1".into()),
        ..Account::request("POST", "/v1/customers", &format!("name={name}"))
    };
    let first = account.books.on_request(START, &request("a"));
    let again = account.books.on_request(START, &request("a"));
    assert_eq!((&first.body, true), (&again.body, again.is_repeated));
    let other = account.books.on_request(START, &request("b"));
    assert_eq!(
        (other.status, &other.body["error"]["type"]),
        (400, &json!("idempotency_error"))
    );
    account.to(START + DAY);
    let later = account.books.on_request(START, &request("b"));
    assert_ne!(first.body["id"], later.body["id"]);
}

#[test]
fn requests_are_as_stripe_wants_them() {
    let mut account = Account::new();
    let refused = |account: &mut Account, change: fn(&mut Request)| {
        let mut request = Account::request("POST", "/v1/customers", "name=a");
        change(&mut request);
        account.books.on_request(START, &request).status
    };
    assert_eq!(refused(&mut account, |_| {}), 200);
    assert_eq!(
        refused(&mut account, |request| request.authorization = None),
        401
    );
    assert_eq!(
        refused(&mut account, |request| request.authorization =
            Some("Bearer x".into())),
        401
    );
    assert_eq!(
        refused(&mut account, |request| request.version =
            Some("2025-01-01".into())),
        400
    );
    assert_eq!(
        refused(&mut account, |request| request.content_type =
            Some("application/json".into())),
        400
    );
    assert_eq!(account.refuse("GET", "/v1/nothing", "").0, 404);
    let missing = (404, json!("resource_missing"));
    assert_eq!(account.refuse("GET", "/v1/customers/cus_1", ""), missing);
    let unknown = (400, json!("parameter_unknown"));
    assert_eq!(account.refuse("POST", "/v1/customers", "nam=a"), unknown);
    let absent = (400, json!("parameter_missing"));
    assert_eq!(
        account.refuse("POST", "/v1/products", "active=true"),
        absent
    );
}

#[test]
fn faults_leave_the_effect_or_not() {
    let mut account = Account::new();
    let customers = |account: &mut Account| {
        let list = account.ask("GET", "/v1/customers", "");
        list["data"].as_array().unwrap().len()
    };
    account.tell(
        "/_faults",
        "path=/v1/customers&kind=error&status=503&when=before&count=1",
    );
    assert_eq!(
        account.answer("POST", "/v1/customers", "name=a").status,
        503
    );
    assert_eq!(customers(&mut account), 0);
    account.tell("/_faults", "kind=error&when=after&count=1");
    let request = Request {
        idempotency_key: Some("key-1".into()),
        ..Account::request("POST", "/v1/customers", "name=a")
    };
    assert_eq!(account.books.on_request(START, &request).status, 500);
    let again = account.books.on_request(START, &request);
    assert_eq!((again.status, again.is_repeated), (200, true));
    assert_eq!(customers(&mut account), 1);
    account.tell("/_faults", "kind=rate_limit");
    assert_eq!(account.answer("GET", "/v1/customers", "").status, 429);
    let clear = Account::request("DELETE", "/_faults", "");
    account.books.on_control(START, &clear).unwrap();
    assert_eq!(customers(&mut account), 1);
}

#[test]
fn an_event_is_found_until_it_is_delivered() {
    let mut account = Account::new();
    let form =
        "url=http://127.0.0.1:1/&enabled_events[]=customer.created&api_version=2026-10-28.endive";
    let endpoint = account.ask("POST", "/v1/webhook_endpoints", form);
    assert!(text(&endpoint["secret"]).starts_with("whsec_"));
    let list = account.ask("GET", "/v1/webhook_endpoints", "");
    assert!(list["data"][0]["secret"].is_null());
    account.ask("POST", "/v1/customers", "name=a");
    account.ask("POST", "/v1/products", "name=b");
    let failed = "types[]=customer.created&delivery_success=false";
    let count = |account: &mut Account| {
        let list = account.ask("GET", "/v1/events", failed);
        list["data"].as_array().unwrap().len()
    };
    let delivery = account.books.next_delivery().unwrap();
    assert!(account.books.next_delivery().is_none());
    account.books.on_delivered(&delivery, 500);
    assert_eq!(count(&mut account), 1);
    account.tell(&format!("/_deliver/{}", delivery.event), "");
    let delivery = account.books.next_delivery().unwrap();
    account.books.on_delivered(&delivery, 200);
    assert_eq!(count(&mut account), 0);
}
