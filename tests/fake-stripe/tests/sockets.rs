//! The stand-in over real sockets: webhooks arrive signed, also where the first time fails; faults end connections; and one
//! that is stopped gives its address back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use fake_stripe::{FakeStripe, VERSION, signature};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// The head and the body of one message.
fn read(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

/// Asks as a client of Stripe does. `None`: the connection ended.
fn ask(fake: &FakeStripe, method: &str, path: &str, form: &str) -> Option<Value> {
    let address = fake.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    let length = form.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: fake\r\nAuthorization: Bearer rk_test_1\r\nStripe-Version: {VERSION}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    )
    .unwrap();
    let (_, body) = read(&stream)?;
    Some(serde_json::from_str(&body).unwrap())
}

/// A webhook endpoint of these statuses, in turn, and then 200. Tells each signature and body.
fn receiver(mut statuses: Vec<u16>) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    statuses.reverse();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (head, body) = read(&stream).unwrap();
            let status = statuses.pop().unwrap_or(200);
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n"
            );
            let signature = head
                .lines()
                .find_map(|line| line.strip_prefix("stripe-signature: "))
                .unwrap_or_default();
            if sender.send((signature.to_owned(), body)).is_err() {
                break;
            }
        }
    });
    (url, receiver)
}

fn endpoint(fake: &FakeStripe, url: &str) -> String {
    let form = format!("url={url}&enabled_events[0]=customer.created");
    let endpoint = ask(fake, "POST", "/v1/webhook_endpoints", &form).unwrap();
    endpoint["secret"].as_str().unwrap().to_owned()
}

fn name(body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap();
    event["data"]["object"]["name"].as_str().unwrap().to_owned()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn webhooks_arrive_signed_and_again_where_they_fail() {
    let fake = FakeStripe::start("127.0.0.1:0");
    let (url, received) = receiver(vec![500]);
    let secret = endpoint(&fake, &url);
    for name in ["a", "b", "c"] {
        ask(&fake, "POST", "/v1/customers", &format!("name={name}")).unwrap();
    }
    let mut names = Vec::new();
    for _ in 0..4 {
        let (header, body) = received.recv_timeout(PATIENCE).unwrap();
        let at = header
            .strip_prefix("t=")
            .and_then(|rest| rest.split_once(','));
        let at = at.unwrap().0.parse().unwrap();
        assert_eq!(header, signature(at, &secret, &body));
        names.push(name(&body));
    }
    assert_eq!(names, ["a", "b", "c", "a"]);
    until("confirmation", || fake.get("/_sent")["waiting"] == 0);
}

#[test]
fn webhooks_are_lost_doubled_and_shuffled() {
    let fake = FakeStripe::start("127.0.0.1:0");
    let (url, received) = receiver(Vec::new());
    endpoint(&fake, &url);
    for mode in ["lost", "doubled", "shuffled"] {
        fake.post("/_faults", &format!("kind=webhooks&mode={mode}&count=1"));
        ask(&fake, "POST", "/v1/customers", &format!("name={mode}")).unwrap();
        until(mode, || {
            let sent = fake.get("/_sent")["data"].as_array().unwrap().len();
            sent == match mode {
                "lost" => 1,
                "doubled" => 3,
                _ => 4,
            }
        });
    }
    let names: Vec<String> = received.try_iter().map(|(_, body)| name(&body)).collect();
    assert_eq!(names, ["doubled", "doubled", "shuffled"]);
    let failed = ask(&fake, "GET", "/v1/events?delivery_success=false", "").unwrap();
    let lost = &failed["data"][0];
    assert_eq!(lost["data"]["object"]["name"], "lost");
    let id = lost["id"].as_str().unwrap();
    fake.post(&format!("/_deliver/{id}"), "");
    let (_, body) = received.recv_timeout(PATIENCE).unwrap();
    assert_eq!(name(&body), "lost");
    until("confirmation", || fake.get("/_sent")["waiting"] == 0);
}

#[test]
fn a_connection_ends_with_or_without_the_effect() {
    let fake = FakeStripe::start("127.0.0.1:0");
    for (when, count) in [("before", 0), ("after", 1)] {
        fake.post("/_faults", &format!("kind=reset&when={when}&count=1"));
        assert_eq!(ask(&fake, "POST", "/v1/customers", "name=a"), None);
        let customers = fake.get("/_state")["customers"].as_array().unwrap().len();
        assert_eq!(customers, count, "{when}");
    }
    assert_eq!(fake.get("/_calls")["POST /v1/customers"], 2);
}

#[test]
fn one_that_is_stopped_gives_its_address_back() {
    // Of no other test, which might take the port meanwhile.
    let fake = FakeStripe::start("127.83.7.1:0");
    let address = fake.url().replace("http://", "");
    fake.stop();
    assert!(TcpStream::connect(&address).is_err());
    let again = FakeStripe::start(&*address);
    assert_eq!(again.url(), format!("http://{address}"));
}
