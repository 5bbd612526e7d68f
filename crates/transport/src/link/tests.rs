use delta_crdt::ReplicaId;
use futures_util::FutureExt as _;

use super::*;

fn connection(id: u64, dialled_here: bool, attempt: u64) -> Arc<Connection> {
    Arc::new(Connection::new(id, dialled_here, attempt))
}

fn link(first: &Arc<Connection>) -> Link {
    let peer = Hello {
        name: "bert".to_owned(),
        incarnation: 1,
        replica: ReplicaId(2),
        cluster: "10.0.0.2:7000".to_owned(),
        http: "10.0.0.2:4000".to_owned(),
        zone: None,
        asks: false,
    };
    Link::new(peer, 1, first.clone())
}

fn push(link: &Link) {
    let pushed = link.push(Lane::Urgent, Bytes::from_static(b"frame"));
    pushed.expect("an empty queue has room");
}

fn take(link: &Link, connection: &Connection) -> Turn {
    link.take(connection, &mut Batch::default())
}

/// Whether the writer of this connection has been woken since it was asked last.
fn is_woken(connection: &Connection) -> bool {
    connection.wake.notified().now_or_never().is_some()
}

/// Where packets are lost, the last message of a handshake can come behind a later attempt's. Turned away, it had moved the
/// connection that was in the middle of a write behind the other, and nobody woke the other any more: frames to that peer
/// stayed where they were for good, while its own came in.
#[test]
fn an_attempt_that_was_overtaken_changes_nothing() {
    let (theirs, ours) = (connection(1, false, 7), connection(2, true, 5));
    let link = link(&theirs);
    assert!(link.add(&ours));
    push(&link);
    assert_eq!(take(&link, &ours), Turn::Write);
    assert!(!link.add(&connection(3, true, 4)), "5 came before");
    // The write is over.
    assert_eq!(take(&link, &ours), Turn::Wait);
    link.settle();
    assert_eq!(take(&link, &theirs), Turn::Finish);
    push(&link);
    assert!(is_woken(&ours));
    assert_eq!(take(&link, &ours), Turn::Write);
}

#[test]
fn a_later_attempt_takes_the_place_of_an_earlier_one_by_the_same_end() {
    let (earlier, theirs) = (connection(1, true, 4), connection(2, false, 9));
    let link = link(&earlier);
    assert!(link.add(&theirs));
    let later = connection(3, true, 5);
    assert!(link.add(&later));
    assert!(earlier.cut.notified().now_or_never().is_some());
    assert!(theirs.cut.notified().now_or_never().is_none());
    push(&link);
    assert_eq!(take(&link, &theirs), Turn::Wait);
    assert_eq!(take(&link, &later), Turn::Write);
}

#[test]
fn whoever_is_left_writes_what_waits() {
    let (first, second) = (connection(1, true, 4), connection(2, false, 9));
    let link = link(&first);
    assert!(link.add(&second));
    assert_eq!(take(&link, &second), Turn::Wait);
    assert!(!link.remove(&second));
    assert!(is_woken(&first));
    push(&link);
    assert_eq!(take(&link, &first), Turn::Write);
    assert!(link.remove(&first), "it was the last");
    assert_eq!(
        link.push(Lane::Urgent, Bytes::from_static(b"frame")),
        Err(SendError::NotConnected)
    );
}
