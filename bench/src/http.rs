//! As much of an HTTP client as a measurement needs: one connection, one request at a time, no surprises.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Longer than any answer of a node takes.
const TIMEOUT: Duration = Duration::from_secs(8);

/// One connection, kept open.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer, its body borrowed until the next request.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            address,
            stream,
            received: Vec::with_capacity(4_096),
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer<'_>> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.received.clear();
        loop {
            if let Some((status, start, length)) = parse_head(&self.received)
                && start + length <= self.received.len()
            {
                return Ok(Answer {
                    status,
                    body: &self.received[start..start + length],
                });
            }
            let mut chunk = [0; 4_096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.received.extend_from_slice(&chunk[..read]),
                // A child that stops interrupts a read that has a timeout.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Counts one hit of `key` under `limit`; the status of the answer.
    pub(crate) fn hit(&mut self, limit: &str, key: &str) -> io::Result<u16> {
        self.ask("POST", "/v1/check", &check(limit, key, 1))
            .map(|answer| answer.status)
    }

    /// Asks for JSON.
    pub(crate) fn json(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = self
            .ask(method, path, body)
            .with_context(|| format!("{method} {path}"))?;
        serde_json::from_slice(answer.body)
            .with_context(|| format!("the answer to {method} {path}"))
    }
}

/// The body of a check.
pub(crate) fn check(limit: &str, key: &str, cost: u32) -> String {
    format!(r#"{{"limit":"{limit}","key":"{key}","cost":{cost}}}"#)
}

/// Status, start of the body and its length, once the head is complete.
fn parse_head(received: &[u8]) -> Option<(u16, usize, usize)> {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((status, end + 4, length.unwrap_or(0)))
}
