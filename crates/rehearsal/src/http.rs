//! A plain HTTP/1.1 client on one connection that stays open: no retries, so that every failure is seen.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take, where that is not what is looked at: generous, since a busy two-core machine is no failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// One connection to one node.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: String,
}

impl Client {
    /// Connects to the HTTP address of a node.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_within(address, DEADLINE)
    }

    /// The same, where nothing may take longer than so long.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub fn connect_within(address: SocketAddr, within: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, within)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
        })
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    ///
    /// When the connection breaks, stays silent past the deadline or speaks no HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Response> {
        self.send(method, path, headers, body)?;
        self.receive()
    }

    /// Sends one request, and leaves its answer to [`Self::receive`].
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            let typed = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("content-type");
            if !headers.iter().any(typed) {
                request.push_str("Content-Type: application/json\r\n");
            }
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads the answer to the oldest request that was sent and not yet answered.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn receive(&mut self) -> io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: String::new(),
        };
        let length = response
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body)?;
            }
            None if status == 204 => {}
            None => return Err(invalid("an answer without a length")),
        }
        response.body = String::from_utf8(body).map_err(|_| invalid("a body that is no text"))?;
        Ok(response)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Counts one hit of `cost` with `POST /v1/check`.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn check(&mut self, limit: &str, key: &str, cost: u32) -> io::Result<Response> {
        let body = check(limit, key, cost);
        self.request("POST", "/v1/check", &[], Some(&body))
    }
}

/// The body of `POST /v1/check`.
#[must_use]
pub fn check(limit: &str, key: &str, cost: u32) -> String {
    serde_json::json!({ "limit": limit, "key": key, "cost": cost }).to_string()
}

impl Response {
    /// The first header of that name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(given, _)| given == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
