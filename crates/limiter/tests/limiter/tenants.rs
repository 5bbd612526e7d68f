//! Tenants share nothing, and use no more than their plans have.

use std::sync::Arc;

use accounts::{
    ApiKey, Credential, DayTally, MonthUsage, OperatorToken, Plan, Plans, Scope, Scopes, Status,
    Tenant, TenantId, UnixSecs,
};
use catalogue::{Content, KeyLimit, NamedLimit, SERVICE};
use limiter::{
    Access, ApiKeyChange, Caller, Front, HitName, Key, Kind, Limiter, NAMESPACE, Refusal, Rights,
    Service, TenantChange,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use quota::{Algorithm, Cost, Limit, Nanos};

use crate::{Counting, key, limit, now};

fn operator() -> OperatorToken {
    OperatorToken::derive(b"the cookie of the tests")
}

struct World {
    node: Arc<Counting>,
    access: Access,
    limiter: Limiter<Counting>,
}

/// Plans of which a tenant notices the end soon.
fn plans() -> Plans {
    let plan = |name: &str, requests_per_day| Plan {
        name: name.parse().unwrap(),
        requests_per_day,
        per_second: 1_000,
        limits: 2,
        key_limits: 1,
        api_keys: 2,
        team: 1,
        price: None,
        metered_price: None,
    };
    Plans::new(vec![plan("free", Some(5)), plan("pro", None)]).unwrap()
}

impl World {
    fn new() -> Self {
        Self::of(Counting::default())
    }

    fn of(node: Counting) -> Self {
        Self::over(Arc::new(node))
    }

    /// A node of the same cluster, over the same counts and records.
    fn another_node(&self) -> Self {
        Self::over(Arc::clone(&self.node))
    }

    fn over(node: Arc<Counting>) -> Self {
        let url = "https://weir.example.com".to_owned();
        let service = Service::new(b"the cookie of the tests", url, plans());
        let limits = [crate::policy("login", coordinator::FailMode::Deny)];
        Self {
            access: Access::new(Some("api token".to_owned()), Some(service)),
            limiter: Limiter::new(Arc::clone(&node), NAMESPACE.into(), limits, Front::Http),
            node,
        }
    }

    fn admit(&self, credential: &str) -> Result<Caller<Counting>, Refusal> {
        self.access
            .admit(&self.limiter, Some(credential.as_bytes()))
    }

    /// Has somebody else set this after it was read and before it is changed.
    fn meanwhile(&self, name: &str, content: Content) {
        let mut meanwhile = self.limiter.node().meanwhile.lock().unwrap();
        meanwhile.insert(name.to_owned(), content);
    }

    /// An operator in a new tenant.
    fn tenant(&self, name: &str) -> (TenantId, Caller<Counting>) {
        let name = name.parse().unwrap();
        let made = now(self.limiter.make_tenant(name, TenantChange::default())).unwrap();
        let operator = self.admit(operator().reveal()).unwrap();
        let within = self.access.within(operator, &made.id.to_string());
        (made.id, within.unwrap())
    }

    /// The credential of an API key of the tenant in which `caller` acts.
    fn api_key(&self, caller: &Caller<Counting>, scopes: Scopes) -> Credential {
        now(caller.make_api_key("edge", scopes, None))
            .unwrap()
            .credential
    }
}

fn scopes(scopes: &[Scope]) -> Scopes {
    scopes.iter().copied().collect()
}

fn named(units: u32) -> NamedLimit {
    NamedLimit {
        limit: limit(units),
        as_token_bucket: false,
        strategy: coordinator::Strategy::Owner,
        on_failure: coordinator::FailMode::Deny,
        top_keys: false,
    }
}

fn check(caller: &Caller<Counting>, name: &str) -> Result<bool, Refusal> {
    let found = caller.limiter.find(name)?;
    let answer = now(caller.limiter.check(&found, &key("ada"), Cost::ONE))?;
    Ok(answer.decision.is_allowed())
}

#[test]
fn a_credential_is_that_of_its_tenant_alone() {
    let world = World::new();
    let ((one, in_one), (_, in_two)) = (world.tenant("one"), world.tenant("two"));
    now(in_one.limiter.set_limit("login", named(1))).unwrap();
    let keys = [&in_one, &in_two].map(|caller| world.api_key(caller, Scopes::ALL));
    let [of_one, of_two] = keys.map(|key| world.admit(&key.reveal()).unwrap());
    assert_eq!(of_one.limiter.namespace(), one.to_string());
    assert_eq!(check(&of_one, "login"), Ok(true));
    assert_eq!(
        check(&of_one, "login"),
        Ok(false),
        "a limit of 1, though the file's has 3"
    );
    // Not the file's, and not the other's.
    assert_eq!(
        check(&of_two, "login").unwrap_err().kind(),
        Kind::UnknownLimit
    );
    now(in_two.limiter.set_limit("login", named(1))).unwrap();
    assert_eq!(
        check(&of_two, "login"),
        Ok(true),
        "equal names share nothing"
    );
    // What is the other's is as if it had never been.
    let (id, _) = of_one.api_keys(None, 9)[0];
    assert_eq!(
        of_two.api_key(&id.to_string()).unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(of_two.api_keys(None, 9).len(), 1);
    let elsewhere = world.access.within(of_two, &one.to_string());
    assert_eq!(
        elsewhere.err().map(|refusal| refusal.kind()),
        Some(Kind::Forbidden)
    );
}

#[test]
fn every_credential_that_is_none_is_told_the_same() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let known = world.api_key(&caller, Scopes::ALL);
    let stranger = Credential::draw(&[77; 88]);
    let mut other_secret = known.reveal();
    let last = if other_secret.as_bytes()[25] == b'a' {
        "b"
    } else {
        "a"
    };
    other_secret.replace_range(25..26, last);
    let told = |credential: &str| world.admit(credential).err().unwrap();
    let refusal = told(&stranger.reveal());
    assert_eq!(refusal.kind(), Kind::Unauthorized);
    assert!(refusal.has_invalid_token());
    for credential in ["", "x", &other_secret, "weir_key_", "weir_op_of_others"] {
        assert_eq!(told(credential), refusal, "{credential}");
    }
    let nothing = world.access.admit(&world.limiter, None).err().unwrap();
    assert!(nothing.kind() == Kind::Unauthorized && !nothing.has_invalid_token());
    for token in [operator().reveal(), "api token"] {
        assert_eq!(world.admit(token).unwrap().rights, Rights::All);
    }
}

#[test]
fn who_brings_the_secret_hears_why_it_has_ended() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let credential = world.api_key(&caller, Scopes::ALL);
    let id = credential.id().to_string();
    let text = credential.reveal();
    for (status, kind) in [
        (Status::Suspended, Kind::TenantSuspended),
        (Status::Closed, Kind::Unauthorized),
    ] {
        let change = TenantChange {
            status: Some(status),
            ..TenantChange::default()
        };
        now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
        assert_eq!(world.admit(&text).err().unwrap().kind(), kind);
    }
    let change = TenantChange {
        status: Some(Status::Active),
        ..TenantChange::default()
    };
    now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
    assert!(world.admit(&text).is_ok());
    let (_, at, _) = now(caller.revoke_api_key(&id)).unwrap();
    let refusal = world.admit(&text).err().unwrap();
    assert_eq!(
        refusal.detail(),
        format!("this API key was revoked at {at}")
    );
    let (_, again, _) = now(caller.revoke_api_key(&id)).unwrap();
    assert_eq!(again, at);
}

#[test]
fn an_api_key_may_what_its_scopes_say_and_makes_none_that_may_more() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let some = scopes(&[Scope::Check, Scope::KeysWrite]);
    let credential = world.api_key(&caller, some);
    let caller = world.admit(&credential.reveal()).unwrap();
    assert!(caller.needs(Scope::Check).is_ok());
    let refusal = caller.needs(Scope::LimitsWrite).unwrap_err();
    let more: Vec<_> = refusal
        .more()
        .map(|(name, value)| (name, value.to_string()))
        .collect();
    assert_eq!(refusal.kind(), Kind::Forbidden);
    assert_eq!(more, [("scope", "limits.write".to_owned())]);
    assert_eq!(caller.needs_operator().unwrap_err().kind(), Kind::Forbidden);
    let make = |scopes| now(caller.make_api_key("more", scopes, None));
    assert_eq!(make(Scopes::ALL).unwrap_err().kind(), Kind::Forbidden);
    assert!(make(scopes(&[Scope::Check])).is_ok());
    // As many as the plan has room for.
    assert_eq!(
        make(scopes(&[Scope::Check])).unwrap_err().kind(),
        Kind::PlanLimit
    );
}

#[test]
fn an_api_key_only_ever_becomes_less() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let id = world
        .api_key(&caller, scopes(&[Scope::Check, Scope::Adjust]))
        .id()
        .to_string();
    let change = |change| now(caller.change_api_key(&id, change));
    let scoped = |scopes| ApiKeyChange {
        scopes: Some(scopes),
        ..ApiKeyChange::default()
    };
    let ending = |at| ApiKeyChange {
        expires_at: Some(at),
        ..ApiKeyChange::default()
    };
    assert!(change(scoped(scopes(&[Scope::Check]))).is_ok());
    let wider = change(scoped(scopes(&[Scope::Check, Scope::Adjust]))).unwrap_err();
    assert_eq!(
        (wider.kind(), wider.at_field()),
        (Kind::Forbidden, Some("scopes"))
    );
    let tomorrow = UnixSecs::of_day(caller.today() + 1);
    assert!(change(ending(tomorrow + 100)).is_ok());
    assert_eq!(
        change(ending(tomorrow + 101)).unwrap_err().kind(),
        Kind::Forbidden
    );
    assert!(change(ending(tomorrow + 99)).is_ok());
    let past = change(ending(UnixSecs::new(1))).unwrap_err();
    assert_eq!(
        (past.kind(), past.at_field()),
        (Kind::InvalidRequest, Some("expires_at"))
    );
}

#[test]
fn an_api_key_lives_ten_years_at_most() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let today = caller.today();
    let make = |days| {
        let at = UnixSecs::of_day(today + days);
        now(caller.make_api_key("old", scopes(&[Scope::Check]), Some(at)))
    };
    let refusal = make(3_655).unwrap_err();
    let told = (refusal.kind(), refusal.at_field());
    assert_eq!(told, (Kind::InvalidRequest, Some("expires_at")));
    assert!(make(3_652).is_ok());
}

/// Whoever holds one that may little could end those that others work by.
#[test]
fn an_api_key_changes_none_that_may_more() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let wide = world.api_key(&caller, scopes(&[Scope::Adjust, Scope::LimitsWrite]));
    let wide = wide.id().to_string();
    let narrow = world.api_key(&caller, scopes(&[Scope::Check, Scope::KeysWrite]));
    let itself = narrow.id().to_string();
    let narrow = world.admit(&narrow.reveal()).unwrap();
    let named = || ApiKeyChange {
        name: Some("mine".into()),
        ..ApiKeyChange::default()
    };
    let refusals = [
        now(narrow.change_api_key(&wide, named())).err(),
        now(narrow.rotate_api_key(&wide, 0)).err(),
        now(narrow.revoke_api_key(&wide)).err(),
    ];
    for refusal in refusals.map(Option::unwrap) {
        let told = (refusal.kind(), refusal.at_field());
        assert_eq!(told, (Kind::Forbidden, Some("scopes")));
    }
    assert!(now(narrow.change_api_key(&itself, named())).is_ok());
    assert!(now(narrow.revoke_api_key(&itself)).is_ok());
    assert!(now(caller.revoke_api_key(&wide)).is_ok());
}

#[test]
fn of_an_api_key_that_is_rotated_two_are_in_use_at_most() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let first = world.api_key(&caller, Scopes::ALL);
    let rotate = |id: &str, overlap| now(caller.rotate_api_key(id, overlap));
    let second = rotate(&first.id().to_string(), 3_600)
        .unwrap()
        .new
        .credential;
    let admits = |credential: &Credential| world.admit(&credential.reveal()).is_ok();
    assert!(admits(&first) && admits(&second));
    let again = rotate(&first.id().to_string(), 0).unwrap_err();
    let by = again
        .more()
        .next()
        .map(|(name, value)| (name, value.to_string()));
    assert_eq!(again.kind(), Kind::Conflict);
    assert_eq!(by, Some(("replaced_by", second.id().to_string())));
    let third = rotate(&second.id().to_string(), 3_600)
        .unwrap()
        .new
        .credential;
    assert!(!admits(&first), "it ends when what replaced it is replaced");
    assert!(admits(&second) && admits(&third));
    let at_once = rotate(&third.id().to_string(), 0).unwrap().new.credential;
    assert!(!admits(&second) && !admits(&third) && admits(&at_once));
    let too_long = rotate(&at_once.id().to_string(), 31 * 24 * 60 * 60).unwrap_err();
    assert_eq!(too_long.at_field(), Some("overlap"));
}

/// Whoever rotates an API key reads it, makes another, and then says of the first what replaced it. A revocation meanwhile
/// stands, and the other opens nothing: nobody has seen it.
#[test]
fn an_api_key_that_is_revoked_while_it_is_rotated_stays_so() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let credential = world.api_key(&caller, Scopes::ALL);
    let id = credential.id().to_string();
    let (_, read) = caller.api_key(&id).unwrap();
    let at = UnixSecs::new(1_790_000_000);
    let mut revoked = ApiKey::clone(&read);
    revoked.revoked_at = Some(at);
    world.meanwhile(&id, Content::ApiKey(revoked.clone().into()));
    let refusal = now(caller.rotate_api_key(&id, 3_600)).unwrap_err();
    assert_eq!(refusal.kind(), Kind::Conflict);
    let keys = caller.api_keys(None, 10);
    let (old, new): (Vec<_>, Vec<_>) = keys.iter().partition(|(of, _)| *of == credential.id());
    assert_eq!((&*old[0].1, new.len()), (&revoked, 1));
    assert_eq!(new[0].1.replaces, Some(credential.id()));
    assert!(new[0].1.revoked_at.is_some());

    let name = || ApiKeyChange {
        name: Some("other".into()),
        ..ApiKeyChange::default()
    };
    let second = world.api_key(&caller, Scopes::ALL);
    let id = second.id().to_string();
    let (_, read) = caller.api_key(&id).unwrap();
    let mut revoked = ApiKey::clone(&read);
    revoked.revoked_at = Some(at);
    world.meanwhile(&id, Content::ApiKey(revoked.into()));
    let (_, changed, _) = now(caller.change_api_key(&id, name())).unwrap();
    assert_eq!(
        (&**changed.name.get(), changed.revoked_at),
        ("other", Some(at))
    );

    // Of a tenant as well.
    let mut suspended = Tenant::clone(&world.limiter.tenant(tenant).unwrap());
    suspended.status = Status::Suspended;
    world.meanwhile(&tenant.to_string(), Content::Tenant(suspended.into()));
    let change = TenantChange {
        name: Some("other".parse().unwrap()),
        ..TenantChange::default()
    };
    let made = now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
    assert_eq!(made.tenant.status, Status::Suspended);
    assert_eq!(made.tenant.name.get().as_str(), "other");
}

#[test]
fn exactly_the_requests_of_the_plan_pass_and_denied_ones_cost_nothing() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    now(caller.limiter.set_limit("tight", named(2))).unwrap();
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    let outcomes: Vec<_> = (0..4).map(|_| check(&caller, "tight")).collect();
    assert_eq!(outcomes, [Ok(true), Ok(true), Ok(false), Ok(false)]);
    let allowed = (0..10)
        .filter(|_| check(&caller, "wide") == Ok(true))
        .count();
    assert_eq!(allowed, 3, "two of five were used");
    let refusal = check(&caller, "wide").unwrap_err();
    assert_eq!(refusal.kind(), Kind::QuotaExceeded);
    let day = refusal.day().unwrap();
    assert_eq!((day.cap, day.used), (5, 5));
    // What the day refused was counted by the limit neither.
    let wide = caller.limiter.find("wide").unwrap();
    let peek = now(caller.limiter.check(&wide, &key("ada"), Cost::PEEK)).unwrap();
    assert_eq!(peek.decision.remaining, 97);
    now(world.limiter.flush_tenants());
    let used = now(world.limiter.usage(tenant, [caller.today()])).unwrap();
    assert_eq!((used[0].requests, used[0].denied), (5, 2));
    // A larger plan holds at once.
    let change = TenantChange {
        plan: Some(Some("pro".parse().unwrap())),
        ..TenantChange::default()
    };
    now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
    let by = world.admit(operator().reveal()).unwrap();
    let caller = world.access.within(by, &tenant.to_string()).unwrap();
    assert_eq!(check(&caller, "wide"), Ok(true));
    assert_eq!(caller.limiter.day(), None, "there is no cap");
    // A smaller one is of tomorrow, and a cap of an operator's of now.
    for (change, cap) in [
        (
            TenantChange {
                plan: Some(None),
                ..TenantChange::default()
            },
            None,
        ),
        (
            TenantChange {
                requests_per_day: Some(Some(7)),
                ..TenantChange::default()
            },
            Some(7),
        ),
    ] {
        now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
        let by = world.admit(operator().reveal()).unwrap();
        let caller = world.access.within(by, &tenant.to_string()).unwrap();
        assert_eq!(caller.limiter.day().map(|day| day.cap), cap);
    }
}

#[test]
fn whoever_is_refused_by_a_cap_that_was_lowered_is_told_what_was_used() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    for _ in 0..4 {
        assert_eq!(check(&caller, "wide"), Ok(true));
    }
    let change = TenantChange {
        requests_per_day: Some(Some(2)),
        ..TenantChange::default()
    };
    now(world.limiter.change_tenant(&plans(), tenant, change)).unwrap();
    for node in [&world, &world.another_node()] {
        let by = node.admit(operator().reveal()).unwrap();
        let caller = node.access.within(by, &tenant.to_string()).unwrap();
        // The second is refused without anybody being asked.
        for _ in 0..2 {
            let day = check(&caller, "wide").unwrap_err().day();
            assert_eq!(day.map(|day| (day.cap, day.used)), Some((2, 4)));
        }
    }
}

#[test]
fn a_batch_has_room_in_the_day_or_none_of_it_is_counted() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    let wide = caller.limiter.find("wide").unwrap();
    let keys: Vec<String> = (0..6).map(|place| format!("k{place}")).collect();
    let keys: Vec<Key<'_>> = keys
        .iter()
        .map(|key| Key::new(&**key, "key").unwrap())
        .collect();
    let hits: Vec<_> = keys.iter().map(|key| wide.hit(key, Cost::ONE)).collect();
    let refusal = now(caller.limiter.hits_together(&hits)).unwrap_err();
    assert_eq!(refusal.kind(), Kind::QuotaExceeded);
    assert_eq!(refusal.day().map(|day| (day.cap, day.used)), Some((5, 0)));
    for hit in &hits {
        let peek = now(caller
            .limiter
            .hit(&wide, &Key::new(hit.key, "key").unwrap(), Cost::PEEK));
        assert_eq!(peek.unwrap().decision.remaining, 100);
    }
    // Where each is asked for itself, the first ones pass.
    let told = now(caller.limiter.hits(&hits));
    let passed: Vec<bool> = told.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, true, true, true, true, false]);
    assert!(now(caller.limiter.hits_together(&hits[..1])).is_err());
}

#[test]
fn a_hit_that_is_asked_again_by_its_name_is_one_request_of_the_day() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    let wide = caller.limiter.find("wide").unwrap();
    let ask = |name: &str, of: &'static str| {
        let name = HitName::new(name.as_bytes(), "name").unwrap();
        let told = now(caller.limiter.check_once(&wide, &key(of), Cost::ONE, &name));
        told.map(|answer| answer.decision.is_allowed())
    };
    let used = || now(world.limiter.usage(tenant, [caller.today()])).unwrap()[0].requests;
    assert_eq!(
        [ask("a", "u1"), ask("a", "u1"), ask("a", "u1")],
        [Ok(true), Ok(true), Ok(true)]
    );
    assert_eq!(used(), 1);
    assert_eq!(ask("a", "u2"), Ok(true), "of another key it is another");
    assert_eq!(
        (0..3)
            .filter(|name| ask(&name.to_string(), "u1") == Ok(true))
            .count(),
        3
    );
    assert_eq!(used(), 5);
    assert_eq!(ask("late", "u1").unwrap_err().kind(), Kind::QuotaExceeded);
    assert_eq!(
        ask("a", "u1"),
        Ok(true),
        "it was counted while there was room"
    );
    assert_eq!(used(), 5);
}

/// Each is another hit on its limit: by cost, or since rules given inline are all shown by one name.
#[test]
fn hits_that_share_a_name_are_requests_of_their_own() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let rules = [90, 91].map(|units| caller.limiter.inline(limit(units).into()));
    let name = HitName::new(b"a", "name").unwrap();
    for (rule, cost) in [(0, 1), (0, 2), (0, 3), (1, 1)] {
        let (rule, cost) = (&rules[rule], Cost::new(cost));
        let told = now(caller.limiter.check_once(rule, &key("u1"), cost, &name));
        assert!(told.unwrap().decision.is_allowed());
    }
    let used = now(world.limiter.usage(tenant, [caller.today()])).unwrap();
    assert_eq!(used[0].requests, 4);
}

#[test]
fn a_tenant_makes_as_many_limits_as_its_plan_has_room_for() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let limiter = &caller.limiter;
    let set = |name: &str, limit| now(limiter.set_limit(name, limit)).map(drop);
    assert!(set("a", named(1)).is_ok() && set("b", named(1)).is_ok());
    assert_eq!(set("c", named(1)).unwrap_err().kind(), Kind::PlanLimit);
    assert!(set("a", named(2)).is_ok(), "one that is there may change");
    let mut by_raft = named(1);
    by_raft.strategy = coordinator::Strategy::Raft;
    let refusal = set("a", by_raft).unwrap_err();
    assert_eq!(
        (refusal.at_field(), refusal.accepted()),
        (Some("strategy"), Some("owner, local"))
    );
    let of_key = KeyLimit {
        limit: Limit::new(Algorithm::Gcra, 1, Nanos::from_secs(60)).unwrap(),
        as_token_bucket: false,
    };
    let set_key = |name: &'static str| now(limiter.set_key_limit(&key(name), of_key)).map(drop);
    assert!(set_key("u1").is_ok());
    assert_eq!(set_key("u2").unwrap_err().kind(), Kind::PlanLimit);
    // Whoever runs the cluster is bound by no plan.
    let operator = world.admit(operator().reveal()).unwrap();
    assert!(
        (0..5).all(|name| now(operator.limiter.set_limit(&format!("l{name}"), named(1))).is_ok())
    );
}

#[test]
fn when_the_day_cannot_be_charged_the_limit_answers_and_it_is_charged_later() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    caller.limiter.node().loses_days(true);
    assert_eq!(check(&caller, "wide"), Ok(true));
    assert_eq!(check(&caller, "wide"), Ok(true));
    caller.limiter.node().loses_days(false);
    let used = || now(world.limiter.usage(tenant, [caller.today()])).unwrap()[0].requests;
    assert_eq!(used(), 0);
    now(world.limiter.flush_tenants());
    assert_eq!(used(), 2);
}

/// What all nodes know was used on a day, beside whoever counts it.
fn kept(world: &World, tenant: TenantId, day: u64) -> Option<DayTally> {
    let made = world.limiter.node().made.lock().unwrap();
    let name = MonthUsage::name(tenant, day);
    let place = (catalogue::Kind::Usage, SERVICE.to_owned(), name);
    Some(made.get(&place)?.usage()?.of(day))
}

#[test]
fn what_was_used_outlives_whoever_counted_it() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let today = caller.today();
    now(caller.limiter.set_limit("tight", named(2))).unwrap();
    let _outcomes: Vec<_> = (0..3).map(|_| check(&caller, "tight")).collect();
    now(world.limiter.flush_tenants());
    now(world.limiter.keep_usage());
    let used = DayTally {
        requests: 2,
        denied: 1,
    };
    assert_eq!(kept(&world, tenant, today), Some(used));

    // Whoever has counted is lost, and what is counted since is less.
    world.limiter.node().counts.lock().unwrap().clear();
    assert_eq!(check(&caller, "tight"), Ok(true));
    now(world.limiter.keep_usage());
    assert_eq!(kept(&world, tenant, today), Some(used), "it is never less");
    let told = now(world.limiter.usage(tenant, [today])).unwrap()[0];
    assert_eq!((told.requests, told.denied), (2, 1));
    assert_eq!(check(&caller, "tight"), Ok(true));
    assert_eq!(check(&caller, "tight"), Ok(false));
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    assert_eq!(check(&caller, "wide"), Ok(true));
    let told = now(world.limiter.usage(tenant, [today])).unwrap()[0];
    assert_eq!(told.requests, 3, "what is counted has passed what is kept");
}

#[test]
fn days_that_are_not_counted_any_more_are_told_as_they_were_kept() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let long_ago = caller.today() - 300;
    let mut month = MonthUsage::of_day(long_ago);
    let used = DayTally {
        requests: 7,
        denied: 3,
    };
    month.raise(long_ago, used);
    let set = Content::Usage(month.into());
    let name = MonthUsage::name(tenant, long_ago);
    let mut made = world.limiter.node().made.lock().unwrap();
    made.insert((catalogue::Kind::Usage, SERVICE.to_owned(), name), set);
    drop(made);
    let days = [long_ago, long_ago + 1, caller.today()];
    let told = now(world.limiter.usage(tenant, days)).unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|it| (it.requests, it.is_closed()))
        .collect();
    assert_eq!(told, [(7, true), (0, true), (0, false)]);
}

#[test]
fn what_could_not_be_kept_is_kept_later() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    now(caller.limiter.set_limit("wide", named(100))).unwrap();
    assert_eq!(check(&caller, "wide"), Ok(true));
    caller.limiter.node().loses_days(true);
    now(world.limiter.keep_usage());
    assert_eq!(kept(&world, tenant, caller.today()), None);
    caller.limiter.node().loses_days(false);
    now(world.limiter.keep_usage());
    let kept = kept(&world, tenant, caller.today());
    assert_eq!(kept.map(|it| it.requests), Some(1));
    // Nothing is asked where nothing has changed.
    let asked = || world.limiter.node().asked.lock().unwrap().len();
    let before = asked();
    now(world.limiter.keep_usage());
    assert_eq!(asked(), before);
}

/// What is known of when the API keys of a tenant were last used.
fn uses(caller: &Caller<Counting>) -> Vec<Option<UnixSecs>> {
    let keys = caller.api_keys(None, usize::MAX);
    keys.iter().map(|(_, key)| key.last_used_at).collect()
}

#[test]
fn the_minute_in_which_an_api_key_is_used_is_told_once() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let [used, _unused] = [(); 2].map(|()| world.api_key(&caller, Scopes::ALL));
    let id = used.id().to_string();
    let known = || caller.api_key(&id).unwrap().1;
    now(world.limiter.tell_uses());
    assert_eq!(uses(&caller), [None, None]);

    let minute = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60;
    let before = minute();
    assert!(world.admit(&used.reveal()).is_ok());
    let after = minute();
    assert_eq!(known().last_used_at, None, "nobody was told yet");
    now(world.limiter.tell_uses());
    let told = known();
    let at = told.last_used_at.unwrap().get();
    assert!((before..=after).any(|minute| minute * 60 == at), "{at}");
    assert_eq!(uses(&caller).iter().flatten().count(), 1, "of the one used");

    // Nothing is written where there is nothing to tell.
    now(world.limiter.tell_uses());
    assert!(Arc::ptr_eq(&told, &known()));
    let wrong = used.reveal().replacen("weir_key", "weir-key", 1);
    assert!(world.admit(&wrong).is_err());
    now(world.limiter.tell_uses());
    assert!(Arc::ptr_eq(&told, &known()));
}

#[test]
fn of_two_nodes_the_later_use_stays_and_what_was_revoked_stays_revoked() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let at = UnixSecs::new;
    for (elsewhere, is_later) in [(at(60), false), (at(u64::MAX), true)] {
        let credential = world.api_key(&caller, Scopes::ALL);
        let id = credential.id().to_string();
        assert!(world.admit(&credential.reveal()).is_ok());
        let mut key = ApiKey::clone(&caller.api_key(&id).unwrap().1);
        (key.last_used_at, key.revoked_at) = (Some(elsewhere), Some(at(7)));
        world.meanwhile(&id, Content::ApiKey(key.into()));
        now(world.limiter.tell_uses());
        let (_, key) = caller.api_key(&id).unwrap();
        assert_eq!(key.last_used_at == Some(elsewhere), is_later, "{key:?}");
        assert!(Some(elsewhere) <= key.last_used_at, "{key:?}");
        assert_eq!(key.revoked_at, Some(at(7)));
    }
}

/// A tenant and its API key that were just made at another node, each with a question of its own.
#[test]
fn what_a_credential_names_and_another_member_knows_is_looked_up() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let credential = world.api_key(&caller, Scopes::ALL);
    let node = world.limiter.node();
    let names = [tenant.to_string(), credential.id().to_string()];
    for name in &names {
        let mut made = node.made.lock().unwrap();
        let place = made.keys().find(|(.., of)| of == name).cloned();
        let content = made.remove(&place.unwrap()).unwrap();
        node.elsewhere.lock().unwrap().insert(name.clone(), content);
    }
    let unknown = |text: &str| world.access.unknown(&world.limiter, Some(text.as_bytes()));
    let text = credential.reveal();
    for _ in &names {
        assert!(world.admit(&text).is_err());
        let unknown = unknown(&text).unwrap();
        assert!(now(world.limiter.look_up(&unknown)));
    }
    assert!(world.admit(&text).is_ok());
    assert_eq!(unknown(&text), None);

    // Nobody is asked about what is none, is known, or was brought by somebody who does not know the secret.
    let other = Credential::draw(&[7; 88]);
    let nobody = unknown(&other.reveal()).unwrap();
    assert!(!now(world.limiter.look_up(&nobody)));
    assert_eq!(unknown(&text[..58]), None);
    assert_eq!(unknown(operator().reveal()), None);
    let open = Access::with_token("api token");
    assert_eq!(open.unknown(&world.limiter, Some(text.as_bytes())), None);
}

/// Once each look that did not take it was counted: one too many where nobody knew it, and two of one that was taken at last.
#[test]
fn what_comes_of_an_api_key_is_counted_once_others_were_asked() {
    let world = World::new();
    let (tenant, caller) = world.tenant("one");
    let credential = world.api_key(&caller, Scopes::ALL);
    let node = world.limiter.node();
    for name in [tenant.to_string(), credential.id().to_string()] {
        let mut made = node.made.lock().unwrap();
        let place = made.keys().find(|(.., of)| *of == name).cloned();
        let content = made.remove(&place.unwrap()).unwrap();
        node.elsewhere.lock().unwrap().insert(name, content);
    }
    let admit = |text: &str| {
        let given = Some(text.as_bytes());
        let recorder = DebuggingRecorder::new();
        let admitted = metrics::with_local_recorder(&recorder, || {
            let at_once = world.access.admit_at_once(&world.limiter, given);
            let asked = || now(world.access.admit_asking(&world.limiter, given));
            at_once.unwrap_or_else(asked).map(|caller| caller.rights)
        });
        let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
        let refusals = counted.map(|(key, _, _, value)| {
            let DebugValue::Counter(count) = value else {
                panic!("{value:?}");
            };
            let reason = key.key().labels().next().map(|label| label.value());
            (reason.unwrap_or_default().to_owned(), count)
        });
        (admitted, refusals.collect::<Vec<_>>())
    };
    let (admitted, refusals) = admit(&credential.reveal());
    assert!(matches!(admitted, Ok(Rights::ApiKey { .. })));
    assert_eq!(refusals, []);
    let once = |reason: &str| [(reason.to_owned(), 1)];
    let (admitted, refusals) = admit(&Credential::draw(&[7; 88]).reveal());
    assert_eq!(admitted.unwrap_err().kind(), Kind::Unauthorized);
    assert_eq!(refusals, once("unknown"));
    now(caller.revoke_api_key(&credential.id().to_string())).unwrap();
    let (admitted, refusals) = admit(&credential.reveal());
    assert_eq!(admitted.unwrap_err().kind(), Kind::Unauthorized);
    assert_eq!(refusals, once("revoked"));
}

/// A stream that goes on uses nothing, and one that ends is no refusal of somebody who came.
#[test]
fn another_look_at_who_was_admitted_is_neither_used_nor_counted() {
    let world = World::new();
    let (_, caller) = world.tenant("one");
    let credential = world.api_key(&caller, Scopes::ALL);
    let text = credential.reveal();
    let again = || {
        let again = world
            .access
            .admit_again(&world.limiter, Some(text.as_bytes()));
        again.map(|caller| caller.rights)
    };
    assert!(again().is_ok());
    now(world.limiter.tell_uses());
    assert_eq!(uses(&caller), [None]);
    now(caller.revoke_api_key(&credential.id().to_string())).unwrap();
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        assert_eq!(again().unwrap_err().kind(), Kind::Unauthorized);
    });
    assert_eq!(recorder.snapshotter().snapshot().into_vec().len(), 0);
}
