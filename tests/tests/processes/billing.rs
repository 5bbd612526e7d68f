//! Plans that are sold, by a stand-in for Stripe: from its set-up to a plan that is had on every node, and requests that are billed once
//! whoever dies.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use e2e::{Cluster, Node, Options, Response, eventually, weir};
use fake_stripe::FakeStripe;
use serde_json::{Value, json};

use crate::pages::{Browser, PASSWORD, hidden, leads_to};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// A service whose first node is where Stripe sends its events to.
struct Shop {
    cluster: Cluster,
    stripe: FakeStripe,
    port: u16,
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("writing a secret");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("shutting it");
}

impl Shop {
    /// No node runs yet.
    fn new() -> Self {
        let stripe = FakeStripe::start("127.0.0.1:0");
        let any = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = any.local_addr().expect("an address").port();
        let shop = Self {
            cluster: Cluster::with_config(""),
            stripe,
            port,
        };
        secret(
            &shop.cluster.home().join("stripe"),
            "sk_test_of_the_tests\n",
        );
        shop.configure(&[]);
        shop
    }

    /// Writes the file of all nodes, with these files of webhook secrets.
    fn configure(&self, webhook_secrets: &[&str]) {
        let home = self.cluster.home();
        let (port, stripe, key) = (self.port, self.stripe.url(), home.join("stripe"));
        let secrets: Vec<String> = webhook_secrets
            .iter()
            .map(|name| format!("{:?}", home.join(name)))
            .collect();
        let secrets = secrets.join(", ");
        let plan = |name: &str, requests: u32, rest: &str| {
            format!(
                "[[plan]]\nname = \"{name}\"\nrequests_per_day = {requests}\nper_second = 100000\nlimits = 5\nkey_limits = 5\n\
                 api_keys = 5\nteam = 5\n{rest}\n"
            )
        };
        let plans = [
            plan("free", 5, ""),
            plan("pro", 1_000, "price = \"weir_pro_monthly\""),
            plan(
                "enterprise",
                100_000,
                "price = \"weir_enterprise_monthly\"\nmetered_price = \"weir_enterprise_requests\"",
            ),
        ];
        let text = format!(
            "[cluster]\nack = \"replicated\"\n\n[service]\npublic_url = \"http://127.0.0.1:{port}\"\nsignup = \"open\"\n\n\
             [billing]\nsecret_key_file = {key:?}\nwebhook_secret_files = [{secrets}]\napi_url = \"{stripe}\"\n\n{}",
            plans.concat()
        );
        fs::write(home.join("weir.toml"), text).expect("writing a configuration");
    }

    fn start(&mut self, name: &str) {
        let directory = self.cluster.home().join(format!("data-of-{name}"));
        let node = self.cluster.starting(Options {
            args: vec!["--data-dir".into(), directory.display().to_string()],
            http_port: if name == NAMES[0] { self.port } else { 0 },
            ..Options::new(name, Cluster::COOKIE)
        });
        let ready = node.ready();
        let ready = ready.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
        self.cluster.nodes.push(ready);
    }

    /// What `weir billing` says on both streams, and how it ends.
    fn billing(&self, node: &Node, arguments: &[&str]) -> (bool, String, String) {
        let url = format!("http://{}", node.http);
        let common = ["--cookie", Cluster::COOKIE, "--url", &url];
        let mut command = weir(self.cluster.home());
        let output = command.arg("billing").args(arguments).args(common).output();
        let output = output.expect("running weir");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Sets Stripe up, and starts all nodes with what that gave.
    fn open(&mut self) {
        self.start(NAMES[0]);
        let (is_well, told, _) = self.billing(&self.cluster.nodes[0], &["check"]);
        assert!(
            !is_well && told.contains("price weir_pro_monthly"),
            "{told}"
        );
        let prices = [
            "weir_pro_monthly=2900",
            "weir_enterprise_monthly=9900",
            "weir_enterprise_requests=0.05",
        ];
        let prices = prices.iter().flat_map(|price| ["--price", price]);
        let setup: Vec<&str> = ["setup", "--currency", "eur"]
            .into_iter()
            .chain(prices)
            .collect();
        let (is_well, webhook_secret, told) = self.billing(&self.cluster.nodes[0], &setup);
        assert!(is_well && webhook_secret.starts_with("whsec_"), "{told}");
        assert!(!told.contains("whsec_"), "it stands on stdout alone");
        secret(&self.cluster.home().join("webhook"), &webhook_secret);
        self.configure(&["webhook"]);
        let mut first = self.cluster.take(NAMES[0]);
        first.terminate();
        assert!(first.ended().success());
        for name in NAMES {
            self.start(name);
        }
        self.cluster.until_well();
        let (is_well, told, _) = self.billing(&self.cluster.nodes[1], &["check"]);
        assert!(is_well, "{told}");
    }

    /// What the first node says to an event.
    fn event(&self, headers: &[(&str, &str)], body: &str) -> Response {
        let mut client = self.node(0).client();
        let answer = client.request("POST", "/stripe/webhook", headers, Some(body));
        answer.expect("an answer")
    }

    fn node(&self, place: usize) -> &Node {
        &self.cluster.nodes[place]
    }
}

/// The owner of a new tenant, its id, and an API key of it with the limit `api`.
fn sign_up(shop: &Shop) -> (Browser, String, String) {
    let mut ada = Browser::default();
    let node = shop.node(1);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Acme" });
    let answer = ada.json(node, "POST", "/v1/auth/sign-up", Some(body));
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["tenant"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let page = ada.page(node, &format!("/dashboard/{id}/limits"));
    let csrf = hidden(&page, "csrf");
    let form = format!("csrf={csrf}&name=api&algorithm=fixed_window&limit=1000000&per=1h");
    leads_to(&ada.form(node, &format!("/dashboard/{id}/limits"), &form));
    let key = [
        "key", "create", "--tenant", &id, "--name", "edge", "--scope", "check",
    ];
    let key = shop.cluster.operator(node, &key).trim().to_owned();
    (ada, id, key)
}

fn check(node: &Node, key: &str) -> Response {
    let body = json!({ "limit": "api", "key": "ada" });
    node.ask_by(key, "POST", "/v1/check", Some(body))
}

/// Buys a plan by the page of the tenant, up to the page on which it is paid.
fn begin(ada: &mut Browser, node: &Node, id: &str, plan: &str) -> String {
    let page = ada.page(node, &format!("/dashboard/{id}/billing"));
    assert!(page.body.contains(&format!("Buy {plan}")), "{page:?}");
    let form = format!("csrf={}&plan={plan}", hidden(&page, "csrf"));
    let url = leads_to(&ada.form(node, &format!("/dashboard/{id}/billing/checkout"), &form));
    let (_, session) = url.rsplit_once('/').expect("a page of Stripe");
    session.to_owned()
}

/// What the tenant has bought, as its owner is told.
fn standing(ada: &mut Browser, node: &Node) -> Value {
    let answer = ada.json(node, "GET", "/v1/billing", None);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until the tenant has this plan.
fn until_plan(ada: &mut Browser, node: &Node, plan: &str) {
    eventually("the plan is had", || match standing(ada, node) {
        standing if standing["plan"] == plan => Ok(()),
        standing => Err(standing.to_string()),
    });
}

#[test]
fn from_nothing_to_a_plan_that_is_paid_had_on_every_node_and_ended() {
    let mut shop = Shop::new();
    shop.open();
    let (mut ada, id, key) = sign_up(&shop);
    for place in 0..5 {
        assert_eq!(check(shop.node(place % 3), &key).status, 200);
    }
    let over = check(shop.node(2), &key);
    assert_eq!(over.status, 429, "{over:?}");
    let billing = format!("/dashboard/{id}/billing");
    let upgrade = over.json()["upgrade"]
        .as_str()
        .expect("an address")
        .to_owned();
    assert!(upgrade.ends_with(&billing), "{upgrade}");

    let session = begin(&mut ada, shop.node(1), &id, "pro");
    shop.stripe.post(&format!("/_pay/{session}"), "");
    // The event comes to the first node, and all know of it.
    for node in &shop.cluster.nodes {
        eventually("the plan is had", || match check(node, &key) {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
        let standing = standing(&mut ada, node);
        assert_eq!(
            (&standing["plan"], &standing["status"]),
            (&json!("pro"), &json!("active")),
            "{standing}"
        );
    }
    let back = ada.page(shop.node(2), &format!("{billing}?session={session}"));
    assert!(
        back.body.contains("Paid until") && !back.body.contains("Buy pro"),
        "{back:?}"
    );
    let form = format!("csrf={}&plan=pro", hidden(&back, "csrf"));
    let again = ada.form(shop.node(0), &format!("{billing}/checkout"), &form);
    assert_eq!(again.status, 409, "{again:?}");
    let portal = ada.form(shop.node(0), &format!("{billing}/portal"), &form);
    assert!(leads_to(&portal).contains("/portal/"));

    let state = shop.stripe.get("/_state");
    let (subscription, _) = named(&state["subscriptions"]);
    shop.stripe.post(
        &format!("/_portal/{subscription}"),
        "act=cancel_now&by=seller",
    );
    until_plan(&mut ada, shop.node(2), "free");
    assert_eq!(
        check(shop.node(1), &key).status,
        200,
        "the cap of the day holds until midnight"
    );
    let entries = shop.cluster.operator(shop.node(0), &["tenant", "get", &id]);
    assert!(entries.contains("free"), "{entries}");
}

/// The first of things that a list has, or an object by their names.
fn named(things: &Value) -> (String, Value) {
    let first = match things {
        Value::Array(all) => all.first().cloned(),
        Value::Object(all) => all.values().next().cloned(),
        _ => None,
    };
    let first = first.unwrap_or_else(|| panic!("nothing in {things}"));
    (first["id"].as_str().expect("an id").to_owned(), first)
}

fn billed(stripe: &FakeStripe) -> u64 {
    let state = stripe.get("/_state");
    let customers = state["used"]["weir_requests"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let days = customers.values().filter_map(Value::as_object).flatten();
    days.map(|(_, requests)| requests.as_f64().expect("a number") as u64)
        .sum()
}

/// How often it was told what was used.
fn calls(stripe: &FakeStripe) -> u64 {
    let calls = stripe.get("/_calls");
    calls["POST /v1/billing/meter_events"]
        .as_u64()
        .unwrap_or_default()
}

/// Admitted at three nodes at once, told while one of them is killed, and whose answers are lost now and then.
#[test]
fn what_was_admitted_is_billed_once_when_the_sender_is_killed() {
    let mut shop = Shop::new();
    shop.open();
    let (mut ada, id, key) = sign_up(&shop);
    for _ in 0..3 {
        assert_eq!(
            check(shop.node(0), &key).status,
            200,
            "of the free plan, and not billed"
        );
    }
    let session = begin(&mut ada, shop.node(1), &id, "enterprise");
    shop.stripe.post(&format!("/_pay/{session}"), "");
    until_plan(&mut ada, shop.node(0), "enterprise");
    let mut admitted = 0;
    let meter = "path=/v1/billing/meter_events&count=1";
    // After its effect, so that whoever asks again tells it twice.
    let lost = format!("kind=error&status=500&when=after&should_retry=false&{meter}");
    let slow = format!("kind=delay&ms=1000&{meter}");
    for fault in [None, Some(lost), Some(slow), None] {
        let hits: usize = thread::scope(|scope| {
            let clients = shop.cluster.nodes.iter().map(|node| {
                let key = &key;
                scope.spawn(move || (0..40).filter(|_| check(node, key).status == 200).count())
            });
            let clients: Vec<_> = clients.collect();
            let hits = clients.into_iter().map(|client| client.join());
            hits.map(|hits| hits.expect("a client")).sum()
        });
        admitted += hits as u64;
        let asked = calls(&shop.stripe);
        if let Some(fault) = &fault {
            shop.stripe.post("/_faults", fault);
        }
        let is_slow = fault.as_ref().is_some_and(|fault| fault.contains("delay"));
        let last = shop.cluster.nodes.len() - 1;
        let told = thread::scope(|scope| {
            let telling = scope.spawn(|| shop.billing(shop.node(last), &["sync", "--tenant", &id]));
            if is_slow {
                // It is being told.
                eventually("Stripe is asked", || match calls(&shop.stripe) {
                    now if asked < now => Ok(()),
                    now => Err(now.to_string()),
                });
                shop.node(last).signal(rustix::process::Signal::KILL);
            }
            telling.join().expect("a command")
        });
        assert_eq!(told.0, fault.is_none(), "{fault:?}: {told:?}");
        if is_slow {
            shop.cluster.nodes.pop();
        }
    }
    shop.stripe.clear_faults();
    let node = shop.node(0);
    eventually("all is told", || {
        let told = shop.billing(node, &["sync"]);
        let billed = billed(&shop.stripe);
        match told.0 && billed == admitted {
            true => Ok(()),
            false => Err(format!("{billed} of {admitted}: {told:?}")),
        }
    });
    let (is_well, told, _) = shop.billing(node, &["audit"]);
    assert!(is_well, "{told}");
    let day = shop
        .cluster
        .operator(node, &["usage", "--tenant", &id, "--json"]);
    let day: Value = serde_json::from_str(&day).expect("JSON");
    assert_eq!(
        day["today"]["requests"],
        admitted + 3,
        "the page, the cap and the bill are one number"
    );
}

#[test]
fn what_is_no_event_of_stripe_changes_nothing() {
    let mut shop = Shop::new();
    shop.start(NAMES[0]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now =
        i64::try_from(now.expect("after 1970").as_secs()).expect("before the year 292 billion");
    let body = r#"{"id":"evt_1","type":"invoice.paid","livemode":false,"data":{"object":{}}}"#;
    let signed = |secret: &str, at: i64| fake_stripe::signature(at, secret, body);
    // Without a secret in the file nothing is signed.
    let unsigned = shop.event(&[("Stripe-Signature", &signed("", now))], body);
    assert_eq!(unsigned.status, 400);
    secret(&shop.cluster.home().join("webhook"), "whsec_1");
    secret(&shop.cluster.home().join("webhook-before"), "whsec_0");
    shop.configure(&["webhook", "webhook-before"]);
    let mut first = shop.cluster.take(NAMES[0]);
    first.terminate();
    assert!(first.ended().success());
    shop.start(NAMES[0]);
    let post = |headers: &[(&str, &str)], body: &str| shop.event(headers, body);
    let good = signed("whsec_1", now);
    let (time, signature) = good.split_once(",v1=").expect("a signature");
    for (given, what) in [
        ("", "none"),
        ("t=1", "no signature"),
        (&*format!("{time},v0={signature}"), "another scheme"),
        (&*format!("{time},v1=zz"), "no hexadecimal"),
        (&*signed("whsec_1", now - 301), "of 301 s ago"),
        (&*signed("whsec_2", now), "another secret"),
    ] {
        let answer = post(&[("Stripe-Signature", given)], body);
        assert_eq!(
            (answer.status, answer.json()["field"].as_str()),
            (400, Some("Stripe-Signature")),
            "{what}"
        );
    }
    assert_eq!(post(&[], body).status, 400);
    assert_eq!(
        post(
            &[("Stripe-Signature", &good)],
            &body.replace("paid", "void")
        )
        .status,
        400
    );
    let long = "a".repeat(257 * 1024);
    assert_eq!(post(&[("Stripe-Signature", &good)], &long).status, 413);
    for secret in ["whsec_1", "whsec_0"] {
        let answer = post(&[("Stripe-Signature", &signed(secret, now))], body);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({ "ignored": "tenant" }))
        );
    }
    for (change, told) in [
        (
            body.replace("invoice.paid", "charge.refunded"),
            Some("type"),
        ),
        (body.replace("false", "true"), Some("livemode")),
        ("no JSON".to_owned(), None),
    ] {
        let signed = fake_stripe::signature(now, "whsec_1", &change);
        let answer = post(&[("Stripe-Signature", &signed)], &change);
        let expected = if told.is_some() { 200 } else { 400 };
        assert_eq!(
            (answer.status, answer.json()["ignored"].as_str()),
            (expected, told),
            "{change}"
        );
    }
}
