//! Hosts of their own for nodes: network namespaces around a hub that can drop what passes between them.

use std::fs::File;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces, one per host, each joined to a hub by a link. Deleted when dropped.
///
/// Needs root, `ip` and `iptables`. The calling thread, and every thread it starts from then on, lives in the hub: it
/// reaches every host, also one that the others cannot reach.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    hosts: usize,
}

impl Network {
    /// A network of `hosts` hosts.
    ///
    /// # Panics
    ///
    /// Without root, or when a command fails.
    #[must_use]
    pub fn new(hosts: usize) -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            prefix: format!("weir{}-{number}", id()),
            hosts,
        };
        let hub = network.hub();
        run(&format!("ip netns add {hub}"));
        run(&format!("ip -n {hub} link set lo up"));
        run(&format!(
            "ip netns exec {hub} sysctl -qw net.ipv4.ip_forward=1"
        ));
        for host in 0..hosts {
            let (name, address) = (network.namespace(host), address(host));
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
            run(&format!(
                "ip link add to{host} netns {hub} type veth peer name eth0 netns {name}"
            ));
            run(&format!(
                "ip -n {hub} address add 10.77.{host}.1/24 dev to{host}"
            ));
            run(&format!("ip -n {hub} link set to{host} up"));
            run(&format!("ip -n {name} address add {address}/24 dev eth0"));
            run(&format!("ip -n {name} link set eth0 up"));
            run(&format!(
                "ip -n {name} route add default via 10.77.{host}.1"
            ));
        }
        let file = File::open(format!("/run/netns/{hub}")).expect("a namespace is a file");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("entering a namespace");
        network
    }

    /// The namespace of a host.
    #[must_use]
    pub fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Drops silently whatever passes between `host` and the other hosts.
    pub fn cut_off(&self, host: usize) {
        self.rules("-A", host);
    }

    /// Lets everything pass again.
    pub fn heal(&self, host: usize) {
        self.rules("-D", host);
    }

    fn rules(&self, act: &str, host: usize) {
        for side in ["-s", "-d"] {
            let (hub, address) = (self.hub(), address(host));
            run(&format!(
                "ip netns exec {hub} iptables -w {act} FORWARD {side} {address} -j DROP"
            ));
        }
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = (0..self.hosts).map(|host| self.namespace(host));
        for name in hosts.chain([self.hub()]) {
            // What was not made needs no deleting.
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

/// The address of a host.
#[must_use]
pub fn address(host: usize) -> String {
    format!("10.77.{host}.2")
}

#[track_caller]
fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program"))
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(
        output.status.success(),
        "{line} (needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
