//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks whose `X-Forwarded-For` is believed.
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().copied().map(unmapped).collect())
    }

    /// The address of the client that a request from `peer` was sent for.
    ///
    /// Each proxy appends the address that it was called from, so the list is read from its end, for as long as the
    /// one who appended is trusted: what stands further left may have been made up. An entry that is no address ends
    /// the search at the proxy that reported it.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.0.iter().any(|network| network.contains(&client)) {
                break;
            }
            // A list may have empty elements, which are none (RFC 9110, section 5.6.1).
            if hop.trim_ascii().is_empty() {
                continue;
            }
            let Some(address) = std::str::from_utf8(hop).ok().and_then(parse_hop) else {
                break;
            };
            client = address.to_canonical();
        }
        client
    }
}

/// A network of IPv4 as such, however it was written: addresses are compared as such, too.
fn unmapped(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let prefix = network.prefix_len().checked_sub(MAPPED_PREFIX);
    let unmapped = mapped.zip(prefix);
    unmapped
        .and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok())
        .unwrap_or(network)
}

/// Bits of an IPv6 address before the IPv4 address that is mapped into it.
const MAPPED_PREFIX: u8 = 96;

/// An address as proxies write it: some with a port, some with the brackets of one.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What of an address is counted: of IPv6 the first 64 bits, since one client has all the others.
pub(crate) fn counted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trusted: &[&str], peer: &str, lines: &[&str], client: &str) {
        let networks: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let found = Proxies::new(&networks).client(peer.parse().unwrap(), &headers);
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
    }

    #[test]
    fn strangers_are_not_believed() {
        check(&[], "10.0.0.1", &["1.1.1.1"], "10.0.0.1");
        check(&["10.0.0.0/8"], "9.9.9.9", &["1.1.1.1"], "9.9.9.9");
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_is_the_client() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        check(&trusted, "10.0.0.1", &[], "10.0.0.1");
        check(&trusted, "10.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check(&trusted, "10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1");
        check(
            &trusted,
            "10.0.0.1",
            &["6.6.6.6, 1.1.1.1, 10.0.0.2"],
            "1.1.1.1",
        );
        check(
            &trusted,
            "10.0.0.1",
            &["6.6.6.6", "1.1.1.1", "10.0.0.2"],
            "1.1.1.1",
        );
        check(&trusted, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check(&trusted, "::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check(&trusted, "fd00::1", &["2001:db8::7"], "2001:db8::7");
    }

    #[test]
    fn proxies_may_be_named_by_mapped_addresses() {
        let trusted = ["::ffff:10.0.0.0/104", "::ffff:192.0.2.7/128"];
        for peer in ["10.0.0.1", "::ffff:10.0.0.1", "192.0.2.7"] {
            check(&trusted, peer, &["1.1.1.1"], "1.1.1.1");
        }
        check(&trusted, "192.0.2.8", &["1.1.1.1"], "192.0.2.8");
        check(
            &trusted,
            "10.0.0.1",
            &["6.6.6.6, 1.1.1.1, ::ffff:10.0.0.2"],
            "1.1.1.1",
        );
        check(&["::ffff:0:0/96"], "9.9.9.9", &["1.1.1.1"], "1.1.1.1");
        // All of IPv6, and only of IPv6.
        check(&["::/0"], "10.0.0.1", &["1.1.1.1"], "10.0.0.1");
    }

    #[test]
    fn empty_hops_are_none() {
        let trusted = ["10.0.0.0/8"];
        check(&trusted, "10.0.0.1", &["1.1.1.1, , 10.0.0.2"], "1.1.1.1");
        check(&trusted, "10.0.0.1", &["1.1.1.1", ""], "1.1.1.1");
        check(&trusted, "10.0.0.1", &["1.1.1.1,"], "1.1.1.1");
        check(&trusted, "10.0.0.1", &["", ","], "10.0.0.1");
    }

    #[test]
    fn hops_are_read_as_proxies_write_them() {
        for hop in [
            "[2001:db8::7]",
            "[2001:db8::7]:80",
            "\"[2001:db8::7]:80\"",
            " 2001:db8::7 ",
        ] {
            check(&["10.0.0.0/8"], "10.0.0.1", &[hop], "2001:db8::7");
        }
        check(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1:80"], "1.1.1.1");
        check(
            &["10.0.0.0/8"],
            "10.0.0.1",
            &["1.1.1.1, unknown, 10.0.0.2"],
            "10.0.0.2",
        );
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        assert_eq!(
            counted("2001:db8:1:2:3:4:5:6".parse().unwrap()),
            "2001:db8:1:2::/64"
        );
        assert_eq!(counted("1.2.3.4".parse().unwrap()), "1.2.3.4");
    }
}
