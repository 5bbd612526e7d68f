//! Hosts of their own for nodes: network namespaces around a hub that can drop what passes between them.

use std::fs::File;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

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
        self.rules("-A", host, "-j DROP");
    }

    /// Lets everything pass again.
    pub fn heal(&self, host: usize) {
        self.rules("-D", host, "-j DROP");
    }

    /// Drops silently whatever passes between these two hosts, and nothing else.
    pub fn cut_link(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            let (hub, from, to) = (self.hub(), address(from), address(to));
            run(&format!(
                "ip netns exec {hub} iptables -w -A FORWARD -s {from} -d {to} -j DROP"
            ));
        }
    }

    /// Loses each packet between hosts with this probability, until [`Self::lose_nothing`].
    pub fn lose(&self, probability: f64) {
        self.lossy("-A", probability);
    }

    /// Ends what [`Self::lose`] began.
    pub fn lose_nothing(&self, probability: f64) {
        self.lossy("-D", probability);
    }

    fn lossy(&self, act: &str, probability: f64) {
        let hub = self.hub();
        run(&format!(
            "ip netns exec {hub} iptables -w {act} FORWARD -m statistic --mode random --probability {probability} -j DROP"
        ));
    }

    /// Refuses every connection between `host` and the other hosts, as a proxy without endpoints does.
    pub fn refuse(&self, host: usize) {
        self.rules("-A", host, REFUSE);
    }

    /// Ends what [`Self::refuse`] began.
    pub fn accept(&self, host: usize) {
        self.rules("-D", host, REFUSE);
    }

    /// Refuses what comes to `host` from the other hosts, and lets through what it says itself: a rule on one side alone.
    pub fn refuse_one_way(&self, host: usize) {
        self.rule("-A", "-d", host, REFUSE);
    }

    /// Ends what [`Self::refuse_one_way`] began.
    pub fn accept_one_way(&self, host: usize) {
        self.rule("-D", "-d", host, REFUSE);
    }

    /// Bytes that have been sent to `host` so far, by whomever.
    #[must_use]
    pub fn bytes_to(&self, host: usize) -> u64 {
        let hub = self.hub();
        let told = run(&format!("ip -n {hub} -s -j link show to{host}"));
        let told: Value = serde_json::from_slice(&told).expect("JSON, as asked for");
        told[0]["stats64"]["tx"]["bytes"].as_u64().expect("a count")
    }

    /// Lets at most so many megabits a second pass to `host` and from it, for good.
    pub fn slow_down(&self, host: usize, megabits: u32) {
        // 32 KiB at once, and a queue of 200 ms before packets are dropped.
        let shape = format!("root tbf rate {megabits}mbit burst 32kb latency 200ms");
        let (hub, name) = (self.hub(), self.namespace(host));
        run(&format!(
            "ip netns exec {hub} tc qdisc add dev to{host} {shape}"
        ));
        run(&format!(
            "ip netns exec {name} tc qdisc add dev eth0 {shape}"
        ));
    }

    fn rules(&self, act: &str, host: usize, what: &str) {
        for side in ["-s", "-d"] {
            self.rule(act, side, host, what);
        }
    }

    fn rule(&self, act: &str, side: &str, host: usize, what: &str) {
        let (hub, address) = (self.hub(), address(host));
        run(&format!(
            "ip netns exec {hub} iptables -w {act} FORWARD {side} {address} {what}"
        ));
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

/// A host that answers, and says that nobody is there.
const REFUSE: &str = "-p tcp -j REJECT --reject-with tcp-reset";

/// The address of a host.
#[must_use]
pub fn address(host: usize) -> String {
    format!("10.77.{host}.2")
}

/// What it prints.
#[track_caller]
fn run(line: &str) -> Vec<u8> {
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
    output.stdout
}
