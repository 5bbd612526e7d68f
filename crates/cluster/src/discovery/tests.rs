use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn neighbours() -> (tempfile::TempDir, Neighbours) {
    let base = tempfile::tempdir().unwrap();
    let neighbours = Neighbours::below(base.path(), &Cookie::new("c")).unwrap();
    (base, neighbours)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn seeds_are_addresses_with_a_port() {
    let node = |address: &str| Ok(Seed::Node(address.to_owned()));
    assert_eq!("127.0.0.1:7000".parse(), node("127.0.0.1:7000"));
    assert_eq!("[::1]:7000".parse(), node("[::1]:7000"));
    assert_eq!("oskar:7000".parse(), node("oskar:7000"));
    assert_eq!(
        "dns:weir.svc:7000".parse(),
        Ok(Seed::Dns("weir.svc:7000".to_owned()))
    );
    for wrong in [
        "",
        "oskar",
        ":7000",
        "oskar:",
        "oskar:0",
        "oskar:70000",
        "::1:7000",
        "dns:",
        "dns:weir",
    ] {
        assert!(wrong.parse::<Seed>().is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_live_node_is_found_and_a_dead_one_is_cleared_away() {
    let (_base, neighbours) = neighbours();
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    let live_address = live.local_addr().unwrap().to_string();
    let dead_address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();

    let announced = neighbours.announce("live", &live_address).unwrap();
    let stale = neighbours.announce("dead", &dead_address).unwrap();
    assert_eq!(mode(&announced.path), 0o600);
    assert_eq!(mode(&neighbours.directory), 0o700);

    assert_eq!(neighbours.look().await, [live_address]);
    assert!(!stale.path.exists() && announced.path.exists());

    drop(announced);
    assert!(neighbours.look().await.is_empty());
}

#[tokio::test]
async fn dropping_a_note_leaves_the_one_that_took_its_place() {
    let (_base, neighbours) = neighbours();
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = neighbours
        .announce("a/name with spaces", "127.0.0.1:1")
        .unwrap();
    let second = neighbours
        .announce(
            "a/name with spaces",
            &live.local_addr().unwrap().to_string(),
        )
        .unwrap();
    drop(first);
    assert!(second.path.exists());
    assert_eq!(neighbours.look().await.len(), 1);
}

#[tokio::test]
async fn rubbish_in_the_directory_is_passed_over() {
    let (_base, neighbours) = neighbours();
    fs::write(neighbours.directory.join("a.json"), b"{").unwrap();
    fs::write(neighbours.directory.join("b.json"), vec![b' '; 10_000]).unwrap();
    fs::create_dir(neighbours.directory.join("c.json")).unwrap();
    assert!(neighbours.look().await.is_empty());
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let (base, neighbours) = neighbours();
    fs::set_permissions(&neighbours.directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Neighbours::below(base.path(), &Cookie::new("c")).is_err());
}

#[test]
fn another_cookie_has_another_directory() {
    let (base, neighbours) = neighbours();
    let other = Neighbours::below(base.path(), &Cookie::new("d")).unwrap();
    assert_ne!(neighbours.directory, other.directory);
}

#[tokio::test]
async fn candidates_are_distinct_and_without_this_node() {
    let (_base, neighbours) = neighbours();
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = live.local_addr().unwrap().to_string();
    let _note = neighbours.announce("live", &address).unwrap();
    let seeds = [
        Seed::Node("10.0.0.1:7000".to_owned()),
        Seed::Node(address.clone()),
        Seed::Dns("127.0.0.1:7001".to_owned()),
    ];
    let found = candidates(&seeds, Some(&neighbours), "10.0.0.1:7000").await;
    assert_eq!(found, [address, "127.0.0.1:7001".to_owned()]);
}

/// A resolver that does not answer held up a start for as long as the system's resolver cares to wait.
#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_answers_for_is_given_up() {
    let began = tokio::time::Instant::now();
    let found = in_time(std::future::pending::<io::Result<()>>()).await;
    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), DNS_DEADLINE);
}
