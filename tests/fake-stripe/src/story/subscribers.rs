//! What becomes of subscribers.

use serde_json::{Value, json};

use super::account::{Account, DAY, DECEMBER, HOUR, JANUARY, START, id, text};

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
fn the_portal_changes_what_has_one_item() {
    let mut account = Account::new();
    let (customer, metered) = account.subscribe();
    let session = account.checkout(&customer, &["small"]);
    let session = account.tell(&format!("/_pay/{session}"), "");
    let id = text(&session["subscription"]);
    let portal = format!("/_portal/{id}");
    let changed = account.tell(&portal, "act=change&price=big");
    assert_eq!(changed["items"]["data"][0]["price"]["lookup_key"], "big");
    account.to(DECEMBER + HOUR);
    // 50.00, and of 30.00 more the part that was left of November.
    let invoice = &account.subscription(&id)["latest_invoice"];
    assert_eq!(invoice["total"], 5_350);
    let (small, big) = (account.price("small"), account.price("big"));
    let form = format!(
        "features[subscription_update][enabled]=true\
         &features[subscription_update][products][0][product]=small\
         &features[subscription_update][products][0][prices][0]={small}\
         &features[subscription_update][products][1][product]=big\
         &features[subscription_update][products][1][prices][0]={big}\
         &features[subscription_update][schedule_at_period_end][conditions][0][type]=decreasing_item_amount"
    );
    let path = "/v1/billing_portal/configurations";
    let configuration = account.ask("POST", path, &form);
    let update = |object: &Value| object["features"]["subscription_update"].clone();
    assert!(update(&configuration)["products"].is_null());
    let expand = "expand[]=data.features.subscription_update.products";
    let list = account.ask("GET", path, expand);
    assert_eq!(
        update(&list["data"][0])["products"][1]["prices"],
        json!([big])
    );
    // Two of one product and interval.
    let same = form
        .replace("[prices][0]", "[prices][]")
        .replace("products][1]", "products][0]");
    assert_eq!(account.refuse("POST", path, &same).0, 400);
    let form = format!(
        "customer={customer}&configuration={}",
        text(&configuration["id"])
    );
    let session = account.ask("POST", "/v1/billing_portal/sessions", &form);
    assert!(text(&session["url"]).contains("/portal/bps_"));
    let changed = account.tell(&portal, "act=change&price=small");
    assert_eq!(changed["items"]["data"][0]["price"]["lookup_key"], "big");
    account.to(JANUARY);
    let subscription = account.subscription(&id);
    assert_eq!(
        subscription["items"]["data"][0]["price"]["lookup_key"],
        "small"
    );
    // What is metered can be changed by the seller alone.
    let portal = format!("/_portal/{metered}");
    let request = Account::request("POST", &portal, "act=change&price=big");
    assert!(account.books.on_control(START, &request).is_err());
    let changed = account.tell(&portal, "act=change&price=big&by=seller");
    assert_eq!(changed["items"]["data"][0]["price"]["lookup_key"], "big");
    assert_eq!(changed["items"]["data"][1]["price"]["lookup_key"], "used");
}

#[test]
fn who_cancels_has_the_period_that_is_paid() {
    for by in ["customer", "seller"] {
        let mut account = Account::new();
        let (customer, id) = account.subscribe();
        let portal = format!("/_portal/{id}");
        let cancel = format!("act=cancel&by={by}");
        let canceled = account.tell(&portal, &cancel);
        let by_time = canceled["cancel_at"] == DECEMBER;
        assert_eq!(by_time, by == "customer");
        assert_eq!(canceled["cancel_at_period_end"], by == "seller");
        let resumed = account.tell(&portal, "act=resume");
        assert!(resumed["cancel_at"].is_null());
        assert_eq!(resumed["cancel_at_period_end"], false);
        account.tell(&portal, &cancel);
        let mut seen = String::new();
        account.events(&mut seen);
        account.to(DECEMBER);
        let ends = ["customer.subscription.deleted", "invoice.created"];
        assert_eq!(account.events(&mut seen), ends);
        for (status, count) in [("", 0), ("&status=all", 1)] {
            let form = format!("customer={customer}{status}");
            let list = account.ask("GET", "/v1/subscriptions", &form);
            assert_eq!(list["data"].as_array().unwrap().len(), count);
        }
    }
}

#[test]
fn a_bank_that_takes_its_time_pays_or_does_not() {
    for (outcome, status) in [("paid", "active"), ("failed", "past_due")] {
        let mut account = Account::new();
        let (customer, _) = account.subscribe();
        let session = account.checkout(&customer, &["big"]);
        let pay = format!("/_pay/{session}");
        let pending = account.tell(&pay, "outcome=pending");
        assert_eq!(pending["status"], "complete");
        assert_eq!(pending["payment_status"], "unpaid");
        let mut seen = String::new();
        account.events(&mut seen);
        let session = account.tell(&pay, &format!("outcome={outcome}"));
        let id = text(&session["subscription"]);
        assert_eq!(account.subscription(&id)["status"], status);
        let kinds = account.events(&mut seen);
        let expected = match outcome {
            "paid" => "checkout.session.async_payment_succeeded",
            _ => "checkout.session.async_payment_failed",
        };
        assert!(kinds.iter().any(|kind| kind == expected), "{kinds:?}");
    }
}

#[test]
fn a_session_ends_paid_expired_or_forgotten() {
    let mut account = Account::new();
    let (customer, _) = account.subscribe();
    let open = account.checkout(&customer, &["small", "used"]);
    let path = format!("/v1/checkout/sessions/{open}");
    assert!(account.ask("GET", &path, "")["line_items"].is_null());
    assert_eq!(
        account.ask("GET", &path, "expand[]=line_items")["line_items"]["data"][0]["quantity"],
        1
    );
    account.ask("POST", &format!("{path}/expire"), "");
    assert_eq!(account.refuse("POST", &format!("{path}/expire"), "").0, 400);
    let left = account.checkout(&customer, &["small", "used"]);
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
