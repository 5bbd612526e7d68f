//! A small HTTP client that keeps its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than the 2 s for which a node looks for another owner of a key, so that an answer given then still arrives.
const DEADLINE: Duration = Duration::from_secs(5);

/// Connections to one process, as many as requests were ever in flight at once.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing was sent.
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    /// May have been counted.
    #[error("connection lost: {0}")]
    Lost(#[from] hyper::Error),
    /// May have been counted.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Silent,
    #[error("an answer that no node gives: status {0}")]
    Strange(u16),
}

impl Client {
    /// Connects when it is first used.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Status and JSON of `path`.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Value), ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Status and JSON of what is posted to `path`.
    pub(crate) async fn post(&self, path: &str, body: String) -> Result<(u16, Value), ClientError> {
        self.ask(Method::POST, path, body.into()).await
    }

    /// Text of `path`, whatever its status.
    pub(crate) async fn text(&self, path: &str) -> Result<String, ClientError> {
        let (_, body) = self.exchange(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Value), ClientError> {
        let (status, body) = self.exchange(method, path, body).await?;
        let json = serde_json::from_slice(&body).map_err(|_| ClientError::Strange(status))?;
        Ok((status, json))
    }

    /// Asks once: what may have been counted is not sent again.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("paths are plain");
        let exchange = async {
            let mut connection = self.connection().await?;
            let response = connection.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            self.lock().push(connection);
            Ok((status, body))
        };
        timeout(DEADLINE, exchange)
            .await
            .unwrap_or(Err(ClientError::Silent))
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        loop {
            let Some(mut idle) = self.lock().pop() else {
                break;
            };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong is told to it as well.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
