//! Where spans go.

use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use tonic::transport::{Channel, Endpoint};

/// What a [`Receiver`] is read from.
pub const ACCEPTED: &str =
    "http://HOST or http://HOST:PORT without a path (port 4317 if none is given)";

/// The port that OTLP over gRPC has.
const PORT: u16 = 4317;

/// A collector of this machine answers in microseconds, one of another continent in half a second; a machine that is away
/// answers nothing.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a batch may take: the default that OTLP's exporters have.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where spans go: an address of OTLP over gRPC, in plain text. What has to be encrypted goes by a collector beside the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver(Uri);

/// Not an address of a receiver; see [`ACCEPTED`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoReceiver;

impl FromStr for Receiver {
    type Err = NoReceiver;

    fn from_str(text: &str) -> Result<Self, NoReceiver> {
        let uri: Uri = text.parse().map_err(|_| NoReceiver)?;
        let authority = uri.authority().ok_or(NoReceiver)?;
        let is_http = uri.scheme_str() == Some("http");
        let is_bare = ["", "/"].contains(&uri.path()) && uri.query().is_none();
        // A name and a password would be shown wherever the address is.
        let is_safe = !authority.as_str().contains('@') && !text.contains('#');
        if !(is_http && is_bare && is_safe) {
            return Err(NoReceiver);
        }
        // The port that is written: an empty or too large one is read as none.
        let after_host = authority.as_str().strip_prefix(authority.host());
        let port = match after_host {
            Some("") => PORT,
            _ => authority
                .port_u16()
                .filter(|&port| port != 0)
                .ok_or(NoReceiver)?,
        };
        let whole = format!("http://{}:{port}", authority.host());
        whole.parse().map(Self).map_err(|_| NoReceiver)
    }
}

impl Receiver {
    /// A channel to it, which connects when it is first used, and again whenever it has to. To be called within a runtime.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from(self.0.clone())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .connect_lazy()
    }

    /// `http://HOST:PORT`
    pub(crate) fn shown(&self) -> String {
        self.0.to_string().trim_end_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_port() {
        for (text, shown) in [
            ("http://127.0.0.1:4317", "http://127.0.0.1:4317"),
            ("http://collector", "http://collector:4317"),
            ("http://collector/", "http://collector:4317"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]:4317"),
        ] {
            assert_eq!(text.parse::<Receiver>().unwrap().shown(), shown, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_no_address() {
        for text in [
            "",
            "collector:4317",
            "https://collector:4317",
            "http://collector/v1/traces",
            "http://collector?a=b",
            "http://collector#a",
            "http://user:password@collector",
            "http://collector:",
            "http://collector:0",
            "http://collector:70000",
        ] {
            assert_eq!(text.parse::<Receiver>(), Err(NoReceiver), "{text}");
        }
    }
}
