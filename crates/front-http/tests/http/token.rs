//! The API token.

use front_http::HttpConfig;

use crate::client::{Front, config, front_with};

pub(crate) fn guarded() -> Front {
    front_with(HttpConfig {
        access: limiter::Access::with_token("s3cret"),
        ..config()
    })
}

const GUARDED: [&str; 8] = [
    "/v1/cluster",
    "/v1/limits",
    "/v1",
    "/v1/nothing",
    "/api/check?key=a",
    "/api/data",
    "/rate/check?client_id=a",
    "/v1/check",
];

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let front = guarded();
    for path in GUARDED {
        for headers in [
            &[][..],
            &[("authorization", "")],
            &[("authorization", "s3cret")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic czNjcmV0")],
        ] {
            let reply = front.get_with(path, headers).await;
            assert_eq!(reply.header("www-authenticate"), "Bearer");
            reply.problem(401, "unauthorized");
        }
        for token in [
            "Bearer wrong!",
            "Bearer s3cret2",
            "Bearer s3cre",
            "Bearer S3CRET",
            "bearer é",
        ] {
            front
                .get_with(path, &[("authorization", token)])
                .await
                .problem(403, "forbidden");
        }
    }
    assert_eq!(front.node.counted().len(), 0);
}

#[tokio::test]
async fn with_the_token_everything_is_as_without_one() {
    let front = guarded();
    for token in ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret"] {
        for path in ["/v1/cluster", "/api/data", "/rate/check?client_id=a"] {
            assert_eq!(
                front
                    .get_with(path, &[("authorization", token)])
                    .await
                    .status,
                200
            );
        }
    }
    front
        .get_with("/v1/nothing", &[("authorization", "Bearer s3cret")])
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn what_is_not_the_api_needs_no_token() {
    let front = guarded();
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/",
        "/user_home?name=a",
    ] {
        assert_eq!(front.get(path).await.status, 200, "{path}");
    }
    front.get("/v1x").await.problem(404, "not-found");
}
