//! A front of a service for many, to be described.

use accounts::{OperatorToken, Plan, Plans, Scope};
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request};
use fake_node::{API_KEY, TENANT};
use front_http::HttpConfig;
use limiter::{Access, Service};

use crate::client::{Front, config, front_with, request};

/// What an operator brings.
fn operator() -> OperatorToken {
    OperatorToken::derive(b"the cookie of the tests")
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
}

impl Who {
    /// The headers by which a node knows him.
    pub(crate) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let operator = operator();
        let credential = match self {
            Self::Nobody => return headers,
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
fn access(plan: Plan) -> Access {
    let others = Plans::default();
    let plans = std::iter::once(plan).chain(others.iter().skip(1).cloned());
    let service = Service {
        plans: Plans::new(plans.collect()).unwrap(),
        operator: operator(),
        public_url: "https://weir.example.com".into(),
    };
    Access::new(None, Some(service))
}

/// The first plan of those that there are unless a file says otherwise.
pub(crate) fn free() -> Plan {
    Plans::default().first().clone()
}

/// With a tenant of this plan, its limits, and an API key of it by which `who` asks.
pub(crate) async fn service(plan: Plan, who: Who) -> Front {
    let front = front_with(HttpConfig {
        access: access(plan),
        ..config()
    });
    match who {
        Who::Checker => front.node.make_tenant([Scope::Check]),
        _ => front.node.make_tenant(Scope::ALL),
    }
    for name in ["client", "login"] {
        let mut asked = request(
            "PUT",
            &format!("/v1/limits/{name}"),
            &[("content-type", "application/json")],
        );
        *asked.body_mut() = r#"{"algorithm":"gcra","limit":10,"per":"1m"}"#.into();
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
    let nobody = front_with(HttpConfig {
        access: access(free()),
        ..config()
    });
    assert_eq!(status(&nobody).await, 401);
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
    assert_eq!(records.len(), 4, "a tenant, its API key, two limits");
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
