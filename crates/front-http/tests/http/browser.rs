//! Somebody with a browser, and operators.

use accounts::Plan;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::client::{Front, Reply, request};
use crate::service::{free, operator};

pub(crate) const URL: &str = "https://weir.example.com";
pub(crate) const COOKIE: &str = "__Host-weir_session";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Somebody with a browser.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) session: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) csrf: Option<String>,
    pub(crate) tenant: Option<String>,
    /// Where it is. Empty: where all are who are nowhere in particular.
    pub(crate) peer: &'static str,
}

pub(crate) fn asked(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Request<Body> {
    let mut asked = request(method, path, headers);
    if !body.is_null() {
        asked
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        *asked.body_mut() = body.to_string().into();
    }
    asked
}

impl Browser {
    pub(crate) fn at(peer: &'static str) -> Self {
        Self {
            peer,
            ..Self::default()
        }
    }

    /// What it asks, without keeping what it is given.
    pub(crate) async fn ask(&self, front: &Front, method: &str, path: &str, body: Value) -> Reply {
        let cookies = [
            (COOKIE, &self.session),
            ("__Host-weir_device", &self.device),
        ];
        let cookies = cookies
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let mut headers = vec![("origin", URL), ("sec-fetch-site", "same-origin")];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        if let Some(csrf) = &self.csrf {
            headers.push(("x-csrf-token", csrf));
        }
        if let Some(tenant) = &self.tenant {
            headers.push(("weir-tenant", tenant));
        }
        if !self.peer.is_empty() {
            headers.push(("peer", self.peer));
        }
        front.send(asked(method, path, &headers, &body)).await
    }

    /// What it asks, keeping the cookies that it is given.
    pub(crate) async fn send(
        &mut self,
        front: &Front,
        method: &str,
        path: &str,
        body: Value,
    ) -> Reply {
        let reply = self.ask(front, method, path, body).await;
        for line in reply.headers.get_all("set-cookie") {
            let (pair, _) = line.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            match name {
                COOKIE => self.session = value,
                _ => self.device = value,
            }
        }
        reply
    }

    /// Learns what requests that change something have to bring.
    pub(crate) async fn learn(&mut self, front: &Front) {
        let session = self
            .ask(front, "GET", "/v1/auth/session", Value::Null)
            .await;
        self.csrf = Some(session.json()["csrf"].as_str().unwrap().to_owned());
    }

    pub(crate) async fn log_in(&mut self, front: &Front, email: &str, password: &str) -> Reply {
        let body = json!({ "email": email, "password": password });
        let reply = self.send(front, "POST", "/v1/auth/login", body).await;
        if reply.status.as_u16() == 200 {
            self.csrf = Some(reply.json()["csrf"].as_str().unwrap().to_owned());
        }
        reply
    }
}

pub(crate) async fn operate(front: &Front, method: &str, path: &str, body: Value) -> Reply {
    operate_in(front, None, method, path, body).await
}

pub(crate) async fn operate_in(
    front: &Front,
    tenant: Option<&str>,
    method: &str,
    path: &str,
    body: Value,
) -> Reply {
    let bearer = format!("Bearer {}", operator().reveal());
    let mut headers = vec![("authorization", &*bearer)];
    headers.extend(tenant.map(|tenant| ("weir-tenant", tenant)));
    front.send(asked(method, path, &headers, &body)).await
}

pub(crate) fn sign_up_body(email: &str, tenant: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "tenant": tenant })
}

/// Somebody who has signed up with a tenant of his own, with what he was told.
pub(crate) async fn owner(front: &Front, email: &str, peer: &'static str) -> (Browser, Value) {
    let mut browser = Browser::at(peer);
    let body = sign_up_body(email, "Acme");
    let reply = browser.send(front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
    browser.learn(front).await;
    (browser, reply.json())
}

/// Somebody who has signed up by an invitation of this owner, and his id.
pub(crate) async fn invited(
    front: &Front,
    owner: &Browser,
    email: &str,
    role: &str,
    peer: &'static str,
) -> (Browser, String) {
    let invite = owner
        .ask(front, "POST", "/v1/team/invites", json!({ "role": role }))
        .await;
    assert_eq!(invite.status.as_u16(), 201, "{}", invite.body);
    let token = token_of(&invite.json());
    let mut browser = Browser::at(peer);
    let body = json!({ "email": email, "password": PASSWORD, "invite": token });
    let reply = browser.send(front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
    assert_eq!(reply.json()["tenant"]["role"], role);
    browser.learn(front).await;
    (
        browser,
        reply.json()["user"]["id"].as_str().unwrap().to_owned(),
    )
}

/// What stands at the end of a link.
pub(crate) fn token_of(link: &Value) -> String {
    let url = link["url"].as_str().unwrap();
    assert!(url.starts_with(URL), "{url}");
    url.rsplit('/').next().unwrap().to_owned()
}

/// A plan with room for so many people.
pub(crate) fn team(people: u32) -> Plan {
    Plan {
        team: people,
        ..free()
    }
}

/// Whoever sets his password by the link that was made for him.
pub(crate) async fn by_link(front: &Front, link: &Value, peer: &'static str) -> Browser {
    let mut browser = Browser::at(peer);
    let body = json!({ "token": token_of(link), "password": PASSWORD });
    let set = browser.send(front, "POST", "/v1/auth/reset", body).await;
    assert_eq!(set.status.as_u16(), 200, "{}", set.body);
    browser.learn(front).await;
    browser
}
