//! TLS, and clients that have to show a certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use front_grpc::{GrpcConfig, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::server::{Server, config, request, rules};

/// An authority, and what it has signed, as files.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer,
        };
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for `localhost`, and its key.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate_file, key_file) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate_file, key_file)
    }
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// Whether a client that trusts `authority`, with this certificate, is answered.
async fn is_served(
    server: &Server,
    authority: &Authority,
    certificate: Option<(PathBuf, PathBuf)>,
) -> bool {
    let mut tls = ClientTlsConfig::new()
        .domain_name("localhost")
        .ca_certificate(Certificate::from_pem(text(&authority.path("ca.pem"))));
    if let Some((certificate, key)) = certificate {
        tls = tls.identity(Identity::from_pem(text(&certificate), text(&key)));
    }
    let endpoint = Channel::from_shared(format!("https://{}", server.address)).unwrap();
    let Ok(channel) = endpoint.tls_config(tls).unwrap().connect().await else {
        return false;
    };
    let mut client = RateLimitServiceClient::new(channel);
    let told = client.should_rate_limit(request("edge", &["ip=1"])).await;
    told.is_ok()
}

async fn serve_with(tls: Tls) -> Server {
    Server::start(GrpcConfig {
        tls: Some(tls),
        ..config(rules())
    })
    .await
}

#[tokio::test]
async fn with_tls_only_who_speaks_it_is_answered() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("server");
    let server = serve_with(Tls::load(&certificate, &key, None).unwrap()).await;
    assert!(is_served(&server, &authority, None).await);
    assert!(
        !is_served(&server, &Authority::new(), None).await,
        "another authority"
    );
    // In the clear: the connection ends, and nothing is counted.
    let mut client = server.client().await;
    assert!(
        client
            .should_rate_limit(request("edge", &["ip=2"]))
            .await
            .is_err()
    );
    assert_eq!(server.node.counted().len(), 1);
}

#[tokio::test]
async fn who_does_not_shake_hands_does_not_hold_up_the_end() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("server");
    let server = serve_with(Tls::load(&certificate, &key, None).unwrap()).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    // Well below the 10 s that those have who were not answered, or have to shake hands.
    tokio::time::timeout(Duration::from_secs(8), server.stop())
        .await
        .expect("it ends");
}

/// Whether it says nothing, or a byte each second.
#[tokio::test(start_paused = true)]
async fn a_handshake_has_ten_seconds() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("server");
    let server = serve_with(Tls::load(&certificate, &key, None).unwrap()).await;
    for drips in [false, true] {
        let began = Instant::now();
        let (mut read, mut write) = TcpStream::connect(server.address)
            .await
            .unwrap()
            .into_split();
        // The beginning of a record with a hello of 512 bytes.
        let mut hello = [0x16, 3, 1, 2, 4, 1, 0, 2, 0]
            .into_iter()
            .chain(std::iter::repeat(3));
        let dripping = tokio::spawn(async move {
            while drips && write.write_all(&[hello.next().unwrap()]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        });
        let mut told = Vec::new();
        // A reset is an end, too: of what was sent after it.
        let _ = read.read_to_end(&mut told).await;
        dripping.abort();
        assert_eq!((told, began.elapsed().as_secs()), (vec![], 10), "{drips}");
    }
}

#[tokio::test]
async fn with_mutual_tls_only_who_shows_a_certificate_of_the_authority_is_answered() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign("server");
    let tls = Tls::load(&certificate, &key, Some(&authority.path("ca.pem"))).unwrap();
    let server = serve_with(tls).await;
    let mine = authority.sign("client");
    assert!(is_served(&server, &authority, Some(mine)).await);
    assert!(!is_served(&server, &authority, None).await);
    let foreign = other.sign("client");
    assert!(!is_served(&server, &authority, Some(foreign)).await);
}

#[test]
fn files_that_are_no_certificates_are_refused_by_name() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("one");
    let (_, other_key) = authority.sign("two");
    let absent = authority.path("absent");
    for (certificate, key, ca, names) in [
        (&absent, &key, None, &absent),
        (&certificate, &absent, None, &absent),
        (&key, &key, None, &key),
        (&certificate, &certificate, None, &certificate),
        (&certificate, &other_key, None, &certificate),
        (&certificate, &key, Some(&key), &key),
    ] {
        let error = Tls::load(certificate, key, ca.map(|ca| &**ca)).unwrap_err();
        assert!(
            error.to_string().contains(names.to_str().unwrap()),
            "{error}"
        );
    }
}
