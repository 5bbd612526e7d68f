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
}

/// A member's part of the strip of all shards.
struct Part<'a> {
    member: &'a Member,
    /// Which of the eight patterns.
    pattern: usize,
    x: u64,
    width: u64,
}

#[derive(Template)]
#[template(path = "cluster.html")]
struct Page {
    frame: Frame,
    cluster: Cluster,
    /// A session is good at other members' addresses only where it needs no https.
    has_links: bool,
}

impl Page {
    /// Who owns how much, side by side.
    fn parts(&self) -> Vec<Part<'_>> {
        let mut x = 0;
        let owners = self.cluster.members.iter().enumerate();
        let parts = owners.map(|(number, member)| {
            let part = Part {
                member,
                pattern: number % 8,
                x,
                width: member.shards,
            };
            x += member.shards;
            part
        });
        parts.filter(|part| 0 < part.width).collect()
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
        has_links: !visit.app.is_https(),
    };
    Ok(page(&cluster.frame, &cluster))
}
