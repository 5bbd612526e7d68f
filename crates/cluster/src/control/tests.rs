use std::sync::Arc;

use bytes::Bytes;

use super::*;
use transport::TransportConfig;
use transport::cookie::Cookie;

/// A word whose handling panics.
const PANIC: &[u8] = b"panic";

struct Reverse;

impl GatewayHandler for Reverse {
    async fn asked(&self, _: Hello, mut question: Vec<u8>) -> Vec<u8> {
        question.reverse();
        question
    }

    fn told(&self, _: Hello, word: Vec<u8>) {
        assert_ne!(word, PANIC, "on purpose");
    }
}

async fn node(name: &str, replica: u32) -> (Transport, Control) {
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = TransportConfig {
        listen,
        advertise: None,
        cookie: Cookie::new("cookie"),
    };
    let supervisor = supervisor::Supervisor::start();
    let transport = Transport::bind(config, &supervisor).await.unwrap();
    let control = Control::start(&transport, &supervisor, Arc::new(Reverse))
        .await
        .unwrap();
    let hello = Hello {
        name: name.to_owned(),
        incarnation: 1,
        replica: ReplicaId(replica),
        cluster: transport.advertised().to_owned(),
        http: String::new(),
        zone: None,
        asks: false,
    };
    let mut events = transport.start(
        hello,
        Arc::new(|_: &Hello| Ok(())),
        Arc::new(|_, _: Bytes| ()),
    );
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (transport, control)
}

async fn ask(control: &Control, peer: &str) -> Result<Vec<u8>, AskError> {
    control.ask(peer, b"abc", Duration::from_secs(10)).await
}

/// Cut at either end: by the one that dials it again, and by the one that waits for that.
#[tokio::test]
async fn a_session_comes_back_when_its_connection_is_lost() {
    let (anna, annas) = node("anna", 1).await;
    let (bert, berts) = node("bert", 2).await;
    anna.dial(bert.advertised());
    for round in 0..6 {
        assert_eq!(ask(&annas, "bert").await.unwrap(), b"cba", "round {round}");
        assert_eq!(ask(&berts, "anna").await.unwrap(), b"cba", "round {round}");
        let (control, replica) = if round % 2 == 0 {
            (&annas, 2)
        } else {
            (&berts, 1)
        };
        let before = control.inner.actors.load().sessions.all();
        control
            .inner
            .actors
            .load()
            .sessions
            .close(ReplicaId(replica));
        while control
            .inner
            .actors
            .load()
            .sessions
            .all()
            .iter()
            .any(|session| Arc::ptr_eq(session, &before[0]))
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The substrate keeps the older or the newer by the toss of a coin, and half open is what the older would be.
#[tokio::test]
async fn a_newer_session_replaces_an_older_one_at_both_ends() {
    let (anna, annas) = node("anna", 1).await;
    let (bert, berts) = node("bert", 2).await;
    anna.dial(bert.advertised());
    ask(&annas, "bert").await.unwrap();
    ask(&berts, "anna").await.unwrap();
    for round in 0..5 {
        let before = [
            annas.inner.actors.load().sessions.all().remove(0),
            berts.inner.actors.load().sessions.all().remove(0),
        ];
        let me = anna.me().unwrap();
        let stream = anna.open_control(bert.advertised(), &me).await.unwrap();
        let inner = annas.inner.clone();
        let actors = inner.actors.load_full();
        tokio::spawn(async move { actors.sessions.keep(stream, false).await });
        for (control, before) in [&annas, &berts].into_iter().zip(before) {
            let replaced = async {
                while control
                    .inner
                    .actors
                    .load()
                    .sessions
                    .all()
                    .first()
                    .is_none_or(|now| Arc::ptr_eq(now, &before))
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let patience = Duration::from_secs(20);
            tokio::time::timeout(patience, replaced)
                .await
                .unwrap_or_else(|_| panic!("round {round}"));
        }
        assert_eq!(ask(&annas, "bert").await.unwrap(), b"cba", "round {round}");
        assert_eq!(ask(&berts, "anna").await.unwrap(), b"cba", "round {round}");
    }
}

/// A word whose handling panicked ended the one actor that answers for a node, for good.
#[tokio::test]
async fn the_control_plane_starts_again_when_an_actor_of_it_fails() {
    let (anna, annas) = node("anna", 1).await;
    let (bert, berts) = node("bert", 2).await;
    anna.dial(bert.advertised());
    ask(&annas, "bert").await.unwrap();
    let fails: [fn(&Control, &Control); 2] = [
        |annas, _| assert_eq!(annas.tell_all(PANIC), 1),
        |_, berts| berts.inner.actors.load().sessions.stop(),
    ];
    for fail in fails {
        let before = berts.inner.actors.load_full();
        fail(&annas, &berts);
        let replaced = async {
            while Arc::ptr_eq(&before, &berts.inner.actors.load()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            while ask(&annas, "bert").await.is_err() || ask(&berts, "anna").await.is_err() {}
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, replaced).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_stalled_peer_does_not_read_is_bounded() {
    let (anna, annas) = node("anna", 1).await;
    let (bert, _berts) = node("bert", 2).await;
    anna.dial(bert.advertised());
    ask(&annas, "bert").await.unwrap();
    let session = annas.inner.actors.load().sessions.all().remove(0);
    // Without an await nothing is written, as with a peer that has stopped reading.
    assert!(session.may_write(UNWRITTEN_MAX - 100));
    assert_eq!(annas.tell_all(&[0; 200]), 0);
    assert_eq!(annas.tell_all(&[0; 10]), 1);
    // Written and flushed, the word makes room for others.
    ask(&annas, "bert").await.ok();
    while annas.tell_all(&[0; 200]) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn envelopes_come_back_as_they_were_and_rubbish_does_not() {
    let from = Hello {
        name: "anna".to_owned(),
        incarnation: 3,
        replica: ReplicaId(7),
        cluster: "a:1".to_owned(),
        http: "a:2".to_owned(),
        zone: Some("north".to_owned()),
        asks: false,
    };
    let sealed = gateway::envelope(&from, b"body");
    assert_eq!(
        gateway::open_envelope(&sealed),
        Some((from, b"body".to_vec()))
    );
    for length in 0..sealed.len() - b"body".len() {
        assert_eq!(gateway::open_envelope(&sealed[..length]), None, "{length}");
    }
    let mut of_the_future = sealed.clone();
    of_the_future[1] += 2;
    assert_eq!(gateway::open_envelope(&of_the_future), None);
}
