//! Certificates, the server's own and those it asks of clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// TLS as a server: 1.2 or 1.3, HTTP/2.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not there, or has no PEM of this kind.
    #[error("reading {}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was wrong.
        source: pem::Error,
    },
    /// A certificate and a key that do not fit, or cannot be used.
    #[error("using the certificate in {}", .file.display())]
    Certificate {
        /// The file of the certificate.
        file: PathBuf,
        /// What was wrong.
        source: rustls::Error,
    },
    /// Authorities by which no client can be known.
    #[error("using the authorities in {}", .file.display())]
    ClientAuthority {
        /// The file.
        file: PathBuf,
        /// What was wrong.
        source: rustls::server::VerifierBuilderError,
    },
}

impl Tls {
    /// Reads a certificate with its chain and its key, in PEM. With `client_ca`, only clients with a certificate of one of
    /// these authorities are served.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when a file cannot be read or used.
    pub fn load(
        certificate: &Path,
        key: &Path,
        client_ca: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let private_key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable(certificate))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => builder.with_client_cert_verifier(verifier(file, provider)?),
        };
        let mut config = builder
            .with_single_cert(chain, private_key)
            .map_err(unusable(certificate))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}

fn verifier(
    file: &Path,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(unusable(file))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|source| TlsError::ClientAuthority {
            file: file.to_owned(),
            source,
        })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable(file))?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>();
    match certificates.map_err(unreadable(file))? {
        certificates if certificates.is_empty() => Err(unreadable(file)(pem::Error::NoItemsFound)),
        certificates => Ok(certificates),
    }
}

fn unreadable(file: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let file = file.to_owned();
    |source| TlsError::File { file, source }
}

fn unusable(file: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let file = file.to_owned();
    |source| TlsError::Certificate { file, source }
}

impl std::fmt::Debug for Tls {
    // It holds the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}
