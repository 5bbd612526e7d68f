//! Who is counted: every form of identity, and what a request may do to it.

use axum::http::{HeaderName, HeaderValue, Uri};
use front_http::{HttpConfig, Route, RouteAnswer};
use limiter::Identity;

use crate::client::{Front, config, front, front_with, identifier, limits, request};

/// What a request comes to.
#[derive(Clone, Copy)]
enum Is<'a> {
    /// This key is counted.
    Counted(&'a str),
    /// 400, and nothing is counted.
    Refused,
    /// 401: it brings nobody.
    Nobody,
}
use Is::{Counted, Nobody, Refused};

/// Name and value of a header.
type Line<'a> = (&'a str, &'a [u8]);

/// A request for `target` with these headers, to a route that counts by `identify`.
async fn check(identify: &[Identity], target: &str, headers: &[Line<'_>], expected: Is<'_>) {
    let mut config = config();
    config.routes = vec![Route {
        path: "/who".into(),
        policy: limits()["login"].clone(),
        identify: identify.to_vec(),
        answer: RouteAnswer::Json,
    }];
    let front = front_with(HttpConfig {
        identifier: identifier("::ffff:10.0.0.0/104", 7),
        ..config
    });
    let mut request = request("GET", "/who", &[("peer", "10.0.0.1")]);
    *request.uri_mut() = format!("/who{target}").parse::<Uri>().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    let reply = front.send(request).await;
    let counted = keys(&front);
    let case = format!("{identify:?} {target} {:?}: {}", shown(headers), reply.body);
    match expected {
        Counted(key) => assert_eq!(
            (reply.status.as_u16(), &counted[..]),
            (200, &[key.to_owned()][..]),
            "{case}"
        ),
        Refused => {
            assert_eq!((reply.status.as_u16(), counted.len()), (400, 0), "{case}");
            reply.problem(400, "invalid-request");
        }
        Nobody => assert_eq!((reply.status.as_u16(), counted.len()), (401, 0), "{case}"),
    }
}

/// The keys that something was counted under, sorted.
fn keys(front: &Front) -> Vec<String> {
    let counted = front.node.counted();
    let mut keys: Vec<_> = counted.into_iter().map(|(_, key)| key).collect();
    keys.sort();
    keys
}

fn shown(headers: &[Line<'_>]) -> Vec<String> {
    let line = |(name, value): &Line<'_>| format!("{name}: {}", value.escape_ascii());
    headers.iter().map(line).collect()
}

fn user() -> Identity {
    Identity::Header(HeaderName::from_static("x-user-id"))
}

fn name() -> Identity {
    Identity::Query("name".into())
}

fn sid() -> Identity {
    Identity::Cookie("sid".into())
}

#[tokio::test]
async fn headers() {
    let long = "n".repeat(1_025);
    let rows: &[(&[&[u8]], Is<'_>)] = &[
        (&[], Nobody),
        (&[b"ada"], Counted("ada")),
        (&[b"Ada"], Counted("Ada")),
        (&["Zürich".as_bytes()], Counted("Zürich")),
        (&[b"a, b"], Counted("a, b")),
        (&[b"a b"], Counted("a b")),
        (&[b"\"ada\""], Counted("\"ada\"")),
        // One empty line is as good as none; a second one makes two.
        (&[b""], Nobody),
        (&[b"", b""], Refused),
        (&[b"", b"ada"], Refused),
        (&[b"ada", b""], Refused),
        (&[b"ada", b"ada"], Refused),
        (&[b"ada", b"ben"], Refused),
        (&[b"jos\xe9"], Refused),
        (&[b"\xff"], Refused),
        (&[long.as_bytes()], Refused),
        (&[&long.as_bytes()[1..]], Counted(&long[1..])),
        // Nobody becomes somebody else by calling himself so.
        (&[b"peer:192.0.2.1"], Counted("name:peer:192.0.2.1")),
        (&[b"browser:00"], Counted("name:browser:00")),
        (&[b"cookie:sid=1"], Counted("name:cookie:sid=1")),
        (&[b"name:ada"], Counted("name:name:ada")),
        (
            &[b"name:peer:192.0.2.1"],
            Counted("name:name:peer:192.0.2.1"),
        ),
        (&[b"peers:1"], Counted("peers:1")),
        (&[b"Peer:1"], Counted("Peer:1")),
    ];
    for (lines, expected) in rows {
        let headers: Vec<_> = lines.iter().map(|line| ("X-User-Id", *line)).collect();
        check(&[user()], "", &headers, *expected).await;
    }
}

#[tokio::test]
async fn parameters() {
    let rows: &[(&str, Is<'_>)] = &[
        ("", Nobody),
        ("?", Nobody),
        ("?name", Nobody),
        ("?name=", Nobody),
        ("?Name=ada", Nobody),
        ("?xname=ada", Nobody),
        ("?name=ada", Counted("ada")),
        ("?x=%zz&name=ada", Counted("ada")),
        ("?n%61me=%61da", Counted("ada")),
        ("?name=a+b", Counted("a b")),
        ("?name=a%2Bb", Counted("a+b")),
        ("?name=a%26name=b", Counted("a&name=b")),
        ("?name=a;name=b", Counted("a;name=b")),
        ("?name=a=b", Counted("a=b")),
        ("?name=Z%C3%BCrich", Counted("Zürich")),
        ("?name=ada&name=ada", Refused),
        ("?name=&name=ada", Refused),
        ("?name=ada&n%61me=ben", Refused),
        ("?name=%00", Refused),
        ("?name=%ff", Refused),
        ("?name=%", Refused),
        ("?name=peer:192.0.2.1", Counted("name:peer:192.0.2.1")),
        ("?name=%70eer:192.0.2.1", Counted("name:peer:192.0.2.1")),
        ("?name=browser:00", Counted("name:browser:00")),
    ];
    for (target, expected) in rows {
        check(&[name()], target, &[], *expected).await;
    }
}

#[tokio::test]
async fn cookies() {
    let rows: &[(&[&[u8]], Is<'_>)] = &[
        (&[], Nobody),
        (&[b""], Nobody),
        (&[b"sid"], Nobody),
        (&[b"sid="], Nobody),
        (&[b"SID=1"], Nobody),
        (&[b"xsid=1; sidx=1"], Nobody),
        (&[b"sid=1"], Counted("cookie:sid=1")),
        (&[b"a=b; sid=1;c=d"], Counted("cookie:sid=1")),
        (&[b"a=b;\tsid =  1 "], Counted("cookie:sid=1")),
        (&[b";; ; sid=1;"], Counted("cookie:sid=1")),
        (&[b"sid=a=b"], Counted("cookie:sid=a=b")),
        (&[b"sid=\"1\""], Counted("cookie:sid=\"1\"")),
        // Lines are one list.
        (&[b"a=b", b"sid=1"], Counted("cookie:sid=1")),
        // What stands beside it may be anything.
        (&[b"junk=\xff\xfe; sid=1"], Counted("cookie:sid=1")),
        (&[b"\xe9=1; sid=1; \xff"], Counted("cookie:sid=1")),
        (&["sid=Zürich".as_bytes()], Counted("cookie:sid=Zürich")),
        (&[b"sid=jos\xe9"], Refused),
        // Browsers send one for each path and domain.
        (&[b"sid=1; sid=1"], Counted("cookie:sid=1")),
        (&[b"sid=1; sid=2"], Refused),
        (&[b"sid=1", b"sid=2"], Refused),
        (&[b"sid=; sid=2"], Refused),
        (
            &[b"sid=peer:192.0.2.1"],
            Counted("cookie:sid=peer:192.0.2.1"),
        ),
        (&[b"sid=name:ada"], Counted("cookie:sid=name:ada")),
    ];
    for (lines, expected) in rows {
        let headers: Vec<_> = lines.iter().map(|line| ("Cookie", *line)).collect();
        check(&[sid()], "", &headers, *expected).await;
    }
}

#[tokio::test]
async fn addresses() {
    let rows: &[(&[&[u8]], &str)] = &[
        (&[], "peer:10.0.0.1"),
        (&[b"192.0.2.7"], "peer:192.0.2.7"),
        (&[b"192.0.2.7:443"], "peer:192.0.2.7"),
        (&[b"::ffff:192.0.2.7"], "peer:192.0.2.7"),
        (&[b"[::ffff:192.0.2.7]:443"], "peer:192.0.2.7"),
        (&[b"2001:db8:1:2:3::4"], "peer:2001:db8:1:2::/64"),
        (&[b"[2001:db8:1:2:3::4]:443"], "peer:2001:db8:1:2::/64"),
        // What the client wrote stands before what the proxies add.
        (&[b"6.6.6.6, 192.0.2.7"], "peer:192.0.2.7"),
        (&[b"6.6.6.6", b"192.0.2.7"], "peer:192.0.2.7"),
        (&[b"6.6.6.6, 192.0.2.7, 10.0.0.2"], "peer:192.0.2.7"),
        (&[b"6.6.6.6, 192.0.2.7, ::ffff:10.0.0.2"], "peer:192.0.2.7"),
        // No element of the list.
        (&[b""], "peer:10.0.0.1"),
        (&[b"192.0.2.7,"], "peer:192.0.2.7"),
        (&[b"192.0.2.7, ,10.0.0.2"], "peer:192.0.2.7"),
        (&[b"192.0.2.7", b""], "peer:192.0.2.7"),
        // No address: the proxy that reported it is counted.
        (&[b"unknown"], "peer:10.0.0.1"),
        (&[b"192.0.2.7, _hidden, 10.0.0.2"], "peer:10.0.0.2"),
        (&[b"192.0.2.7\xff"], "peer:10.0.0.1"),
        (&[b"192.0.2.07"], "peer:10.0.0.1"),
    ];
    for (lines, key) in rows {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| ("X-Forwarded-For", *line))
            .collect();
        check(&[Identity::Peer], "", &headers, Counted(key)).await;
    }
}

#[tokio::test]
async fn the_first_that_is_there_is_counted() {
    let all = [user(), name(), sid(), Identity::Peer];
    let rows: &[(&str, &[Line<'_>], Is<'_>)] = &[
        ("", &[], Counted("peer:10.0.0.1")),
        ("", &[("Cookie", b"sid=1")], Counted("cookie:sid=1")),
        ("?name=ben", &[("Cookie", b"sid=1")], Counted("ben")),
        ("?name=ben", &[("X-User-Id", b"ada")], Counted("ada")),
        ("?name=ben", &[("X-User-Id", b"")], Counted("ben")),
        // A name is a name, whichever way it was given.
        ("?name=ada", &[], Counted("ada")),
        // What is refused does not fall through to the next.
        (
            "?name=ben",
            &[("X-User-Id", b""), ("X-User-Id", b"ada")],
            Refused,
        ),
        ("?name=%ff", &[("Cookie", b"sid=1")], Refused),
        ("", &[("Cookie", b"sid=1; sid=2")], Refused),
        // What comes after the one that is there is not read.
        ("?name=%ff", &[("X-User-Id", b"ada")], Counted("ada")),
    ];
    for (target, headers, expected) in rows {
        check(&all, target, headers, *expected).await;
    }
}

#[tokio::test]
async fn browsers() {
    let front = front();
    let first = front.get("/many").await;
    let given = first
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let id = &given["weir_browser=".len()..][..32];
    // Of the agent that says nothing, the first half of the SHA-256 of nothing.
    let origin = "browser:192.0.2.1:e3b0c44298fc1c149afbf4c8996fb924";
    let mut both = [format!("browser:{id}"), origin.to_owned()];
    both.sort();
    assert_eq!(keys(&front), both);

    let forged = format!("weir_browser={id}.00");
    let known: &[&[&str]] = &[
        &[&given],
        &["a=b", &given],
        &[&forged, &given],
        &["weir_browser=; weir_browser=\u{e9}", &given],
    ];
    for (used, lines) in known.iter().enumerate() {
        let mut request = request("GET", "/many", &[]);
        for line in *lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            request.headers_mut().append("cookie", line);
        }
        let reply = front.send(request).await;
        assert_eq!(reply.json()["remaining"], 8 - used, "{lines:?}");
        assert_eq!(reply.header("set-cookie"), "", "{lines:?}");
    }
    // Nobody becomes a browser, or where it comes from, by calling himself so.
    let named = HttpConfig {
        routes: vec![Route {
            path: "/who".into(),
            policy: limits()["login"].clone(),
            identify: vec![user(), Identity::Browser],
            answer: RouteAnswer::Json,
        }],
        ..config()
    };
    let front = front_with(named);
    for name in [&format!("browser:{id}"), origin] {
        front.get_with("/who", &[("x-user-id", name)]).await;
    }
    assert!(
        keys(&front)
            .iter()
            .all(|key| key.starts_with("name:browser:"))
    );
    assert_eq!(keys(&front).len(), 2);
}
