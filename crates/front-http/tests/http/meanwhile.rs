//! People, while somebody else changes the same, or while a part of it fails.

use std::sync::mpsc;

use accounts::{Password, PasswordHash, Role, Seat, UnixSecs, User, UserId};
use catalogue::{Content, Kind, SERVICE};
use coordinator::{Coordinator as _, FailMode, Policy, Strategy};
use limiter::{Node as _, Signup};
use quota::{Algorithm, Cost, Limit, Nanos};
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_blocking, yield_now};

use crate::browser::{
    Browser, PASSWORD, URL, asked, by_link, invited, operate, owner, sign_up_body, team, token_of,
};
use crate::client::{Front, Reply};
use crate::service::{free, people};

const NEW: &str = "a staple of another kind";

/// A user as his node knows him.
fn user(front: &Front, id: &str) -> User {
    let record = front.node.record(Kind::User, SERVICE, id).unwrap();
    User::clone(record.user().unwrap())
}

fn id_of(told: &Value) -> String {
    told["user"]["id"].as_str().unwrap().to_owned()
}

/// A session began by the password that was to be kept out: the user was read again after it was verified.
#[tokio::test]
async fn a_login_by_a_password_that_is_changed_meanwhile_fails() {
    let front = people(Signup::Open, free());
    let (_, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let id = id_of(&told);
    let email = "ada@example.com".parse().unwrap();
    let password = Password::choose(NEW, &email, None).unwrap();
    let hash = PasswordHash::new(&password, &[9; 16]);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let headers = [("origin", URL), ("peer", "198.51.100.1")];
    let asked = asked("POST", "/v1/auth/login", &headers, &body);
    let router = front.router.clone();
    let login = tokio::spawn(async move {
        let answer = tower::ServiceExt::oneshot(router, asked).await.unwrap();
        (
            answer.status().as_u16(),
            answer.headers().contains_key("set-cookie"),
        )
    });
    // The attempt is counted once the user was read, and before the password is verified: this thread does all of it but
    // that, in turn.
    let is_counted = || {
        let counted = front.node.counted();
        counted
            .iter()
            .any(|(limit, key)| limit == "@login" && key.contains("198.51.100"))
    };
    while !is_counted() {
        yield_now().await;
    }
    let mut ada = user(&front, &id);
    ada.set_password(UnixSecs::new(1_790_000_000), hash);
    let content = Content::User(ada.into());
    front.node.set(SERVICE, &id, content).await.unwrap();
    assert_eq!(login.await.unwrap(), (401, false));
    let mut later = Browser::at("198.51.100.1");
    let login = later.log_in(&front, "ada@example.com", NEW).await;
    assert_eq!(login.status.as_u16(), 200);
}

/// Whoever ended all sessions while one of them changed something meant that one too.
#[tokio::test]
async fn an_account_whose_sessions_end_meanwhile_is_not_changed() {
    for (method, path, body) in [
        (
            "POST",
            "/v1/auth/password",
            json!({ "current": PASSWORD, "new": NEW }),
        ),
        (
            "POST",
            "/v1/auth/email",
            json!({ "password": PASSWORD, "email": "eve@example.com" }),
        ),
        (
            "POST",
            "/v1/auth/recovery-code",
            json!({ "password": PASSWORD }),
        ),
    ] {
        let front = people(Signup::Open, free());
        let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
        let id = id_of(&told);
        let mut ended = user(&front, &id);
        ended.end_sessions();
        let ended = std::sync::Arc::new(ended);
        let other = Content::User(ended.clone());
        front.node.meanwhile(&id, &id, other);
        let reply = ada.ask(&front, method, path, body).await;
        reply.problem(401, "unauthorized");
        assert_eq!(user(&front, &id), *ended, "{path}");
        // The address is nobody's.
        owner(&front, "eve@example.com", "198.51.100.1").await;
    }
}

#[tokio::test]
async fn of_two_changes_of_a_role_at_once_one_is_refused() {
    let front = people(Signup::Open, team(9));
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (_, id) = invited(&front, &ada, "bob@example.com", "viewer", "198.51.100.1").await;
    let tenant = told["tenant"]["id"].as_str().unwrap();
    let name = format!("{tenant}/{id}");
    let path = format!("/v1/team/{id}");
    let seat = |role| Seat {
        role,
        joined_at: UnixSecs::new(1),
    };
    for role in [Some(Role::Developer), None] {
        let other = Content::Seat(seat(role));
        front.node.meanwhile(&name, &name, other.clone());
        let change = ada.ask(&front, "PATCH", &path, json!({ "role": "admin" }));
        change.await.problem(409, "conflict");
        let kept = front.node.record(Kind::Seat, SERVICE, &name);
        assert_eq!(kept, Some(other), "what was changed first stays");
        let again = Content::Seat(seat(Some(Role::Viewer)));
        front.node.set(SERVICE, &name, again).await.unwrap();
    }
    let change = ada.ask(&front, "PATCH", &path, json!({ "role": "admin" }));
    assert_eq!(change.await.status.as_u16(), 200);
}

/// Both owners of a tenant delete themselves at once.
#[tokio::test]
async fn who_has_become_the_last_owner_meanwhile_stays() {
    let front = people(Signup::Open, team(9));
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (_, id) = invited(&front, &ada, "bob@example.com", "owner", "198.51.100.1").await;
    // A seat besides, which is taken away first.
    let first = "tn_0000000000000000";
    let of_ada: UserId = id_of(&told).parse().unwrap();
    let seat = |role| {
        Content::Seat(Seat {
            role,
            joined_at: UnixSecs::new(1),
        })
    };
    let besides = format!("{first}/{of_ada}");
    front
        .node
        .set(SERVICE, &besides, seat(Some(Role::Viewer)))
        .await
        .unwrap();
    let tenant = told["tenant"]["id"].as_str().unwrap();
    let of_bob = format!("{tenant}/{id}");
    front.node.meanwhile(&besides, &of_bob, seat(None));
    let body = json!({ "password": PASSWORD });
    let deleted = ada.ask(&front, "DELETE", "/v1/auth/user", body).await;
    deleted.problem(409, "last-owner");
    let role = front
        .node
        .record(Kind::Seat, SERVICE, &format!("{tenant}/{of_ada}"));
    assert_eq!(role.unwrap().seat().unwrap().role, Some(Role::Owner));
}

/// The only thread that hashes is busy, and all places behind it are taken: what nobody looked at is no failed attempt.
#[test]
fn what_a_full_queue_turns_away_is_no_attempt() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let front = people(Signup::Open, free());
        let (mut ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
        let (open, gate) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || gate.recv());
        let mut logins = JoinSet::new();
        for number in 0..34 {
            let peer = format!("198.51.{number}.1");
            let body = json!({ "email": "nobody@example.com", "password": PASSWORD });
            let headers = [("origin", URL), ("peer", &*peer)];
            let asked = asked("POST", "/v1/auth/login", &headers, &body);
            let router = front.router.clone();
            logins.spawn(async move { tower::ServiceExt::oneshot(router, asked).await.unwrap().status() });
        }
        // Counted last by its account, each is in the queue once that is done.
        let of_account = Policy {
            namespace: "@attempts".into(),
            name: "@login-account".into(),
            limit: Limit::new(Algorithm::SlidingLog, 100, Nanos::from_secs(86_400)).unwrap(),
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        let left = async || {
            let peeked = front.node.hit(&of_account, "nobody@example.com", Cost::PEEK);
            peeked.await.unwrap().decision.remaining
        };
        while left().await != 100 - 34 {}
        let overloaded = |reply: Reply| {
            reply.problem(503, "overloaded");
        };
        let mut stranger = Browser::at("203.0.113.1");
        let recover = json!({ "email": "ada@example.com", "recovery_code": told["recovery_code"], "password": NEW });
        for _ in 0..6 {
            overloaded(stranger.log_in(&front, "ada@example.com", PASSWORD).await);
            overloaded(stranger.ask(&front, "POST", "/v1/auth/recover", recover.clone()).await);
            let renew = json!({ "password": PASSWORD });
            overloaded(ada.ask(&front, "POST", "/v1/auth/recovery-code", renew).await);
        }
        drop(open);
        let _closed = busy.await.unwrap();
        while let Some(status) = logins.join_next().await {
            assert_eq!(status.unwrap().as_u16(), 401);
        }
        for browser in [&mut stranger, &mut ada] {
            let login = browser.log_in(&front, "ada@example.com", PASSWORD).await;
            assert_eq!(login.status.as_u16(), 200, "{}", login.body);
        }
    });
}

/// What comes of it where the change after `n` others fails.
async fn failing(front: &Front, n: usize, asked: impl Future<Output = Reply>) -> Reply {
    *front.node.fails_after.lock().unwrap() = Some(n);
    let reply = asked.await;
    *front.node.fails_after.lock().unwrap() = None;
    reply
}

async fn check_no_tenant(front: &Front) {
    let tenants = operate(front, "GET", "/v1/tenants", Value::Null).await;
    for tenant in tenants.json()["items"].as_array().unwrap() {
        assert_eq!(tenant["status"], "closed", "{tenant}");
    }
}

fn check_nobody(front: &Front, email: &str) {
    let users = front.node.records(Kind::User, email, None, 9);
    assert_eq!(users, []);
}

/// A user, his address, his tenant and his seat; what is written down of it is not needed.
#[tokio::test]
async fn nobody_is_half_made_by_signing_up() {
    for n in 0..=4 {
        let front = people(Signup::Open, free());
        let browser = Browser::at("192.0.2.1");
        let body = sign_up_body("ada@example.com", "Acme");
        let sign_up = browser.ask(&front, "POST", "/v1/auth/sign-up", body);
        let reply = failing(&front, n, sign_up).await;
        if n == 4 {
            assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
            break;
        }
        assert_eq!(reply.status.as_u16(), 503, "{n}: {}", reply.body);
        check_no_tenant(&front).await;
        check_nobody(&front, "ada@example.com");
        owner(&front, "ada@example.com", "192.0.2.2").await;
    }
}

/// A user, his address, the invitation, his seat: it can be used again.
#[tokio::test]
async fn an_invitation_by_which_nobody_has_joined_is_not_used_up() {
    for n in 0..=4 {
        let front = people(Signup::Open, free());
        let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
        let invite = json!({ "role": "viewer" });
        let invite = ada.ask(&front, "POST", "/v1/team/invites", invite).await;
        let token = token_of(&invite.json());
        let body = json!({ "email": "bob@example.com", "password": PASSWORD, "invite": token });
        let sign_up = async || {
            let browser = Browser::at("198.51.100.1");
            browser
                .ask(&front, "POST", "/v1/auth/sign-up", body.clone())
                .await
        };
        let reply = failing(&front, n, sign_up()).await;
        if n == 4 {
            assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
            break;
        }
        assert_eq!(reply.status.as_u16(), 503, "{n}: {}", reply.body);
        check_nobody(&front, "bob@example.com");
        let again = sign_up().await;
        assert_eq!(again.status.as_u16(), 201, "{n}: {}", again.body);
    }
}

/// A tenant, a user, his address, his seat, his link.
#[tokio::test]
async fn a_tenant_without_the_owner_that_was_asked_for_is_closed() {
    for n in 0..=5 {
        let front = people(Signup::Closed, free());
        let body = json!({ "name": "Acme", "owner": "ada@example.com" });
        let make = async || operate(&front, "POST", "/v1/tenants", body.clone()).await;
        let reply = failing(&front, n, make()).await;
        if n == 5 {
            assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
            break;
        }
        assert_eq!(reply.status.as_u16(), 503, "{n}: {}", reply.body);
        check_no_tenant(&front).await;
        let again = make().await.json();
        by_link(&front, &again["owner"], "192.0.2.1").await;
    }
}

/// A user, his address, what shuts his account, that he is one, his link.
#[tokio::test]
async fn an_operator_who_was_not_made_is_made_by_asking_again() {
    for n in 0..=5 {
        let front = people(Signup::Closed, free());
        let body = json!({ "email": "root@example.com" });
        let make = async || operate(&front, "POST", "/v1/operators", body.clone()).await;
        let reply = failing(&front, n, make()).await;
        if n == 5 {
            assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
            break;
        }
        assert_eq!(reply.status.as_u16(), 503, "{n}: {}", reply.body);
        let again = make().await.json();
        let root = by_link(&front, &again, "192.0.2.1").await;
        let listed = root.ask(&front, "GET", "/v1/operators", Value::Null).await;
        assert_eq!(listed.status.as_u16(), 200, "{n}: {}", listed.body);
    }
}

#[tokio::test]
async fn nothing_is_changed_where_nothing_can_be() {
    let front = people(Signup::Open, free());
    *front.node.unchangeable.lock().unwrap() = Some(catalogue::NotChanged::NoQuorum);
    let browser = Browser::default();
    let body = sign_up_body("ada@example.com", "Acme");
    let reply = browser.ask(&front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(reply.status.as_u16(), 503, "{}", reply.body);
    *front.node.unchangeable.lock().unwrap() = None;
    owner(&front, "ada@example.com", "").await;
}

/// A seat, that it is written down, that he is an operator, his address, himself.
#[tokio::test]
async fn whoever_could_not_be_deleted_is_told_what_is_gone_and_asks_again() {
    for n in 0..=5 {
        let front = people(Signup::Open, team(9));
        let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
        let (bob, id) = invited(&front, &ada, "bob@example.com", "viewer", "198.51.100.1").await;
        let delete = async || {
            let body = json!({ "password": PASSWORD });
            bob.ask(&front, "DELETE", "/v1/auth/user", body).await
        };
        let reply = failing(&front, n, delete()).await;
        let is_deleted = [1, 5].contains(&n);
        if !is_deleted {
            let detail = reply.problem(503, "no-quorum")["detail"].to_string();
            assert_eq!(detail.contains("nothing was changed"), n == 0, "{detail}");
            assert_eq!(detail.contains("ask again"), n != 0, "{detail}");
            let seat = format!("{}/{id}", told["tenant"]["id"].as_str().unwrap());
            let seat = front.node.record(Kind::Seat, SERVICE, &seat);
            assert_eq!(seat.is_some(), n == 0, "{n}");
            // He has his address, and is in no conflict.
            let mut later = Browser::at("203.0.113.1");
            let login = later.log_in(&front, "bob@example.com", PASSWORD).await;
            assert_eq!(login.status.as_u16(), 200, "{n}: {}", login.body);
        }
        let deleted = if is_deleted { reply } else { delete().await };
        assert_eq!(deleted.status.as_u16(), 204, "{n}: {}", deleted.body);
        check_nobody(&front, "bob@example.com");
        owner(&front, "bob@example.com", "203.0.113.2").await;
    }
}

/// The seat of a teammate, or that somebody is an operator; what is written down of it is not needed.
#[tokio::test]
async fn whoever_could_not_be_taken_away_stays_what_he_was() {
    for n in 0..=1 {
        let front = people(Signup::Open, team(9));
        let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
        let (_, id) = invited(&front, &ada, "bob@example.com", "viewer", "198.51.100.1").await;
        let root = json!({ "email": "root@example.com" });
        operate(&front, "POST", "/v1/operators", root).await;
        let operators = front.node.records(Kind::Operator, SERVICE, None, 9);
        let [(root, _)] = &*operators else {
            panic!("{operators:?}");
        };
        let seat = format!("{}/{id}", told["tenant"]["id"].as_str().unwrap());
        let removals = [
            (Kind::Seat, &*seat, format!("/v1/team/{id}")),
            (Kind::Operator, root, format!("/v1/operators/{root}")),
        ];
        for (kind, name, path) in &removals {
            let known = || front.node.record(*kind, SERVICE, name);
            let before = known();
            let remove = async || match kind {
                Kind::Seat => ada.ask(&front, "DELETE", path, Value::Null).await,
                _ => operate(&front, "DELETE", path, Value::Null).await,
            };
            *front.node.unchangeable.lock().unwrap() = Some(catalogue::NotChanged::NoQuorum);
            remove().await.problem(503, "no-quorum");
            *front.node.unchangeable.lock().unwrap() = None;
            assert_eq!(known(), before, "{path}");
            let mut reply = failing(&front, n, remove()).await;
            if n == 0 {
                let told = reply.problem(503, "no-quorum");
                let detail = told["detail"].as_str().unwrap();
                assert!(detail.starts_with("nothing was changed"), "{detail}");
                assert_eq!(known(), before, "{path}");
                reply = remove().await;
            }
            assert_eq!(reply.status.as_u16(), 204, "{path}: {}", reply.body);
            assert_eq!(known(), None, "{path}");
        }
    }
}
