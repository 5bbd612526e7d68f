//! What two nodes that belong together can rely on.

use bytes::Bytes;
use delta_crdt::ReplicaId;
use supervisor::Supervisor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use transport::cookie::Cookie;
use transport::handshake::{HandshakeError, HandshakeKey, Hello, Plane, Refusal, VERSION, greet};
use transport::{
    BULK_QUEUE_MAX, FRAME_MAX, Lane, SendError, Transport, TransportConfig, TransportEvent,
    URGENT_QUEUE_MAX,
};

use crate::node::{Mortal, Node, POISON, bind, bind_below, hello, pair, soon, until};

#[tokio::test]
async fn frames_of_every_size_arrive_in_order_both_ways() {
    let (mut a, mut b) = pair().await;
    let sizes = [
        1,
        3,
        100,
        32 * 1024,
        32 * 1024 + 1,
        70_000,
        1_000_000,
        5,
        FRAME_MAX,
        2,
    ];
    let frame = |index: usize| Bytes::from(vec![index as u8; sizes[index]]);
    for index in 0..sizes.len() {
        a.transport
            .send(b.replica(), Lane::Bulk, frame(index))
            .unwrap();
        b.transport
            .send(a.replica(), Lane::Bulk, frame(index))
            .unwrap();
    }
    for index in 0..sizes.len() {
        assert_eq!(
            b.frame().await,
            (a.replica(), frame(index)),
            "frame {index} to b"
        );
        assert_eq!(
            a.frame().await,
            (b.replica(), frame(index)),
            "frame {index} to a"
        );
    }
    assert_eq!(a.transport.queue_bytes(b.replica()), 0);
}

#[tokio::test]
async fn urgent_frames_overtake_what_waits() {
    let (a, mut b) = pair().await;
    // No await in between: on this one thread nothing can be written meanwhile.
    for _ in 0..4 {
        a.transport
            .send(b.replica(), Lane::Bulk, Bytes::from_static(b"bulk"))
            .unwrap();
    }
    a.transport
        .send(b.replica(), Lane::Urgent, Bytes::from_static(b"urgent"))
        .unwrap();
    assert_eq!(&*b.frame().await.1, b"urgent");
    assert_eq!(&*b.frame().await.1, b"bulk");
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_it_has_drained() {
    let (a, mut b) = pair().await;
    let frame = Bytes::from(vec![7; FRAME_MAX]);
    let mut queued = 0;
    // Again without an await: the writer cannot help.
    while a
        .transport
        .send(b.replica(), Lane::Bulk, frame.clone())
        .is_ok()
    {
        queued += 1;
        assert!(queued * FRAME_MAX <= BULK_QUEUE_MAX);
    }
    assert_eq!(queued, BULK_QUEUE_MAX / FRAME_MAX);
    assert_eq!(
        a.transport
            .send(b.replica(), Lane::Bulk, Bytes::from_static(b"x")),
        Err(SendError::Full)
    );
    assert_eq!(
        a.transport
            .send(b.replica(), Lane::Urgent, Bytes::from_static(b"x")),
        Ok(()),
        "the lanes are apart"
    );
    assert_eq!(a.transport.queue_bytes(b.replica()), BULK_QUEUE_MAX + 1);
    for _ in 0..=queued {
        b.frame().await;
    }
    assert_eq!(a.transport.send(b.replica(), Lane::Bulk, frame), Ok(()));
}

#[tokio::test]
async fn what_cannot_be_a_frame_is_refused() {
    let (a, b) = pair().await;
    let cases = [
        (Lane::Bulk, 0),
        (Lane::Bulk, FRAME_MAX + 1),
        (Lane::Copies, 0),
        (Lane::Copies, FRAME_MAX + 1),
        (Lane::Urgent, 0),
        (Lane::Urgent, URGENT_QUEUE_MAX + 1),
    ];
    for (lane, length) in cases {
        let sent = a
            .transport
            .send(b.replica(), lane, Bytes::from(vec![0; length]));
        assert_eq!(sent, Err(SendError::Unframeable), "{lane:?} {length}");
    }
    let nobody = a
        .transport
        .send(ReplicaId(1), Lane::Bulk, Bytes::from_static(b"x"));
    assert_eq!(nobody, Err(SendError::NotConnected));
}

/// Both dial at the same moment, again and again. Neither may end up with two connections or with none,
/// and what is sent meanwhile must arrive once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_connections_exactly_one_stays_and_nothing_is_lost() {
    for round in 0..10 {
        let (mut a, mut b) = (Node::start("anna", 1).await, Node::start("bert", 1).await);
        a.dial(&b);
        b.dial(&a);
        a.connected_to(&b).await;
        b.connected_to(&a).await;
        for number in 0..200_u32 {
            a.transport
                .send(
                    b.replica(),
                    Lane::Bulk,
                    Bytes::copy_from_slice(&number.to_be_bytes()),
                )
                .unwrap();
            b.transport
                .send(
                    a.replica(),
                    Lane::Bulk,
                    Bytes::copy_from_slice(&number.to_be_bytes()),
                )
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        for node in [&mut a, &mut b] {
            let mut numbers = Vec::new();
            for _ in 0..200 {
                numbers.push(u32::from_be_bytes(
                    node.frame().await.1[..].try_into().unwrap(),
                ));
            }
            numbers.sort_unstable();
            assert!(
                numbers.iter().copied().eq(0..200),
                "round {round}: {numbers:?}"
            );
            assert!(node.no_event(), "round {round}: connected once and for all");
        }
        let port = a.transport.address().port();
        let other = b.transport.address().port();
        until(|| established_with(port) + established_with(other) == 2).await;
    }
}

/// Sockets of this machine that are connected and have `port` at their own end: one per connection accepted there.
fn established_with(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    // Counted at both ends, so that a half-closed connection does not pass for none.
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(here, there, state)| {
            *state == "01" && (here.ends_with(&local) || there.ends_with(&local))
        })
        .count()
}

#[tokio::test]
async fn a_goodbye_is_heard_after_everything_sent_before() {
    let (a, mut b) = pair().await;
    for _ in 0..1_000 {
        a.transport
            .send(b.replica(), Lane::Bulk, Bytes::from(vec![1; 10_000]))
            .unwrap();
    }
    soon(a.transport.shutdown()).await;
    for _ in 0..1_000 {
        b.frame().await;
    }
    let event = b.event().await;
    assert!(
        matches!(event, TransportEvent::Disconnected { replica, goodbye: true } if replica == a.replica()),
        "{event:?}"
    );
    assert_eq!(
        a.transport
            .send(b.replica(), Lane::Bulk, Bytes::from_static(b"x")),
        Err(SendError::NotConnected)
    );
}

#[tokio::test]
async fn a_dead_process_is_told_from_a_lost_connection() {
    let mut a = Node::start("anna", 1).await;
    let bert = Mortal::start("bert", 1, &a).await;
    let replica = bert.hello.replica;
    a.event_where(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()))
        .await;

    // Lost, but alive: both meet again.
    a.transport.forget_replica(replica);
    let lost = a.event().await;
    assert!(
        matches!(lost, TransportEvent::Disconnected { goodbye: false, .. }),
        "{lost:?}"
    );
    let back = a.event().await;
    assert!(matches!(back, TransportEvent::Connected { .. }), "{back:?}");

    bert.kill();
    let lost = a.event().await;
    assert!(
        matches!(lost, TransportEvent::Disconnected { goodbye: false, .. }),
        "{lost:?}"
    );
    let dead = a.event().await;
    assert!(
        matches!(dead, TransportEvent::ProcessGone { replica: gone } if gone == replica),
        "{dead:?}"
    );
}

/// A full queue of connections, or a proxy that looks elsewhere, refuses a connection, too: one must not count.
#[tokio::test]
async fn a_process_is_gone_when_three_connections_in_a_row_were_refused() {
    let mut a = Node::start("anna", 1).await;
    let bert = Mortal::start("bert", 1, &a).await;
    a.event_where(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()))
        .await;
    let lost = std::time::Instant::now();
    let hello = bert.kill();
    let is_gone = |event: &TransportEvent| {
        matches!(event, TransportEvent::ProcessGone { replica } if *replica == hello.replica)
            .then_some(())
    };
    a.event_where(is_gone).await;
    // The two pauses between them last 10 and 20 ms at least.
    assert!(30 <= lost.elapsed().as_millis(), "{:?}", lost.elapsed());
    // Told again, since a connection from there may have disproved it.
    a.event_where(is_gone).await;
}

/// A supervisor started it again at once, before anybody was refused.
#[tokio::test]
async fn another_process_at_the_address_says_that_the_one_before_is_gone() {
    let mut a = Node::start("anna", 1).await;
    let bert = Mortal::start("bert", 1, &a).await;
    a.event_where(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()))
        .await;
    let gone = bert.kill();
    let mut again = None;
    soon(async {
        while again.is_none() {
            again = try_bind(&gone.cluster).await;
        }
    })
    .await;
    // It has not been given an incarnation yet, and says so.
    let transport = again.expect("bound by now");
    let newcomer = hello(&transport, "bert", 0);
    let _newcomer = Node::start_on(transport, newcomer);
    a.event_where(|event| {
        matches!(event, TransportEvent::ProcessGone { replica } if *replica == gone.replica)
            .then_some(())
    })
    .await;
}

/// Members of a roster are dialled by somebody who has never been connected with them.
#[tokio::test]
async fn a_process_that_was_never_met_is_found_gone_too() {
    let mut a = Node::start("anna", 1).await;
    let other = Node::start("bert", 1).await;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let expected = ReplicaId(77);
    a.transport.dial_only([
        (nobody.as_str(), Some(expected)),
        (other.hello.cluster.as_str(), Some(other.replica())),
    ]);
    let gone = a.event_where(|event| match event {
        TransportEvent::ProcessGone { replica } => Some(*replica),
        _ => None,
    });
    assert_eq!(gone.await, expected);
    until(|| a.transport.peers().len() == 1).await;
    assert_eq!(a.transport.dialled(), 2);
}

#[tokio::test]
async fn who_is_not_wanted_any_more_is_not_redialled() {
    let (mut a, b) = pair().await;
    let (c, address) = (Node::start("cleo", 1).await, b.hello.cluster.clone());
    a.transport
        .dial_only([(c.hello.cluster.as_str(), Some(c.replica()))]);
    assert_eq!(a.transport.dialled(), 1);
    a.connected_to(&c).await;
    // The connection with the other stayed open until it closed it; then nobody dials.
    soon(b.transport.shutdown()).await;
    a.event_where(|event| {
        matches!(event, TransportEvent::Disconnected { replica, .. } if *replica == b.replica())
            .then_some(())
    })
    .await;
    // Looked at once, and found.
    let again = try_bind(&address).await.expect("nobody listens there");
    let bert = hello(&again, "bert", 2);
    let bert = Node::start_on(again, bert);
    a.transport.look_at(&address);
    a.connected_to(&bert).await;
}

async fn try_bind(address: &str) -> Option<Transport> {
    let config = TransportConfig {
        listen: address.parse().unwrap(),
        advertise: None,
        cookie: Cookie::new("cookie"),
    };
    let supervisor = Supervisor::start();
    Transport::bind(config, &supervisor).await.ok()
}

/// The newer one comes back under the same name while the connection of the older still looks alive, as
/// after a power failure: the link of the older goes, that of the newer stays.
#[tokio::test]
async fn a_higher_incarnation_replaces_the_link_of_a_lower() {
    let (mut a, b) = pair().await;
    let (old, new) = (b.replica(), Node::start("bert", 2).await);
    new.dial(&a);
    a.connected_to(&new).await;
    let gone = a.event_where(|event| match event {
        TransportEvent::Disconnected { replica, .. } => Some(*replica),
        _ => None,
    });
    assert_eq!(gone.await, old);
    assert_eq!(
        a.transport
            .peers()
            .iter()
            .map(|peer| peer.incarnation)
            .collect::<Vec<_>>(),
        [2]
    );

    // The older one redials, and is told why it must not.
    let mut b = b;
    let reason = b.event_where(|event| match event {
        TransportEvent::HelloRefused {
            reason: HandshakeError::RefusedBy(refusal),
            ..
        } => Some(*refusal),
        _ => None,
    });
    assert_eq!(reason.await, Refusal::Fenced);
    assert_eq!(a.transport.peers().len(), 1);
}

/// Nobody dials again who has a connection: the one before is half open, whatever it looks like here.
#[tokio::test]
async fn a_redial_replaces_the_connection_before_it() {
    let mut a = Node::start("anna", 1).await;
    let bert = hello(&bind("cookie").await, "bert", 1);
    let key = HandshakeKey::new(&Cookie::new("cookie"));
    let dial = async |attempt| {
        let mut stream = TcpStream::connect(a.transport.address()).await.unwrap();
        greet(&mut stream, &key, &bert, Plane::Data, attempt)
            .await
            .unwrap();
        stream
    };
    let mut byte = [0];
    let mut first = dial(1).await;
    until(|| a.transport.peers().len() == 1).await;
    let mut second = dial(2).await;
    assert_eq!(
        soon(first.read(&mut byte)).await.unwrap(),
        0,
        "the first is closed"
    );
    // An attempt that was overtaken on the way does not overtake in turn.
    let mut late = dial(1).await;
    assert_eq!(
        soon(late.read(&mut byte)).await.unwrap(),
        0,
        "the late one is closed"
    );

    a.transport
        .send(bert.replica, Lane::Bulk, Bytes::from_static(b"x"))
        .unwrap();
    let mut frame = [0; 5];
    soon(second.read_exact(&mut frame)).await.unwrap();
    assert_eq!(&frame, b"\0\0\0\x01x");
    assert!(matches!(a.event().await, TransportEvent::Connected { .. }));
    assert!(a.no_event(), "connected all the while");
}

#[tokio::test]
async fn a_second_node_of_a_live_name_is_refused_and_the_first_stays() {
    let (mut a, b) = pair().await;
    let other = Hello {
        replica: ReplicaId(99),
        ..hello(&bind("cookie").await, "bert", 1)
    };
    let mut twin = Node::start_on(bind("cookie").await, other);
    twin.dial(&a);
    let reason = twin.event_where(|event| match event {
        TransportEvent::HelloRefused {
            reason: HandshakeError::RefusedBy(refusal),
            ..
        } => Some(*refusal),
        _ => None,
    });
    assert_eq!(reason.await, Refusal::NameTaken);
    assert!(a.no_event());
    a.transport
        .send(b.replica(), Lane::Bulk, Bytes::from_static(b"still there"))
        .unwrap();
}

#[tokio::test]
async fn a_node_whose_name_a_newer_one_has_is_told() {
    let mut old = Node::start("anna", 1).await;
    let new = Node::start("anna", 2).await;
    new.dial(&old);
    let by = old.event_where(|event| match event {
        TransportEvent::Superseded { by } => Some(by.incarnation),
        _ => None,
    });
    assert_eq!(by.await, 2);
    // And when it is the older one that dials.
    old.dial(&new);
    let reason = old.event_where(|event| match event {
        TransportEvent::HelloRefused {
            reason: HandshakeError::RefusedBy(refusal),
            ..
        } => Some(*refusal),
        _ => None,
    });
    assert_eq!(reason.await, Refusal::Fenced);
}

/// A node that was stopped while its name went to another still accepts connections when it goes on.
#[tokio::test]
async fn a_fenced_node_is_not_connected_by_dialling_it_either() {
    let old = Node::start("bert", 1).await;
    let transport = bind("cookie").await;
    let anna = hello(&transport, "anna", 1);
    let fences = |peer: &Hello| {
        if peer.name == "bert" && peer.incarnation < 2 {
            Err(Refusal::Fenced)
        } else {
            Ok(())
        }
    };
    let mut anna = Node::start_admitting(transport, anna, fences);
    anna.dial(&old);
    let new = Node::start("bert", 2).await;
    anna.dial(&new);
    anna.connected_to(&new).await;
    assert!(anna.no_event());
    assert_eq!(anna.transport.peers(), [new.hello]);
}

#[tokio::test]
async fn a_node_does_not_connect_to_itself() {
    let mut a = Node::start("anna", 1).await;
    // By an address that it does not know to be its own.
    a.transport
        .dial(&format!("localhost:{}", a.transport.address().port()));
    let mut b = Node::start("bert", 1).await;
    b.dial(&a);
    b.connected_to(&a).await;
    a.connected_to(&b).await;
    assert!(a.no_event());
}

#[tokio::test]
async fn the_data_plane_waits_for_an_incarnation() {
    let mut a = Node::start("anna", 1).await;
    let mut newcomer = Node::start("bert", 0).await;
    newcomer.dial(&a);
    a.dial(&newcomer);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(a.no_event() && newcomer.no_event());
    newcomer.hello = Hello {
        incarnation: 5,
        ..newcomer.hello.clone()
    };
    newcomer.transport.introduce(newcomer.hello.clone());
    a.connected_to(&newcomer).await;
    newcomer.connected_to(&a).await;
}

/// The task that read the connection was gone, its link stayed: nobody read, and nobody dialled again.
#[tokio::test]
async fn a_frame_that_panics_its_handler_costs_a_connection_and_not_the_link() {
    let (mut a, mut b) = pair().await;
    let poison = Bytes::from_static(POISON);
    a.transport.send(b.replica(), Lane::Bulk, poison).unwrap();
    let lost = b.event().await;
    assert!(
        matches!(lost, TransportEvent::Disconnected { replica, goodbye: false } if replica == a.replica()),
        "{lost:?}"
    );
    b.connected_to(&a).await;
    soon(async {
        let frame = Bytes::from_static(b"after it");
        while a
            .transport
            .send(b.replica(), Lane::Bulk, frame.clone())
            .is_err()
        {
            a.event().await;
        }
    })
    .await;
    assert_eq!(&*b.frame().await.1, b"after it");
}

/// Whatever accepted or dialled ran below nobody: after a panic the node was met by no newcomer, or met none again.
#[tokio::test]
async fn what_accepts_and_what_dials_start_again_after_a_panic() {
    let supervisor = Supervisor::start();
    let transport = bind_below(&supervisor, "cookie").await;
    let hello = hello(&transport, "anna", 1);
    let mut anna = Node::start_on(transport, hello);
    let mut bert = Node::start("bert", 1).await;
    anna.dial(&bert);
    anna.connected_to(&bert).await;
    bert.connected_to(&anna).await;

    supervisor.panic("dial").await;
    supervisor.panic("accept").await;
    assert!(anna.no_event(), "connections stay");

    let cleo = Node::start("cleo", 1).await;
    cleo.dial(&anna);
    anna.connected_to(&cleo).await;
    let dora = Node::start("dora", 1).await;
    anna.dial(&dora);
    anna.connected_to(&dora).await;
    // What was dialled before is dialled as before.
    bert.transport.forget(&anna.hello.cluster);
    bert.transport.forget_replica(anna.replica());
    anna.connected_to(&bert).await;
    anna.transport.shutdown().await;
    soon(async { while TcpStream::connect(&anna.hello.cluster).await.is_ok() {} }).await;
}

#[tokio::test]
async fn hits_overtake_copies_that_wait() {
    let (a, mut b) = pair().await;
    // No await in between: on this one thread nothing can be written meanwhile.
    for lane in [
        Lane::Copies,
        Lane::Copies,
        Lane::Bulk,
        Lane::Urgent,
        Lane::Bulk,
    ] {
        let name = Bytes::from(format!("{lane:?}"));
        a.transport.send(b.replica(), lane, name).unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(String::from_utf8(b.frame().await.1.to_vec()).unwrap());
    }
    assert_eq!(order, ["Urgent", "Bulk", "Bulk", "Copies", "Copies"]);
}

#[tokio::test]
async fn both_ends_know_which_version_they_speak() {
    let (a, b) = pair().await;
    assert_eq!(a.transport.version(b.replica()), Some(VERSION));
    assert_eq!(b.transport.version(a.replica()), Some(VERSION));
    assert_eq!(a.transport.version(ReplicaId(1)), None);
}
