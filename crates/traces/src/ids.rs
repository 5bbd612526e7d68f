//! Ids that no other trace or span has.

use std::cell::RefCell;

use fastrand::Rng;

use crate::{SpanId, TraceId};

thread_local! {
    static RNG: RefCell<Rng> = RefCell::new(Rng::with_seed(seed()));
}

/// Of the operating system: what a clock and a thread make is the same on two machines now and then, and so were all ids after it.
fn seed() -> u64 {
    getrandom::u64().expect("the operating system has random bytes")
}

/// Not zero.
pub(crate) fn trace() -> TraceId {
    RNG.with_borrow_mut(|rng| TraceId(rng.u128(1..)))
}

/// Not zero.
pub(crate) fn span() -> SpanId {
    RNG.with_borrow_mut(|rng| SpanId(rng.u64(1..)))
}
