//! What the fake node tells of its cluster: something in every member.

use coordinator::{
    ClusterStatus, ConfigDiffers, Definition, DifferingEntry, DifferingLimit, Member, MemberStatus,
    Missing, NoQuorum, Ownership, RaftStatus, Shards, SilentSeeds,
};
use quota::Nanos;

pub(crate) fn ownership() -> Ownership {
    Ownership {
        shard: 12,
        term: 4,
        owner: "oskar".into(),
        replicas: vec!["oskar2".into(), "oskar3".into()],
    }
}

pub(crate) fn shards() -> Shards {
    Shards {
        members: vec!["oskar".into(), "oskar2".into()],
        owners: vec![Some(0), Some(1), None],
        terms: vec![4, 5, 0],
        copies: vec![1, 0, 0],
    }
}

pub(crate) fn cluster() -> ClusterStatus {
    ClusterStatus {
        node: "oskar".into(),
        view: "9f3c".into(),
        members: vec![Member {
            name: "oskar".into(),
            status: MemberStatus::Suspect,
            incarnation: 3,
            asks: false,
            shards: 341,
            under_replicated_shards: 7,
            http: "127.0.0.1:4000".into(),
            cluster: "127.0.0.1:5000".into(),
            silent: Nanos::from_millis(400),
        }],
        under_replicated_shards: 7,
        unsettled_shards: 3,
        needs_quorum: true,
        replication_lag: Nanos::new(1_500_000),
        keys: 0,
        no_quorum: Some(NoQuorum {
            lasts: Nanos::from_millis(2_000),
            needed: 2,
            missing: vec![Missing {
                name: "oskar2".into(),
                silent: Nanos::from_millis(3_000),
            }],
        }),
        silent_seeds: Some(SilentSeeds {
            addresses: vec!["10.0.0.1:4100".into()],
            lasts: Nanos::from_millis(7_000),
        }),
        config_differs: Some(ConfigDiffers {
            lasts: Nanos::from_millis(4_000),
            limits: vec![DifferingLimit {
                limit: "login".into(),
                definitions: vec![
                    Definition {
                        nodes: vec!["oskar".into()],
                        says: Some("gcra, 10 per 1m".into()),
                    },
                    Definition {
                        nodes: vec!["oskar2".into()],
                        says: None,
                    },
                ],
            }],
            entries: vec![DifferingEntry {
                section: "[[route]]".into(),
                name: "/login".into(),
                definitions: vec![
                    Definition {
                        nodes: vec!["oskar".into()],
                        says: Some("limit login, by peer".into()),
                    },
                    Definition {
                        nodes: vec!["oskar2".into()],
                        says: Some("limit login, by browser".into()),
                    },
                ],
            }],
        }),
        raft: Some(RaftStatus {
            leader: Some("oskar".into()),
            term: 2,
            voters: vec!["oskar".into()],
            learners: Vec::new(),
        }),
        redis: None,
    }
}
