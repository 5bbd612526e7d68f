//! Large bodies, and answers that nobody reads: what they take is bounded, and comes back.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Cluster, DEADLINE, Node, Starting, eventually, weir};

/// Clients that each send half of a large batch, and no more.
const CLIENTS: usize = 200;
/// Bytes of each body that are sent: together a multiple of the 64 MiB that a node holds of all bodies.
const SENT: usize = 1024 * 1024;
/// Beyond what the node had before. With the allocator of glibc 76 MiB stayed of the second round.
const STAYS: u64 = 16 * 1024 * 1024;

/// Seen: 400 such clients took 1.7 GB, of which half stayed.
#[test]
fn what_unfinished_bodies_took_comes_back() {
    let cluster = Cluster::new().started(&["oskar"]);
    let node = &cluster.nodes[0];
    let before = node.memory();
    let chunk = [b' '; 64 * 1024];
    for round in 0..4 {
        let send_half = |_| {
            let mut stream = TcpStream::connect(node.http).expect("it connects");
            // A node that has no room for it reads on slowly, to throw it away, or hangs up.
            let patience = Some(Duration::from_millis(20));
            stream.set_write_timeout(patience).expect("a timeout");
            let head = format!(
                "POST /v1/check/batch HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                2 * SENT
            );
            let mut sent = stream.write_all(head.as_bytes());
            for _ in 0..SENT / chunk.len() {
                sent = sent.and_then(|()| stream.write_all(&chunk));
            }
            stream
        };
        let clients: Vec<TcpStream> = (0..CLIENTS).map(send_half).collect();
        drop(clients);
        eventually(
            &format!("what round {round} took is given back"),
            || match node.memory().saturating_sub(before) {
                ..STAYS => Ok(()),
                more => Err(format!("{} MiB more than before", more >> 20)),
            },
        );
    }
    assert_eq!(node.check("user_home", "ada", 1).status, 200);
}

/// Requests in one write of 3 MB, each for a page of some 26 KB.
const UNREAD: usize = 100_000;
/// What a node may take for them on one connection: it took 2.6 GB. Measured: 200 KiB.
const OF_ONE: u64 = 1024 * 1024;
/// Files that a node below may open. 256 of them are for everything else.
const FILES: usize = 300;
/// Connections that such a node serves at once.
const PLACES: usize = FILES - 256;
/// What it may take for as many such connections as there may be. Measured: 2.3 MiB.
const OF_ALL: u64 = 8 * 1024 * 1024;
/// Connections beyond those.
const REFUSED: usize = 5_000;

/// A node that may open [`FILES`] files.
fn start_with_few_files(cluster: &Cluster) -> Node {
    let weir = weir(cluster.home());
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {FILES}; exec \"$@\""), "sh"])
        .arg(weir.get_program())
        .args(["node", "--name", "oskar", "--cookie", Cluster::COOKIE])
        .args(["--http", "127.0.0.1:0", "--log", "text"])
        .env_clear();
    for (name, value) in weir.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let node = Starting::of(cluster.home(), "oskar", command).ready();
    node.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"))
}

/// Asks for a page over and over, and reads nothing.
fn ask_and_read_nothing(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.http).expect("it connects");
    // What the node does not read is in the kernel's way.
    let patience = Some(Duration::from_millis(50));
    stream.set_write_timeout(patience).expect("a timeout");
    let asked = "GET /docs HTTP/1.1\r\nHost: weir\r\n\r\n".repeat(UNREAD);
    let _ = stream.write_all(asked.as_bytes());
    stream
}

/// The most memory that a node takes beyond `before`, until it has nothing to do any more.
fn most_until_it_rests(node: &Node, before: u64) -> u64 {
    let mut most = 0;
    eventually("the node rests", || {
        let busy = node.cpu();
        // Long beside any pause while there is work.
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            most = most.max(node.memory().saturating_sub(before));
            thread::sleep(Duration::from_millis(5));
        }
        let worked = node.cpu() - busy;
        let rests = worked <= Duration::from_millis(20);
        rests.then_some(()).ok_or_else(|| format!("{worked:?}"))
    });
    most
}

/// Answers were made as fast as they were asked for, and fifty thousand refused connections wrote 3.4 MB of log.
#[test]
fn answers_that_nobody_reads_take_little_and_whoever_finds_no_place_little_log() {
    let cluster = Cluster::new();
    let node = start_with_few_files(&cluster);
    assert_eq!(node.get("/docs", &[]).status, 200);
    let before = node.memory();
    let mut unread = vec![ask_and_read_nothing(&node)];
    let most = most_until_it_rests(&node, before);
    assert!(most < OF_ONE, "{most} bytes more for one");
    unread.extend((1..PLACES).map(|_| ask_and_read_nothing(&node)));
    let most = most_until_it_rests(&node, before);
    assert!(most < OF_ALL, "{most} bytes more for all");

    let started = Instant::now();
    for _ in 0..REFUSED {
        let mut stream = TcpStream::connect(node.http).expect("it connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("an answer");
        assert!(told.starts_with("HTTP/1.1 503 "), "{told:?}");
    }
    let lines = eventually("all of them are told", || {
        let log = node.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("refused connections"));
        let refused = lines.clone().filter_map(|line| {
            let number = line.split_once("refused=")?.1.split(' ').next()?;
            number.parse::<usize>().ok()
        });
        let told: usize = refused.sum();
        (REFUSED <= told)
            .then_some(lines.count())
            .ok_or(format!("{told}"))
    });
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("few");
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");

    for stream in &unread {
        let _ = stream.shutdown(Shutdown::Both);
    }
    drop(unread);
    eventually("there is room again", || {
        match e2e::Client::connect(node.http)
            .and_then(|mut client| client.check("user_home", "ada", 1))
        {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
