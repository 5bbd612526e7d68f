//! The cluster, for its operators.

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use crate::api::Ask;
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;
use crate::words::span;

/// Shards of a cluster.
const SHARDS: u64 = 1_024;

#[derive(Deserialize)]
struct Member {
    name: String,
    status: String,
    incarnation: u64,
    shards: u64,
    role: String,
    #[serde(default)]
    http: Option<String>,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    silent_ms: Option<f64>,
}

impl Member {
    fn is_alive(&self) -> bool {
        self.status == "alive"
    }

    /// Since when nothing was heard of it, where that is worth telling.
    fn silence(&self) -> String {
        match self.silent_ms {
            Some(silent) if 1_000.0 <= silent => span((silent / 1_000.0) as u64),
            _ => "–".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct NoQuorum {
    needed: u64,
    missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Missing {
    name: String,
}

#[derive(Deserialize)]
struct Cluster {
    node: String,
    view: String,
    members: Vec<Member>,
    under_replicated_shards: u64,
    unsettled_shards: u64,
    #[serde(default)]
    replication_lag_ms: Option<f64>,
    #[serde(default)]
    no_quorum: Option<NoQuorum>,
    #[serde(default)]
    raft: Option<Raft>,
    #[serde(default)]
    redis: Option<Redis>,
    #[serde(default)]
    config_differs: Option<ConfigDiffers>,
}

#[derive(Deserialize)]
struct Raft {
    leader: Option<String>,
    term: u64,
    voters: Vec<String>,
}

#[derive(Deserialize)]
struct Redis {
    breaker: String,
    last_failure: Option<String>,
}

#[derive(Deserialize)]
struct ConfigDiffers {
    limits: Vec<DifferingLimit>,
    entries: Vec<DifferingEntry>,
}

#[derive(Deserialize)]
struct DifferingLimit {
    limit: String,
}

#[derive(Deserialize)]
struct DifferingEntry {
    section: String,
    name: String,
}

impl ConfigDiffers {
    /// What files say differently, by name.
    fn names(&self) -> String {
        let limits = self.limits.iter().map(|it| format!("limit {}", it.limit));
        let entries = self.entries.iter();
        let entries = entries.map(|it| format!("{} {}", it.section, it.name));
        limits.chain(entries).collect::<Vec<_>>().join(", ")
    }
}

/// Who owns which shard.
#[derive(Deserialize)]
struct Shards {
    members: Vec<String>,
    owner: Vec<Option<usize>>,
}

/// A member's cells in the strip of all shards.
struct Part<'a> {
    member: &'a str,
    /// Which of the eight patterns.
    pattern: usize,
    count: usize,
    /// What is drawn: a rectangle for shards in a row.
    path: String,
}

impl Shards {
    fn part(&self, place: usize) -> Part<'_> {
        let (mut path, mut count, mut shard) = (String::new(), 0, 0);
        for run in self.owner.chunk_by(|one, next| one == next) {
            if run[0] == Some(place) {
                count += run.len();
                path += &format!("M{shard} 0h{}v24h-{}z", run.len(), run.len());
            }
            shard += run.len();
        }
        Part {
            member: &self.members[place],
            pattern: place % PATTERNS,
            count,
            path,
        }
    }
}

/// Members are told apart by so many patterns.
const PATTERNS: usize = 8;

#[derive(Template)]
#[template(path = "cluster.html")]
struct Page {
    frame: Frame,
    cluster: Cluster,
    shards: Shards,
    /// A session is good at other members' addresses only where it needs no https.
    has_links: bool,
}

impl Page {
    /// Who owns which shards.
    fn parts(&self) -> Vec<Part<'_>> {
        let places = 0..self.shards.members.len();
        places.map(|place| self.shards.part(place)).collect()
    }

    fn lag(&self) -> String {
        match self.cluster.replication_lag_ms {
            Some(lag) => format!("{lag:.0} ms"),
            None => "–".to_owned(),
        }
    }

    fn alive(&self) -> usize {
        self.cluster
            .members
            .iter()
            .filter(|member| member.is_alive())
            .count()
    }
}

/// `GET /dashboard/cluster`
pub(crate) async fn cluster(visit: Visit) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let cluster = Page {
        frame: Frame::of(&visit, reader, "cluster", "Cluster"),
        cluster: visit.told(Ask::get("/v1/cluster")).await?,
        shards: visit.told(Ask::get("/v1/shards")).await?,
        has_links: !visit.app.is_https(),
    };
    Ok(page(&cluster.frame, &cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_strip_has_a_rectangle_for_shards_in_a_row() {
        let shards = Shards {
            members: vec!["oskar".to_owned(), "oskar2".to_owned()],
            owner: vec![Some(0), Some(0), Some(1), None, Some(0)],
        };
        let [first, second] = [0, 1].map(|place| shards.part(place));
        assert_eq!(first.path, "M0 0h2v24h-2zM4 0h1v24h-1z");
        assert_eq!((first.member, first.count), ("oskar", 3));
        assert_eq!((&*second.path, second.count), ("M2 0h1v24h-1z", 1));
    }
}
