//! What a commit costs, beside the least that it can cost: appending the same bytes to a log and waiting for the disk.
//!
//! ```text
//! cargo run --release -p store --example commit-rate -- DIR
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use store::{Change, Store};

/// Bytes of a record with a usual name.
const RECORD_BYTES: usize = 100;

/// How many are written and read again.
const RECORDS: u64 = 100_000;

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("which directory?")?;
    let directory = Path::new(&directory);
    for batch in [1, 64, 4_096] {
        let store = commits(&directory.join(format!("store-{batch}")), batch)?;
        let log = appends(&directory.join(format!("log-{batch}")), batch)?;
        println!("{batch:>5} records: {store:>6.0} commits/s, log {log:>6.0} appends/s");
    }
    let path = directory.join("many");
    let (mut store, ..) = Store::open(&path, [0; 16])?;
    let began = Instant::now();
    for first in (0..RECORDS).step_by(4_096) {
        let numbers = first..(first + 4_096).min(RECORDS);
        store.write(&numbers.map(change).collect::<Vec<_>>(), 0)?;
    }
    drop(store);
    let written = began.elapsed();
    let bytes = fs::metadata(path.join("catalogue.redb"))?.len();
    let began = Instant::now();
    let (_store, _log, kept) = Store::open(&path, [0; 16])?;
    println!(
        "{} records: written in {written:.1?}, {} MiB, read again in {:.1?}",
        kept.records.len(),
        bytes >> 20,
        began.elapsed()
    );
    Ok(())
}

/// The record of that number, where a hash would put it.
fn change(number: u64) -> Change {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    Change {
        place: [&[1][..], &spread, &spread].concat(),
        bytes: Some(vec![number as u8; RECORD_BYTES]),
    }
}

fn commits(path: &Path, batch: u64) -> Result<f64, Box<dyn Error>> {
    let (mut store, ..) = Store::open(path, [0; 16])?;
    let mut number = 0;
    rate(|| {
        let changes: Vec<_> = (number..number + batch).map(change).collect();
        number += batch;
        Ok(store.write(&changes, 0)?)
    })
}

fn appends(path: &Path, batch: u64) -> Result<f64, Box<dyn Error>> {
    let mut log = File::create(path)?;
    let bytes = vec![7; batch as usize * (RECORD_BYTES + 17)];
    rate(|| {
        log.write_all(&bytes)?;
        Ok(log.sync_data()?)
    })
}

fn rate(mut act: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < SPAN {
        act()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
