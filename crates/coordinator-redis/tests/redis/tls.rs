//! `rediss://`, against an authority made for the test.

use std::fs;
use std::path::Path;
use std::process::Command;

use coordinator_redis::{ConnectError, RedisCoordinator, Servers};
use quota::Algorithm;

use crate::fixture::{Fallback, config_of, daily, hit};
use crate::server::{Server, free_port};

/// A certificate for `localhost`, which is also its own authority, and its key.
fn certificate(dir: &Path) -> [String; 2] {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl comes with the package openssl");
    assert!(made.status.success(), "{made:?}");
    [certificate, key]
}

#[tokio::test]
async fn tls_needs_a_certificate_that_the_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = certificate(dir.path());
    let port = free_port().to_string();
    let _server = Server::start_with(&[
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let config = || config_of(Servers::One(format!("rediss://localhost:{port}")));
    let error = RedisCoordinator::connect(config(), Fallback::default())
        .await
        .unwrap_err();
    assert!(
        !matches!(error, ConnectError::Unauthorized { .. }),
        "{error}"
    );

    let trusting = config()
        .with_authority(fs::read(&certificate).unwrap())
        .unwrap();
    let redis = RedisCoordinator::connect(trusting, Fallback::default())
        .await
        .unwrap();
    let told = hit(&redis, &daily(Algorithm::SlidingCounter, 5), "k")
        .await
        .unwrap();
    assert_eq!(told.decision.remaining, 4);
}
