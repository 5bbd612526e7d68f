//! What the demo asks its nodes, beside the hits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

use super::keys::KEYS;
use super::ledger::Peek;
use super::story::{Event, NAMES, NODES, Seen};
use super::traffic::check;
use crate::client::Client;

/// How often a node is asked how its cluster is: often enough to see each step of a takeover, at next to no cost.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Keeps asking a node how its cluster is, until aborted.
pub(crate) async fn watch(node: usize, run: u32, client: Arc<Client>, events: Sender<Event>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // A look that fails is followed by another; the story has deadlines.
        let seen = match client.get("/v1/cluster").await {
            Ok((200, answer)) => seen(&answer),
            _ => None,
        };
        if let Some(seen) = seen {
            let _ = events.send(Event::Observed { node, run, seen }).await;
        }
    }
}

fn seen(answer: &Value) -> Option<Seen> {
    let mut members = [(false, 0); NODES];
    for member in answer["members"].as_array()? {
        if let Some(node) = NAMES.iter().position(|name| member["name"] == **name) {
            members[node] = (member["status"] == "alive", member["shards"].as_u64()?);
        }
    }
    Some(Seen {
        members,
        under_replicated: answer["under_replicated_shards"].as_u64()?,
        lag_us: (answer["replication_lag_ms"].as_f64()? * 1e3) as u64,
    })
}

/// Asks one node who owns each key.
pub(crate) async fn locate(client: Arc<Client>, events: Sender<Event>) {
    let mut owners = Vec::with_capacity(KEYS.len());
    for key in KEYS.iter() {
        let path = format!("/v1/owner?limit={}&key={}", key.limit_name, key.name);
        owners.push(match client.get(&path).await {
            Ok((200, answer)) => NAMES.iter().position(|name| answer["owner"] == **name),
            _ => None,
        });
    }
    let _ = events.send(Event::Located { owners }).await;
}

/// Asks every one of `clients` what is left of each key, when that much of it is known to be admitted.
pub(crate) async fn audit(clients: Vec<Arc<Client>>, admitted: Vec<u64>, events: Sender<Event>) {
    let (mut peeks, mut failed) = (Vec::new(), 0);
    for client in clients {
        for (key, &admitted_before) in admitted.iter().enumerate() {
            let remaining = match client.post("/v1/check", check(key, 0)).await {
                Ok((200, answer)) => answer["remaining"].as_u64(),
                _ => None,
            };
            match remaining {
                Some(remaining) => peeks.push(Peek {
                    key,
                    admitted_before,
                    remaining,
                }),
                None => failed += 1,
            }
        }
    }
    let _ = events.send(Event::Audited { peeks, failed }).await;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_read_by_name() {
        let answer = json!({
            "node": "cleo", "view": "9f3c", "under_replicated_shards": 7, "replication_lag_ms": 1.5,
            "members": [
                {"name": "cleo", "status": "alive", "shards": 500},
                {"name": "ada", "status": "alive", "shards": 524},
                {"name": "ben", "status": "dead", "shards": 0},
            ],
        });
        let expected = Seen {
            members: [(true, 524), (false, 0), (true, 500)],
            under_replicated: 7,
            lag_us: 1_500,
        };
        assert_eq!(seen(&answer), Some(expected));
        assert_eq!(seen(&json!({})), None);
    }
}
