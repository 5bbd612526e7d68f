//! How requests are answered, whatever they ask.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::account::{Account, DAY, START, text};
use crate::books::Request;

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
    account.ask("POST", "/v1/customers", "name=c");
    assert_eq!(count(&mut account), 1);
    let path = format!("/v1/webhook_endpoints/{}", text(&endpoint["id"]));
    account.ask("DELETE", &path, "");
    assert_eq!(count(&mut account), 0);
    assert!(account.books.next_delivery().is_none());
}

#[test]
fn an_account_that_is_away_does_nothing() {
    let mut account = Account::new();
    account.tell("/_faults", "kind=reset&when=before&count=1");
    let answer = account.answer("POST", "/v1/customers", "name=a");
    assert!(answer.outcome.reset.is_some());
    account.tell(
        "/_faults",
        "kind=error&status=400&should_retry=true&count=1",
    );
    let answer = account.answer("POST", "/v1/customers", "name=a");
    assert_eq!(answer.outcome.should_retry, Some(true));
    let list = account.ask("GET", "/v1/customers", "");
    assert_eq!(list["data"], json!([]));
}

proptest! {
    /// However often something is asked with the same key, and whatever fails meanwhile, it is done once a day.
    #[test]
    fn one_key_makes_one_customer(
        asked in prop::collection::vec((0_usize..3, 0_usize..4), 1..30),
    ) {
        let mut account = Account::new();
        let faults = [
            "",
            "kind=error&when=before&count=1",
            "kind=error&when=after&count=1",
            "kind=error&when=after&kept=true&count=1",
        ];
        let mut done = BTreeSet::new();
        for (key, fault) in asked {
            if fault > 0 {
                account.tell("/_faults", faults[fault]);
            }
            if fault != 1 {
                done.insert(key);
            }
            let request = Request {
                idempotency_key: Some(format!("key-{key}")),
                ..Account::request("POST", "/v1/customers", &format!("name={key}"))
            };
            account.books.on_request(START, &request);
        }
        let list = account.ask("GET", "/v1/customers", "limit=100");
        prop_assert_eq!(list["data"].as_array().map_or(0, Vec::len), done.len());
    }
}
