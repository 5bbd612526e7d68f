//! Plans that tenants buy, from a stand-in for Stripe.

use std::collections::BTreeMap;
use std::sync::Arc;

use accounts::{OperatorToken, Plans, Subscription, SubscriptionStatus, TenantId, UnixSecs};
use billing::{EVENTS, Event, SecretKey, Stripe, WebhookSecret};
use catalogue::{Content, SERVICE};
use coordinator::{Coordinator as _, Policy};
use fake_stripe::FakeStripe;
use limiter::{
    Access, Amounts, Billing, BillingDuty, Caller, Front, Handled, Kind, Limiter, NAMESPACE,
    NotStripes, Refusal, Service, TenantChange,
};
use proptest::prelude::*;
use quota::Cost;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Counting;

const COOKIE: &[u8] = b"the cookie of the tests";
const SECRET: &str = "whsec_of_the_tests";
const DAY: u64 = 24 * 60 * 60;

/// A service of one node that sells plans, and who sells them.
struct World {
    fake: FakeStripe,
    runtime: Runtime,
    access: Access,
    service: Arc<Service>,
    limiter: Limiter<Counting>,
}

impl World {
    fn new() -> Self {
        let fake = FakeStripe::start("127.0.0.1:0");
        let world = Self::over(fake);
        let amounts = [
            "weir_pro_monthly",
            "weir_enterprise_monthly",
            "weir_enterprise_requests",
        ];
        let amounts = Amounts {
            currency: Some("eur".into()),
            of_prices: amounts.map(|key| (key.to_owned(), "100".to_owned())).into(),
        };
        let made = world
            .run(world.operator().set_up_billing(&amounts))
            .unwrap();
        assert!(
            made.findings.iter().all(|finding| finding.is_well),
            "{made:?}"
        );
        assert!(
            made.secret
                .is_some_and(|secret| secret.expose().starts_with("whsec_"))
        );
        world
    }

    fn over(fake: FakeStripe) -> Self {
        let key = SecretKey::parse("sk_test_1").unwrap();
        let stripe = Stripe::new(key, &fake.url());
        let mut billing = Billing::new(COOKIE, stripe, "weir_requests".into());
        // The clock of the stand-in may be a month ahead.
        billing.finalize_after = 33 * DAY;
        billing.webhook_secrets = ["whsec_other", SECRET]
            .map(|secret| WebhookSecret::new(secret.into()))
            .into();
        // Nobody listens there: no event is delivered but by hand.
        let mut service = Service::new(COOKIE, "http://127.0.0.1:9".into(), Plans::default());
        service.node = "oskar".into();
        service.billing = Some(billing.into());
        let access = Access::new(None, Some(service));
        let node = Arc::new(Counting::default());
        Self {
            fake,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            service: Arc::clone(access.service().unwrap()),
            access,
            limiter: Limiter::new(node, NAMESPACE.into(), [], Front::Http),
        }
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn operator(&self) -> Caller<Counting> {
        let token = OperatorToken::derive(COOKIE);
        self.access
            .admit(&self.limiter, Some(token.reveal().as_bytes()))
            .unwrap()
    }

    fn within(&self, id: TenantId) -> Caller<Counting> {
        let within = self.access.within(self.operator(), &id.to_string());
        within.unwrap()
    }

    fn tenant(&self, name: &str) -> TenantId {
        let name = name.parse().unwrap();
        let made = self.limiter.make_tenant(name, TenantChange::default());
        self.run(made).unwrap().id
    }

    /// What is kept of a tenant at Stripe.
    fn known(&self, id: TenantId) -> Option<Subscription> {
        let made = self.limiter.node().made.lock().unwrap();
        let place = (
            catalogue::Kind::Subscription,
            SERVICE.to_owned(),
            id.to_string(),
        );
        let known = made.get(&place).and_then(Content::subscription);
        known.map(|known| Subscription::clone(known))
    }

    fn customer(&self, id: TenantId) -> String {
        self.known(id).unwrap().customer.unwrap().to_string()
    }

    fn plan(&self, id: TenantId) -> String {
        let tenant = self.limiter.tenant(id).unwrap();
        tenant.plan(&self.service.plans).name.to_string()
    }

    /// The session of a checkout that is begun.
    fn begin(&self, id: TenantId, plan: &str) -> String {
        let begun = self.run(self.within(id).checkout(plan)).unwrap();
        let (_, session) = begun.url.rsplit_once('/').unwrap();
        session.to_owned()
    }

    /// The session of a checkout that Weir would not begin.
    fn checkout_of(&self, tenant: TenantId, customer: &str, price: &str) -> String {
        let now = self.fake.get("/_clock")["now"].as_u64().unwrap();
        let new = billing::NewCheckout {
            tenant,
            customer,
            price,
            metered_price: None,
            success_url: "http://127.0.0.1:9/",
            cancel_url: "http://127.0.0.1:9/",
            now: UnixSecs::new(now),
        };
        let billing = self.service.billing.as_ref().unwrap();
        let begun = self.run(billing.stripe.checkout(&new)).unwrap().unwrap();
        let (_, session) = begun.url.rsplit_once('/').unwrap();
        session.to_owned()
    }

    fn pay(&self, session: &str) {
        self.fake.post(&format!("/_pay/{session}"), "");
    }

    /// A tenant that has paid, of which nobody has told yet.
    fn paying(&self, plan: &str) -> TenantId {
        let id = self.tenant("Acme");
        let session = self.begin(id, plan);
        self.pay(&session);
        id
    }

    /// All that has happened at Stripe, the oldest first.
    fn events(&self) -> Vec<Event> {
        let billing = self.service.billing.as_ref().unwrap();
        let told = billing.stripe.undelivered(&EVENTS, UnixSecs::new(0));
        self.run(told).unwrap()
    }

    fn take(&self, body: &str) -> Result<Handled, NotStripes> {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let signed = fake_stripe::signature(now.cast_signed(), SECRET, body);
        self.run(
            self.limiter
                .take_event(&self.service, &signed, body.as_bytes()),
        )
    }

    fn deliver(&self, event: &Event) -> Handled {
        self.take(&told(event)).unwrap()
    }

    fn deliver_all(&self) {
        for event in self.events() {
            self.deliver(&event);
        }
    }

    fn subscription(&self, id: TenantId) -> String {
        self.known(id).unwrap().bought.unwrap().id.to_string()
    }

    /// Two hours after the end of what is paid: an invoice that follows is final, and was collected once.
    fn next_period(&self) {
        let state = self.fake.get("/_state");
        let subscription = of(&state["subscriptions"]).next().unwrap();
        let item = &subscription["items"]["data"][0];
        let end = item["current_period_end"].as_u64().unwrap() + 2 * 60 * 60;
        let now = self.fake.get("/_clock")["now"].as_u64().unwrap();
        self.fake.post("/_clock", &format!("to={}", end.max(now)));
    }

    fn later(&self, secs: u64) {
        self.fake.post("/_clock", &format!("advance={secs}"));
    }

    /// Requests of today that were admitted.
    fn admit(&self, id: TenantId, requests: u32) {
        let (policy, key) = day(id);
        let hit = self.limiter.node().hit(&policy, &key, Cost::new(requests));
        self.run(hit).unwrap();
    }

    /// What Stripe has counted of a tenant, all days together.
    fn counted(&self, id: TenantId) -> u64 {
        let state = self.fake.get("/_state");
        let days = &state["used"]["weir_requests"][self.customer(id)];
        let days = days.as_object().into_iter().flatten();
        days.map(|(_, requests)| requests.as_f64().unwrap() as u64)
            .sum()
    }

    fn sync(&self, id: TenantId) -> Result<usize, Refusal> {
        self.run(self.operator().sync_billing(Some(id)))
    }

    fn duty(&self) -> BillingDuty<Counting> {
        BillingDuty::new(self.limiter.clone(), &self.access).unwrap()
    }
}

/// Under what the requests of today are counted.
fn day(id: TenantId) -> (Policy, String) {
    let limit = quota::Limit::new(
        quota::Algorithm::FixedWindow,
        accounts::REQUESTS_PER_DAY_MAX,
        quota::Nanos::from_secs(40 * DAY),
    );
    let policy = Policy {
        namespace: SERVICE.into(),
        name: "@requests".into(),
        limit: limit.unwrap(),
        ..crate::policy("@requests", coordinator::FailMode::Deny)
    };
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (policy, format!("{id}/{}", UnixSecs::new(now).date()))
}

/// The body of an event as far as it is looked at.
fn told(event: &Event) -> String {
    let kind = event.kind.split('.').next().unwrap();
    let object = match event.kind.as_str() {
        kind if kind.starts_with("customer.subscription") => "subscription",
        "customer.deleted" => "customer",
        _ => kind,
    };
    let metadata = json!({ "weir_tenant": event.tenant });
    let object = json!({
        "id": event.about, "object": object, "customer": event.customer,
        "subscription": event.subscription, "metadata": metadata,
    });
    let event = json!({
        "id": event.id, "type": event.kind, "livemode": event.is_live, "data": { "object": object },
    });
    event.to_string()
}

fn some_event(kind: &str, object: Value) -> String {
    json!({ "id": "evt_x", "type": kind, "livemode": false, "data": { "object": object } })
        .to_string()
}

#[test]
fn what_is_bought_is_had_until_it_ends() {
    let world = World::new();
    let id = world.tenant("Acme");
    assert_eq!(world.plan(id), "free");
    let nothing = world.run(world.within(id).portal()).unwrap_err();
    assert_eq!(nothing.kind(), Kind::BillingConflict);
    let session = world.begin(id, "pro");
    world.pay(&session);
    assert_eq!(world.plan(id), "free", "nobody has told of it yet");
    world.deliver_all();
    assert_eq!(world.plan(id), "pro");
    let standing = world.run(world.within(id).billing(false)).unwrap();
    assert_eq!(standing.status, Some(SubscriptionStatus::Active));
    assert!(standing.has_portal && !standing.has_conflict && standing.ends_at.is_none());
    let refusal = world
        .run(world.within(id).checkout("enterprise"))
        .unwrap_err();
    assert_eq!(refusal.kind(), Kind::BillingConflict);
    let portal = world.run(world.within(id).portal()).unwrap();
    assert!(portal.contains("/portal/"), "{portal}");

    let subscription = world.subscription(id);
    world
        .fake
        .post(&format!("/_portal/{subscription}"), "act=cancel");
    world.deliver_all();
    let standing = world.run(world.within(id).billing(false)).unwrap();
    assert_eq!(standing.ends_at, standing.period_end);
    assert_eq!(
        (world.plan(id), standing.ends_at.is_some()),
        ("pro".into(), true)
    );
    world.next_period();
    world.deliver_all();
    assert_eq!(world.plan(id), "free");
    let tenant = world.limiter.tenant(id).unwrap();
    let today = tenant.held.set_at().days();
    let caps = [today, today + 1].map(|day| tenant.cap(&world.service.plans, day));
    assert_eq!(
        caps,
        [Some(1_000_000), Some(10_000)],
        "the smaller cap from midnight on"
    );
}

#[test]
fn what_was_ended_may_be_bought_anew() {
    let world = World::new();
    let id = world.paying("pro");
    world.deliver_all();
    let subscription = world.subscription(id);
    world.fake.post(
        &format!("/_portal/{subscription}"),
        "act=cancel_now&by=seller",
    );
    world.deliver_all();
    assert_eq!(world.plan(id), "free");
    let session = world.begin(id, "pro");
    world.pay(&session);
    world.deliver_all();
    assert_eq!(world.plan(id), "pro");
    assert_ne!(world.subscription(id), subscription);
}

#[test]
fn whoever_comes_back_from_paying_waits_for_no_event() {
    let world = World::new();
    let id = world.tenant("Acme");
    let session = world.begin(id, "pro");
    world.pay(&session);
    let standing = world.run(world.within(id).billing(true)).unwrap();
    assert_eq!(standing.plan.as_str(), "pro");
    let calls = world.fake.get("/_calls");
    world.run(world.within(id).billing(true)).unwrap();
    assert_eq!(calls, world.fake.get("/_calls"), "it is known now");
}

#[test]
fn what_another_customer_has_paid_is_not_the_tenants() {
    let world = World::new();
    let [one, other] = ["One", "Other"].map(|name| world.tenant(name));
    for id in [one, other] {
        world.begin(id, "pro");
    }
    let customer = world.customer(other);
    let begun = world.checkout_of(one, &customer, "weir_enterprise_monthly");
    world.pay(&begun);
    let events = world.events();
    let paid = events
        .iter()
        .find(|it| it.kind == "checkout.session.completed");
    assert_eq!(world.deliver(paid.unwrap()), Handled::Ignored("tenant"));
    assert_eq!(
        (world.plan(one), world.plan(other)),
        ("free".into(), "free".into())
    );
    let audit = world.operator().audit(None, 9).unwrap();
    assert!(
        audit
            .iter()
            .any(|(_, entry)| &*entry.what == "billing.wrong-customer")
    );
}

#[test]
fn of_two_checkouts_the_first_cannot_be_paid_any_more() {
    let world = World::new();
    let id = world.tenant("Acme");
    let (first, second) = (world.begin(id, "pro"), world.begin(id, "enterprise"));
    let sessions = world.fake.get("/_state")["sessions"].to_string();
    let status = |id: &str| {
        let state: Value = serde_json::from_str(&sessions).unwrap();
        let all = match &state {
            Value::Array(all) => all.clone(),
            Value::Object(all) => all.values().cloned().collect(),
            _ => Vec::new(),
        };
        all.iter()
            .find(|it| it["id"] == id)
            .map(|it| it["status"].clone())
    };
    assert_eq!(status(&first), Some("expired".into()), "{sessions}");
    world.pay(&second);
    world.deliver_all();
    assert_eq!(world.plan(id), "enterprise");
}

#[test]
fn what_is_not_for_sale_is_not_bought() {
    let world = World::new();
    let id = world.tenant("Acme");
    for plan in ["free", "gold", ""] {
        let refusal = world.run(world.within(id).checkout(plan)).unwrap_err();
        assert_eq!(refusal.kind(), Kind::InvalidRequest, "{plan}");
        assert_eq!(refusal.at_field(), Some("plan"));
        assert_eq!(refusal.accepted(), Some("pro, enterprise"));
    }
    assert_eq!(world.known(id), None, "Stripe heard nothing of it");
}

#[test]
fn a_late_payment_leaves_the_plan_for_a_week() {
    let world = World::new();
    let id = world.paying("pro");
    world.deliver_all();
    let customer = world.customer(id);
    world
        .fake
        .post(&format!("/_cards/{customer}"), "fails=true");
    world.next_period();
    world.deliver_all();
    let known = world.known(id).unwrap().bought.unwrap();
    assert_eq!(known.status, SubscriptionStatus::PastDue);
    assert!(known.past_due_since.is_some());
    // The clock of the stand-in is ahead: of this node's it is not late yet.
    assert_eq!(world.plan(id), "pro");
    let plans = &world.service.plans;
    let since = known.past_due_since.unwrap();
    let plan = |secs| known.plan(plans, since + secs, 7 * DAY).unwrap();
    assert!(plan(7 * DAY - 1).is_some() && plan(7 * DAY).is_none());
    world
        .fake
        .post(&format!("/_cards/{customer}"), "fails=false");
    let invoice = world.fake.get("/_state")["invoices"].clone();
    let open = of(&invoice).find(|it| it["status"] == "open").unwrap();
    let retry = format!("/_retry/{}", open["id"].as_str().unwrap());
    world.fake.post(&retry, "");
    world.deliver_all();
    let known = world.known(id).unwrap().bought.unwrap();
    assert_eq!(
        (known.status, known.past_due_since),
        (SubscriptionStatus::Active, None)
    );
}

/// The things of a list, or of an object by their names.
fn of(things: &Value) -> impl Iterator<Item = &Value> {
    let listed = things.as_array().into_iter().flatten();
    let named = things.as_object().into_iter().flatten();
    listed.chain(named.map(|(_, thing)| thing))
}

/// What somebody or something does at Stripe.
#[derive(Clone, Copy, Debug)]
enum Act {
    CardFails(bool),
    Later(u64),
    NextPeriod,
    Upgrade,
    Downgrade,
    Cancel,
    Resume,
    CancelNow,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        any::<bool>().prop_map(Act::CardFails),
        (1..5_u64).prop_map(|days| Act::Later(days * DAY)),
        Just(Act::NextPeriod),
        Just(Act::Upgrade),
        Just(Act::Downgrade),
        Just(Act::Cancel),
        Just(Act::Resume),
        Just(Act::CancelNow),
    ];
    prop::collection::vec(act, 0..6)
}

impl World {
    fn act(&self, id: TenantId, act: Act) {
        let customer = self.customer(id);
        let state = self.fake.get("/_state");
        let bought = of(&state["subscriptions"]).find(|it| it["customer"] == *customer);
        let Some(bought) = bought else {
            return;
        };
        let portal = |form: &str| {
            // What an ended subscription does not let be done is not done.
            if bought["status"] != "canceled" {
                let path = format!("/_portal/{}", bought["id"].as_str().unwrap());
                self.fake.post(&path, &format!("{form}&by=seller"));
            }
        };
        match act {
            Act::CardFails(fails) => {
                let path = format!("/_cards/{customer}");
                self.fake.post(&path, &format!("fails={fails}"));
            }
            Act::Later(secs) => self.later(secs),
            Act::NextPeriod => self.next_period(),
            Act::Upgrade => portal("act=change&price=weir_enterprise_monthly"),
            Act::Downgrade => portal("act=change&price=weir_pro_monthly"),
            Act::Cancel => portal("act=cancel"),
            Act::Resume => portal("act=resume"),
            Act::CancelNow => portal("act=cancel_now"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Events in any order, with losses and repeats, between the acts and after them: what is kept in the end is what Stripe says, and
    /// what it would have been with each event once and in its order.
    #[test]
    fn the_order_of_events_does_not_matter(
        acts in acts(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        last in any::<prop::sample::Index>(),
    ) {
        let world = World::new();
        let id = world.paying("pro");
        let mut picks = picks.into_iter();
        for act in acts {
            world.act(id, act);
            let events = world.events();
            // Stripe keeps them for 30 days.
            if let Some(pick) = picks.next() && !events.is_empty() {
                world.deliver(pick.get(&events));
            }
        }
        // One of them comes after the last act: whichever it is.
        let customer = world.customer(id);
        let subscription = json!({ "id": "sub_x", "object": "subscription", "customer": customer });
        let mut bodies = vec![some_event("customer.subscription.updated", subscription)];
        let is_of_it = |event: &&Event| event.kind.starts_with("customer.subscription") || event.kind == "invoice.paid";
        bodies.extend(world.events().iter().filter(is_of_it).map(told));
        world.take(&bodies[last.index(bodies.len())]).unwrap();
        let kept = world.known(id).unwrap();
        let plan = world.plan(id);

        let billing = world.service.billing.as_ref().unwrap();
        let asked = billing.stripe.bought(&customer, &world.service.plans);
        let asked = world.run(asked).unwrap();
        prop_assert_eq!((&kept.bought, kept.has_conflict), (&asked.bought, asked.has_conflict));
        world.deliver_all();
        prop_assert_eq!(world.known(id).unwrap().bought, kept.bought);
        prop_assert_eq!(world.plan(id), plan);
    }
}

#[test]
fn an_event_is_taken_that_stripe_has_signed() {
    let world = World::new();
    let body = some_event("charge.refunded", json!({}));
    assert!(matches!(world.take(&body), Ok(Handled::Ignored("type"))));
    assert!(matches!(world.take("no JSON"), Err(NotStripes::Unreadable)));
    let live = body.replace("\"livemode\":false", "\"livemode\":true");
    assert!(matches!(
        world.take(&live),
        Ok(Handled::Ignored("livemode"))
    ));
    for signed in ["", "t=1,v1=00", "v1=00"] {
        let taken = world
            .limiter
            .take_event(&world.service, signed, body.as_bytes());
        assert!(
            matches!(world.run(taken), Err(NotStripes::Unsigned(_))),
            "{signed}"
        );
    }
}

#[test]
fn what_only_operators_can_mend_is_told_to_them() {
    let world = World::new();
    let stranger = json!({ "id": "sub_x", "object": "subscription", "customer": "cus_x" });
    let body = some_event("customer.subscription.updated", stranger);
    assert!(matches!(world.take(&body), Ok(Handled::Ignored("tenant"))));
    assert!(matches!(world.take(&body), Ok(Handled::Ignored("tenant"))));
    let dispute = some_event("charge.dispute.created", json!({ "id": "dp_1" }));
    assert!(matches!(world.take(&dispute), Ok(Handled::Done)));
    let audit = world
        .run(async { world.operator().audit(None, 9) })
        .unwrap();
    let told: Vec<&str> = audit.iter().map(|(_, entry)| &*entry.what).collect();
    let count = |what: &str| told.iter().filter(|told| **told == what).count();
    assert_eq!(count("billing.unknown-tenant"), 1, "once of each: {told:?}");
    assert_eq!(count("billing.dispute"), 1, "{told:?}");
}

#[test]
fn a_subscription_that_names_its_tenant_links_it_unless_it_is_linked() {
    let world = World::new();
    let [one, other] = ["One", "Other"].map(|name| world.tenant(name));
    // Of one the customer is known; the other was never here.
    world.begin(one, "pro");
    let customer = world.customer(one);
    let of = |tenant: TenantId, customer: &str| {
        let metadata = json!({ "weir_tenant": tenant.to_string() });
        let object = json!({ "id": "sub_x", "object": "subscription", "customer": customer, "metadata": metadata });
        world.take(&some_event("customer.subscription.created", object))
    };
    assert!(matches!(
        of(one, "cus_of_another"),
        Ok(Handled::Ignored("tenant"))
    ));
    assert_eq!(world.customer(one), customer);
    // The customer is one's already.
    assert!(matches!(of(other, &customer), Ok(Handled::Done)));
    assert_eq!(world.known(other), None);
    let nobody = TenantId::new([9; 10]);
    assert!(matches!(
        of(nobody, "cus_x"),
        Ok(Handled::Ignored("tenant"))
    ));
}

#[test]
fn a_customer_that_is_gone_has_bought_nothing() {
    let world = World::new();
    let id = world.paying("pro");
    world.deliver_all();
    let customer = world.customer(id);
    let gone = json!({ "id": customer, "object": "customer" });
    let taken = world.take(&some_event("customer.deleted", gone));
    assert!(matches!(taken, Ok(Handled::Done)));
    assert_eq!(
        (world.plan(id), world.known(id).unwrap().customer),
        ("free".into(), None)
    );
    // What is told of it after that, as that its subscription has ended, does not bring it back.
    let metadata = json!({ "weir_tenant": id.to_string() });
    let object = json!({ "id": "sub_x", "object": "subscription", "customer": customer, "metadata": metadata });
    let late = world.take(&some_event("customer.subscription.deleted", object));
    assert!(matches!(late, Ok(Handled::Ignored("tenant"))));
    let session = world.begin(id, "pro");
    world.pay(&session);
    world.deliver_all();
    assert_eq!(world.plan(id), "pro");
    assert_ne!(world.customer(id), customer, "another one");
}

/// It was a line in the log every 20 s, for ever.
#[test]
fn a_price_of_no_plan_changes_nothing_and_is_told_once() {
    let world = World::new();
    let id = world.paying("pro");
    world.deliver_all();
    // As a file has it whose plans were given other prices.
    let mut plans: Vec<_> = Plans::default().iter().cloned().collect();
    for plan in &mut plans[1..] {
        plan.price = Some(format!("{}_2", plan.name).into());
    }
    let mut service = Service::clone(&world.service);
    service.plans = Plans::new(plans).unwrap();
    let access = Access::new(None, Some(service));
    {
        let mut made = world.limiter.node().made.lock().unwrap();
        let place = (
            catalogue::Kind::Subscription,
            SERVICE.to_owned(),
            id.to_string(),
        );
        let Some(Content::Subscription(known)) = made.get_mut(&place) else {
            panic!("nothing is known");
        };
        Arc::make_mut(known).bought = None;
    }
    let service = access.service().unwrap();
    for event in world.events() {
        let body = told(&event);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let signed = fake_stripe::signature(now.cast_signed(), SECRET, &body);
        let taken = world.limiter.take_event(service, &signed, body.as_bytes());
        assert_eq!(world.run(taken).unwrap(), Handled::Done);
    }
    assert_eq!(world.plan(id), "pro", "the old one stays");
    let audit = world.operator().audit(None, 99).unwrap();
    let told = audit
        .iter()
        .filter(|(_, entry)| &*entry.what == "billing.unknown-price");
    assert_eq!(told.count(), 1);
}

#[test]
fn who_pays_twice_has_the_higher_plan_and_operators_hear_of_it() {
    let world = World::new();
    let id = world.tenant("Acme");
    let first = world.begin(id, "pro");
    world.pay(&first);
    // Another node has not heard of it: the second is begun and paid.
    let customer = world.customer(id);
    let begun = world.checkout_of(id, &customer, "weir_enterprise_monthly");
    world.pay(&begun);
    world.deliver_all();
    assert_eq!(world.plan(id), "enterprise");
    assert!(
        world
            .run(world.within(id).billing(false))
            .unwrap()
            .has_conflict
    );
    let audit = world.operator().audit(None, 99).unwrap();
    let conflicts = audit
        .iter()
        .filter(|(_, entry)| &*entry.what == "billing.conflict");
    assert_eq!(conflicts.count(), 1, "once, however many events there are");
}

#[test]
fn stripe_away_ends_no_plan_and_is_told_to_who_wants_to_buy() {
    let world = World::new();
    let id = world.paying("pro");
    world.deliver_all();
    let events = world.events();
    let fault = "kind=error&status=500&when=before&should_retry=false";
    world.fake.post("/_faults", fault);
    let other = world.tenant("Other");
    let refusal = world.run(world.within(other).checkout("pro")).unwrap_err();
    assert_eq!(refusal.kind(), Kind::BillingUnavailable);
    assert!(refusal.retry_after_secs().is_some());
    let event = events
        .iter()
        .find(|event| event.kind == "invoice.paid")
        .unwrap();
    let taken = world.take(&told(event));
    assert!(
        matches!(taken, Err(NotStripes::Refused(_))),
        "Stripe tells it again"
    );
    let standing = world.run(world.within(id).billing(false)).unwrap();
    assert_eq!(standing.plan.as_str(), "pro");
    world.fake.clear_faults();
    assert_eq!(world.deliver(event), Handled::Done);
}

#[test]
fn requests_are_billed_from_the_beginning_of_the_subscription_and_once() {
    let world = World::new();
    let id = world.tenant("Acme");
    world.admit(id, 40);
    let session = world.begin(id, "enterprise");
    world.pay(&session);
    world.deliver_all();
    assert_eq!(world.counted(id), 0, "those came before");
    world.admit(id, 7);
    world.sync(id).unwrap();
    assert_eq!(world.counted(id), 7);
    for _ in 0..3 {
        world.sync(id).unwrap();
    }
    let events = world.fake.get("/_state")["meter_events"].clone();
    assert_eq!(events, 1, "what has not changed is not told: {events}");
    world.admit(id, 5);
    world.sync(id).unwrap();
    assert_eq!(world.counted(id), 12);
    // By itself it would wait for the next hour.
    world.admit(id, 1);
    world.run(world.duty().tick());
    assert_eq!(world.counted(id), 12);
}

/// A sender that dies, or hears no answer, at any of its steps.
#[test]
fn what_was_admitted_is_billed_whenever_the_sender_dies() {
    for (fault, is_away) in [
        // Never sent.
        (
            "kind=error&status=500&when=before&should_retry=false&path=/v1/billing/meter_events",
            true,
        ),
        // Sent, and not answered.
        (
            "kind=error&status=500&when=after&should_retry=false&path=/v1/billing/meter_events",
            true,
        ),
        ("kind=reset&path=/v1/billing/meter_events&count=1", false),
        (
            "kind=rate_limit&path=/v1/billing/meter_events&count=1",
            false,
        ),
    ] {
        let world = World::new();
        let id = world.paying("enterprise");
        world.deliver_all();
        world.admit(id, 7);
        world.fake.post("/_faults", fault);
        let told = world.sync(id);
        assert_eq!(told.is_err(), is_away, "{fault}: {told:?}");
        world.admit(id, 5);
        world.fake.clear_faults();
        // Another takes over, and knows what was written down.
        world.run(world.duty().tick());
        world.sync(id).unwrap();
        assert_eq!(world.counted(id), 12, "{fault}");
    }
}

#[test]
fn what_stripe_has_counted_otherwise_is_found() {
    let world = World::new();
    let id = world.paying("enterprise");
    world.deliver_all();
    let found = world.run(world.operator().audit_billing(None)).unwrap();
    assert_eq!(found, [], "today is not over");
    // The subscription began two days ago, as far as is known here.
    let today = UnixSecs::of_date(&day(id).1[id.to_string().len() + 1..])
        .unwrap()
        .days();
    {
        let mut made = world.limiter.node().made.lock().unwrap();
        let place = (
            catalogue::Kind::Subscription,
            SERVICE.to_owned(),
            id.to_string(),
        );
        let Some(Content::Subscription(known)) = made.get_mut(&place) else {
            panic!("nothing is known");
        };
        for base in Arc::make_mut(known).bases.values_mut() {
            base.day = today - 2;
        }
    }
    let yesterday = UnixSecs::of_day(today - 1).date();
    let (policy, _) = day(id);
    let key = format!("{id}/{yesterday}");
    world
        .run(world.limiter.node().hit(&policy, &key, Cost::new(3)))
        .unwrap();
    let found = world.run(world.operator().audit_billing(None)).unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|it| (it.day, it.used, it.billed))
        .collect();
    assert_eq!(told, [(today - 1, 3, 0)]);
    world.sync(id).unwrap();
    assert_eq!(world.run(world.operator().audit_billing(None)).unwrap(), []);
}

#[test]
fn an_invoice_of_requests_waits_for_its_last_day() {
    let world = World::new();
    world.paying("enterprise");
    world.deliver_all();
    let state = world.fake.get("/_state");
    let subscription = of(&state["subscriptions"]).next().unwrap();
    let item = &subscription["items"]["data"][0];
    let end = item["current_period_end"].as_u64().unwrap();
    world.fake.post("/_clock", &format!("to={}", end + 60));
    let begun = world.events().into_iter().rev();
    let begun = begun
        .into_iter()
        .find(|event| event.kind == "invoice.created")
        .unwrap();
    assert_eq!(world.deliver(&begun), Handled::Done);
    let state = world.fake.get("/_state");
    let invoice = of(&state["invoices"])
        .find(|it| it["id"] == *begun.about)
        .unwrap();
    assert_eq!(invoice["status"], "draft");
    assert!(
        invoice["automatically_finalizes_at"].as_u64().is_some(),
        "{invoice}"
    );
}

#[test]
fn what_is_made_is_found_and_what_is_missing_told() {
    let world = World::over(FakeStripe::start("127.0.0.1:0"));
    let operator = world.operator();
    let missing = world.run(operator.check_billing()).unwrap();
    assert!(
        missing.iter().all(|finding| !finding.is_well),
        "{missing:?}"
    );
    let dear = Amounts::default();
    let made = world.run(operator.set_up_billing(&dear)).unwrap();
    let told: BTreeMap<&str, bool> = made
        .findings
        .iter()
        .map(|it| (&*it.of, it.is_well))
        .collect();
    assert!(
        told["meter weir_requests"] && !told["price weir_pro_monthly"],
        "{told:?}"
    );
    let world = World::new();
    let found = world.run(world.operator().check_billing()).unwrap();
    assert!(found.iter().all(|finding| finding.is_well), "{found:?}");
    let before = world.fake.get("/_calls");
    let again = world
        .run(world.operator().set_up_billing(&Amounts::default()))
        .unwrap();
    assert!(
        again.findings.iter().all(|it| it.is_well) && again.secret.is_none(),
        "{again:?}"
    );
    let posts = |calls: &Value| {
        let calls = calls.as_object().unwrap().iter();
        calls
            .filter(|(call, _)| call.starts_with("POST"))
            .map(|(_, count)| count.as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        posts(&before),
        posts(&world.fake.get("/_calls")),
        "what is there is left as it is"
    );
}

#[test]
fn who_is_no_operator_sets_nothing_up_and_a_service_without_billing_sells_nothing() {
    let url = "https://weir.example.com".to_owned();
    let access = Access::new(None, Some(Service::new(COOKIE, url, Plans::default())));
    let limiter = Limiter::new(
        Arc::new(Counting::default()),
        NAMESPACE.into(),
        [],
        Front::Http,
    );
    let token = OperatorToken::derive(COOKIE);
    let operator = access
        .admit(&limiter, Some(token.reveal().as_bytes()))
        .unwrap();
    let found = crate::now(operator.check_billing()).unwrap_err();
    assert_eq!(found.kind(), Kind::NotImplemented);
    assert!(BillingDuty::new(limiter, &access).is_none());
}
