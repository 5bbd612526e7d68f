//! Questions and words between nodes, over loopback sockets.

mod node;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::control::{AskError, BODY_MAX, Control, GatewayHandler};
use delta_crdt::ReplicaId;
use transport::OpenError;
use transport::handshake::{HandshakeError, Hello, Refusal};

use node::{Node, bind, hello, soon, until};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers with its name, the asker's and the question. Never answers "silence".
#[derive(Default)]
struct Echo {
    name: &'static str,
    words: Mutex<Vec<(String, Vec<u8>)>>,
}

impl GatewayHandler for Echo {
    async fn asked(&self, from: Hello, question: Vec<u8>) -> Vec<u8> {
        if question == b"silence" {
            std::future::pending::<()>().await;
        }
        [
            self.name.as_bytes(),
            b" to ",
            from.name.as_bytes(),
            b": ",
            &question,
        ]
        .concat()
    }

    fn told(&self, from: Hello, word: Vec<u8>) {
        self.words.lock().unwrap().push((from.name, word));
    }
}

struct Talker {
    node: Node,
    control: Control,
    supervisor: supervisor::Supervisor,
    echo: Arc<Echo>,
}

impl Talker {
    async fn start(name: &'static str, incarnation: u64) -> Self {
        Self::start_with(name, incarnation, |hello| hello).await
    }

    async fn start_with(
        name: &'static str,
        incarnation: u64,
        change: impl FnOnce(Hello) -> Hello,
    ) -> Self {
        let supervisor = supervisor::Supervisor::start();
        let transport = bind("cookie", &supervisor).await;
        let echo = Arc::new(Echo {
            name,
            words: Mutex::default(),
        });
        let control = Control::start(&transport, &supervisor, echo.clone())
            .await
            .unwrap();
        let hello = change(hello(&transport, name, incarnation));
        Self {
            node: Node::start_on(transport, hello),
            control,
            supervisor,
            echo,
        }
    }

    /// Asks again while an older session is on its way out.
    async fn asks_until_answered(&self, peer: &str) {
        soon(async { while self.ask(peer, "hello").await.is_err() {} }).await;
    }

    async fn ask(&self, peer: &str, question: &str) -> Result<String, AskError> {
        let answer = self.control.ask(peer, question.as_bytes(), TIMEOUT).await?;
        Ok(String::from_utf8(answer).unwrap())
    }
}

#[tokio::test]
async fn three_nodes_ask_and_tell_each_other() {
    let talkers = [
        Talker::start("anna", 1).await,
        Talker::start("bert", 1).await,
        Talker::start("cleo", 1).await,
    ];
    talkers[0].node.dial(&talkers[1].node);
    talkers[2].node.dial(&talkers[0].node);
    talkers[1].node.dial(&talkers[2].node);
    for asker in &talkers {
        for asked in &talkers {
            let (from, to) = (asker.echo.name, asked.echo.name);
            if from != to {
                let answer = soon(asker.ask(to, "hello")).await.unwrap();
                assert_eq!(answer, format!("{to} to {from}: hello"));
            }
        }
    }
    for teller in &talkers {
        assert_eq!(teller.control.peers().len(), 2);
        assert_eq!(
            teller
                .control
                .tell_all(teller.echo.name.to_uppercase().as_bytes()),
            2
        );
    }
    for hearer in &talkers {
        until(|| hearer.echo.words.lock().unwrap().len() == 2).await;
        let heard: BTreeSet<_> = hearer.echo.words.lock().unwrap().drain(..).collect();
        let expected: BTreeSet<_> = talkers
            .iter()
            .map(|teller| teller.echo.name)
            .filter(|name| *name != hearer.echo.name)
            .map(|name| (name.to_owned(), name.to_uppercase().into_bytes()))
            .collect();
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn sessions_are_kept_anew_after_a_panic_in_a_task_of_the_control_plane() {
    let (anna, bert) = (
        Talker::start("anna", 1).await,
        Talker::start("bert", 1).await,
    );
    anna.node.dial(&bert.node);
    anna.asks_until_answered("bert").await;
    anna.supervisor.panic("control-dial").await;
    anna.asks_until_answered("bert").await;
    bert.supervisor.panic("control-receive").await;
    anna.asks_until_answered("bert").await;
    bert.asks_until_answered("anna").await;
}

#[tokio::test]
async fn a_newcomer_asks_before_it_has_an_incarnation() {
    let anna = Talker::start("anna", 1).await;
    let newcomer = Talker::start("bert", 0).await;
    let address = &anna.node.hello.cluster;
    for _ in 0..3 {
        let (peer, answer) = soon(newcomer.control.introduce(address, b"let me in", TIMEOUT))
            .await
            .unwrap();
        assert_eq!(peer, anna.node.hello);
        assert_eq!(answer, b"anna to bert: let me in");
    }
    assert!(anna.control.peers().is_empty(), "a guest is nobody's peer");
    // One newcomer can ask another, and one that wants a name can ask who has it.
    let (_, answer) = soon(
        newcomer
            .control
            .introduce(&newcomer_too().await, b"?", TIMEOUT),
    )
    .await
    .unwrap();
    assert_eq!(answer, b"cleo to bert: ?");
    let namesake = Talker::start("anna", 0).await;
    let (_, answer) = soon(namesake.control.introduce(address, b"?", TIMEOUT))
        .await
        .unwrap();
    assert_eq!(answer, b"anna to anna: ?");
}

/// Each refused the other and waited for it to go; after five seconds both founded a cluster.
#[tokio::test]
async fn of_two_newcomers_with_one_name_exactly_one_is_told_that_it_is_taken() {
    let newcomer = async |replica| {
        let replica = ReplicaId(replica);
        Talker::start_with("bert", 0, |hello| Hello { replica, ..hello }).await
    };
    let twins = [newcomer(7).await, newcomer(8).await];
    for (asker, asked, told) in [(0, 1, Refusal::NotReady), (1, 0, Refusal::NameTaken)] {
        let address = &twins[asked].node.hello.cluster;
        let answer = soon(twins[asker].control.introduce(address, b"?", TIMEOUT)).await;
        let Err(AskError::Open(OpenError::Handshake {
            source: HandshakeError::RefusedBy(refusal),
            ..
        })) = answer
        else {
            panic!("let in: {answer:?}");
        };
        assert_eq!(refusal, told);
    }
}

async fn newcomer_too() -> String {
    let newcomer = Talker::start("cleo", 0).await;
    let address = newcomer.node.hello.cluster.clone();
    tokio::spawn(async move {
        let _keeps = newcomer;
        std::future::pending::<()>().await;
    });
    address
}

#[tokio::test]
async fn a_peer_that_started_again_is_the_one_asked() {
    let (anna, bert) = (
        Talker::start("anna", 1).await,
        Talker::start("bert", 1).await,
    );
    anna.node.dial(&bert.node);
    assert!(soon(anna.ask("bert", "hello")).await.is_ok());
    // The older one has lost its power: it says nothing and closes nothing.
    let again = Talker::start("bert", 2).await;
    again.node.dial(&anna.node);
    until(|| {
        anna.node
            .transport
            .peers()
            .iter()
            .any(|peer| peer.incarnation == 2)
    })
    .await;
    soon(async {
        while again.echo.words.lock().unwrap().is_empty() {
            anna.control.tell_all(b"which of you is it?");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(soon(anna.ask("bert", "hello")).await.is_ok());
    until(|| anna.control.peers() == ["bert"]).await;
    bert.node.transport.shutdown().await;
}

#[tokio::test]
async fn a_silent_peer_costs_the_deadline_and_no_more() {
    let (anna, bert) = (
        Talker::start("anna", 1).await,
        Talker::start("bert", 1).await,
    );
    anna.node.dial(&bert.node);
    assert!(soon(anna.ask("bert", "hello")).await.is_ok());
    let short = Duration::from_millis(100);
    // More than the peer answers at once. Those of an earlier round may still be its to forget.
    for _ in 0..3 {
        let asked = (0..40).map(|_| {
            let control = anna.control.clone();
            tokio::spawn(async move { control.ask("bert", b"silence", short).await })
        });
        for asked in asked.collect::<Vec<_>>() {
            let answer = soon(asked).await.unwrap();
            assert!(
                matches!(answer, Err(AskError::NoAnswer | AskError::Busy)),
                "{answer:?}"
            );
        }
    }
    // None of them stays.
    soon(async { while anna.ask("bert", "hello").await.is_err() {} }).await;
    let nobody = anna.control.ask("nobody", b"hello", short).await;
    assert!(
        matches!(nobody, Err(AskError::NotConnected(_))),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn the_longest_body_passes_and_a_longer_one_is_refused() {
    let (anna, bert) = (
        Talker::start("anna", 1).await,
        Talker::start("bert", 1).await,
    );
    anna.node.dial(&bert.node);
    let longest = vec![b'x'; BODY_MAX - 100];
    let answer = soon(anna.control.ask("bert", &longest, TIMEOUT))
        .await
        .unwrap();
    assert!(answer.ends_with(&longest));
    let longer = anna
        .control
        .ask("bert", &vec![b'x'; BODY_MAX + 1], TIMEOUT)
        .await;
    assert!(matches!(longer, Err(AskError::Full)), "{longer:?}");
}
