//! How people come in.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::api::Site;

/// A login page, and what a form of it must bring.
async fn login(site: &Site) -> (String, String) {
    let page = site.get("/login?next=/dashboard/tn_1/usage").await;
    let visitor = page
        .cookie("__Host-weir_visitor")
        .expect("a cookie for the form");
    (
        format!("__Host-weir_visitor={visitor}"),
        page.hidden("csrf"),
    )
}

#[tokio::test]
async fn whoever_has_not_logged_in_is_led_to_the_login_and_back() {
    let site = Site::new();
    site.answers(
        Method::GET,
        "/v1/auth/session",
        401,
        json!({ "title": "Unauthorized", "status": 401 }),
    );
    let page = site.get("/dashboard/tn_1/usage?a=b").await;
    assert_eq!(
        page.leads_to(),
        "/login?next=%2Fdashboard%2Ftn_1%2Fusage%3Fa%3Db"
    );
    let page = site.get(page.leads_to()).await;
    assert_eq!(page.hidden("next"), "/dashboard/tn_1/usage?a=b");
    for elsewhere in ["//evil.example", "/%5Cevil.example", "https://evil.example"] {
        let page = site.get(&format!("/login?next={elsewhere}")).await;
        assert_eq!(page.hidden("next"), "/dashboard", "{elsewhere}");
    }
}

#[tokio::test]
async fn a_login_gives_the_browser_its_session() {
    let site = Site::new();
    let cookie = "__Host-weir_session=v1.a.b; HttpOnly; SameSite=Lax; Path=/; Secure";
    site.answers(
        Method::POST,
        "/v1/auth/login",
        200,
        json!({ "set-cookie": cookie }),
    );
    let (visitor, token) = login(&site).await;
    let form = format!(
        "csrf={token}&email=ada%40example.com&password=+a+long+password+&next=%2Fdashboard%2Ftn_1"
    );
    let page = site.post("/login", &visitor, &form).await;
    assert_eq!(page.leads_to(), "/dashboard/tn_1");
    assert_eq!(
        page.cookie("__Host-weir_session").as_deref(),
        Some("v1.a.b")
    );
    let asked = site.asked(&Method::POST).expect("the API was asked");
    let brought = json!({ "email": "ada@example.com", "password": " a long password " });
    assert_eq!(asked.body, brought, "a password has the spaces that it has");
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_told_and_the_password_is_not_shown() {
    let site = Site::new();
    let wrong = json!({ "title": "Wrong credentials", "status": 401, "detail": "e-mail or password is wrong" });
    site.answers(Method::POST, "/v1/auth/login", 401, wrong);
    let (visitor, token) = login(&site).await;
    let form = format!("csrf={token}&email=ada%40example.com&password=hunter2hunter2");
    let page = site.post("/login", &visitor, &form).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    page.shows("e-mail or password is wrong");
    page.shows("value=\"ada@example.com\"");
    assert!(!page.text.contains("hunter2"));
}

/// Otherwise a page of somebody else could log a reader in as that somebody.
#[tokio::test]
async fn a_login_form_of_another_page_does_nothing() {
    let site = Site::new();
    site.answers(Method::POST, "/v1/auth/login", 200, json!({}));
    let (visitor, token) = login(&site).await;
    let form = |token: &str| format!("csrf={token}&email=a%40b&password=x");
    for (cookie, token) in [
        ("", &*token),
        (&*visitor, ""),
        ("__Host-weir_visitor=AAAAAAAAAAAAAAAAAAAAAA", &*token),
    ] {
        let page = site.post("/login", cookie, &form(token)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{cookie} {token}");
    }
    let page = site
        .post_from("cross-site", "/login", &visitor, &form(&token))
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(site.asked(&Method::POST).is_none(), "nobody was asked");
    let page = site.post("/login", &visitor, &form(&token)).await;
    assert_eq!(page.leads_to(), "/dashboard");
}

#[tokio::test]
async fn who_signs_up_is_shown_the_recovery_code_once() {
    let site = Site::new();
    let code = "ABCDE-FGHJK-MNPQR-STVWX-YZ012";
    site.answers(
        Method::POST,
        "/v1/auth/sign-up",
        201,
        json!({ "recovery_code": code }),
    );
    let (visitor, token) = login(&site).await;
    let form = format!("csrf={token}&email=a%40b.example&password=123456789012&tenant=Acme");
    let page = site.post("/sign-up", &visitor, &form).await;
    page.shows(code);
    assert_eq!(page.header("cache-control"), "no-store");
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(asked.body["tenant"], "Acme");
    let form = format!("csrf={token}&email=a%40b.example&password=123456789012&invite=T0KEN");
    site.post("/sign-up", &visitor, &form).await;
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(
        (&asked.body["invite"], &asked.body["tenant"]),
        (&json!("T0KEN"), &json!(null))
    );
}

#[tokio::test]
async fn a_session_that_is_over_is_cleared_on_the_way_to_the_login() {
    let site = Site::new();
    let cleared = "__Host-weir_session=; Path=/; Max-Age=0";
    let over = json!({ "title": "Unauthorized", "status": 401, "set-cookie": cleared });
    site.answers(Method::GET, "/v1/auth/session", 401, over);
    let page = site.get("/dashboard/tn_1").await;
    assert!(page.leads_to().starts_with("/login"));
    assert_eq!(page.cookie("__Host-weir_session").as_deref(), Some(""));
}

#[tokio::test]
async fn the_first_operator_is_told_of_until_there_is_one() {
    const COMMAND: &str = "weir operator create you@example.com";
    Site::without_operators().get("/login").await.shows(COMMAND);
    let later = Site::with_signup("closed").get("/login").await;
    assert!(!later.text.contains("weir operator"), "{}", later.text);
}

#[tokio::test]
async fn who_cannot_sign_up_is_told_whom_to_ask() {
    let site = Site::with_signup("closed");
    let page = site.get("/sign-up?invite=T0KEN").await;
    page.shows("ask whoever runs this service");
    assert!(!page.text.contains("<form"), "{}", page.text);
    let login = site.get("/login").await;
    assert!(!login.text.contains("/sign-up"), "{}", login.text);
    let site = Site::with_signup("invited");
    let page = site.get("/sign-up").await;
    page.shows("ask an owner or admin");
    let invited = site.get("/sign-up?invite=T0KEN").await;
    assert_eq!(invited.hidden("invite"), "T0KEN");
}
