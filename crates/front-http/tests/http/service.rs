//! A front of a service for many, to be described.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use accounts::{
    Dated, Email, EmailClaim, Invite, InviteId, InviteToken, KnownSession, Link, OperatorToken,
    Password, PasswordHash, Plan, Plans, ResetLink, ResetToken, Role, Scope, Seat, Session,
    SessionKeys, Tenant, TenantId, UnixSecs, User, UserId,
};
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request};
use catalogue::{Content, SERVICE};
use fake_node::{API_KEY, FakeNode, TENANT};
use front_http::HttpConfig;
use http_body_util::BodyExt as _;
use limiter::{Access, Node as _, Service, Signup};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::client::{Front, Reply, config, front_with, request};

/// Of the cluster.
const COOKIE: &[u8] = b"the cookie of the tests";

/// What an operator brings.
pub(crate) fn operator() -> OperatorToken {
    OperatorToken::derive(COOKIE)
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Nobody,
    /// By an API key that may do everything.
    Tenant,
    /// By one that may only check.
    Checker,
    /// In the tenant.
    Operator,
    /// By a session: the owner of the tenant.
    Owner,
}

impl Who {
    /// The headers by which a node knows him.
    pub(crate) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let operator = operator();
        let credential = match self {
            Self::Nobody => return headers,
            Self::Owner => return by_session(),
            Self::Tenant | Self::Checker => API_KEY,
            Self::Operator => operator.reveal(),
        };
        let bearer = HeaderValue::from_str(&format!("Bearer {credential}")).unwrap();
        headers.insert(AUTHORIZATION, bearer);
        if self == Self::Operator {
            let tenant = HeaderName::from_static("weir-tenant");
            headers.insert(tenant, HeaderValue::from_static(TENANT));
        }
        headers
    }
}

/// Of plans whose first is this.
fn of_plan(plan: Plan) -> Service {
    let others = Plans::default();
    let plans = std::iter::once(plan).chain(others.iter().skip(1).cloned());
    let url = "https://weir.example.com".into();
    let plans = Plans::new(plans.collect()).unwrap();
    Service::new(COOKIE, url, plans)
}

/// A service where people can sign up so, with nothing in it yet.
pub(crate) fn people(signup: Signup, plan: Plan) -> Front {
    let mut service = of_plan(plan);
    service.signup = signup;
    front_with(HttpConfig {
        access: Access::new(None, Some(service)),
        ..config()
    })
}

/// The first plan of those that there are unless a file says otherwise.
pub(crate) fn free() -> Plan {
    Plans::default().first().clone()
}

/// The user whose address and password the examples have, and those whose ids they have.
const OWNER: UserId = UserId::new([7; 10]);
const TEAMMATE: &str = "us_0123456789abcdef";
/// What the tokens of the examples are of: nothing but zeros.
const ZEROS: [u8; 10] = [0; 10];

static PASSWORD: LazyLock<PasswordHash> = LazyLock::new(|| {
    let email = "ada@example.com".parse().unwrap();
    let password = Password::choose("correct horse battery", &email, None).unwrap();
    PasswordHash::new(&password, &[1; 16])
});

fn now() -> UnixSecs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixSecs::new(since.as_secs())
}

/// One that no login has ended: of the first epoch of its user.
fn session() -> Session {
    let user = User::new(now(), "ada@example.com".parse().unwrap());
    Session::new(now(), OWNER, &user, [5; 16])
}

fn by_session() -> HeaderMap {
    let (keys, session) = (SessionKeys::derive(COOKIE), session());
    let cookie = format!("__Host-weir_session={}", keys.sign(&session));
    let token = keys.form_token(&session).reveal();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("cookie", &*cookie),
        ("x-csrf-token", &token),
        ("origin", "https://weir.example.com"),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// The people of the examples: an owner and a viewer of the tenant, somebody with a link for a password, and an invitation to
/// another tenant.
async fn make_people(node: &FakeNode) {
    let set = async |name: &str, content: Content| {
        node.set(SERVICE, name, content).await.unwrap();
    };
    let link = |secret| Link {
        secret,
        expires_at: now() + 3_600,
    };
    let teammate: UserId = TEAMMATE.parse().unwrap();
    let forgetful = UserId::new(ZEROS);
    for (id, email, role) in [
        (OWNER, "ada@example.com", Some(Role::Owner)),
        (teammate, "eve@example.com", Some(Role::Viewer)),
        (forgetful, "joe@example.com", None),
    ] {
        let email: Email = email.parse().unwrap();
        let mut user = User::new(UnixSecs::new(1), email.clone());
        user.password = Dated::new(UnixSecs::new(2), Some(PASSWORD.clone()));
        let token = ResetToken::draw(id, [0; 20]);
        user.reset = Dated::new(UnixSecs::new(2), ResetLink::Open(link(token.hash())));
        set(&id.to_string(), Content::User(user.into())).await;
        let claim = EmailClaim::new(UnixSecs::new(1), id);
        set(email.as_str(), Content::Email(claim)).await;
        if let Some(role) = role {
            let seat = Seat::new(UnixSecs::new(1), role);
            set(&format!("{TENANT}/{id}"), Content::Seat(seat)).await;
        }
    }
    let known = KnownSession::new(&session(), 3_600, None, "curl");
    let name = "ses_0123456789abcdef";
    set(name, Content::Session(known.into())).await;
    let other = TenantId::new([9; 10]);
    let tenant = Tenant::new(UnixSecs::new(1), "Other".parse().unwrap());
    set(&other.to_string(), Content::Tenant(tenant.into())).await;
    let invite = |tenant, id| Invite {
        tenant,
        role: Role::Viewer,
        link: link(InviteToken::draw(id, [0; 20]).hash()),
        email: None,
        made_by: "operator".into(),
        made_at: UnixSecs::new(1),
        used: None,
        withdrawn_at: None,
    };
    let to_join: InviteId = InviteId::new(ZEROS);
    let content = invite(other, to_join);
    set(&to_join.to_string(), Content::Invite(content.into())).await;
    let to_withdraw: InviteId = "inv_0123456789abcdef".parse().unwrap();
    let content = invite(TENANT.parse().unwrap(), to_withdraw);
    set(&to_withdraw.to_string(), Content::Invite(content.into())).await;
}

/// With the people of the examples besides, where anybody can sign up.
pub(crate) async fn service_with_people(plan: Plan, who: Who) -> Front {
    let front = service(plan, who).await;
    make_people(&front.node).await;
    front
}

/// With a tenant of this plan, its limits, and an API key of it by which `who` asks.
pub(crate) async fn service(plan: Plan, who: Who) -> Front {
    let front = people(Signup::Open, plan);
    match who {
        Who::Checker => front.node.make_tenant([Scope::Check]),
        _ => front.node.make_tenant(Scope::ALL),
    }
    for (name, top_keys) in [("client", false), ("login", true)] {
        let mut asked = request(
            "PUT",
            &format!("/v1/limits/{name}"),
            &[("content-type", "application/json")],
        );
        let limit =
            format!(r#"{{"algorithm":"gcra","limit":10,"per":"1m","top_keys":{top_keys}}}"#);
        *asked.body_mut() = limit.into();
        let made = front.send(signed(asked, Who::Operator)).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    }
    front
}

/// What `who` asks.
pub(crate) fn signed<B>(mut asked: Request<B>, who: Who) -> Request<B> {
    for (name, value) in who.headers() {
        let name = name.expect("each header stands there once");
        asked.headers_mut().insert(name, value);
    }
    asked
}

/// The body by which the limit of the key in the examples is set.
pub(crate) fn key_limit(who: Who) -> Request<axum::body::Body> {
    let mut asked = request(
        Method::POST.as_str(),
        "/api/limits",
        &[("content-type", "application/json")],
    );
    *asked.body_mut() = r#"{"key":"ada","limit":1,"interval":"1m","algorithm":"gcra"}"#.into();
    signed(asked, who)
}

/// The page of all was that of the file's namespace, whoever asked.
#[tokio::test]
async fn a_tenant_sees_the_limits_of_its_own_keys() {
    let front = service(free(), Who::Tenant).await;
    front.send(key_limit(Who::Tenant)).await;
    let list = async |credential: &str| {
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", &*bearer)];
        front.get_with("/api/limits", &headers).await.json()["items"].clone()
    };
    assert_eq!(list(API_KEY).await[0]["key"], "ada");
    assert_eq!(list(operator().reveal()).await, serde_json::json!([]));
}

#[tokio::test]
async fn a_credential_that_another_member_knows_is_asked_about() {
    let front = service(free(), Who::Tenant).await;
    let bearer = format!("Bearer {API_KEY}");
    let status = async |front: &Front| {
        let headers = [("authorization", &*bearer)];
        front.get_with("/v1/tenant", &headers).await.status.as_u16()
    };
    assert_eq!(status(&front).await, 200);
    front.node.leave_elsewhere();
    assert_eq!(status(&front).await, 200);
    let nobody = people(Signup::Open, free());
    assert_eq!(status(&nobody).await, 401);
}

/// Each look that did not take it was counted: two of an API key that was taken at last, and one too many where nobody knew it.
#[tokio::test]
async fn an_api_key_is_counted_as_refused_once_others_were_asked() {
    let front = service(free(), Who::Tenant).await;
    let refusals = async || {
        let recorder = DebuggingRecorder::new();
        // What is asked is answered on this thread.
        let _in_force = metrics::set_default_local_recorder(&recorder);
        let asked = signed(request("GET", "/v1/tenant", &[]), Who::Tenant);
        let status = front.send(asked).await.status.as_u16();
        let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
        let refusals = counted.filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) if key.key().name() == "weir_api_key_refusals_total" => {
                Some(count)
            }
            _ => None,
        });
        (status, refusals.collect::<Vec<_>>())
    };
    front.node.leave_elsewhere();
    assert_eq!(refusals().await, (200, vec![]));
    front.node.leave_elsewhere();
    front.node.leave_elsewhere();
    assert_eq!(refusals().await, (401, vec![1]));
}

#[tokio::test]
async fn records_are_given_away_in_pages_and_taken_in_again() {
    let front = service(free(), Who::Tenant).await;
    let ask = async |method: &str, path: &str, body: &str| {
        let json = [("content-type", "application/json")];
        let mut asked = request(method, path, &json);
        *asked.body_mut() = body.to_owned().into();
        front.send(signed(asked, Who::Operator)).await
    };
    let (mut records, mut path) = (Vec::new(), "/v1/service/records?count=3".to_owned());
    loop {
        let page = ask("GET", &path, "").await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3, "{page}");
        records.extend(items.iter().map(|item| item["record"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/service/records?count=3&after={next}");
    }
    assert_eq!(
        records.len(),
        6,
        "a tenant, its API key, two limits, and that they were made"
    );
    let body = serde_json::json!({ "records": records }).to_string();
    let taken = ask("POST", "/v1/service/records", &body).await;
    assert_eq!((taken.status.as_u16(), &*taken.body), (200, r#"{"new":0}"#));
    let new = ask("POST", "/v1/service/records", r#"{"records":["bmV3"]}"#).await;
    assert_eq!(&*new.body, r#"{"new":1}"#);
    let many = format!(r#"{{"records":["{}"]}}"#, vec!["bmV3"; 1_001].join("\",\""));
    for (body, at) in [
        (r##"{"records":["bmV3","#"]}"##, "records[1]"),
        (&*many, "records"),
        ("{}", "records"),
        (r#"{"records":"bmV3"}"#, "records"),
    ] {
        let refused = ask("POST", "/v1/service/records", body).await;
        assert_eq!(refused.status.as_u16(), 400, "{}", refused.body);
        assert_eq!(refused.json()["field"], at, "{}", refused.body);
    }
    let tenant = signed(request("GET", "/v1/service/records", &[]), Who::Tenant);
    assert_eq!(front.send(tenant).await.status.as_u16(), 403);
}

/// Who may have been revoked meanwhile is not served by a node that has heard of nobody, if its file says so.
#[tokio::test]
async fn a_node_that_has_heard_of_nobody_for_too_long_takes_operators_alone() {
    let secs = quota::Nanos::from_secs;
    let front = |stale_after| {
        let mut service = of_plan(free());
        service.stale_after = stale_after;
        front_with(HttpConfig {
            access: Access::new(None, Some(service)),
            ..config()
        })
    };
    let cases = [
        (Some(secs(900)), Some(secs(900)), true),
        (Some(secs(900)), Some(secs(899)), false),
        (Some(secs(900)), None, false),
        (None, Some(secs(900_000)), false),
    ];
    for (stale_after, silent, is_stale) in cases {
        let front = front(stale_after);
        front.node.make_tenant(Scope::ALL);
        make_people(&front.node).await;
        *front.node.silent.lock().unwrap() = silent;
        for who in [Who::Tenant, Who::Owner, Who::Operator] {
            let reply = front
                .send(signed(request("GET", "/v1/tenant", &[]), who))
                .await;
            match is_stale && who != Who::Operator {
                true => {
                    reply.problem(503, "stale-configuration");
                    assert_eq!(reply.header("retry-after"), "1");
                }
                false => assert_eq!(reply.status, 200, "{who:?}: {}", reply.body),
            }
        }
    }
}

/// A stream ended when its tenant asked a lot just then: it was held to the ceiling of those who come.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_while_its_tenant_asks_too_fast() {
    let plan = Plan {
        per_second: 1,
        ..free()
    };
    let front = service(plan, Who::Tenant).await;
    let ask = || signed(request("GET", "/v1/live", &[]), Who::Tenant);
    let live = tower::ServiceExt::oneshot(front.router.clone(), ask()).await;
    let mut body = live.unwrap().into_body();
    let mut next = async || {
        let frame = body.frame().await.expect("it goes on").unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert!(next().await.starts_with("retry"));
    // The ceiling is of a clock that does not stand still: spent within the second before the next beat.
    while front.send(ask()).await.status != 429 {}
    assert_eq!(next().await, ": here\n\n");
}

/// What `who` asks with this body, and these headers besides.
async fn ask(front: &Front, who: Who, headers: &[(&str, &str)], line: &str, body: &str) -> Reply {
    let (method, path) = line.split_once(' ').unwrap();
    let json = [("content-type", "application/json")];
    let mut asked = request(method, path, &json);
    *asked.body_mut() = body.to_owned().into();
    let mut asked = signed(asked, who);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        asked
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    front.send(asked).await
}

/// They were made twice, once for each attempt.
#[tokio::test]
async fn what_is_made_takes_no_key_of_the_request_yet() {
    let front = service(free(), Who::Tenant).await;
    let key = [("idempotency-key", "1")];
    for (who, line) in [
        (Who::Tenant, "POST /v1/api-keys"),
        (Who::Operator, "POST /v1/tenants"),
    ] {
        let count = async || {
            let list = line.replace("POST", "GET");
            let listed = ask(&front, who, &[], &list, "").await.json();
            listed["items"].as_array().unwrap().len()
        };
        let before = count().await;
        let refused = ask(&front, who, &key, line, r#"{"name":"b"}"#).await;
        let problem = refused.problem(501, "not-implemented");
        assert_eq!(problem["field"], "Idempotency-Key", "{problem}");
        assert_eq!(count().await, before, "{line}");
        let made = ask(&front, who, &[], line, r#"{"name":"b"}"#).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    }
}

/// Without `[billing]`; but who may not buy is told that, and what makes no sense as well.
#[tokio::test]
async fn where_no_plans_are_sold_nothing_is_bought() {
    let front = service(free(), Who::Operator).await;
    for (line, body) in [
        ("GET /v1/billing", ""),
        ("POST /v1/billing/checkout", r#"{"plan":"pro"}"#),
        ("POST /v1/billing/portal", "{}"),
        ("POST /stripe/webhook", "{}"),
        ("GET /v1/service/billing", ""),
        ("POST /v1/service/billing", "{}"),
        ("POST /v1/service/billing/sync", "{}"),
        ("GET /v1/service/billing/drift", ""),
    ] {
        let refused = ask(&front, Who::Operator, &[], line, body).await;
        refused.problem(501, "not-implemented");
        if line.contains("/v1/") {
            let refused = ask(&front, Who::Tenant, &[], line, body).await;
            refused.problem(403, "forbidden");
        }
    }
    let line = "POST /v1/billing/checkout";
    let refused = ask(&front, Who::Operator, &[], line, "{}").await;
    let problem = refused.problem(400, "invalid-request");
    assert_eq!(problem["field"], "plan");
    let refused = ask(&front, Who::Operator, &[], "GET /v1/none", "").await;
    refused.problem(404, "not-found");
}

/// The first was taken, whatever the other said.
#[tokio::test]
async fn a_request_names_one_tenant() {
    let front = service(free(), Who::Operator).await;
    let other = [("weir-tenant", "tn_1123456789abcdef")];
    let refused = ask(&front, Who::Operator, &other, "GET /v1/tenant", "").await;
    let problem = refused.problem(400, "invalid-request");
    assert_eq!(problem["field"], "Weir-Tenant", "{problem}");
}

#[tokio::test]
async fn an_api_key_that_ends_does_not_come_to_last_for_ever() {
    let front = service(free(), Who::Tenant).await;
    let tomorrow = (now() + 86_400).to_string();
    let body = format!(r#"{{"name":"b","expires_at":"{tomorrow}"}}"#);
    let made = ask(&front, Who::Tenant, &[], "POST /v1/api-keys", &body).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for at in ["null", "\"2999-01-01T00:00:00Z\""] {
        let body = format!(r#"{{"expires_at":{at}}}"#);
        let line = format!("PATCH /v1/api-keys/{id}");
        let refused = ask(&front, Who::Tenant, &[], &line, &body).await;
        let problem = refused.problem(403, "forbidden");
        assert_eq!(problem["field"], "expires_at", "{problem}");
    }
    let rotate = format!("POST /v1/api-keys/{id}/rotate");
    for overlap in ["31d", "-1s", "1"] {
        let body = format!(r#"{{"overlap":"{overlap}"}}"#);
        let refused = ask(&front, Who::Tenant, &[], &rotate, &body).await;
        let problem = refused.problem(400, "invalid-request");
        assert_eq!(problem["given"], overlap, "{problem}");
        assert_eq!(problem["accepted"], "0s to 30d", "{problem}");
    }
    let longest = ask(&front, Who::Tenant, &[], &rotate, r#"{"overlap":"30d"}"#).await;
    assert_eq!(longest.status.as_u16(), 201, "{}", longest.body);
}
