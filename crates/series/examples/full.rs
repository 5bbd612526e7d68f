//! What a full store takes: `cargo run --release -p series --example full`.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use series::{Counts, Decided, Store};

/// Of this process, in MB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.map_or(f64::NAN, |kib: f64| kib * 1_024.0 / 1e6)
}

fn main() {
    let mut counts = Counts::default();
    counts.add(3, 1, 250);
    let before = resident();
    let mut most = 0.0_f64;
    let mut store = Store::default();
    // As many as have room, each of which has something to tell in each second; then as many as come now and then.
    for (namespaces, limits, seconds) in [(175, 1, 3_000), (2_000, 9, 60)] {
        for second in 0..seconds {
            for namespace in 0..namespaces {
                let namespace: Arc<str> = format!("tn_{namespaces}_{namespace}").into();
                let limits =
                    (0..limits).map(|limit| (format!("limit{limit}").into(), counts.clone()));
                let limits: HashMap<_, _> = limits.collect();
                let decided = Decided {
                    limits,
                    ..Decided::default()
                };
                store.add(&namespace, 1_800_000_000 + second, decided);
            }
            most = most.max(resident());
        }
    }
    println!("{:.0} MB", most - before);
}
