//! `[cluster]`: what holds for the whole cluster, and should be the same on every node.

use std::net::IpAddr;
use std::time::Duration;

use shard::Partition;

use super::memory::{self, MemoryMax};
use super::problem::{Given, Problems};
use super::span;
use super::table::Table;

/// What holds for the whole cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterConfig {
    /// Copies of a shard besides the owner's.
    ///
    /// Each survives one more simultaneous death and costs every write once more. Default 2: a node may die while
    /// another is being replaced. At most 7, since every copy has to confirm what the owner sends.
    pub replicas: u8,
    /// When an admitted hit is answered. Default fast.
    pub ack: Ack,
    /// With [`Ack::Fast`]: answers wait when no replica has confirmed for longer.
    ///
    /// The most that a death can make forgotten. Zero never waits. Default 250 ms: far above a flush of 5 ms, so that
    /// nobody waits while replicas are well, and well under the lease of a second.
    pub max_lag: Duration,
    /// What a side does that cannot hear the others. Default available.
    pub partition: Partition,
    /// A member that has been dead for so long is let go of, once no shard names it. Zero never is.
    ///
    /// Shorter forgets names that never come back sooner; longer finds those that do come back by itself, without waiting
    /// for them to dial. Default an hour: longer than a host takes to start again, and a rollout adds few names in it.
    /// Under `partition = "quorum"`, and where a limit has the strategy `raft`, the dead have a vote until an operator forgets
    /// them, and this says nothing: [`Config::forget_after`](super::Config::forget_after).
    pub forget_after: Duration,
    /// How long a node that kept the last members of the cluster waits for them, where all of them were stopped, before it
    /// goes on with those it has met. Zero does not wait.
    ///
    /// Shorter is ready sooner when one does not come back; longer opens no shard without what a node that is slow to start has
    /// counted, which otherwise joins it when it comes. Default 10 s: a machine that starts again takes longer, a rollout
    /// that starts all at once does not. Under `partition = "quorum"` a majority of them is waited for however long it takes.
    pub start_wait: Duration,
    /// Networks whose `X-Forwarded-For` is believed. Default none: anybody can write that header.
    pub trusted_proxies: Vec<Network>,
    /// Keys that a node keeps at most; at the cap, what loses least if it is forgotten goes first.
    ///
    /// Default 20 million: 1.6 GB at the 80 bytes that a key may cost.
    pub max_keys: u64,
    /// What keys may take at most, beside [`Self::max_keys`] and in the same way.
    ///
    /// A full `sliding_log` of 10 000 takes as much as 4 000 other keys. Default a quarter of the machine: what comes in
    /// over the network, what waits to go out, and copies on their way take the rest at the worst of times.
    pub max_memory: MemoryMax,
}

/// When an admitted hit is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// At once; replicas hear of it within a flush.
    Fast,
    /// When one replica has it; at once if none lives.
    Replicated,
}

/// A network in CIDR notation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Any address of it.
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32 or 128.
    pub prefix: u8,
}

const REPLICAS_DEFAULT: u8 = 2;
const REPLICAS_MAX: u8 = 7;
const MAX_LAG_DEFAULT: Duration = Duration::from_millis(250);
const FORGET_AFTER_DEFAULT: Duration = Duration::from_secs(60 * 60);
const START_WAIT_DEFAULT: Duration = Duration::from_secs(10);
const MAX_KEYS_DEFAULT: u64 = 20_000_000;
const MAX_MEMORY_DEFAULT: MemoryMax = MemoryMax::Percent(25);

impl ClusterConfig {
    /// What holds where a file says nothing.
    pub(super) fn usual() -> Self {
        Self {
            replicas: REPLICAS_DEFAULT,
            ack: Ack::Fast,
            max_lag: MAX_LAG_DEFAULT,
            partition: Partition::Available,
            forget_after: FORGET_AFTER_DEFAULT,
            start_wait: START_WAIT_DEFAULT,
            trusted_proxies: Vec::new(),
            max_keys: MAX_KEYS_DEFAULT,
            max_memory: MAX_MEMORY_DEFAULT,
        }
    }
}

/// Reads `[cluster]`; everything has a default.
pub(crate) fn read(table: Option<Table<'_>>, problems: &mut Problems) -> ClusterConfig {
    let mut config = ClusterConfig::usual();
    let Some(mut table) = table else {
        return config;
    };
    if let Some(replicas) = table.integer("replicas", 0, REPLICAS_MAX.into(), problems) {
        config.replicas =
            u8::try_from(replicas.value).expect("the reader keeps it within REPLICAS_MAX");
    }
    if let Some(ack) = table.string("ack", problems) {
        let chosen = problems.choose(
            &ack,
            &[("fast", Ack::Fast), ("replicated", Ack::Replicated)],
        );
        config.ack = chosen.unwrap_or(config.ack);
    }
    if let Some(max_lag) = table.string("max_lag", problems) {
        let accepted = format!("{}; \"0s\" never waits", span::ACCEPTED);
        config.max_lag = problems
            .parse(&max_lag, &accepted, span::parse)
            .unwrap_or(config.max_lag);
    }
    if let Some(partition) = table.string("partition", problems) {
        let words = [
            ("available", Partition::Available),
            ("quorum", Partition::Quorum),
        ];
        config.partition = problems
            .choose(&partition, &words)
            .unwrap_or(config.partition);
    }
    if let Some(forget_after) = table.string("forget_after", problems) {
        let accepted = format!("{}; \"0s\" never forgets", span::ACCEPTED);
        config.forget_after = problems
            .parse(&forget_after, &accepted, span::parse)
            .unwrap_or(config.forget_after);
    }
    if let Some(start_wait) = table.string("start_wait", problems) {
        let accepted = format!("{}; \"0s\" does not wait", span::ACCEPTED);
        config.start_wait = problems
            .parse(&start_wait, &accepted, span::parse)
            .unwrap_or(config.start_wait);
    }
    let proxies = table.strings("trusted_proxies", problems);
    config.trusted_proxies = proxies
        .iter()
        .filter_map(|proxy| read_network(proxy, problems))
        .collect();
    if let Some(max_keys) = table.integer("max_keys", 1, i64::MAX as u64, problems) {
        config.max_keys = max_keys.value;
    }
    if let Some(max_memory) = table.string("max_memory", problems) {
        config.max_memory = problems
            .parse(&max_memory, memory::ACCEPTED, memory::parse)
            .unwrap_or(config.max_memory);
    }
    table.finish(problems);
    config
}

fn read_network(given: &Given<String>, problems: &mut Problems) -> Option<Network> {
    problems.parse(
        given,
        "a network such as \"10.0.0.0/8\" or \"fd00::/8\", or an address",
        |text| {
            let (address, prefix) = text
                .split_once('/')
                .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
            let address: IpAddr = address.parse().ok()?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix = match prefix {
                Some(digits) => digits.parse().ok().filter(|&prefix: &u8| prefix <= bits)?,
                None => bits,
            };
            Some(Network { address, prefix })
        },
    )
}
