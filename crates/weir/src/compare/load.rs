//! The clients.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::books::Books;
use super::facts::{Outcome, Sample};
use super::stage::LIMIT;
use super::targets::{NODES, Targets};
use super::workload::{Workload, key_name};
use crate::client::{Client, ClientError};

/// A client that was not answered lets this pass, so that an outage is not a race of who asks most.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What every client needs.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) start: Instant,
    pub(crate) workload: Workload,
    pub(crate) targets: Arc<Targets>,
    pub(crate) books: Arc<Books>,
    /// Bodies of hits, by rank of the key.
    bodies: Arc<[String]>,
}

impl Load {
    /// Sends nothing yet.
    pub(crate) fn new(
        start: Instant,
        workload: Workload,
        targets: Arc<Targets>,
        books: Arc<Books>,
    ) -> Self {
        let keys = 0..workload.keys as usize;
        Self {
            start,
            workload,
            targets,
            books,
            bodies: keys.map(|rank| check(rank, 1).to_string()).collect(),
        }
    }

    /// One client: sends its hits one after the other until the time is over, and tells what became of them.
    ///
    /// It has a node of its own, and asks the next while that one does not serve.
    pub(crate) async fn send(self, client: u32) -> Vec<Sample> {
        let end = self.start + self.workload.length();
        let pause = self.workload.pause();
        let mut keys = self.workload.keys_of(client);
        // With a rate, each client has its place in the first round.
        let place = pause.unwrap_or_default() * client / self.workload.clients;
        let mut due = self.start + place;
        let mut samples = Vec::new();
        loop {
            match pause {
                Some(_) => sleep_until(due).await,
                None => due = Instant::now(),
            }
            if end <= Instant::now() {
                return samples;
            }
            let key = keys.next().expect("there is always another");
            let outcome = self.hit(client as usize % NODES, key).await;
            let now = Instant::now();
            samples.push(Sample {
                at: now - self.start,
                took: now - due,
                outcome,
            });
            if matches!(outcome, Outcome::Refused | Outcome::Unanswered) {
                sleep(AFTER_FAILURE).await;
            }
            due += pause.unwrap_or_default();
        }
    }

    async fn hit(&self, node: usize, key: usize) -> Outcome {
        self.books.sent(key);
        let Some(client) = self.targets.nearest(node) else {
            return Outcome::Unanswered;
        };
        let answer = client.post("/v1/check", self.bodies[key].clone()).await;
        let (outcome, admitted) = read(&answer);
        if admitted {
            self.books.admitted(key);
        }
        outcome
    }
}

/// What an answer says, and whether the hit was admitted.
fn read(answer: &Result<(u16, Value), ClientError>) -> (Outcome, bool) {
    match answer {
        Ok((200, json)) if json["by_fail_mode"] == true => (Outcome::FailedOpen, true),
        Ok((200 | 429, json)) => match json["allowed"].as_bool() {
            Some(admitted) => (Outcome::Decided, admitted),
            None => (Outcome::Unanswered, false),
        },
        Ok((503, _)) => (Outcome::Refused, false),
        Ok(_) | Err(_) => (Outcome::Unanswered, false),
    }
}

/// What is left of each key, as one node tells it; `None` when it does not tell all.
pub(crate) async fn remaining(client: &Client, workload: &Workload) -> Option<Vec<u64>> {
    let ranks: Vec<usize> = (0..workload.keys as usize).collect();
    let mut remaining = Vec::with_capacity(ranks.len());
    for ranks in ranks.chunks(PEEKS_AT_ONCE) {
        let checks: Vec<Value> = ranks.iter().map(|&rank| check(rank, 0)).collect();
        let body = json!({ "checks": checks }).to_string();
        let (_, answer) = client.post("/v1/check/batch", body).await.ok()?;
        for result in answer["results"].as_array()? {
            // What the fail mode answers tells nothing about the count.
            let told = result["by_fail_mode"] != true;
            remaining.push(result["remaining"].as_u64().filter(|_| told)?);
        }
    }
    (remaining.len() == workload.keys as usize).then_some(remaining)
}

/// As many as a batch may have.
const PEEKS_AT_ONCE: usize = 1_000;

fn check(rank: usize, cost: u32) -> Value {
    json!({ "limit": LIMIT, "key": key_name(rank), "cost": cost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_who_decided() {
        let read = |status, json| read(&Ok((status, json)));
        let decided = |admitted| (Outcome::Decided, admitted);
        assert_eq!(read(200, json!({"allowed": true})), decided(true));
        assert_eq!(read(429, json!({"allowed": false})), decided(false));
        let open = json!({"allowed": true, "by_fail_mode": true});
        assert_eq!(read(200, open), (Outcome::FailedOpen, true));
        assert_eq!(read(503, json!({})), (Outcome::Refused, false));
        assert_eq!(read(500, json!({})), (Outcome::Unanswered, false));
        let silent = super::read(&Err(ClientError::Silent));
        assert_eq!(silent, (Outcome::Unanswered, false));
    }
}
