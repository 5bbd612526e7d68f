use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::DuplexStream;

use super::*;

fn hello(name: &str) -> Hello {
    Hello {
        name: name.to_owned(),
        incarnation: 7,
        replica: ReplicaId(42),
        cluster: "10.0.0.1:7000".to_owned(),
        http: "10.0.0.1:4000".to_owned(),
        zone: Some("north".to_owned()),
        asks: false,
    }
}

fn key(cookie: &str) -> HandshakeKey {
    HandshakeKey::new(&Cookie::new(cookie))
}

type Outcome = Result<Proven, HandshakeError>;

async fn shake(
    client_cookie: &str,
    server_cookie: &str,
    verdict: Result<Hello, Refusal>,
) -> (Outcome, Outcome, bool) {
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    let asked = AtomicBool::new(false);
    let (client, server) = (key(client_cookie), key(server_cookie));
    let me = hello("client");
    let (greeted, received) = tokio::join!(
        greet(&mut near, &client, &me, Plane::Data, 3),
        receive(&mut far, &server, |_, _| {
            asked.store(true, Ordering::Relaxed);
            verdict
        })
    );
    (greeted, received, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn both_ends_learn_who_the_other_is() {
    let (greeted, received, _) = shake("c", "c", Ok(hello("server"))).await;
    let proven = |name| Proven {
        peer: hello(name),
        version: VERSION,
        plane: Plane::Data,
        attempt: 3,
    };
    assert_eq!(greeted.unwrap(), proven("server"));
    assert_eq!(received.unwrap(), proven("client"));
}

#[tokio::test]
async fn both_ends_learn_who_asks() {
    let asks = |name| Hello {
        asks: true,
        ..hello(name)
    };
    let (greeted, _, _) = shake("c", "c", Ok(asks("server"))).await;
    assert_eq!(greeted.unwrap().peer, asks("server"));
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    let (me, key) = (asks("client"), key("c"));
    let (greeted, received) = tokio::join!(
        greet(&mut near, &key, &me, Plane::Data, 3),
        receive(&mut far, &key, |_, _| Ok(hello("server")))
    );
    assert_eq!(greeted.unwrap().peer, hello("server"));
    assert_eq!(received.unwrap().peer, me);
}

#[test]
fn a_greeting_and_one_of_the_format_before_are_read_by_each_other() {
    let asks = Hello {
        asks: true,
        ..hello("client")
    };
    for me in [hello("client"), asks] {
        let before = encode(&WireHello::from(&me));
        let (read, is_asking) = decode_greeting::<WireHello>(&before).unwrap();
        assert_eq!((Hello::from(read), is_asking), (hello("client"), false));
        let now = encode_greeting(&WireHello::from(&me), &me);
        let read: WireHello = postcard::from_bytes(&now).unwrap();
        assert_eq!(Hello::from(read), hello("client"));
        let (read, asks) = decode_greeting::<WireHello>(&now).unwrap();
        let read = Hello {
            asks,
            ..read.into()
        };
        assert_eq!(read, me);
    }
}

#[tokio::test]
async fn a_wrong_cookie_is_refused_before_anybody_is_asked() {
    let (greeted, received, asked) = shake("wrong", "c", Ok(hello("server"))).await;
    assert!(
        matches!(
            greeted,
            Err(HandshakeError::RefusedBy(Refusal::WrongCookie))
        ),
        "{greeted:?}"
    );
    assert!(
        matches!(received, Err(HandshakeError::Refused(Refusal::WrongCookie))),
        "{received:?}"
    );
    assert!(!asked);
}

#[tokio::test]
async fn every_refusal_arrives_as_what_it_is() {
    for refusal in Refusal::ALL
        .into_iter()
        .filter(|refusal| *refusal != Refusal::WrongCookie)
    {
        let (greeted, received, _) = shake("c", "c", Err(refusal)).await;
        assert!(
            matches!(greeted, Err(HandshakeError::RefusedBy(told)) if told == refusal),
            "{greeted:?}"
        );
        assert!(
            matches!(received, Err(HandshakeError::Refused(told)) if told == refusal),
            "{received:?}"
        );
    }
}

/// Carries both directions and changes one byte of one of them. Returns whether that byte was ever sent.
async fn meddle(
    mut client: DuplexStream,
    mut server: DuplexStream,
    upwards: bool,
    position: usize,
) -> bool {
    let mut seen = 0;
    let mut changed = false;
    let mut pass = |byte: &mut u8, in_direction: bool| {
        if in_direction {
            changed |= seen == position;
            *byte ^= u8::from(seen == position);
            seen += 1;
        }
    };
    let (mut up, mut down) = ([0], [0]);
    loop {
        tokio::select! {
            read = client.read_exact(&mut up) => {
                if read.is_err() { return changed }
                pass(&mut up[0], upwards);
                if server.write_all(&up).await.is_err() { return changed }
            }
            read = server.read_exact(&mut down) => {
                if read.is_err() { return changed }
                pass(&mut down[0], !upwards);
                if client.write_all(&down).await.is_err() { return changed }
            }
        }
    }
}

/// Of versions, nonces, names, verdicts or proofs: the client, which acts on what it hears, does not believe it.
#[tokio::test(start_paused = true)]
async fn a_changed_byte_anywhere_breaks_the_handshake() {
    for upwards in [true, false] {
        let mut position = 0;
        loop {
            let (mut near, near_far) = tokio::io::duplex(64 * 1024);
            let (far_near, mut far) = tokio::io::duplex(64 * 1024);
            let meddling = tokio::spawn(meddle(near_far, far_near, upwards, position));
            let key_of_both = key("c");
            let receiving = key_of_both.clone();
            let server = tokio::spawn(async move {
                let _ = receive(&mut far, &receiving, |_, _| Ok(hello("server"))).await;
            });
            let greeted = greet(&mut near, &key_of_both, &hello("client"), Plane::Data, 1).await;
            drop(near);
            server.await.unwrap();
            if !meddling.await.unwrap() {
                assert!(greeted.is_ok(), "unchanged, but {greeted:?}");
                break;
            }
            assert!(greeted.is_err(), "upwards {upwards}, byte {position}");
            position += 1;
        }
        assert!(100 < position, "only {position} bytes were ever changed");
    }
}

#[tokio::test]
async fn a_replayed_conversation_proves_nothing() {
    // What a client once said, word for word, to a server with a fresh nonce.
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    let me = hello("client");
    let preamble = client_preamble(Plane::Data).unwrap();
    let body = encode(&ClientHello {
        hello: (&me).into(),
        attempt: 1,
    });
    let old_nonce = server_preamble().unwrap();
    let proof = key("c")
        .mac(b"weir client", &[&preamble, &old_nonce, &body])
        .finalize()
        .into_bytes();
    near.write_all(&preamble).await.unwrap();
    write_frame(&mut near, &[&proof, &body]).await.unwrap();
    let received = receive(&mut far, &key("c"), |_, _| Ok(hello("server"))).await;
    assert!(
        matches!(received, Err(HandshakeError::Refused(Refusal::WrongCookie))),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_server_without_the_cookie_cannot_send_a_node_away() {
    // It says "fenced" as a real one would, with a proof made up.
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    far.write_all(&server_preamble().unwrap()).await.unwrap();
    write_frame(&mut far, &[&[Refusal::Fenced.code()], &[7; PROOF]])
        .await
        .unwrap();
    let greeted = greet(&mut near, &key("c"), &hello("client"), Plane::Data, 1).await;
    assert!(
        matches!(greeted, Err(HandshakeError::Unproven)),
        "{greeted:?}"
    );
}

#[tokio::test]
async fn a_server_that_reflects_the_clients_proof_is_found_out() {
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    let reflecting = tokio::spawn(async move {
        let mut preamble = [0; CLIENT_PREAMBLE];
        far.read_exact(&mut preamble).await.unwrap();
        let mut mine = preamble[..6].to_vec();
        mine.extend_from_slice(&preamble[7..]);
        far.write_all(&mine).await.unwrap();
        let claim = read_frame(&mut far).await.unwrap();
        write_frame(&mut far, &[&[0], &claim]).await.unwrap();
    });
    let greeted = greet(&mut near, &key("c"), &hello("client"), Plane::Data, 1).await;
    assert!(
        matches!(greeted, Err(HandshakeError::Unproven)),
        "{greeted:?}"
    );
    reflecting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (mut near, _far) = tokio::io::duplex(64);
    let received = receive(&mut near, &key("c"), |_, _| Ok(hello("server"))).await;
    assert!(
        matches!(received, Err(HandshakeError::Deadline)),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_not_read() {
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    near.write_all(&client_preamble(Plane::Data).unwrap())
        .await
        .unwrap();
    near.write_all(&(UNPROVEN_FRAME_MAX as u16 + 1).to_be_bytes())
        .await
        .unwrap();
    let received = receive(&mut far, &key("c"), |_, _| Ok(hello("server"))).await;
    assert!(
        matches!(received, Err(HandshakeError::Foreign)),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_hello_too_long_for_the_limit_is_not_sent() {
    let me = Hello {
        zone: Some("z".repeat(UNPROVEN_FRAME_MAX)),
        ..hello("client")
    };
    let (mut near, mut far) = tokio::io::duplex(64 * 1024);
    far.write_all(&server_preamble().unwrap()).await.unwrap();
    let greeted = greet(&mut near, &key("c"), &me, Plane::Data, 1).await;
    assert!(matches!(greeted, Err(HandshakeError::Io(_))), "{greeted:?}");
}

#[test]
fn neighbouring_versions_agree_on_the_lower_and_others_do_not() {
    let preamble = |version: u16| [MAGIC.as_slice(), &version.to_be_bytes()].concat();
    assert_eq!(agreed_version(&preamble(VERSION)).unwrap(), VERSION);
    assert_eq!(agreed_version(&preamble(VERSION + 1)).unwrap(), VERSION);
    assert_eq!(agreed_version(&preamble(VERSION - 1)).unwrap(), VERSION - 1);
    for theirs in [0, VERSION + 2, u16::MAX] {
        assert!(
            matches!(
                agreed_version(&preamble(theirs)),
                Err(HandshakeError::Version { .. })
            ),
            "{theirs}"
        );
    }
    assert!(matches!(
        agreed_version(b"HTTP\0\x01"),
        Err(HandshakeError::Foreign)
    ));
}
