//! Pages of somebody who has logged in.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Asked, OF_ANOTHER_VERSION, Peer, Site};

fn usage() -> Value {
    json!({
        "zone": "UTC",
        "today": { "day": "2026-11-21", "requests": 8_123, "denied": 7, "cap": 10_000, "remaining": 1_877, "resets_at": "2026-11-22T00:00:00Z" },
        "days": [
            { "day": "2026-11-20", "requests": 12, "denied": 0, "closed": true },
            { "day": "2026-11-21", "requests": 8_123, "denied": 7, "closed": false },
        ],
    })
}

fn tenant(status: &str) -> Value {
    json!({ "id": "tn_1", "name": "Acme", "status": status, "plan": { "name": "free", "requests_per_day": 10_000 }, "created_at": "2026-11-01T00:00:00Z" })
}

fn limit(name: &str) -> Value {
    json!({ "name": name, "algorithm": "gcra", "limit": 10, "burst": 10, "per": "1m", "strategy": "owner", "on_failure": "deny" })
}

fn a_tenants(role: &str) -> Site {
    let site = Site::of(role);
    site.answers(Method::GET, "/v1/tenant", 200, tenant("active"));
    site.answers(Method::GET, "/v1/usage", 200, usage());
    site.answers(
        Method::GET,
        "/v1/series",
        200,
        json!({ "limits": { "login": [90, 10] }, "api_keys": { "key_3fK9mQ2bXw7L": [80, 7] }, "from": 3, "of": 3 }),
    );
    site.answers(
        Method::GET,
        "/v1/limits",
        200,
        json!({ "limits": [limit("login")], "next": null }),
    );
    site.answers(Method::GET, "/v1/limits/login", 200, limit("login"));
    site.answers(
        Method::GET,
        "/v1/api-keys",
        200,
        json!({ "items": [key("edge")], "next": null }),
    );
    site.answers(Method::GET, "/v1/api-keys/key_1", 200, key("edge"));
    site.answers(Method::GET, "/api/limits", 200, json!({ "items": [{ "key": "user123", "limit": 5, "interval": "1m", "algorithm": "gcra" }], "next": null }));
    site.answers(Method::GET, "/v1/team", 200, json!({ "items": [{ "id": "us_1", "email": "ada@example.com", "role": role, "joined_at": "2026-11-01T00:00:00Z", "seen_at": "2026-11-21T10:00:00Z" }], "invites": [] }));
    site.answers(
        Method::GET,
        "/v1/audit",
        200,
        json!({ "items": [], "next": null }),
    );
    site.answers(
        Method::GET,
        "/v1/auth/sessions",
        200,
        json!({ "items": [] }),
    );
    site.answers(Method::GET, "/v1/billing", 200, billing(Value::Null));
    let for_sale = json!([
        { "name": "free", "requests_per_day": 10_000, "for_sale": false },
        { "name": "pro", "requests_per_day": 1_000_000, "for_sale": true },
    ]);
    site.answers(Method::GET, "/v1/plans", 200, json!({ "items": for_sale }));
    site
}

fn billing(status: Value) -> Value {
    json!({
        "plan": "free", "given": false, "portal": !status.is_null(), "status": status, "period_end": "2026-12-01T00:00:00Z",
        "ends_at": null, "past_due_since": null, "grace_until": null, "conflict": false,
    })
}

/// Plans could be seen and not bought.
#[tokio::test]
async fn an_owner_is_led_to_where_a_plan_is_paid_and_back() {
    let site = a_tenants("owner");
    let path = "/dashboard/tn_1/billing";
    let page = site.get(path).await;
    assert!(
        page.text.contains("Buy pro") && !page.text.contains("Buy free"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("billing/portal"),
        "nothing was bought yet"
    );

    let url = "https://checkout.stripe.com/c/1";
    let led = json!({ "url": url, "expires_at": "2026-11-21T10:30:00Z" });
    site.answers(Method::POST, "/v1/billing/checkout", 201, led);
    let form = "csrf=a-token&plan=pro";
    let answer = site
        .post("/dashboard/tn_1/billing/checkout", "session=s", form)
        .await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, url)
    );
    let asked = site.asked(&Method::POST).unwrap();
    assert_eq!(asked.body, json!({ "plan": "pro" }));
    assert_eq!(asked.headers["x-csrf-token"], "a-token");

    let back = site.get("/dashboard/tn_1/billing?session=cs_1").await;
    assert!(
        back.text.contains("billing?session=cs_1\">look again"),
        "{}",
        back.text
    );
    let is_asked = |asked: &Asked| asked.path == "/v1/billing?session=cs_1";
    assert!(
        site.all_asked().iter().any(is_asked),
        "Stripe is asked when somebody comes back"
    );

    site.answers(Method::GET, "/v1/billing", 200, billing("active".into()));
    let page = site.get("/dashboard/tn_1/billing?session=cs_1").await;
    assert!(page.text.contains("Paid until 2026-12-01"), "{}", page.text);
    assert!(!page.text.contains("Buy pro") && page.text.contains("billing/portal"));

    let conflict =
        json!({ "status": 409, "title": "Conflict", "detail": "this tenant has a subscription" });
    site.answers(Method::POST, "/v1/billing/checkout", 409, conflict);
    let refused = site
        .post("/dashboard/tn_1/billing/checkout", "session=s", form)
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("this tenant has a subscription"));
}

#[tokio::test]
async fn a_plan_that_cannot_be_bought_is_an_operators_and_stripe_away_is_told() {
    let site = a_tenants("owner");
    let path = "/dashboard/tn_1/billing";
    let none = json!({ "status": 501, "title": "No", "detail": "sells no plans" });
    site.answers(Method::GET, "/v1/billing", 501, none);
    let page = site.get(path).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("ask them for another one") && !page.text.contains("Buy"));

    let away = json!({ "status": 503, "title": "Away", "detail": "the biller does not answer" });
    site.answers(Method::GET, "/v1/billing", 503, away);
    assert!(
        site.get(path)
            .await
            .text
            .contains("the biller does not answer")
    );

    let site = a_tenants("admin");
    let page = site.get(path).await;
    assert!(page.text.contains("Owners of this tenant") && !page.text.contains("Buy"));
}

#[tokio::test]
async fn a_late_payment_is_told_on_the_overview() {
    let site = a_tenants("owner");
    let mut late = billing("past_due".into());
    late["past_due_since"] = "2026-11-20T00:00:00Z".into();
    late["grace_until"] = "2026-11-27T00:00:00Z".into();
    site.answers(Method::GET, "/v1/billing", 200, late);
    for path in ["/dashboard/tn_1", "/dashboard/tn_1/billing"] {
        let page = site.get(path).await;
        assert!(
            page.text.contains("A payment is late since 2026-11-20"),
            "{path}: {}",
            page.text
        );
    }
}

fn key(name: &str) -> Value {
    json!({ "id": "key_1", "hint": "weir_key_3fK9…tbid", "name": name, "scopes": ["check"], "created_at": "2026-11-01T00:00:00Z", "created_by": null, "expires_at": null, "last_used_at": null, "revoked_at": null, "replaces": null, "replaced_by": null })
}

const PAGES: [&str; 10] = [
    "/dashboard/tn_1",
    "/dashboard/tn_1/limits",
    "/dashboard/tn_1/limits/login",
    "/dashboard/tn_1/key-limits",
    "/dashboard/tn_1/api-keys",
    "/dashboard/tn_1/api-keys/key_1",
    "/dashboard/tn_1/usage",
    "/dashboard/tn_1/billing",
    "/dashboard/tn_1/team",
    "/dashboard/account",
];

#[tokio::test]
async fn every_page_is_shown_and_may_load_nothing_of_others() {
    let site = a_tenants("owner");
    for path in PAGES {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(
            page.header("strict-transport-security")
                .starts_with("max-age="),
            "{path}"
        );
        assert!(page.text.len() < 60 * 1024, "{path}");
        for outside in ["http://", "src=\"//", " style=", "onclick", "<script>"] {
            assert!(!page.text.contains(outside), "{path}: {outside}");
        }
        page.shows("data-theme=\"dark\"");
        page.shows("<h1>");
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_hash() {
    let site = a_tenants("owner");
    let page = site.get("/dashboard/tn_1").await;
    let (_, style) = page
        .text
        .split_once("rel=\"stylesheet\" href=\"/assets/")
        .expect("a style sheet");
    let style = format!("/assets/{}", style.split('"').next().expect("its path"));
    let asset = site.get(&style).await;
    assert_eq!(asset.status, StatusCode::OK);
    assert!(asset.header("cache-control").contains("immutable"));
    assert!(asset.header("content-type").starts_with("text/css"));
    // A page that a node of another version made, while the cluster is upgraded.
    let later = site.get("/assets/eZKjnWzeXgUOt4Rh/later.js").await;
    assert_eq!(later.status, StatusCode::OK);
    assert_eq!(later.text.as_bytes(), OF_ANOTHER_VERSION);
    assert!(later.header("content-type").starts_with("text/javascript"));
    assert!(later.header("cache-control").contains("immutable"));
    for path in [
        // Whoever told that told something else.
        "/assets/eZKjnWzeXgUOt4RH/later.js",
        "/assets/eZKjnWzeXgUOt4Rh/later.html",
        "/assets/eZKjnWzeXgUOt4Rh/other.js",
        "/assets/none/weir.css",
        &style.replace("weir.css", "passwd"),
    ] {
        let none = site.get(path).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(none.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&none.text).unwrap();
        assert_eq!(problem["type"], "/problems/not-found");
    }
}

#[tokio::test]
async fn what_moves_needs_no_more_than_its_budget() {
    let site = a_tenants("owner");
    let page = site.get("/dashboard/tn_1").await;
    assert!(page.text.len() <= 60 << 10);
    let assets = page
        .text
        .split('"')
        .filter(|text| text.starts_with("/assets/"));
    let mut all = 0;
    for asset in assets {
        let asset = site.get(asset).await;
        assert_eq!(asset.status, StatusCode::OK);
        all += asset.text.len();
    }
    assert!((50 << 10..=150 << 10).contains(&all), "{all}");
}

#[tokio::test]
async fn a_script_is_told_what_the_api_tells_the_reader_in_the_tenant() {
    let site = a_tenants("viewer");
    site.answers(
        Method::GET,
        "/v1/live",
        429,
        json!({ "status": 429, "set-cookie": "session=again" }),
    );
    for (path, asks) in [
        ("/dashboard/tn_1/live", "/v1/live"),
        (
            "/dashboard/tn_1/series?window=1h&limit=a%2Fb",
            "/v1/series?window=1h&limit=a%2Fb",
        ),
    ] {
        let told = site.get(path).await;
        let asked = site.asked(&Method::GET).expect("the API was asked");
        assert_eq!((&*asked.path, asked.header("weir-tenant")), (asks, "tn_1"));
        match asks {
            "/v1/live" => {
                assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS);
                assert_eq!(told.cookie("session").as_deref(), Some("again"));
            }
            _ => assert!(told.text.contains("\"login\":[90,10]"), "{}", told.text),
        }
    }
    let others = site.get("/dashboard/tn_2/live").await;
    assert_eq!(others.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_show_what_limits_have_decided() {
    let site = a_tenants("viewer");
    let page = site.get("/dashboard/tn_1").await;
    page.shows("denied most in the last hour");
    page.shows("10.0 %");
    let page = site.get("/dashboard/tn_1/limits").await;
    page.shows("data-rate=\"login\"");
    page.shows("<td class=\"number\">90</td>");
    let page = site.get("/dashboard/tn_1/usage").await;
    page.shows("<h2>By limit</h2>");
    page.shows("<h2>By API key</h2>");
    page.shows("<td>key_3fK9mQ2bXw7L</td><td class=\"number\">80</td>");
}

#[tokio::test]
async fn a_tenant_of_others_is_as_if_it_had_never_been() {
    let site = a_tenants("owner");
    let none = site.get("/dashboard/tn_none").await;
    let others = site.get("/dashboard/tn_2").await;
    assert_eq!(
        (none.status, others.status),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    assert_eq!(none.text, others.text);
    assert_eq!(
        site.get("/dashboard/tn_2/usage.csv").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_people_have_written_is_text() {
    let site = a_tenants("owner");
    let name = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    site.answers(
        Method::GET,
        "/v1/api-keys",
        200,
        json!({ "items": [key(name)], "next": null }),
    );
    site.answers(
        Method::GET,
        "/v1/limits",
        200,
        json!({ "limits": [limit(name)], "next": null }),
    );
    let page = site.get("/dashboard/tn_1/api-keys").await;
    assert!(
        !page.text.contains("<script>alert") && !page.text.contains("<img"),
        "{}",
        page.text
    );
    page.shows("&#60;script&#62;alert(1)");
    let page = site.get("/dashboard/tn_1/limits").await;
    assert!(
        !page.text.contains("<script>alert") && !page.text.contains("<img"),
        "{}",
        page.text
    );
    page.shows("limits/%3Cscript%3E");
}

#[tokio::test]
async fn how_much_of_the_day_is_used_is_shown() {
    let site = a_tenants("owner");
    let page = site.get("/dashboard/tn_1").await;
    page.shows("8\u{202f}123");
    page.shows("of 10\u{202f}000 requests");
    page.shows("81 % of this day's requests are used");
    page.shows("width=\"812\"");
    let page = site.get("/dashboard/tn_1/usage").await;
    page.shows("2026-11-20: 12 requests, 0 denied");
}

#[tokio::test]
async fn a_form_acts_in_its_tenant_with_the_token_of_its_page() {
    let site = a_tenants("developer");
    site.answers(Method::PUT, "/v1/limits/a%2Fb", 201, json!({}));
    let token = site.get("/dashboard/tn_1/limits").await.hidden("csrf");
    let form = format!("csrf={token}&name=a%2Fb&algorithm=gcra&limit=10&per=1m&burst=");
    let page = site
        .post("/dashboard/tn_1/limits", "session=s", &form)
        .await;
    assert_eq!(page.leads_to(), "/dashboard/tn_1/limits/a%2Fb");
    let asked = site.asked(&Method::PUT).expect("the API was asked");
    assert_eq!(asked.path, "/v1/limits/a%2Fb");
    assert_eq!(
        asked.body,
        json!({ "algorithm": "gcra", "limit": 10, "per": "1m" })
    );
    let headers =
        ["weir-tenant", "x-csrf-token", "sec-fetch-site", "cookie"].map(|name| asked.header(name));
    assert_eq!(headers, ["tn_1", "a-token", "same-origin", "session=s"]);
    assert_eq!(asked.peer, Some(Peer(7)), "from where it came");
    // Whose page it was is for the API to judge, and it is told.
    site.post_from("cross-site", "/dashboard/tn_1/limits", "session=s", &form)
        .await;
    let asked = site.asked(&Method::PUT).expect("the API was asked");
    assert_eq!(asked.header("sec-fetch-site"), "cross-site");
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let site = a_tenants("owner");
    let refused = json!({ "title": "Invalid", "status": 400, "detail": "this is no number", "field": "limit", "accepted": "a whole number from 1 to 4294967295" });
    site.answers(Method::PUT, "/v1/limits/fresh", 400, refused);
    let form = "csrf=a-token&name=fresh&algorithm=sliding_log&limit=ten&per=1m";
    let page = site.post("/dashboard/tn_1/limits", "session=s", form).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("id=\"wrong-limit\">this is no number: a whole number from 1 to 4294967295");
    page.shows("value=\"ten\"");
    page.shows("<option selected>sliding_log");
    let full = json!({ "title": "The plan has no room", "status": 409, "detail": "the plan free has 20 limits" });
    site.answers(Method::PUT, "/v1/limits/fresh", 409, full);
    let page = site.post("/dashboard/tn_1/limits", "session=s", form).await;
    page.shows("role=\"alert\">the plan free has 20 limits");
}

#[tokio::test]
async fn an_api_key_is_shown_by_the_answer_that_made_it_alone() {
    let site = a_tenants("owner");
    site.answers(
        Method::POST,
        "/v1/api-keys",
        201,
        json!({ "id": "key_1", "name": "edge", "key": "weir_key_secret" }),
    );
    let form = "csrf=a-token&name=edge&scopes=check&scopes=adjust&days=";
    let page = site
        .post("/dashboard/tn_1/api-keys", "session=s", form)
        .await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (StatusCode::OK, "no-store")
    );
    page.shows("<code id=\"secret\">weir_key_secret</code>");
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(
        asked.body,
        json!({ "name": "edge", "scopes": ["check", "adjust"], "expires_at": null })
    );
}

#[tokio::test]
async fn an_api_key_is_revoked_by_who_has_typed_its_name() {
    let site = a_tenants("owner");
    site.answers(Method::DELETE, "/v1/api-keys/key_1", 200, json!({}));
    let path = "/dashboard/tn_1/api-keys/key_1/revoke";
    let page = site.post(path, "session=s", "csrf=a-token&name=edgy").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(site.asked(&Method::DELETE).is_none());
    let page = site.post(path, "session=s", "csrf=a-token&name=edge").await;
    page.shows("it works nowhere any more");
    assert!(site.asked(&Method::DELETE).is_some());
}

#[tokio::test]
async fn a_key_is_looked_at_and_not_counted() {
    let site = a_tenants("developer");
    site.answers(Method::POST, "/v1/check", 200, json!({ "allowed": true, "limit": 10, "remaining": 4, "retry_after_ms": null, "reset_after_ms": 6_000 }));
    let page = site.get("/dashboard/tn_1/limits/login?key=ada").await;
    page.shows("4 <small>of 10 left");
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(
        asked.body,
        json!({ "limit": "login", "key": "ada", "cost": 0 })
    );
    // What the API refuses of a look stands beside the field, and takes no page away.
    let long = json!({ "title": "Invalid", "status": 400, "detail": "too long", "field": "key" });
    site.answers(Method::POST, "/v1/check", 400, long);
    let page = site.get("/dashboard/tn_1/limits/login?key=+bob").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("id=\"wrong-key\">too long");
    page.shows("value=\" bob\"");
    page.shows("Change it");
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(
        asked.body["key"], " bob",
        "a key has the spaces that it has"
    );
}

fn telling() -> Value {
    let mut limit = limit("login");
    limit["top_keys"] = true.into();
    limit
}

#[tokio::test]
async fn the_most_denied_keys_of_a_limit_are_shown_as_they_are() {
    let site = a_tenants("developer");
    let page = site.get("/dashboard/tn_1/limits/login").await;
    assert!(!page.text.contains("Most denied"), "it does not tell them");
    assert!(!page.text.contains(" checked"), "{}", page.text);
    site.answers(Method::GET, "/v1/limits/login", 200, telling());
    let keys = json!([
        { "key": "<script>alert(1)</script>&x=1", "allowed": 3, "denied": 1_200, "error": 300 },
        { "key": "k".repeat(1_024), "allowed": 0, "denied": 7, "error": 0 },
    ]);
    let told = json!({ "limit": "login", "keys": keys, "from": 2, "of": 3, "missing": ["c"] });
    site.answers(Method::GET, "/v1/top", 200, told);
    let page = site.get("/dashboard/tn_1/limits/login").await;
    page.shows("Most denied keys of the last hour");
    let asked = site.all_asked().into_iter();
    let mut asked = asked.filter(|asked| asked.path.starts_with("/v1/top"));
    let asked = asked.next().expect("the API was asked");
    assert_eq!(asked.path, "/v1/top?limit=login");
    assert_eq!(asked.header("weir-tenant"), "tn_1");
    page.shows("<bdi>&#60;script&#62;alert(1)&#60;/script&#62;&#38;x=1</bdi>");
    page.shows("?key=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26x%3D1\"");
    page.shows("900 to 1\u{202f}200</td><td class=\"number\">3</td>");
    page.shows(&format!("<bdi>{}…</bdi>", "k".repeat(80)));
    page.shows("Told by 2 of 3 nodes.");
    page.shows("name=\"top_keys\" value=\"true\" checked");
    let none = json!({ "limit": "login", "keys": [], "from": 3, "of": 3, "missing": [] });
    site.answers(Method::GET, "/v1/top", 200, none);
    let page = site.get("/dashboard/tn_1/limits/login").await;
    page.shows("Nothing was denied.");
    // A page is worth showing without them.
    let away = json!({ "title": "Away", "status": 503, "detail": "away" });
    site.answers(Method::GET, "/v1/top", 503, away);
    let page = site.get("/dashboard/tn_1/limits/login").await;
    assert_eq!(page.status, StatusCode::OK);
    page.shows("They cannot be told now.");
}

#[tokio::test]
async fn a_viewer_is_shown_the_most_denied_keys_and_led_nowhere() {
    let site = a_tenants("viewer");
    site.answers(Method::GET, "/v1/limits/login", 200, telling());
    let keys = json!([{ "key": "ada", "allowed": 0, "denied": 7, "error": 0 }]);
    let told = json!({ "limit": "login", "keys": keys, "from": 3, "of": 3, "missing": [] });
    site.answers(Method::GET, "/v1/top", 200, told);
    let page = site.get("/dashboard/tn_1/limits/login").await;
    page.shows("<td><bdi>ada</bdi></td>");
    assert!(!page.text.contains("?key="), "{}", page.text);
}

#[tokio::test]
async fn a_box_says_whether_a_limit_tells_its_keys() {
    let site = a_tenants("owner");
    site.answers(Method::PUT, "/v1/limits/login", 200, json!({}));
    let form = "csrf=a-token&algorithm=gcra&limit=10&per=1m";
    let path = "/dashboard/tn_1/limits/login";
    for (ticked, said) in [("&top_keys=true", json!(true)), ("", Value::Null)] {
        let form = format!("{form}{ticked}");
        site.post(path, "session=s", &form).await.leads_to();
        let asked = site.asked(&Method::PUT).expect("the API was asked");
        assert_eq!(asked.body["top_keys"], said, "absent: false");
    }
    // A form that was refused shows what was ticked in it, not what is stored.
    let refused = json!({ "title": "Invalid", "status": 400, "detail": "no", "field": "limit" });
    site.answers(Method::PUT, "/v1/limits/login", 400, refused);
    let ticked = format!("{form}&top_keys=true");
    let page = site.post(path, "session=s", &ticked).await;
    page.shows("name=\"top_keys\" value=\"true\" checked");
    site.answers(Method::GET, "/v1/limits/login", 200, telling());
    let page = site.post(path, "session=s", form).await;
    page.shows("name=\"top_keys\" value=\"true\">");
}

#[tokio::test]
async fn who_may_not_is_shown_no_form_and_led_to_no_refusal() {
    let site = a_tenants("viewer");
    // As the API does with a viewer.
    let forbidden = json!({ "title": "Forbidden", "status": 403, "role": "developer" });
    site.answers(Method::GET, "/v1/api-keys", 403, forbidden);
    for path in [
        "/dashboard/tn_1",
        "/dashboard/tn_1/limits",
        "/dashboard/tn_1/limits/login",
        "/dashboard/tn_1/team",
        "/dashboard/tn_1/key-limits",
    ] {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let main = page.text.split_once("<main").expect("a page has one").1;
        assert!(!main.contains("<form"), "{path}: {main}");
        assert!(!page.text.contains("/api-keys"), "{path}: {}", page.text);
    }
    let page = site.get("/dashboard/tn_1/api-keys").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nothing_is_done_in_a_tenant_of_others() {
    let site = a_tenants("owner");
    site.answers(
        Method::POST,
        "/v1/api-keys",
        201,
        json!({ "id": "key_1", "name": "edge", "key": "weir_key_secret" }),
    );
    let page = site
        .post(
            "/dashboard/tn_2/api-keys",
            "session=s",
            "csrf=a-token&name=edge",
        )
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(site.asked(&Method::POST).is_none());
}

/// An operator without a seat saw 404 in place of every page of a tenant.
#[tokio::test]
async fn an_operator_opens_the_pages_of_a_tenant_of_others_and_is_told_so() {
    const BANNER: &str = "as an operator, without a seat in it";
    let site = a_tenants("owner");
    let session = |is_operator: bool| {
        json!({
            "user": { "id": "us_9", "email": "op@example.com" },
            "tenants": [{ "id": "tn_9", "name": "Own", "role": "owner" }],
            "csrf": "a-token",
            "operator": is_operator,
        })
    };
    site.answers(Method::GET, "/v1/auth/session", 200, session(true));
    for path in PAGES.iter().filter(|path| path.contains("/tn_1")) {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        page.shows(BANNER);
        page.shows("/dashboard/tenants/tn_1");
        // What owners may.
        page.shows("/dashboard/tn_1/api-keys");
        page.shows("/dashboard/tn_1/audit");
        // The first thing that is asked in the tenant is what its audit tells.
        let asked = site.all_asked();
        let mut within = asked
            .iter()
            .filter(|asked| asked.header("weir-tenant") == "tn_1");
        let first = within.next().expect("it is asked in the tenant");
        assert_eq!(first.path, "/v1/tenant", "{path}");
        site.forget_asked();
    }
    site.answers(Method::POST, "/v1/team/invites", 201, json!({ "id": "inv_1", "url": "https://weir.example.com/invite/x", "expires_at": "2026-11-28T00:00:00Z" }));
    let page = site
        .post(
            "/dashboard/tn_1/team/invites",
            "session=s",
            "csrf=a-token&role=viewer",
        )
        .await;
    page.shows("https://weir.example.com/invite/x");
    let asked = site.asked(&Method::POST).expect("the API was asked");
    assert_eq!(asked.header("weir-tenant"), "tn_1");
    // What is none is none for him as well, byte for byte.
    let none = site.get("/dashboard/tn_0").await;
    for (status, path) in [(404, "/dashboard/tn_3"), (400, "/dashboard/none/usage")] {
        let problem = json!({ "status": status, "title": "x", "detail": "y" });
        site.answers(Method::GET, "/v1/tenant", status, problem);
        let page = site.get(path).await;
        assert_eq!(
            (page.status, &page.text),
            (StatusCode::NOT_FOUND, &none.text),
            "{path}"
        );
    }
    // And for whoever is none any more, without a question.
    site.answers(Method::GET, "/v1/tenant", 200, tenant("active"));
    site.answers(Method::GET, "/v1/auth/session", 200, session(false));
    site.forget_asked();
    let page = site.get("/dashboard/tn_1").await;
    assert_eq!(
        (page.status, &page.text),
        (StatusCode::NOT_FOUND, &none.text)
    );
    assert_eq!(site.all_asked().len(), 1);
    // His own is no visit.
    site.answers(Method::GET, "/v1/auth/session", 200, session(true));
    let own = site.get("/dashboard/tn_9").await;
    assert!(!own.text.contains(BANNER), "{}", own.text);
}

#[tokio::test]
async fn whoever_is_to_choose_another_address_does_nothing_else_before() {
    let site = a_tenants("owner");
    site.answers(
        Method::GET,
        "/v1/auth/session",
        200,
        json!({
            "user": { "id": "us_1", "email": "ada@example.com" },
            "tenants": [{ "id": "tn_1", "name": "Acme", "role": "owner" }],
            "csrf": "a-token",
            "email_conflict": true,
        }),
    );
    let conflict = json!({ "title": "Conflict", "status": 409 });
    site.answers(Method::GET, "/v1/auth/sessions", 409, conflict);
    for path in ["/dashboard", "/dashboard/tn_1", "/dashboard/cluster"] {
        assert_eq!(
            site.get(path).await.leads_to(),
            "/dashboard/account",
            "{path}"
        );
    }
    let page = site.get("/dashboard/account").await;
    assert_eq!(page.status, StatusCode::OK);
    page.shows("Somebody else had this address first");
    assert!(
        !page.text.contains("/dashboard/account/password"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_on_a_page_that_looks_like_the_others() {
    let site = a_tenants("owner");
    let away = json!({ "title": "No quorum", "status": 503, "detail": "a minority" });
    site.answers(Method::GET, "/v1/team", 503, away.clone());
    let page = site.get("/dashboard/tn_1/team").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.shows("data-theme=\"dark\"");
    for (name, begins) in [
        ("retry-after", "5"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'"),
        ("strict-transport-security", "max-age="),
    ] {
        assert!(
            page.header(name).starts_with(begins),
            "{name}: {}",
            page.header(name)
        );
    }
    // What was posted and refused is told as late.
    site.answers(Method::PUT, "/v1/limits/login", 503, away);
    let form = "csrf=a-token&algorithm=gcra&limit=5&per=1m";
    let page = site
        .post("/dashboard/tn_1/limits/login", "session=s", form)
        .await;
    assert_eq!(
        (page.status, page.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "5")
    );
    page.shows("name=\"limit\" type=\"text\" value=\"5\"");
    assert_eq!(
        page.hidden("next"),
        "/dashboard",
        "its own address takes only forms"
    );
}

#[tokio::test]
async fn a_limit_that_is_changed_keeps_what_the_form_does_not_ask_for() {
    let site = a_tenants("owner");
    let window = json!({ "name": "login", "algorithm": "fixed_window", "limit": 10, "per": "1d", "anchor": "epoch", "strategy": "owner", "on_failure": "allow", "keep": false });
    site.answers(Method::GET, "/v1/limits/login", 200, window);
    site.answers(Method::PUT, "/v1/limits/login", 200, json!({}));
    let page = site.get("/dashboard/tn_1/limits/login").await;
    page.shows("<option selected>false");
    let form = |algorithm: &str| {
        let hidden =
            ["csrf", "strategy", "anchor"].map(|name| format!("{name}={}", page.hidden(name)));
        format!(
            "{}&algorithm={algorithm}&limit=10&per=1d&burst=&on_failure=allow&keep=false",
            hidden.join("&")
        )
    };
    let of_both = json!({ "limit": 10, "per": "1d", "strategy": "owner", "on_failure": "allow", "keep": false });
    for (algorithm, anchor) in [("sliding_log", None), ("fixed_window", Some("epoch"))] {
        let answer = site
            .post(
                "/dashboard/tn_1/limits/login",
                "session=s",
                &form(algorithm),
            )
            .await;
        assert_eq!(answer.leads_to(), "/dashboard/tn_1/limits/login");
        let mut expected = of_both.clone();
        expected["algorithm"] = algorithm.into();
        if let Some(anchor) = anchor {
            expected["anchor"] = anchor.into();
        }
        assert_eq!(
            site.asked(&Method::PUT).expect("the API was asked").body,
            expected
        );
    }
}

#[tokio::test]
async fn a_limit_without_a_name_is_asked_for_one() {
    let site = a_tenants("owner");
    let form = "csrf=a-token&name=+&algorithm=gcra&limit=5&per=1m";
    let page = site.post("/dashboard/tn_1/limits", "session=s", form).await;
    page.shows("id=\"wrong-name\">give it a name");
    assert!(site.asked(&Method::PUT).is_none());
}

#[tokio::test]
async fn as_many_days_are_asked_for_as_the_chart_has_room_for() {
    let site = a_tenants("owner");
    site.get("/dashboard/tn_1/usage").await;
    let asked = site.all_asked();
    let mut paths = asked.iter().map(|asked| &*asked.path);
    let from = paths.find_map(|path| path.strip_prefix("/v1/usage?from="));
    let from = from.expect("from a day on");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let today = now.expect("a clock past 1970").as_secs() / 86_400;
    let of = |day| accounts::UnixSecs::of_day(day).date();
    // At midnight it may be either.
    assert!(from == of(today - 34) || from == of(today - 35), "{from}");
}

#[tokio::test]
async fn keys_of_the_keyboard_can_be_switched_off() {
    let site = a_tenants("owner");
    let page = site.get("/dashboard/account").await;
    page.shows(" data-keys>");
    let page = site
        .post("/dashboard/account/keys", "session=s", "keys=off")
        .await;
    assert_eq!(
        (page.leads_to(), page.cookie("weir_keys").as_deref()),
        ("/dashboard/account", Some("off"))
    );
    let page = site.get_with("/dashboard/account", "weir_keys=off").await;
    assert!(!page.text.contains("data-keys"));
    page.shows("Switch them on");
    let page = site
        .post("/dashboard/account/keys", "session=s", "keys=on")
        .await;
    assert_eq!(page.cookie("weir_keys").as_deref(), Some(""));
}

#[tokio::test]
async fn a_page_takes_forms_of_a_size() {
    let site = a_tenants("owner");
    let form = format!("csrf=a-token&name={}", "a".repeat(17 << 10));
    let page = site
        .post("/dashboard/tn_1/limits", "session=s", &form)
        .await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_theme_is_the_browsers_own() {
    let site = Site::new();
    let page = site
        .post("/theme", "", "theme=light&next=%2Fdashboard")
        .await;
    assert_eq!(
        (page.leads_to(), page.cookie("weir_theme").as_deref()),
        ("/dashboard", Some("light"))
    );
    let page = site
        .post("/theme", "", "theme=%22%3E&next=%2F%2Fevil.example")
        .await;
    assert_eq!(
        (page.leads_to(), page.cookie("weir_theme").as_deref()),
        ("/dashboard", Some(""))
    );
}

#[tokio::test]
async fn operators_see_the_cluster_and_all_tenants() {
    let site = a_tenants("operator");
    site.answers(Method::GET, "/v1/shards", 200, json!({ "members": ["oskar", "oskar2"], "owner": [0, 0, 1], "term": [1, 1, 2], "copies": [1, 1, 1] }));
    site.answers(Method::GET, "/v1/cluster", 200, json!({
        "node": "oskar", "view": "59f9", "under_replicated_shards": 0, "unsettled_shards": 0, "replication_lag_ms": 1.5,
        "raft": { "leader": "oskar", "term": 7, "voters": ["oskar", "berta"], "learners": [] },
        "redis": { "breaker": "open", "last_failure": "refused" },
        "config_differs": { "limits": [{ "limit": "login" }], "entries": [{ "section": "[[route]]", "name": "/login" }] },
        "members": [
            { "name": "oskar", "status": "alive", "incarnation": 1, "shards": 512, "role": "owns", "http": "127.0.0.1:4000", "cluster": "127.0.0.1:4100", "silent_ms": null },
            { "name": "berta", "status": "dead", "incarnation": 2, "shards": 512, "role": "owns", "http": null, "cluster": null, "silent_ms": 90_000 },
        ],
    }));
    let page = site.get("/dashboard/cluster").await;
    page.shows("1 of 2 members live");
    page.shows("data-member=\"oskar\" d=\"M0 0h2v24h-2z\"");
    page.shows("oskar leads in term 7; voters: oskar, berta");
    page.shows("open: refused");
    page.shows("differently of: limit login, [[route]] /login.");
    page.shows("1 min");
    site.answers(
        Method::GET,
        "/v1/plans",
        200,
        json!({ "items": [{ "name": "free", "requests_per_day": 10_000 }, { "name": "pro" }] }),
    );
    site.answers(
        Method::GET,
        "/v1/tenants",
        200,
        json!({ "items": [tenant("active")], "next": null }),
    );
    site.get("/dashboard/tenants")
        .await
        .shows("/dashboard/tenants/tn_1");
    site.answers(Method::GET, "/v1/tenants/tn_1", 200, tenant("active"));
    site.answers(Method::PATCH, "/v1/tenants/tn_1", 200, json!({}));
    let page = site.get("/dashboard/tenants/tn_1").await;
    page.shows("value=\"suspended\"");
    // Else another plan would keep the cap of this one.
    page.shows("name=\"requests_per_day\" type=\"text\" value=\"\"");
    let page = site
        .post(
            "/dashboard/tenants/tn_1",
            "session=s",
            "csrf=a-token&plan=pro&requests_per_day=",
        )
        .await;
    assert_eq!(page.leads_to(), "/dashboard/tenants/tn_1");
    let asked = site.asked(&Method::PATCH).expect("the API was asked");
    assert_eq!(
        asked.body,
        json!({ "plan": "pro", "requests_per_day": null })
    );
}
