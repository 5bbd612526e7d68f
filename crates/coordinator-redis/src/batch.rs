//! Many hits at once: those of one counter in turn, the others together.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;

use futures_util::stream::{self, StreamExt as _};

/// Counters of one batch that are asked at once. They share a connection, so that a batch of a thousand takes four
/// rounds.
const WIDTH: usize = 256;

/// Decides every item, those with the same counter in their order, and tells the answers in the order of the items.
pub(crate) async fn in_order_of_counters<I, K, A, D>(
    items: Vec<I>,
    counter: impl Fn(&I) -> K,
    decide: impl Fn(I) -> D,
) -> Vec<A>
where
    K: Eq + Hash,
    D: Future<Output = A>,
{
    let mut answers: Vec<Option<A>> = items.iter().map(|_| None).collect();
    let mut places = HashMap::new();
    let mut counters: Vec<Vec<(usize, I)>> = Vec::new();
    for (i, item) in items.into_iter().enumerate() {
        let place = *places.entry(counter(&item)).or_insert(counters.len());
        if place == counters.len() {
            counters.push(Vec::new());
        }
        counters[place].push((i, item));
    }
    let decide = &decide;
    let all = counters.into_iter().map(|items| async move {
        let mut told = Vec::with_capacity(items.len());
        for (i, item) in items {
            told.push((i, decide(item).await));
        }
        told
    });
    let mut finished = stream::iter(all).buffer_unordered(WIDTH);
    while let Some(told) = finished.next().await {
        for (i, answer) in told {
            answers[i] = Some(answer);
        }
    }
    let each = answers.into_iter();
    each.map(|answer| answer.expect("each item is decided once"))
        .collect()
}
