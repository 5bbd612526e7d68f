//! What the most denied keys of a node take when there is no more room: `cargo run --release -p series --example full-top`.

use std::fs;
use std::sync::Arc;

use series::Tops;

/// Of this process, in MB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.map_or(f64::NAN, |kib: f64| kib * 1_024.0 / 1e6)
}

fn main() {
    let before = resident();
    let mut most = 0.0_f64;
    let mut tops = Tops::default();
    let limit: Arc<str> = "login".into();
    // Full slots of short keys; of the longest ones; and namespaces that deny one key now and then.
    for (namespaces, keys, length) in [(600, 150, 20), (60, 150, 1_024), (200_000, 1, 20)] {
        for slot in 0..12 {
            for namespace in 0..namespaces {
                let namespace: Arc<str> = format!("tn_{namespace}").into();
                for key in 0..keys {
                    let key = format!("{key:0length$}");
                    tops.deny(1_800_000_000 + slot * 300, &namespace, &limit, &key);
                }
            }
            most = most.max(resident());
        }
        println!(
            "{namespaces} namespaces, keys of {length} bytes: {:.0} MB",
            most - before
        );
    }
}
