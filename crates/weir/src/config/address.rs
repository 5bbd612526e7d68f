//! Addresses to serve at, and the names that stand for them.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What [`parse`] takes.
pub(super) const ACCEPTED: &str = "an address and a port, such as 127.0.0.1:4000, [::1]:4000, or localhost:4000, where the name has an address";

/// The address that is meant. A name stands for the address that it has now.
pub(super) fn parse(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| resolve(text))
}

/// How long a name may take to resolve: what resolvers of the system ask a server for before they ask the next.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// The address of `HOST:PORT`, of IPv4 if it has one.
fn resolve(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    if !is_host(host) {
        return None;
    }
    let (host, (tell, told)) = (host.to_owned(), mpsc::channel());
    // The system's resolver knows no deadline; one that is late is left behind.
    thread::spawn(move || {
        let found = (host, port).to_socket_addrs();
        let _late = tell.send(found.map(Iterator::collect::<Vec<_>>));
    });
    let mut addresses = told.recv_timeout(RESOLVE_WITHIN).ok()?.ok()?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied()
}

/// Whether it may be the name of a host.
pub(super) fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !text.is_empty() && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_address() {
        let localhost = parse("localhost:4000").unwrap();
        assert!(localhost.ip().is_loopback() && localhost.port() == 4000);
        assert_eq!(parse("127.0.0.1:0"), Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(parse("[::1]:4000"), Some("[::1]:4000".parse().unwrap()));
        for text in [
            "",
            "localhost",
            ":4000",
            "localhost:",
            "localhost:70000",
            "a b:1",
            "http://localhost:1",
            "no-such-host.invalid:1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
