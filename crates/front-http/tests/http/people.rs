//! People: signing up, logging in, sessions, teams and operators.

use accounts::{
    EmailClaim, InviteId, InviteToken, KnownSession, Plan, Role, Seat, UnixSecs, User, UserId,
};
use catalogue::{Content, SERVICE};
use limiter::{Node as _, Signup};
use quota::Nanos;
use serde_json::{Value, json};

use crate::browser::{
    Browser, COOKIE, PASSWORD, URL, asked, by_link, invited, operate, operate_in, owner,
    sign_up_body, team, token_of,
};
use crate::service::{free, people};

#[tokio::test]
async fn a_session_lasts_from_sign_up_to_logout() {
    let front = people(Signup::Open, free());
    let mut ada = Browser::default();
    let body = sign_up_body(" Ada@Example.com ", "Acme");
    let reply = ada.send(&front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
    assert_eq!(reply.header("cache-control"), "no-store");
    let told = reply.json();
    assert_eq!(told["user"]["email"], "ada@example.com");
    assert_eq!(told["tenant"]["role"], "owner");
    assert_eq!(told["recovery_code"].as_str().unwrap().len(), 29);
    let cookies = reply.headers.get_all("set-cookie").iter();
    let cookie = cookies
        .map(|line| line.to_str().unwrap())
        .find(|line| line.starts_with(COOKIE))
        .unwrap();
    let (_, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
    );

    let session = ada
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    assert_eq!(session.json()["tenants"], json!([told["tenant"]]));
    assert!(session.json()["expires_at"].is_string());
    // The tenant is that of the one seat.
    let tenant = ada.ask(&front, "GET", "/v1/tenant", Value::Null).await;
    assert_eq!(tenant.json()["id"], told["tenant"]["id"]);

    ada.learn(&front).await;
    let copied = ada.clone();
    let logout = ada.send(&front, "POST", "/v1/auth/logout", json!({})).await;
    assert_eq!((logout.status.as_u16(), &*logout.body), (204, ""));
    assert_eq!(ada.session, None);
    let over = copied
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    over.problem(401, "unauthorized");
    assert!(
        over.header("set-cookie")
            .starts_with("__Host-weir_session=;")
    );
    // Without a session there is nothing to end.
    for browser in [&ada, &copied] {
        let again = browser.ask(&front, "POST", "/v1/auth/logout", json!({}));
        assert_eq!(again.await.status.as_u16(), 204);
    }
    // Another begins, under another name.
    let login = ada.log_in(&front, "ada@example.com", PASSWORD).await;
    assert_eq!(login.status.as_u16(), 200, "{}", login.body);
    assert_ne!(ada.session, copied.session);
    // A header goes before the cookie, which is not looked at.
    let bearer = [
        ("authorization", "Bearer x"),
        ("cookie", "__Host-weir_session=x"),
    ];
    let by_header = front.get_with("/v1/auth/session", &bearer).await;
    by_header.problem(401, "unauthorized");
    assert_eq!(by_header.header("set-cookie"), "");
}

#[tokio::test]
async fn sessions_that_are_none_are_told_the_same() {
    let front = people(Signup::Open, free());
    let (ada, _) = owner(&front, "ada@example.com", "").await;
    let ask = async |session: &str| {
        let browser = Browser {
            session: Some(session.to_owned()),
            ..Browser::default()
        };
        let reply = browser.ask(&front, "GET", "/v1/team", Value::Null).await;
        assert!(reply.header("set-cookie").contains("Max-Age=0"));
        reply.problem(401, "unauthorized")
    };
    let mut altered = ada.session.clone().unwrap();
    let last = if altered.ends_with('A') { "E" } else { "A" };
    altered.replace_range(altered.len() - 1.., last);
    let told = ask(&altered).await;
    // Signed by the nodes of another cluster.
    let elsewhere = accounts::SessionKeys::derive(b"another cookie");
    let user = accounts::User::new(UnixSecs::new(1), "ada@example.com".parse().unwrap());
    let session = accounts::Session::new(UnixSecs::new(1), UserId::new([1; 10]), &user, [1; 16]);
    assert_eq!(ask(&elsewhere.sign(&session)).await, told);
    // Of this one, by a user that never was.
    let here = accounts::SessionKeys::derive(b"the cookie of the tests");
    assert_eq!(ask(&here.sign(&session)).await, told);
    // Of another epoch.
    let disable = json!({ "email": "ada@example.com" });
    let ended = operate(&front, "POST", "/v1/users/end-sessions", disable).await;
    assert_eq!(ended.status.as_u16(), 204);
    assert_eq!(ask(&ada.session.unwrap()).await, told);
}

/// One that an old proxy or another site planted beside it takes nobody's session away.
#[tokio::test]
async fn of_several_cookies_the_one_that_is_signed_is_taken() {
    let front = people(Signup::Open, free());
    let (ada, _) = owner(&front, "ada@example.com", "").await;
    let cookies = format!("{COOKIE}=v1.x.y; {COOKIE}={}", ada.session.unwrap());
    let cookies = [("cookie", &*cookies)];
    let session = front.get_with("/v1/auth/session", &cookies).await;
    assert_eq!(session.status.as_u16(), 200);
}

#[tokio::test]
async fn what_cannot_sign_up_hears_why_and_is_not_told_its_password() {
    let front = people(Signup::Open, free());
    let email = "an e-mail address of at most 254 bytes";
    let name = "1 to 64 printable characters";
    let long = format!("{}@example.com", "a".repeat(254));
    let cases = [
        ("email", json!("a"), email),
        ("email", json!("a@"), email),
        ("email", json!("a@b@c"), email),
        ("email", json!(long), email),
        ("email", json!("a\u{7}@b"), email),
        ("email", json!(1), email),
        ("password", json!("elevenchars"), "12 to 128 characters"),
        ("password", json!("x".repeat(129)), "12 to 128 characters"),
        (
            "password",
            json!(["correct horse battery"]),
            "12 to 128 characters",
        ),
        ("password", json!(987_654_321), "12 to 128 characters"),
        (
            "password",
            json!("passwordpassword"),
            "a password that is not among the commonest",
        ),
        (
            "password",
            json!("my ada@example.com is it"),
            "a password without your address",
        ),
        (
            "password",
            json!("weir is a good word"),
            "a password that does not begin with weir",
        ),
        ("tenant", json!(""), name),
        ("tenant", json!("a".repeat(65)), name),
        ("tenant", json!("a\u{7}b"), name),
    ];
    for (field, value, accepted) in cases {
        let mut body = sign_up_body("ada@example.com", "Acme");
        body[field] = value.clone();
        let reply = Browser::default()
            .ask(&front, "POST", "/v1/auth/sign-up", body)
            .await;
        let problem = reply.problem(400, "invalid-request");
        assert_eq!(
            (&problem["field"], &problem["accepted"]),
            (&json!(field), &json!(accepted)),
            "{value}"
        );
        if field == "password" {
            assert_eq!(problem["given"], Value::Null);
            let text = value.as_str().unwrap_or("987654321");
            assert!(!reply.body.contains(text), "{}", reply.body);
        }
    }
    let neither = json!({ "email": "ada@example.com", "password": PASSWORD });
    let reply = Browser::default()
        .ask(&front, "POST", "/v1/auth/sign-up", neither)
        .await;
    assert_eq!(reply.problem(400, "invalid-request")["field"], "tenant");
    // Nothing of it was kept, or counted as an attempt.
    assert_eq!(front.node.counted(), []);
    let (_, told) = owner(&front, "ada@example.com", "").await;
    let taken = Browser::at("192.0.2.9")
        .ask(
            &front,
            "POST",
            "/v1/auth/sign-up",
            sign_up_body("ADA@example.com", "Other"),
        )
        .await;
    assert_eq!(taken.problem(409, "email-taken")["field"], "email");
    let tenants = operate(&front, "GET", "/v1/tenants", Value::Null).await;
    let tenants = tenants.json()["items"].clone();
    assert_eq!(tenants.as_array().unwrap().len(), 1);
    assert_eq!(tenants[0]["id"], told["tenant"]["id"]);
}

#[tokio::test]
async fn who_may_sign_up_the_file_says() {
    let closed = people(Signup::Closed, free());
    let invited = people(Signup::Invited, free());
    let by_token = json!({ "email": "a@b", "password": PASSWORD, "invite": "0".repeat(48) });
    for (front, body) in [
        (&closed, sign_up_body("a@b", "Acme")),
        (&closed, by_token.clone()),
        (&invited, sign_up_body("a@b", "Acme")),
    ] {
        let browser = Browser::default();
        let reply = browser.ask(front, "POST", "/v1/auth/sign-up", body).await;
        let problem = reply.problem(403, "signup-closed");
        assert!(problem["detail"].as_str().unwrap().contains("ask"));
    }
    let unknown = Browser::default()
        .ask(&invited, "POST", "/v1/auth/sign-up", by_token)
        .await;
    unknown.problem(410, "link-used");
}

#[tokio::test]
async fn a_flood_of_sign_ups_ends_by_address_and_by_network() {
    let front = people(Signup::Open, free());
    let attempt = async |peer: &'static str| {
        // It is another's address, so that nothing is hashed.
        let body = sign_up_body("ada@example.com", "Acme");
        let browser = Browser::at(peer);
        browser.ask(&front, "POST", "/v1/auth/sign-up", body).await
    };
    owner(&front, "ada@example.com", "192.0.2.1").await;
    for _ in 0..4 {
        attempt("192.0.2.1").await.problem(409, "email-taken");
    }
    let sixth = attempt("192.0.2.1").await;
    sixth.problem(429, "too-many-attempts");
    assert_eq!(sixth.header("retry-after"), "3600");
    for peer in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        for _ in 0..5 {
            attempt(peer).await.problem(409, "email-taken");
        }
    }
    // Twenty of one network in a day, though this address has asked nothing yet.
    attempt("192.0.2.5").await.problem(429, "too-many-attempts");
    attempt("198.51.100.1").await.problem(409, "email-taken");
}

#[tokio::test]
async fn a_wrong_login_tells_nothing_and_five_are_enough() {
    let front = people(Signup::Open, free());
    owner(&front, "ada@example.com", "").await;
    owner(&front, "bob@example.com", "").await;
    let disable = json!({ "email": "bob@example.com" });
    operate(&front, "POST", "/v1/users/disable", disable.clone()).await;
    let mut stranger = Browser::at("198.51.100.7");
    let wrong = stranger
        .log_in(&front, "ada@example.com", "another horse")
        .await;
    let told = wrong.problem(401, "wrong-credentials");
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        ("bob@example.com", PASSWORD),
        ("ada@example.com", ""),
    ] {
        let reply = stranger.log_in(&front, email, password).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (401, told.clone()));
        assert_eq!(reply.body, wrong.body);
    }
    for _ in 0..3 {
        stranger.log_in(&front, "ada@example.com", "x").await;
    }
    // Also with the right password, also after others had success.
    let sixth = stranger.log_in(&front, "ada@example.com", PASSWORD).await;
    sixth.problem(429, "too-many-attempts");
    assert_eq!(sixth.header("retry-after"), "900");
    // Another account, and another network, have a count of their own.
    let reply = stranger.log_in(&front, "bob@example.com", PASSWORD).await;
    reply.problem(401, "wrong-credentials");
    let mut elsewhere = Browser::at("203.0.113.1");
    let reply = elsewhere.log_in(&front, "ada@example.com", PASSWORD).await;
    assert_eq!(reply.status.as_u16(), 200);
    front.node.advance(Nanos::from_secs(900));
    let later = stranger.log_in(&front, "ada@example.com", PASSWORD).await;
    assert_eq!(later.status.as_u16(), 200);
    operate(&front, "POST", "/v1/users/enable", disable).await;
    let enabled = stranger.log_in(&front, "bob@example.com", PASSWORD).await;
    assert_eq!(enabled.status.as_u16(), 200);
}

/// Five wrong ones in a row lock nobody out who knows the password, and a stranger in the same network does not either.
#[tokio::test]
async fn a_login_that_succeeds_is_given_back_and_a_known_browser_is_counted_apart() {
    let front = people(Signup::Open, free());
    let (mut ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let mut fresh = Browser::at("192.0.2.1");
    for _ in 0..7 {
        fresh.device = None;
        let reply = fresh.log_in(&front, "ada@example.com", PASSWORD).await;
        assert_eq!(reply.status.as_u16(), 200);
    }
    for _ in 0..5 {
        let mut stranger = Browser::at("192.0.2.1");
        let reply = stranger.log_in(&front, "ada@example.com", "x").await;
        reply.problem(401, "wrong-credentials");
    }
    let mut stranger = Browser::at("192.0.2.1");
    let reply = stranger.log_in(&front, "ada@example.com", PASSWORD).await;
    reply.problem(429, "too-many-attempts");
    let reply = ada.log_in(&front, "ada@example.com", PASSWORD).await;
    assert_eq!(reply.status.as_u16(), 200);
    for _ in 0..5 {
        ada.log_in(&front, "ada@example.com", "x").await;
    }
    let reply = ada.log_in(&front, "ada@example.com", PASSWORD).await;
    reply.problem(429, "too-many-attempts");
}

#[tokio::test]
async fn a_page_of_another_host_changes_nothing() {
    let roomy = Plan { team: 9, ..free() };
    let front = people(Signup::Open, roomy);
    let (ada, _) = owner(&front, "ada@example.com", "").await;
    let cookie = format!("{COOKIE}={}", ada.session.clone().unwrap());
    let csrf = ada.csrf.clone().unwrap();
    let cases: [(&[(&str, &str)], u16); 11] = [
        (&[], 403),
        // A page that tells no address: the browser vouches for it, or nobody does.
        (
            &[
                ("origin", "null"),
                ("sec-fetch-site", "same-origin"),
                ("x-csrf-token", &csrf),
            ],
            201,
        ),
        (&[("origin", "null"), ("x-csrf-token", &csrf)], 403),
        (&[("origin", URL)], 403),
        (&[("x-csrf-token", &csrf)], 403),
        (&[("origin", URL), ("x-csrf-token", "x")], 403),
        (
            &[("origin", "https://evil.example"), ("x-csrf-token", &csrf)],
            403,
        ),
        (
            &[("sec-fetch-site", "cross-site"), ("x-csrf-token", &csrf)],
            403,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", URL),
                ("x-csrf-token", &csrf),
            ],
            403,
        ),
        (
            &[("sec-fetch-site", "same-origin"), ("x-csrf-token", &csrf)],
            201,
        ),
        (&[("origin", URL), ("x-csrf-token", &csrf)], 201),
    ];
    for (headers, status) in cases {
        let headers: Vec<_> = [("cookie", &*cookie)]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        let body = json!({ "role": "viewer" });
        let reply = front
            .send(asked("POST", "/v1/team/invites", &headers, &body))
            .await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}: {}", reply.body);
        if status == 403 {
            reply.problem(403, "forged-request");
        }
    }
    // Nothing is changed by a look, which needs none of it.
    let look = front.get_with("/v1/team", &[("cookie", &cookie)]).await;
    assert_eq!(look.json()["invites"].as_array().unwrap().len(), 3);
    // Nobody is logged in as somebody else by a page of others either.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    for header in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for path in ["login", "sign-up", "recover", "reset"] {
            let path = format!("/v1/auth/{path}");
            let reply = front.send(asked("POST", &path, &[header], &body)).await;
            reply.problem(403, "forged-request");
        }
    }
}

#[tokio::test]
async fn another_password_ends_all_other_sessions() {
    let front = people(Signup::Open, free());
    let (mut ada, _) = owner(&front, "ada@example.com", "").await;
    let mut other = Browser::default();
    other.log_in(&front, "ada@example.com", PASSWORD).await;
    let change = |current: &str, new: &str| json!({ "current": current, "new": new });
    let new = "a staple of another kind";
    let path = "/v1/auth/password";
    let wrong = ada.ask(&front, "POST", path, change("x", new)).await;
    wrong.problem(401, "wrong-credentials");
    assert_eq!(wrong.header("set-cookie"), "", "the session goes on");
    let short = ada
        .ask(&front, "POST", path, change(PASSWORD, "short"))
        .await;
    assert_eq!(short.problem(400, "invalid-request")["field"], "new");
    let changed = ada.send(&front, "POST", path, change(PASSWORD, new)).await;
    assert_eq!(changed.status.as_u16(), 204, "{}", changed.body);
    let session = async |browser: &Browser| {
        let session = browser.ask(&front, "GET", "/v1/auth/session", Value::Null);
        session.await.status.as_u16()
    };
    assert_eq!(session(&ada).await, 200);
    assert_eq!(session(&other).await, 401);
    let old = other.log_in(&front, "ada@example.com", PASSWORD).await;
    old.problem(401, "wrong-credentials");
    assert_eq!(
        other
            .log_in(&front, "ada@example.com", new)
            .await
            .status
            .as_u16(),
        200
    );
    // All of them, wherever they are.
    let everywhere = json!({ "everywhere": true });
    other
        .send(&front, "POST", "/v1/auth/logout", everywhere)
        .await;
    assert_eq!(session(&ada).await, 401);
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_the_recovery_code_once() {
    let front = people(Signup::Open, free());
    let (ada, told) = owner(&front, "ada@example.com", "").await;
    let code = told["recovery_code"].as_str().unwrap();
    let mut browser = Browser::default();
    let body = |email: &str, code: &str, password: &str| json!({ "email": email, "recovery_code": code, "password": password });
    let new = "a staple of another kind";
    let path = "/v1/auth/recover";
    for (email, code) in [
        ("ada@example.com", "00000-00000-00000-00000-00000"),
        ("ada@example.com", "x"),
        ("nobody@example.com", code),
    ] {
        let reply = browser.ask(&front, "POST", path, body(email, code, new));
        reply.await.problem(401, "wrong-credentials");
    }
    let short = browser.ask(&front, "POST", path, body("ada@example.com", code, "x"));
    assert_eq!(
        short.await.problem(400, "invalid-request")["field"],
        "password"
    );
    let typed = code.to_lowercase().replace('-', " ");
    let recovered = browser
        .send(&front, "POST", path, body("ada@example.com", &typed, new))
        .await;
    assert_eq!(recovered.status.as_u16(), 200, "{}", recovered.body);
    let next = recovered.json()["recovery_code"].clone();
    assert_ne!(next, code);
    let ended = ada
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    ended.problem(401, "unauthorized");
    let again = browser.ask(&front, "POST", path, body("ada@example.com", code, new));
    again.await.problem(401, "wrong-credentials");
    // The browser that knew the old password is a stranger's from now on, whom strangers lock out.
    let mut stranger = Browser::default();
    while stranger.log_in(&front, "ada@example.com", "x").await.status != 429 {}
    let mut known = ada.clone();
    let reply = known.log_in(&front, "ada@example.com", new).await;
    reply.problem(429, "too-many-attempts");
    // The session that has begun renews it once more, for who knows the password.
    browser.learn(&front).await;
    let renew = async |password: &str| {
        let body = json!({ "password": password });
        browser
            .ask(&front, "POST", "/v1/auth/recovery-code", body)
            .await
    };
    renew(PASSWORD).await.problem(401, "wrong-credentials");
    let renewed = renew(new).await;
    assert_eq!(renewed.status.as_u16(), 200);
    assert_ne!(renewed.json()["recovery_code"], next);
}

#[tokio::test]
async fn an_operator_makes_tenants_with_owners_and_links_that_work_once() {
    let front = people(Signup::Closed, free());
    let body = json!({ "name": "Acme", "owner": "Ada@example.com" });
    let made = operate(&front, "POST", "/v1/tenants", body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let owner = made.json()["owner"].clone();
    assert_eq!(owner["email"], "ada@example.com");
    let token = token_of(&owner);
    let mut ada = Browser::default();
    let wrong = json!({ "token": "0".repeat(48), "password": PASSWORD });
    let unknown = ada.ask(&front, "POST", "/v1/auth/reset", wrong).await;
    unknown.problem(410, "link-used");
    let short = json!({ "token": token, "password": "short" });
    let short = ada.ask(&front, "POST", "/v1/auth/reset", short).await;
    short.problem(400, "invalid-request");
    assert!(!short.body.contains(&token));
    let body = json!({ "token": token, "password": PASSWORD });
    let set = ada
        .send(&front, "POST", "/v1/auth/reset", body.clone())
        .await;
    assert_eq!(set.status.as_u16(), 200, "{}", set.body);
    let used = ada.ask(&front, "POST", "/v1/auth/reset", body).await;
    assert_eq!(used.body, unknown.body, "used and unknown are told alike");
    let session = ada
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    assert_eq!(session.json()["tenants"][0]["role"], "owner");
    // To who has a password the address proves nothing: he is invited, as whoever brings the link would be.
    let body = json!({ "name": "Other", "owner": "ada@example.com" });
    let again = operate(&front, "POST", "/v1/tenants", body).await.json();
    assert_eq!(again["owner"]["id"], Value::Null);
    assert_eq!(again["owner"]["email"], "ada@example.com");
    let session = ada.ask(&front, "GET", "/v1/auth/session", Value::Null);
    assert_eq!(session.await.json()["tenants"].as_array().unwrap().len(), 1);
    ada.learn(&front).await;
    let path = format!("/v1/invites/{}", token_of(&again["owner"]));
    let joined = ada.ask(&front, "POST", &path, json!({})).await;
    assert_eq!(joined.json()["role"], "owner", "{}", joined.body);
    // With two seats a session names its tenant.
    let which = ada.ask(&front, "GET", "/v1/team", Value::Null).await;
    let problem = which.problem(400, "invalid-request");
    assert_eq!(problem["field"], "Weir-Tenant");
    let mut ids = [&made.json()["id"], &again["id"]].map(|id| id.as_str().unwrap().to_owned());
    ids.sort();
    let accepted = format!("one of your tenants: {}, {}", ids[0], ids[1]);
    assert_eq!(problem["accepted"], accepted);
    for (tenant, status) in [
        (ids[1].as_str(), 200),
        ("tn_zzzzzzzzzzzzzzzz", 404),
        ("x", 400),
    ] {
        let within = Browser {
            tenant: Some(tenant.to_owned()),
            ..ada.clone()
        };
        let reply = within.ask(&front, "GET", "/v1/team", Value::Null).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    }
}

#[tokio::test]
async fn operators_are_made_and_removed_by_operators() {
    let front = people(Signup::Closed, free());
    let email = json!({ "email": "ada@example.com" });
    let made = operate(&front, "POST", "/v1/operators", email.clone()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json();
    assert_eq!(made["email"], "ada@example.com");
    let mut ada = Browser::default();
    let body = json!({ "token": token_of(&made), "password": PASSWORD });
    ada.send(&front, "POST", "/v1/auth/reset", body).await;
    ada.learn(&front).await;
    let ask =
        async |method: &str, path: &str, body: Value| ada.ask(&front, method, path, body).await;
    let listed = ask("GET", "/v1/operators", Value::Null).await.json();
    assert_eq!(listed["items"][0]["id"], made["id"]);
    let tenant = ask("POST", "/v1/tenants", json!({ "name": "Acme" })).await;
    assert_eq!(tenant.status.as_u16(), 201, "{}", tenant.body);
    assert_eq!(
        ask("GET", "/v1/cluster", Value::Null).await.status.as_u16(),
        200
    );
    // In a tenant, an operator may what its owners may.
    let id = tenant.json()["id"].as_str().unwrap().to_owned();
    let within = Browser {
        tenant: Some(id.clone()),
        ..ada.clone()
    };
    let named = within.ask(&front, "PATCH", "/v1/tenant", json!({ "name": "Bcme" }));
    assert_eq!(named.await.status.as_u16(), 200);
    for (path, email, status) in [
        ("/v1/users/reset-link", "bob@example.com", 404),
        ("/v1/users/disable", "bob@example.com", 404),
        ("/v1/users/reset-link", "x", 400),
        ("/v1/users/reset-link", "ada@example.com", 201),
    ] {
        let reply = ask("POST", path, json!({ "email": email })).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    }
    // By address as well as by id, once.
    let path = "/v1/operators/ada%40example.com";
    let removed = operate(&front, "DELETE", path, Value::Null).await;
    assert_eq!(removed.status.as_u16(), 204, "{}", removed.body);
    operate(&front, "DELETE", path, Value::Null)
        .await
        .problem(404, "not-found");
    let refused = ask("GET", "/v1/operators", Value::Null).await;
    assert_eq!(refused.problem(403, "forbidden")["role"], "operator");
    let again = operate(&front, "POST", "/v1/operators", email).await.json();
    let path = format!("/v1/operators/{}", again["id"].as_str().unwrap());
    let removed = operate(&front, "DELETE", &path, Value::Null).await;
    assert_eq!(removed.status.as_u16(), 204);
}

/// Pages ask for the tenant first of all, so that its audit tells who has opened them.
#[tokio::test]
async fn that_an_operator_opens_a_tenant_stands_in_its_audit_once() {
    let front = people(Signup::Open, team(3));
    let (ada, told) = owner(&front, "ada@example.com", "").await;
    let tenant = told["tenant"]["id"].as_str().unwrap().to_owned();
    let email = json!({ "email": "op@example.com" });
    let made = operate(&front, "POST", "/v1/operators", email).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let mut op = by_link(&front, &made.json(), "192.0.2.7").await;
    let opened = async || {
        let audit = ada.ask(&front, "GET", "/v1/audit", Value::Null).await;
        let items = audit.json()["items"].as_array().unwrap().clone();
        let opened = items.into_iter().filter(|it| it["what"] == "tenant.open");
        opened.collect::<Vec<_>>()
    };
    let open = async |browser: &Browser, status: u16| {
        let browser = Browser {
            tenant: Some(tenant.clone()),
            ..browser.clone()
        };
        let reply = browser.ask(&front, "GET", "/v1/tenant", Value::Null).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    };
    // Who has a seat, an operator's token, and what operators are shown of all tenants, open nothing.
    open(&ada, 200).await;
    operate_in(&front, Some(&tenant), "GET", "/v1/tenant", Value::Null).await;
    let path = format!("/v1/tenants/{tenant}");
    let shown = op.ask(&front, "GET", &path, Value::Null).await;
    assert_eq!(shown.status.as_u16(), 200);
    assert_eq!(opened().await, Vec::<Value>::new());
    for _ in 0..3 {
        open(&op, 200).await;
    }
    let entries = opened().await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = &entries[0];
    assert_eq!(
        [&entry["who"], &entry["target"], &entry["address"]],
        [&json!(id), &json!(tenant), &json!("192.0.2.7")]
    );
    // Once more with another session.
    op.log_in(&front, "op@example.com", PASSWORD).await;
    open(&op, 200).await;
    assert_eq!(opened().await.len(), 2);
    // With a seat it is his.
    let invite = json!({ "role": "viewer" });
    let invite = ada.ask(&front, "POST", "/v1/team/invites", invite).await;
    let path = format!("/v1/invites/{}", token_of(&invite.json()));
    let seat = op.ask(&front, "POST", &path, json!({})).await;
    assert_eq!(seat.status.as_u16(), 200, "{}", seat.body);
    op.log_in(&front, "op@example.com", PASSWORD).await;
    open(&op, 200).await;
    assert_eq!(opened().await.len(), 2);
    // Nobody else opens what is not his.
    let (bob, _) = owner(&front, "bob@example.com", "198.51.100.1").await;
    open(&bob, 404).await;
    assert_eq!(opened().await.len(), 2);
}

#[tokio::test]
async fn an_invitation_gives_a_seat_once() {
    let front = people(Signup::Invited, team(3));
    let body = json!({ "name": "Acme", "owner": "ada@example.com" });
    let made = operate(&front, "POST", "/v1/tenants", body).await.json();
    let mut ada = Browser::default();
    let body = json!({ "token": token_of(&made["owner"]), "password": PASSWORD });
    ada.send(&front, "POST", "/v1/auth/reset", body).await;
    ada.learn(&front).await;
    let ask =
        async |method: &str, path: &str, body: Value| ada.ask(&front, method, path, body).await;
    for body in [
        json!({ "role": "king" }),
        json!({}),
        json!({ "role": "viewer", "email": "x" }),
    ] {
        ask("POST", "/v1/team/invites", body)
            .await
            .problem(400, "invalid-request");
    }
    let noted = json!({ "role": "developer", "email": "bob@example.com" });
    let invite = ask("POST", "/v1/team/invites", noted).await;
    assert_eq!(invite.header("cache-control"), "no-store");
    let invite = invite.json();
    let team = ask("GET", "/v1/team", Value::Null).await;
    assert!(!team.body.contains(&token_of(&invite)));
    assert_eq!(team.json()["invites"][0]["id"], invite["id"]);
    assert_eq!(team.json()["invites"][0]["email"], "bob@example.com");
    let second = ask("POST", "/v1/team/invites", json!({ "role": "viewer" })).await;
    // A seat, and two that are promised: the plan has three.
    let third = ask("POST", "/v1/team/invites", json!({ "role": "viewer" })).await;
    let problem = third.problem(409, "plan-limit");
    assert_eq!(
        (&problem["limit"], &problem["plan"]),
        (&json!(3), &json!("free"))
    );
    let path = format!("/v1/team/invites/{}", second.json()["id"].as_str().unwrap());
    for _ in 0..2 {
        let withdrawn = ask("DELETE", &path, Value::Null).await;
        assert_eq!(withdrawn.status.as_u16(), 204);
    }

    let mut bob = Browser::at("198.51.100.1");
    let sign_up =
        |token: &str, email: &str| json!({ "email": email, "password": PASSWORD, "invite": token });
    let withdrawn = token_of(&second.json());
    let refused = bob
        .ask(
            &front,
            "POST",
            "/v1/auth/sign-up",
            sign_up(&withdrawn, "bob@example.com"),
        )
        .await;
    refused.problem(410, "link-used");
    let token = token_of(&invite);
    let joined = bob
        .send(
            &front,
            "POST",
            "/v1/auth/sign-up",
            sign_up(&token, "bob@example.com"),
        )
        .await;
    assert_eq!(joined.status.as_u16(), 201, "{}", joined.body);
    assert_eq!(joined.json()["tenant"]["id"], made["id"]);
    let used = Browser::at("198.51.100.2")
        .ask(
            &front,
            "POST",
            "/v1/auth/sign-up",
            sign_up(&token, "eve@example.com"),
        )
        .await;
    assert_eq!(used.body, refused.body);
    // Somebody who has an account joins by it.
    let other = json!({ "name": "Other", "owner": "eve@example.com" });
    let other = operate(&front, "POST", "/v1/tenants", other).await.json();
    let mut eve = Browser::at("203.0.113.1");
    let body = json!({ "token": token_of(&other["owner"]), "password": PASSWORD });
    eve.send(&front, "POST", "/v1/auth/reset", body).await;
    eve.learn(&front).await;
    let invite = ask("POST", "/v1/team/invites", json!({ "role": "admin" })).await;
    let path = format!("/v1/invites/{}", token_of(&invite.json()));
    let accepted = eve.ask(&front, "POST", &path, json!({})).await;
    assert_eq!(accepted.status.as_u16(), 200, "{}", accepted.body);
    assert_eq!(
        accepted.json(),
        json!({ "id": made["id"], "name": "Acme", "role": "admin" })
    );
    let again = bob.clone();
    let mut again = Browser {
        csrf: None,
        ..again
    };
    again.learn(&front).await;
    again
        .ask(&front, "POST", &path, json!({}))
        .await
        .problem(410, "link-used");
    let without = front.post(&path, "{}").await;
    without.problem(401, "unauthorized");
}

/// What each role may do, by the table of roles.
#[tokio::test]
async fn a_role_may_what_the_table_says() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let mut browsers = vec![ada.clone()];
    for (role, peer) in [
        ("admin", "198.51.100.1"),
        ("developer", "203.0.113.1"),
        ("viewer", "192.0.2.2"),
    ] {
        let email = format!("{role}@example.com");
        browsers.push(invited(&front, &ada, &email, role, peer).await.0);
    }
    let limit = || json!({ "algorithm": "gcra", "limit": 10, "per": "1m" });
    let cases = [
        ("GET", "/v1/team", Value::Null, 4),
        ("GET", "/v1/tenant", Value::Null, 4),
        ("GET", "/v1/usage", Value::Null, 4),
        ("GET", "/v1/limits", Value::Null, 4),
        ("PUT", "/v1/limits/login", limit(), 3),
        (
            "POST",
            "/v1/check",
            json!({ "limit": "login", "key": "a" }),
            3,
        ),
        (
            "POST",
            "/v1/refund",
            json!({ "limit": "login", "key": "a" }),
            3,
        ),
        ("GET", "/v1/api-keys", Value::Null, 3),
        ("POST", "/v1/api-keys", json!({ "name": "edge" }), 3),
        ("GET", "/v1/audit", Value::Null, 2),
        ("POST", "/v1/team/invites", json!({ "role": "viewer" }), 2),
        ("POST", "/v1/team/invites", json!({ "role": "admin" }), 1),
        ("POST", "/v1/team/invites", json!({ "role": "owner" }), 1),
        ("PATCH", "/v1/tenant", json!({ "name": "Acme" }), 1),
        ("GET", "/v1/tenants", Value::Null, 0),
        ("GET", "/v1/cluster", Value::Null, 0),
        ("GET", "/metrics", Value::Null, 0),
        ("POST", "/v1/users/reset-link", json!({ "email": "a@b" }), 0),
    ];
    for (method, path, body, may) in cases {
        for (rank, browser) in browsers.iter().enumerate() {
            let reply = browser.ask(&front, method, path, body.clone()).await;
            let told = format!("{rank} {method} {path}: {}", reply.body);
            match rank < may {
                true => assert!(reply.status.is_success(), "{told}"),
                false => {
                    let problem = reply.problem(403, "forbidden");
                    assert!(problem["role"].is_string(), "{told}");
                }
            }
        }
    }
    // An API key does nothing of people, whatever its scopes.
    let key = json!({ "name": "all", "scopes": ["check", "adjust", "limits.read", "limits.write", "usage.read", "keys.read", "keys.write"] });
    let key = ada.ask(&front, "POST", "/v1/api-keys", key).await.json();
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    let bearer = [("authorization", &*bearer)];
    for path in ["/v1/team", "/v1/audit"] {
        front
            .get_with(path, &bearer)
            .await
            .problem(403, "forbidden");
    }
    front
        .get_with("/v1/auth/session", &bearer)
        .await
        .problem(401, "unauthorized");
}

#[tokio::test]
async fn a_team_keeps_an_owner_and_its_roles_their_rank() {
    let front = people(Signup::Open, team(9));
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let ada_id = told["user"]["id"].as_str().unwrap().to_owned();
    let (admin, admin_id) = invited(&front, &ada, "bob@example.com", "admin", "198.51.100.1").await;
    let (eve, viewer_id) = invited(&front, &ada, "eve@example.com", "viewer", "203.0.113.1").await;
    let path = |id: &str| format!("/v1/team/{id}");
    let role = |role: &str| json!({ "role": role });
    let ask = async |browser: &Browser, method: &str, path: &str, body: Value| {
        browser.ask(&front, method, path, body).await
    };
    // The last owner, whoever asks.
    for body in [role("admin"), role("viewer")] {
        let lowered = ask(&ada, "PATCH", &path(&ada_id), body).await;
        lowered.problem(409, "last-owner");
    }
    let removed = ask(&ada, "DELETE", &path(&ada_id), Value::Null).await;
    removed.problem(409, "last-owner");
    let body = json!({ "password": PASSWORD });
    let deleted = ask(&ada, "DELETE", "/v1/auth/user", body.clone()).await;
    deleted.problem(409, "last-owner");
    // An admin has those below.
    for (id, body, status) in [
        (&ada_id, role("viewer"), 403),
        (&admin_id, role("viewer"), 403),
        (&viewer_id, role("admin"), 403),
        (&viewer_id, role("owner"), 403),
        (&viewer_id, role("developer"), 200),
        (&viewer_id, role("king"), 400),
    ] {
        let reply = ask(&admin, "PATCH", &path(id), body).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    }
    // What is another tenant's is as if it had never been.
    let (_, other) = owner(&front, "joe@example.com", "192.0.2.77").await;
    let theirs = path(other["user"]["id"].as_str().unwrap());
    let theirs = ask(&admin, "DELETE", &theirs, Value::Null).await;
    theirs.problem(404, "not-found");
    let never = ask(&admin, "DELETE", &path("us_zzzzzzzzzzzzzzzz"), Value::Null).await;
    assert_eq!(never.body, theirs.body);
    // A link for a password, for who is below and belongs here alone.
    let link = |id: &str| format!("{}/reset-link", path(id));
    for (browser, id, status) in [
        (&admin, &viewer_id, 201),
        (&admin, &admin_id, 403),
        (&admin, &ada_id, 403),
        (&ada, &admin_id, 201),
        (&ada, &ada_id, 403),
    ] {
        let reply = ask(browser, "POST", &link(id), json!({})).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
    }
    let operator = json!({ "email": "bob@example.com" });
    let made = operate(&front, "POST", "/v1/operators", operator).await;
    let admin = by_link(&front, &made.json(), "198.51.100.1").await;
    let refused = ask(&ada, "POST", &link(&admin_id), json!({})).await;
    refused.problem(403, "forbidden");
    let no_operator = "/v1/operators/bob%40example.com";
    operate(&front, "DELETE", no_operator, Value::Null).await;
    let body_of = json!({ "name": "Other", "owner": "eve@example.com" });
    let other = operate(&front, "POST", "/v1/tenants", body_of).await;
    let path_of = format!("/v1/invites/{}", token_of(&other.json()["owner"]));
    let joined = ask(&eve, "POST", &path_of, json!({})).await;
    assert_eq!(joined.status.as_u16(), 200, "{}", joined.body);
    let refused = ask(&admin, "POST", &link(&viewer_id), json!({})).await;
    let problem = refused.problem(403, "forbidden");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("ask an operator")
    );
    // With another owner the first may go.
    let raised = ask(&ada, "PATCH", &path(&admin_id), role("owner")).await;
    assert_eq!(raised.json()["role"], "owner");
    let wrong = json!({ "password": "x" });
    ask(&ada, "DELETE", "/v1/auth/user", wrong)
        .await
        .problem(401, "wrong-credentials");
    let mut gone = ada.clone();
    let deleted = gone.send(&front, "DELETE", "/v1/auth/user", body).await;
    assert_eq!((deleted.status.as_u16(), gone.session), (204, None));
    ask(&ada, "GET", "/v1/auth/session", Value::Null)
        .await
        .problem(401, "unauthorized");
    let (_, again) = owner(&front, "ada@example.com", "192.0.2.99").await;
    assert_ne!(again["user"]["id"], ada_id, "the address is free again");
}

#[tokio::test]
async fn a_removed_seat_opens_nothing_any_more() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (bob, id) = invited(&front, &ada, "bob@example.com", "developer", "198.51.100.1").await;
    assert_eq!(
        bob.ask(&front, "GET", "/v1/team", Value::Null)
            .await
            .status
            .as_u16(),
        200
    );
    let path = format!("/v1/team/{id}");
    let removed = ada.ask(&front, "DELETE", &path, Value::Null).await;
    assert_eq!(removed.status.as_u16(), 204);
    bob.ask(&front, "GET", "/v1/team", Value::Null)
        .await
        .problem(403, "forbidden");
    let session = bob
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    assert_eq!(session.json()["tenants"], json!([]));
}

#[tokio::test]
async fn a_suspended_tenant_is_told_so_and_a_closed_one_is_none() {
    let front = people(Signup::Open, free());
    let (ada, told) = owner(&front, "ada@example.com", "").await;
    let path = format!("/v1/tenants/{}", told["tenant"]["id"].as_str().unwrap());
    let set = async |status: &str| {
        let body = json!({ "status": status });
        operate(&front, "PATCH", &path, body).await;
        ada.ask(&front, "GET", "/v1/team", Value::Null).await
    };
    set("suspended").await.problem(403, "tenant-suspended");
    set("closed").await.problem(403, "forbidden");
    let session = ada
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    assert_eq!(session.json()["tenants"], json!([]));
}

#[tokio::test]
async fn another_address_is_taken_and_the_old_one_let_go() {
    let front = people(Signup::Open, free());
    let (mut ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    owner(&front, "bob@example.com", "198.51.100.1").await;
    let change = async |browser: &Browser, password: &str, email: &str| {
        let body = json!({ "password": password, "email": email });
        browser.ask(&front, "POST", "/v1/auth/email", body).await
    };
    change(&ada, "x", "eve@example.com")
        .await
        .problem(401, "wrong-credentials");
    change(&ada, PASSWORD, "bob@example.com")
        .await
        .problem(409, "email-taken");
    let same = change(&ada, PASSWORD, "ada@example.com").await;
    assert_eq!(same.status.as_u16(), 204);
    let changed = change(&ada, PASSWORD, "eve@example.com").await;
    assert_eq!(changed.status.as_u16(), 204, "{}", changed.body);
    let old = ada.log_in(&front, "ada@example.com", PASSWORD).await;
    old.problem(401, "wrong-credentials");
    let new = ada.log_in(&front, "eve@example.com", PASSWORD).await;
    assert_eq!(new.json()["user"]["email"], "eve@example.com");
    owner(&front, "ada@example.com", "203.0.113.1").await;
}

/// On two sides of a split two registered one address: after it the earlier has it.
#[tokio::test]
async fn who_lost_an_address_logs_in_and_chooses_another() {
    let front = people(Signup::Open, free());
    let (_, told) = owner(&front, "ada@example.com", "").await;
    // The other side's registration comes in, which was earlier.
    let earlier = EmailClaim::new(UnixSecs::new(1), UserId::new([9; 10]));
    let claim = Content::Email(earlier);
    front
        .node
        .set(SERVICE, "ada@example.com", claim)
        .await
        .unwrap();
    let mut ada = Browser::default();
    let login = ada.log_in(&front, "ada@example.com", PASSWORD).await;
    assert_eq!(login.status.as_u16(), 200, "{}", login.body);
    assert_eq!(login.json()["email_conflict"], true);
    assert_eq!(login.json()["user"]["id"], told["user"]["id"]);
    for (method, path) in [
        ("GET", "/v1/team"),
        ("GET", "/v1/auth/sessions"),
        ("POST", "/v1/auth/recovery-code"),
    ] {
        let reply = ada.ask(&front, method, path, Value::Null).await;
        reply.problem(409, "email-conflict");
    }
    let body = json!({ "password": PASSWORD, "email": "eve@example.com" });
    let changed = ada.ask(&front, "POST", "/v1/auth/email", body).await;
    assert_eq!(changed.status.as_u16(), 204, "{}", changed.body);
    assert_eq!(
        ada.ask(&front, "GET", "/v1/team", Value::Null)
            .await
            .status
            .as_u16(),
        200
    );
    let record = front
        .node
        .record(catalogue::Kind::Email, SERVICE, "ada@example.com");
    assert_eq!(
        record,
        Some(Content::Email(earlier)),
        "it stays whose it is"
    );
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let front = people(Signup::Open, free());
    let (ada, _) = owner(&front, "ada@example.com", "").await;
    let mut other = Browser::at("2001:db8::7");
    other.log_in(&front, "ada@example.com", PASSWORD).await;
    let (bob, _) = owner(&front, "bob@example.com", "198.51.100.1").await;
    let list = async |browser: &Browser| {
        let reply = browser.ask(&front, "GET", "/v1/auth/sessions", Value::Null);
        reply.await.json()["items"].as_array().unwrap().clone()
    };
    let sessions = list(&ada).await;
    assert_eq!(sessions.len(), 2);
    let is_current = |session: &&Value| session["current"] == true;
    let there = sessions
        .iter()
        .find(|session| !is_current(session))
        .unwrap();
    assert_eq!(there["address"], "2001:db8::7");
    let path = format!("/v1/auth/sessions/{}", there["id"].as_str().unwrap());
    let theirs = bob.ask(&front, "DELETE", &path, Value::Null).await;
    theirs.problem(404, "not-found");
    let ended = ada.ask(&front, "DELETE", &path, Value::Null).await;
    assert_eq!(ended.status.as_u16(), 204);
    other
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await
        .problem(401, "unauthorized");
    assert_eq!(list(&ada).await.len(), 1);
}

/// Told was of nobody when he was there last, since that stands in the cookies of people alone.
#[tokio::test]
async fn a_team_is_told_when_its_people_were_last_seen() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "").await;
    let (bob, id) = invited(&front, &ada, "bob@example.com", "developer", "192.0.2.1").await;
    let (_, joe) = invited(&front, &ada, "joe@example.com", "viewer", "198.51.100.1").await;
    let now = || UnixSecs::new(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    // His sessions are forgotten, but for one that he has begun an hour ago, and not used since.
    let forget = async |user: &str| {
        let kind = catalogue::Kind::Session;
        for (name, _) in front.node.records(kind, user, None, usize::MAX) {
            front.node.remove(kind, SERVICE, &name).await.unwrap();
        }
    };
    forget(&id).await;
    forget(&joe).await;
    let user: UserId = id.parse().unwrap();
    let record = front.node.record(catalogue::Kind::User, SERVICE, &id);
    let an_hour_ago = UnixSecs::new(now().get() - 3_600);
    let session =
        accounts::Session::new(an_hour_ago, user, record.unwrap().user().unwrap(), [7; 16]);
    let known = KnownSession::new(&session, 86_400, None, "curl");
    let name = session.id().to_string();
    let set = front
        .node
        .set(SERVICE, &name, Content::Session(known.into()));
    set.await.unwrap();

    let seen = async |id: &str| {
        let told = ada.ask(&front, "GET", "/v1/team", Value::Null).await.json();
        let items = told["items"].as_array().unwrap().clone();
        let mate = items.into_iter().find(|mate| mate["id"] == id).unwrap();
        let seen = mate["seen_at"].as_str().map(str::to_owned);
        seen.map(|seen| seen.parse::<UnixSecs>().unwrap())
    };
    assert_eq!(seen(&joe).await, None, "nothing is known of him");
    assert_eq!(seen(&id).await, Some(an_hour_ago));
    front.limiter.tell_seen().await;
    assert_eq!(seen(&id).await, Some(an_hour_ago), "he was not there");

    let keys = accounts::SessionKeys::derive(b"the cookie of the tests");
    let bob = Browser {
        session: Some(keys.sign(&session)),
        csrf: None,
        ..bob
    };
    let began = now();
    let list = bob
        .ask(&front, "GET", "/v1/auth/sessions", Value::Null)
        .await;
    assert_ne!(list.header("set-cookie"), "", "it is signed again");
    assert_eq!(seen(&id).await, Some(an_hour_ago), "nobody was told yet");
    front.limiter.tell_seen().await;
    let told = seen(&id).await;
    assert!(Some(began) <= told, "{told:?}");
    let record = || {
        front
            .node
            .record(catalogue::Kind::Session, SERVICE, &name)
            .unwrap()
    };
    let written = record().session().unwrap().clone();
    assert_eq!((written.made_at, &*written.agent), (an_hour_ago, "curl"));
    // The same cookie again, as another tab brings it: all know enough.
    bob.ask(&front, "GET", "/v1/auth/sessions", Value::Null)
        .await;
    front.limiter.tell_seen().await;
    let after = record().session().unwrap().clone();
    assert!(std::sync::Arc::ptr_eq(&written, &after));
    let list = list.json();
    assert_eq!(list["items"][0]["seen_at"], an_hour_ago.to_string());
    let list = bob
        .ask(&front, "GET", "/v1/auth/sessions", Value::Null)
        .await;
    assert_eq!(
        list.json()["items"][0]["seen_at"],
        told.unwrap().to_string()
    );
    // Whoever asks is there.
    let me = ada
        .ask(&front, "GET", "/v1/auth/session", Value::Null)
        .await;
    let me = me.json()["user"]["id"].as_str().unwrap().to_owned();
    assert!(seen(&me).await.is_some());
}

#[tokio::test]
async fn what_was_changed_is_written_down_without_secrets() {
    let front = people(Signup::Open, team(9));
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (_, id) = invited(&front, &ada, "bob@example.com", "admin", "198.51.100.1").await;
    let path = format!("/v1/team/{id}");
    ada.ask(&front, "PATCH", &path, json!({ "role": "viewer" }))
        .await;
    let key = ada
        .ask(&front, "POST", "/v1/api-keys", json!({ "name": "edge" }))
        .await;
    let key = key.json();
    let key_path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
    ada.ask(&front, "DELETE", &key_path, Value::Null).await;
    let tenant = told["tenant"]["id"].as_str().unwrap();
    let named = json!({ "name": "Bcme" });
    operate_in(&front, Some(tenant), "PATCH", "/v1/tenant", named).await;
    let limit = json!({ "algorithm": "gcra", "limit": 10, "per": "1m" });
    ada.ask(&front, "PUT", "/v1/limits/login", limit).await;
    ada.ask(&front, "DELETE", "/v1/limits/login", Value::Null)
        .await;
    let of_key = json!({ "key": "user123", "limit": 5, "interval": "1m", "algorithm": "gcra" });
    ada.ask(&front, "POST", "/api/limits", of_key).await;
    for path in ["/api/limits/user123", "/api/limits?key=user123"] {
        ada.ask(&front, "DELETE", path, Value::Null).await;
    }
    let audit = ada.ask(&front, "GET", "/v1/audit", Value::Null).await;
    let entries = audit.json()["items"].as_array().unwrap().clone();
    let of = |what: &str| {
        let found = entries.iter().find(|entry| entry["what"] == what);
        found.unwrap_or_else(|| panic!("{what} is not in {}", audit.body))
    };
    let role = of("team.role");
    assert_eq!(role["who"], told["user"]["id"]);
    assert_eq!(
        (&role["before"], &role["after"]),
        (&json!("admin"), &json!("viewer"))
    );
    assert_eq!(
        (&role["target"], &role["address"]),
        (&json!(id), &json!("192.0.2.1"))
    );
    assert_eq!(of("tenant.change")["who"], "operator");
    assert_eq!(of("api-key.make")["target"], key["id"]);
    for what in [
        "user.sign-up",
        "invite.make",
        "api-key.revoke",
        "limit.set",
        "limit.delete",
        "key-limit.set",
    ] {
        of(what);
    }
    let deleted = of("key-limit.delete");
    assert_eq!(
        (&deleted["target"], &deleted["after"]),
        (&json!("user123"), &Value::Null)
    );
    assert!(deleted["before"].as_str().unwrap().contains("\"limit\":5"));
    // Of one second too, the newest stands first.
    let whats: Vec<_> = entries
        .iter()
        .map(|entry| entry["what"].as_str().unwrap())
        .collect();
    let newest = [
        "key-limit.delete",
        "key-limit.set",
        "limit.delete",
        "limit.set",
    ];
    assert_eq!(whats[..4], newest);
    for secret in [PASSWORD, key["key"].as_str().unwrap()] {
        assert!(!audit.body.contains(secret));
    }
    let stamps: Vec<_> = entries
        .iter()
        .map(|entry| entry["stamp"].as_str().unwrap())
        .collect();
    assert!(
        stamps.is_sorted_by(|one, other| one > other),
        "the newest first"
    );
    let path = format!("/v1/audit?before={}", stamps[0]);
    let page = ada.ask(&front, "GET", &path, Value::Null).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), entries.len() - 1);
    // What operators did is theirs.
    let acts = operate(&front, "GET", "/v1/audit", Value::Null)
        .await
        .json();
    assert_eq!(acts["items"], json!([]));
    let records = json!({ "records": ["bmV3"] });
    operate(&front, "POST", "/v1/service/records", records).await;
    let acts = operate(&front, "GET", "/v1/audit", Value::Null).await;
    let imported = &acts.json()["items"][0];
    assert_eq!(imported["what"], "service.import");
    assert_eq!(imported["after"], "1 records, 1 of them new");
}

#[tokio::test]
async fn who_has_not_confirmed_is_named() {
    let front = people(Signup::Open, free());
    *front.node.pending.lock().unwrap() = vec!["oskar3".to_owned()];
    let mut ada = Browser::default();
    let body = sign_up_body("ada@example.com", "Acme");
    let reply = ada.send(&front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(reply.header("weir-pending"), "oskar3");
    ada.learn(&front).await;
    let logout = ada.send(&front, "POST", "/v1/auth/logout", json!({})).await;
    assert_eq!(logout.header("weir-pending"), "oskar3");
}

#[tokio::test]
async fn what_is_no_service_serves_none_of_it() {
    let front = crate::client::front();
    for path in ["/v1/auth/session", "/v1/team", "/v1/operators", "/v1/audit"] {
        front.get(path).await.problem(404, "not-found");
    }
}

/// On a machine of one's own the service is reached by http, where no cookie is secure.
#[tokio::test]
async fn by_http_cookies_have_no_prefix() {
    let mut service = limiter::Service::new(
        b"the cookie of the tests",
        "http://127.0.0.1:4000".to_owned(),
        accounts::Plans::default(),
    );
    service.signup = Signup::Open;
    let front = crate::client::front_with(front_http::HttpConfig {
        access: limiter::Access::new(None, Some(service)),
        ..crate::client::config()
    });
    let body = sign_up_body("ada@example.com", "Acme");
    let reply = front
        .send(asked("POST", "/v1/auth/sign-up", &[], &body))
        .await;
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    let session = cookies[0].to_str().unwrap();
    assert!(session.starts_with("weir_session=v1."), "{session}");
    assert!(!session.contains("Secure"), "{session}");
    let (cookie, _) = session.split_once(';').unwrap();
    let shown = front
        .get_with("/v1/auth/session", &[("cookie", cookie)])
        .await;
    assert_eq!(shown.status.as_u16(), 200);
}

/// However many come at once, no more are looked at than may fail.
#[tokio::test]
async fn of_many_wrong_logins_at_once_five_are_looked_at() {
    let front = people(Signup::Open, free());
    owner(&front, "ada@example.com", "192.0.2.1").await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let router = front.router.clone();
        let body = json!({ "email": "ada@example.com", "password": "another horse" });
        let headers = [("origin", URL), ("peer", "198.51.100.7")];
        let asked = asked("POST", "/v1/auth/login", &headers, &body);
        logins.spawn(async move {
            let answer = tower::ServiceExt::oneshot(router, asked).await.unwrap();
            answer.status().as_u16()
        });
    }
    let statuses = logins.join_all().await;
    let of = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((of(401), of(429)), (5, 59), "{statuses:?}");
}

/// Somebody signed up with the address of one who was to become an operator, and would have become it.
#[tokio::test]
async fn of_an_account_that_becomes_an_operators_the_link_alone_opens_it() {
    let front = people(Signup::Open, free());
    let (mut squatter, told) = owner(&front, "root@example.com", "192.0.2.1").await;
    let email = json!({ "email": "root@example.com" });
    let made = operate(&front, "POST", "/v1/operators", email.clone()).await;
    assert_eq!(made.json()["id"], told["user"]["id"]);
    let operators = squatter.ask(&front, "GET", "/v1/operators", Value::Null);
    operators.await.problem(401, "unauthorized");
    let login = squatter.log_in(&front, "root@example.com", PASSWORD).await;
    login.problem(401, "wrong-credentials");
    let recover = json!({ "email": "root@example.com", "recovery_code": told["recovery_code"],
        "password": "a staple of another kind" });
    let recover = squatter.ask(&front, "POST", "/v1/auth/recover", recover);
    recover.await.problem(401, "wrong-credentials");
    let root = by_link(&front, &made.json(), "198.51.100.1").await;
    let list = async || root.ask(&front, "GET", "/v1/operators", Value::Null).await;
    assert_eq!(list().await.status.as_u16(), 200);
    // Of one who is an operator it is another link, and no more.
    let again = operate(&front, "POST", "/v1/operators", email).await;
    assert_eq!(again.status.as_u16(), 201);
    assert_eq!(list().await.status.as_u16(), 200);
}

/// Else whoever made it for somebody with a seat here could take what he has elsewhere.
#[tokio::test]
async fn a_link_for_a_password_is_closed_when_its_user_becomes_more() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (bob, id) = invited(&front, &ada, "bob@example.com", "viewer", "198.51.100.1").await;
    let path = format!("/v1/team/{id}");
    let link = async || {
        let path = format!("{path}/reset-link");
        let link = ada.ask(&front, "POST", &path, json!({})).await;
        assert_eq!(link.status.as_u16(), 201, "{}", link.body);
        link.json()
    };
    let closed = async |link: Value| {
        let body = json!({ "token": token_of(&link), "password": "a staple of another kind" });
        let reset = Browser::default();
        let reset = reset.ask(&front, "POST", "/v1/auth/reset", body).await;
        reset.problem(410, "link-used");
    };
    let before = link().await;
    let raised = ada
        .ask(&front, "PATCH", &path, json!({ "role": "admin" }))
        .await;
    assert_eq!(raised.status.as_u16(), 200, "{}", raised.body);
    closed(before).await;

    let before = link().await;
    let (joe, _) = owner(&front, "joe@example.com", "203.0.113.1").await;
    let invite = json!({ "role": "viewer" });
    let invite = joe.ask(&front, "POST", "/v1/team/invites", invite).await;
    let accept = format!("/v1/invites/{}", token_of(&invite.json()));
    let joined = bob.ask(&front, "POST", &accept, json!({})).await;
    assert_eq!(joined.status.as_u16(), 200, "{}", joined.body);
    closed(before).await;

    // One whose maker looked before that, and wrote after it.
    let (_, id) = invited(&front, &ada, "eve@example.com", "viewer", "192.0.2.99").await;
    let seat = format!("tn_zzzzzzzzzzzzzzzz/{id}");
    let seated = Content::Seat(Seat::new(UnixSecs::new(1), Role::Viewer));
    front.node.meanwhile(&id, &seat, seated);
    let path = format!("/v1/team/{id}/reset-link");
    let late = ada.ask(&front, "POST", &path, json!({})).await;
    late.problem(403, "forbidden");
    let record = front.node.record(catalogue::Kind::User, SERVICE, &id);
    let eve = record.unwrap().user().cloned().unwrap();
    assert_eq!(*eve.reset.get(), accounts::ResetLink::Closed);
}

#[tokio::test]
async fn an_invitation_goes_with_what_its_maker_may_give() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let (bob, id) = invited(&front, &ada, "bob@example.com", "owner", "198.51.100.1").await;
    let invite = async |browser: &Browser, role: &str| {
        let invite = browser.ask(&front, "POST", "/v1/team/invites", json!({ "role": role }));
        token_of(&invite.await.json())
    };
    let (to_admin, to_viewer) = (invite(&bob, "admin").await, invite(&bob, "viewer").await);
    let of_ada = invite(&ada, "admin").await;
    let sign_up = async |token: &str, name: &str| {
        let email = format!("{name}@example.com");
        let body = json!({ "email": email, "password": PASSWORD, "invite": token });
        let browser = Browser::at("203.0.113.1");
        browser.ask(&front, "POST", "/v1/auth/sign-up", body).await
    };
    let open = async || {
        let team = ada.ask(&front, "GET", "/v1/team", Value::Null).await;
        team.json()["invites"].as_array().unwrap().len()
    };
    assert_eq!(open().await, 3);
    let path = format!("/v1/team/{id}");
    ada.ask(&front, "PATCH", &path, json!({ "role": "admin" }))
        .await;
    assert_eq!(open().await, 2, "an admin makes no admins");
    sign_up(&to_admin, "joe").await.problem(410, "link-used");
    ada.ask(&front, "DELETE", &path, Value::Null).await;
    assert_eq!(open().await, 1);
    sign_up(&to_viewer, "joe").await.problem(410, "link-used");
    assert_eq!(sign_up(&of_ada, "joe").await.status.as_u16(), 201);
}

/// Each tells whether somebody has the address.
#[tokio::test]
async fn a_user_changes_his_address_five_times_an_hour() {
    let front = people(Signup::Open, free());
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    owner(&front, "bob@example.com", "198.51.100.1").await;
    let change = async |email: &str| {
        let body = json!({ "password": PASSWORD, "email": email });
        ada.ask(&front, "POST", "/v1/auth/email", body).await
    };
    for _ in 0..4 {
        change("bob@example.com").await.problem(409, "email-taken");
    }
    assert_eq!(change("eve@example.com").await.status.as_u16(), 204);
    let sixth = change("joe@example.com").await;
    sixth.problem(429, "too-many-attempts");
    assert_eq!(sixth.header("retry-after"), "3600");
    front.node.advance(Nanos::from_secs(3_600));
    assert_eq!(change("joe@example.com").await.status.as_u16(), 204);
}

#[tokio::test]
async fn of_more_than_a_hundred_sessions_the_oldest_end() {
    let front = people(Signup::Open, free());
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let id: UserId = told["user"]["id"].as_str().unwrap().parse().unwrap();
    let user = User::new(UnixSecs::new(1), "ada@example.com".parse().unwrap());
    // Of before, and in a browser that never said goodbye.
    for number in 0..99_u8 {
        let at = UnixSecs::new(1_000 + u64::from(number));
        let session = accounts::Session::new(at, id, &user, [number; 16]);
        let known = KnownSession::new(&session, u64::MAX, None, "");
        let name = session.id().to_string();
        let content = Content::Session(known.into());
        front.node.set(SERVICE, &name, content).await.unwrap();
    }
    let list = async |browser: &Browser| {
        let reply = browser.ask(&front, "GET", "/v1/auth/sessions", Value::Null);
        reply.await.json()["items"].as_array().unwrap().clone()
    };
    let before = list(&ada).await;
    assert_eq!(before.len(), 100);
    let mut other = Browser::default();
    other.log_in(&front, "ada@example.com", PASSWORD).await;
    let after = list(&other).await;
    assert_eq!(after.len(), 100);
    assert_eq!(after.last(), before.get(98), "the oldest is gone");
    let oldest = before[99]["id"].as_str().unwrap();
    let of = |kind| front.node.record(kind, SERVICE, oldest);
    assert!(of(catalogue::Kind::EndedSession).is_some());
    assert_eq!(of(catalogue::Kind::Session), None);
    assert_eq!(list(&ada).await.len(), 100, "it goes on");
}

/// Once both were counted together: whoever had an API key that reads kept its owner from revoking it.
#[tokio::test]
async fn a_tenant_is_looked_through_so_often_in_a_minute_and_changed_as_often() {
    let plan = Plan {
        per_second: 1_000_000,
        ..free()
    };
    let reads = ("GET", "/v1/team", 200);
    let changes = ("DELETE", "/v1/api-keys/key_0123456789abcdef", 404);
    for (spent, other) in [(reads, changes), (changes, reads)] {
        let front = people(Signup::Open, plan.clone());
        let (ada, told) = owner(&front, "ada@example.com", "").await;
        let ask = async |(method, path, _): (&str, &str, u16)| {
            ada.ask(&front, method, path, Value::Null).await
        };
        let mut passed = 0;
        let refused = loop {
            let reply = ask(spent).await;
            if reply.status.as_u16() != spent.2 {
                break reply;
            }
            passed += 1;
            assert!(passed < 10_000);
        };
        refused.problem(429, "tenant-rate");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(600 <= passed, "{passed}");
        assert_eq!(ask(other).await.status.as_u16(), other.2);
        // What is counted has its own ceiling, what is one's own has none, and operators are not held to it.
        let check = json!({ "limit": "none", "key": "a" });
        let check = ada.ask(&front, "POST", "/v1/check", check).await;
        check.problem(404, "unknown-limit");
        let own = ask(("GET", "/v1/auth/session", 200)).await;
        assert_eq!(own.status.as_u16(), 200);
        let tenant = told["tenant"]["id"].as_str().unwrap();
        let (method, path, status) = spent;
        for _ in 0..3 {
            let reply = operate_in(&front, Some(tenant), method, path, Value::Null).await;
            assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
        }
    }
}

/// Also one who comes by a session: he looks after a tenant that floods its node.
#[tokio::test]
async fn operators_are_not_held_to_the_ceiling_of_a_tenant() {
    let plan = Plan {
        per_second: 1,
        ..free()
    };
    let front = people(Signup::Open, plan);
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let made = json!({ "email": "root@example.com" });
    let made = operate(&front, "POST", "/v1/operators", made).await;
    let mut root = by_link(&front, &made.json(), "198.51.100.1").await;
    root.tenant = Some(told["tenant"]["id"].as_str().unwrap().to_owned());
    let status = async |browser: &Browser| {
        let reply = browser.ask(&front, "GET", "/v1/team", Value::Null);
        reply.await.status.as_u16()
    };
    while status(&ada).await != 429 {}
    for _ in 0..5 {
        assert_eq!(status(&root).await, 200);
    }
}

/// Who has just signed up at another node, and whom another node has just invited.
#[tokio::test]
async fn sessions_and_invitations_that_another_member_knows_are_looked_up() {
    let front = people(Signup::Open, team(9));
    let (ada, told) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let invite = json!({ "role": "viewer" });
    let invite = ada.ask(&front, "POST", "/v1/team/invites", invite).await;
    front.node.leave_elsewhere();
    let session = ada.ask(&front, "GET", "/v1/auth/sessions", Value::Null);
    assert_eq!(session.await.status.as_u16(), 200, "no conflict either");
    let body = json!({ "email": "bob@example.com", "password": PASSWORD,
        "invite": token_of(&invite.json()) });
    let joined = Browser::at("198.51.100.1");
    let joined = joined.ask(&front, "POST", "/v1/auth/sign-up", body).await;
    assert_eq!(joined.status.as_u16(), 201, "{}", joined.body);
    assert_eq!(joined.json()["tenant"]["id"], told["tenant"]["id"]);
}

/// Each token that nobody had made was asked about before the attempt was counted: strangers used up what a node may ask.
#[tokio::test]
async fn nobody_is_asked_about_the_invitation_of_who_has_tried_too_often() {
    let front = people(Signup::Open, team(9));
    let (ada, _) = owner(&front, "ada@example.com", "192.0.2.1").await;
    let invite = json!({ "role": "viewer" });
    let invite = ada.ask(&front, "POST", "/v1/team/invites", invite).await;
    let token = token_of(&invite.json());
    let id = InviteToken::parse(&token).unwrap().of();
    let sign_up = async |peer: &'static str, token: &str| {
        let body = json!({ "email": "bob@example.com", "password": PASSWORD, "invite": token });
        let browser = Browser::at(peer);
        browser.ask(&front, "POST", "/v1/auth/sign-up", body).await
    };
    let made_up = |id| InviteToken::draw(id, [7; 20]).reveal();
    // What is known not to open anything is no attempt.
    for _ in 0..6 {
        let refused = sign_up("198.51.100.1", &made_up(id)).await;
        refused.problem(410, "link-used");
    }
    front.node.leave_elsewhere();
    for number in 0..5 {
        let refused = sign_up("198.51.100.1", &made_up(InviteId::new([number; 10]))).await;
        refused.problem(410, "link-used");
    }
    let sixth = sign_up("198.51.100.1", &token).await;
    sixth.problem(429, "too-many-attempts");
    let known = front
        .node
        .record(catalogue::Kind::Invite, SERVICE, &id.to_string());
    assert_eq!(known, None, "it was looked up");
    let joined = sign_up("203.0.113.1", &token).await;
    assert_eq!(joined.status.as_u16(), 201, "{}", joined.body);
}
