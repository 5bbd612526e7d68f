//! The routes of the built-in example, and others like them.

use coordinator::NoDecision;
use quota::Nanos;
use serde_json::json;

use crate::client::{Front, Reply, front, front_with, identifier};

async fn get(front: &Front, path: &str, headers: &[(&str, &str)]) -> Reply {
    front.get_with(path, headers).await
}

/// The cookie that a reply gave, as a browser sends it back.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie");
    assert!(set.starts_with("weir_browser="), "{set:?}");
    let attributes: Vec<_> = set.split("; ").skip(1).collect();
    assert!(
        attributes.contains(&"HttpOnly") && attributes.contains(&"SameSite=Lax"),
        "{set}"
    );
    assert!(attributes.contains(&"Path=/"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_user_is_greeted_once_a_minute() {
    let front = front();
    let reply = get(&front, "/user_home", &[("X-User-Id", "alice")]).await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, "Welcome home, alice!")
    );
    assert_eq!(reply.header("ratelimit-policy"), r#""user_home";q=1;w=60"#);
    assert_eq!(reply.header("ratelimit"), r#""user_home";r=0;t=60"#);
    assert_eq!(reply.header("cache-control"), "no-store");

    front.node.advance(Nanos::from_secs(18));
    // The name of the header in any case, and the name in the query: the same user.
    for (path, headers) in [
        ("/user_home", &[("X-USER-ID", "alice")][..]),
        ("/user_home", &[("x-user-id", "alice")]),
        ("/user_home?name=alice", &[]),
        ("/user_home?name=bob", &[("x-user-id", "alice")]),
        ("/user_home?name=%61lice&x=%zz", &[("x-user-id", "")]),
    ] {
        let reply = get(&front, path, headers).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (429, "Too Many Requests"),
            "{path}"
        );
        assert!(reply.header("content-type").starts_with("text/plain"));
        assert_eq!(
            (
                reply.header("retry-after"),
                reply.header("x-ratelimit-reset")
            ),
            ("42", "42")
        );
        assert_eq!(reply.header("ratelimit"), r#""user_home";r=0;t=42"#);
    }
    assert_eq!(get(&front, "/user_home?name=bob", &[]).await.status, 200);
    front.node.advance(Nanos::from_secs(42));
    assert_eq!(get(&front, "/user_home?name=alice", &[]).await.status, 200);
}

#[tokio::test]
async fn nobody_is_not_greeted() {
    let front = front();
    for (path, headers) in [
        ("/user_home", &[][..]),
        ("/user_home?name=", &[]),
        ("/user_home?nam=a", &[("x-user-id", "")]),
    ] {
        let reply = get(&front, path, headers).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (401, "User ID Required")
        );
        assert!(reply.header("content-type").starts_with("text/plain"));
    }
    assert_eq!(front.node.counted().len(), 0);
}

#[tokio::test]
async fn names_are_escaped() {
    let reply = get(
        &front(),
        "/user_home?name=%3Cscript%3Ealert('%26%22')%3C/script%3E",
        &[],
    )
    .await;
    assert_eq!(
        reply.body,
        "Welcome home, &lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;!"
    );
}

#[tokio::test]
async fn odd_names_are_refused() {
    let front = front();
    let long = "n".repeat(1_025);
    for path in [
        "/user_home?name=%00",
        "/user_home?name=%ff",
        &format!("/user_home?name={long}"),
    ] {
        get(&front, path, &[]).await.problem(400, "invalid-request");
    }
    get(&front, "/user_home", &[("x-user-id", &long)])
        .await
        .problem(400, "invalid-request");
    let mut request = crate::client::request("GET", "/user_home", &[]);
    let bytes = axum::http::HeaderValue::from_bytes(b"jos\xe9").unwrap();
    request.headers_mut().insert("x-user-id", bytes);
    front.send(request).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn data_is_counted_by_user_or_else_by_address() {
    let front = front();
    for remaining in (0..10).rev() {
        let reply = get(&front, "/api/data", &[("X-User-ID", "alice")]).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["remaining"]),
            (200, &json!(remaining))
        );
    }
    let reply = get(&front, "/api/data", &[("X-User-ID", "alice")]).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["allowed"]),
        (429, &json!(false))
    );
    assert_eq!(reply.header("retry-after"), "6");
    let address = get(&front, "/api/data", &[]).await;
    assert_eq!(address.json()["remaining"], 9);
    let another = get(&front, "/api/data", &[("peer", "192.0.2.2")]).await;
    assert_eq!(another.json()["remaining"], 9);
}

#[tokio::test]
async fn the_status_tells_what_is_left_and_counts_nothing() {
    let front = front();
    for _ in 0..3 {
        get(&front, "/api/data", &[("X-User-ID", "alice")]).await;
    }
    for _ in 0..3 {
        let reply = get(&front, "/api/status", &[("X-User-ID", "alice")]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.body,
            r#"{"limit":10,"remaining":7,"reset_after_ms":18000}"#
        );
    }
    for _ in 0..7 {
        get(&front, "/api/data", &[("X-User-ID", "alice")]).await;
    }
    let spent = get(&front, "/api/status", &[("X-User-ID", "alice")]).await;
    assert_eq!(
        (spent.status.as_u16(), &spent.json()["remaining"]),
        (200, &json!(0))
    );
}

#[tokio::test]
async fn a_browser_is_known_by_its_cookie() {
    let front = front();
    let first = get(&front, "/", &[("user-agent", "Firefox")]).await;
    assert_eq!(first.status, 200);
    assert!(first.header("content-type").starts_with("text/html") && first.body.contains("<h1>"));
    let cookie = cookie(&first);

    // From anywhere, whatever it calls itself.
    let back = [
        ("cookie", &*cookie),
        ("peer", "192.0.2.9"),
        ("user-agent", "Lynx"),
    ];
    let reload = get(&front, "/", &back).await;
    assert_eq!(
        (reload.status.as_u16(), &*reload.body),
        (429, "Too Many Requests")
    );
    assert_eq!(
        (reload.header("retry-after"), reload.header("set-cookie")),
        ("10", "")
    );

    front.node.advance(Nanos::from_secs(10));
    let later = get(&front, "/", &back).await;
    assert_eq!(
        (later.status.as_u16(), later.header("set-cookie")),
        (200, "")
    );
}

#[tokio::test]
async fn a_browser_without_a_cookie_is_known_by_its_address_and_agent() {
    let front = front();
    let from = |peer: &'static str, agent: &'static str| [("peer", peer), ("user-agent", agent)];
    assert_eq!(
        get(&front, "/", &from("192.0.2.1", "Firefox")).await.status,
        200
    );
    assert_eq!(
        get(&front, "/", &from("192.0.2.1", "Firefox")).await.status,
        429
    );
    assert_eq!(
        get(&front, "/", &from("192.0.2.1", "Lynx")).await.status,
        200
    );
    assert_eq!(
        get(&front, "/", &from("192.0.2.2", "Firefox")).await.status,
        200
    );
    // One network, one client.
    assert_eq!(
        get(&front, "/", &from("2001:db8::1", "Firefox"))
            .await
            .status,
        200
    );
    assert_eq!(
        get(&front, "/", &from("2001:db8::2", "Firefox"))
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn the_cookie_of_a_denial_lets_nobody_in() {
    let front = front();
    get(&front, "/", &[]).await;
    let denied = get(&front, "/", &[]).await;
    assert_eq!(denied.status, 429);
    assert_eq!(
        get(&front, "/", &[("cookie", &cookie(&denied))])
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn new_cookies_are_no_way_to_multiply_a_limit() {
    // Ten a minute: whoever spent ten without a cookie has none left under the cookies that came with them.
    let front = front();
    for used in 1..=11_u32 {
        let reply = get(&front, "/many", &[]).await;
        let left = 10_u32.saturating_sub(used);
        let with = get(&front, "/many", &[("cookie", &cookie(&reply))]).await;
        assert_eq!(
            with.status.as_u16(),
            if 0 < left { 200 } else { 429 },
            "{used}"
        );
        assert_eq!(with.json()["remaining"], left.saturating_sub(1), "{used}");
    }
}

#[tokio::test]
async fn a_forged_cookie_counts_as_none() {
    let front = front();
    let given = cookie(&get(&front, "/", &[]).await);
    let tampered = format!("{}0", &given[..given.len() - 1]);
    let forged = if tampered == given {
        format!("{}1", &given[..given.len() - 1])
    } else {
        tampered
    };
    for value in [
        &*forged,
        "weir_browser=",
        "weir_browser=a.b",
        "weir_browser=00.00",
        "other=1; weir_browser=zz",
    ] {
        let reply = get(&front, "/", &[("cookie", value)]).await;
        assert_eq!(reply.status, 429, "{value}");
        cookie(&reply);
    }
}

#[tokio::test]
async fn a_cookie_is_good_on_every_node_of_the_cluster() {
    let (here, there) = (front(), front());
    let given = cookie(&get(&here, "/", &[]).await);
    // Found among others.
    let jar = format!("a=b; {given}; c=d");
    assert_eq!(
        get(&there, "/", &[("cookie", &jar)])
            .await
            .header("set-cookie"),
        ""
    );
    let elsewhere = front_with(front_http::HttpConfig {
        identifier: identifier("10.0.0.0/8", 8),
        ..crate::client::config()
    });
    assert_ne!(
        get(&elsewhere, "/", &[("cookie", &jar)])
            .await
            .header("set-cookie"),
        ""
    );
}

#[tokio::test]
async fn only_trusted_proxies_speak_for_others() {
    let front = front();
    let remaining = async |peer: &str, forwarded: &str| {
        let reply = get(
            &front,
            "/api/data",
            &[("peer", peer), ("x-forwarded-for", forwarded)],
        )
        .await;
        reply.json()["remaining"].as_u64().unwrap()
    };
    assert_eq!(remaining("192.0.2.1", "203.0.113.1").await, 9);
    assert_eq!(remaining("192.0.2.1", "203.0.113.2").await, 8);
    assert_eq!(remaining("10.0.0.1", "203.0.113.1").await, 9);
    assert_eq!(
        remaining("10.0.0.2", "6.6.6.6, 203.0.113.1, 10.0.0.1").await,
        8
    );
    assert_eq!(remaining("10.0.0.1", "2001:db8::1").await, 9);
    assert_eq!(remaining("10.0.0.1", "[2001:db8::2]:443").await, 8);
    assert_eq!(remaining("10.0.0.1", "203.0.113.7, junk").await, 9);
    assert_eq!(remaining("10.0.0.1", "203.0.113.8, junk").await, 8);
}

#[tokio::test]
async fn other_routes_name_what_they_count_by() {
    let front = front();
    let problem = get(&front, "/odd/:{path}", &[("cookie", "sid=")])
        .await
        .problem(401, "unauthorized");
    assert_eq!(problem["accepted"], "the cookie sid");
    assert_eq!(
        get(&front, "/odd/:{path}", &[("cookie", "sid=1")])
            .await
            .json()["remaining"],
        9
    );
    assert_eq!(
        get(&front, "/odd/:{path}", &[("cookie", "x=y; sid=1")])
            .await
            .json()["remaining"],
        8
    );
}

#[tokio::test]
async fn without_a_decision_nobody_is_let_in() {
    let front = front();
    front.node.fail(NoDecision::Unavailable {
        retry_after: Nanos::from_secs(1),
    });
    for path in ["/", "/user_home?name=a", "/api/data", "/api/status"] {
        let reply = get(&front, path, &[]).await;
        assert_eq!(
            (reply.header("retry-after"), reply.header("set-cookie")),
            ("1", "")
        );
        reply.problem(503, "no-decision");
    }
}
