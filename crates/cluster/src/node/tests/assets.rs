//! What a page of another version needs, a member of that version has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::{start, until};

/// Between two attempts: what nobody had is not asked for again within a second.
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_comes_from_the_member_that_has_it() {
    let cookie = "assets";
    let anna = start("anna", cookie, &[]).await;
    let bert = start("bert", cookie, &[&anna]).await;
    let carl = start("carl", cookie, &[&anna]).await;
    until("all three", || carl.peers().len() == 3).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&asked);
    anna.answer_assets_by(move |path| {
        noted.fetch_add(1, Ordering::Relaxed);
        (path == "hash/weir.js").then_some(&b"of another version"[..])
    });
    // One that tells something else is not believed.
    bert.answer_assets_by(|_| Some(b"something else"));
    let is_it = |bytes: &[u8]| bytes == b"of another version";
    let mut found = None;
    // An answer may be late on a busy machine.
    for _ in 0..100 {
        found = carl.look_up_asset("hash/weir.js", is_it).await;
        if found.is_some() {
            break;
        }
        sleep(PAUSE).await;
    }
    assert_eq!(found.as_deref(), Some(&b"of another version"[..]));
    let before = asked.load(Ordering::Relaxed);
    let again = carl.look_up_asset("hash/weir.js", is_it).await;
    assert_eq!(again, found);
    assert_eq!(asked.load(Ordering::Relaxed), before, "it was kept");
    // Whoever wants what nobody has, at once and again.
    let missing = (0..50).map(|_| carl.look_up_asset("hash/none.js", is_it));
    let missing = futures_util::future::join_all(missing).await;
    assert!(missing.iter().all(Option::is_none));
    assert_eq!(asked.load(Ordering::Relaxed), before + 1, "once for all");
    for node in [&carl, &bert, &anna] {
        node.stop().await;
    }
}
