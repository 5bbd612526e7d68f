//! Two instances under load, of which one is killed: nothing that it admitted is forgotten, and the other fails nobody.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use e2e::{Client, eventually};

/// Users that come to the instance that is killed, on as many connections.
const CALLERS: usize = 4;

/// Users that each instance has admitted before one is killed.
const ADMITTED: usize = 100;

/// An instance. Killed and reaped when dropped.
struct Instance {
    child: Child,
    http: SocketAddr,
}

impl Instance {
    fn start(name: &str, home: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_axum-app"))
            .args([name, "0"])
            .env_clear()
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line.trim().rsplit_once("http://").unwrap_or_default().1;
        let http = url
            .parse()
            .unwrap_or_else(|_| panic!("{name} said {line:?}"));
        Self { child, http }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks as `user`; an error once the instance is gone.
fn visit(client: &mut Client, user: &str) -> std::io::Result<u16> {
    let answer = client.request("GET", "/user_home", &[("X-User-Id", user)], None)?;
    Ok(answer.status)
}

/// Lets one user after the other in until told to stop, or until the instance is gone. Who was answered 200.
fn let_in(
    http: SocketAddr,
    caller: &str,
    admitted: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<String> {
    let mut client = Client::connect(http).unwrap();
    let mut users = Vec::new();
    for number in 0.. {
        let user = format!("{caller} {number}");
        match visit(&mut client, &user) {
            Ok(200) => {
                users.push(user);
                admitted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(status) => panic!("{user} was answered {status}"),
            Err(_) => break,
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    users
}

fn holds(condition: bool, seen: impl ToString) -> Result<(), String> {
    condition.then_some(()).ok_or_else(|| seen.to_string())
}

#[test]
fn killing_one_instance_under_load_forgets_nothing_and_fails_nobody_of_the_other() {
    let home = tempfile::tempdir().unwrap();
    let mut dies = Instance::start("oskar", home.path());
    let lives = Instance::start("oskar2", home.path());
    // They are one cluster when what one counted, the other denies.
    let mut one = Client::connect(dies.http).unwrap();
    let mut other = Client::connect(lives.http).unwrap();
    let mut attempt = 0;
    eventually("both count together", || {
        attempt += 1;
        let user = format!("first {attempt}");
        let both = (
            visit(&mut one, &user).unwrap(),
            visit(&mut other, &user).unwrap(),
        );
        holds(both == (200, 429), format!("{both:?}"))
    });

    eventually("each holds a copy of what the other counts", || {
        let settled = |client: &mut Client| {
            let answer = client.request("GET", "/metrics", &[], None).unwrap();
            let mut lines = answer.body.lines();
            lines.any(|line| line == "weir_unsettled_shards 0")
        };
        holds(
            settled(&mut one) && settled(&mut other),
            "copies are missing",
        )
    });

    let (on_dead, on_living) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (never, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let admitted = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .flat_map(|caller| {
                let (dead, living) = (dies.http, lives.http);
                let (never, stop, on_dead, on_living) = (&never, &stop, &on_dead, &on_living);
                [
                    scope.spawn(move || let_in(dead, &format!("dead {caller}"), on_dead, never)),
                    scope.spawn(move || {
                        let_in(living, &format!("living {caller}"), on_living, stop)
                    }),
                ]
            })
            .collect();
        eventually("enough were let in", || {
            let least = on_dead
                .load(Ordering::Relaxed)
                .min(on_living.load(Ordering::Relaxed));
            holds(ADMITTED <= least, least)
        });
        dies.kill();
        let before = on_living.load(Ordering::Relaxed);
        eventually("the other goes on", || {
            let since = on_living.load(Ordering::Relaxed) - before;
            holds(ADMITTED <= since, since)
        });
        stop.store(true, Ordering::Relaxed);
        let admitted = callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap());
        admitted.collect::<Vec<String>>()
    });

    let forgotten: Vec<_> = admitted
        .iter()
        .filter(|user| visit(&mut other, user).unwrap() != 429)
        .collect();
    assert!(
        forgotten.is_empty(),
        "{} of {}: {forgotten:?}",
        forgotten.len(),
        admitted.len()
    );
}
