//! What rosters and views are named by. A changed number here is a changed peer protocol.

use delta_crdt::ReplicaId;
use membership::{Contact, Member, Roster, Standing};

use crate::played::{Node, member};

fn roster(facts: &[Member]) -> Roster {
    let mut roster = Roster::default();
    for fact in facts {
        roster.join(fact);
    }
    roster
}

fn facts() -> [Member; 3] {
    let bea = Member {
        name: "bea".into(),
        incarnation: 3,
        replica: ReplicaId(0xdead_beef),
        standing: Standing::Leaving,
        contact: Contact {
            cluster: "10.0.0.2:4100".into(),
            http: "10.0.0.2:4000".into(),
            zone: Some("east".into()),
        },
    };
    let retired = Member {
        name: String::new(),
        incarnation: 9,
        standing: Standing::Left,
        ..member("", 0)
    };
    [member("ada", 1), bea, retired]
}

#[test]
fn the_digest_of_a_roster_is_stated() {
    assert_eq!(roster(&[]).digest(), EMPTY);
    assert_eq!(roster(&facts()).digest(), THREE);
}

#[test]
fn everything_that_others_must_agree_on_changes_the_digest_of_a_roster() {
    let [ada, bea, retired] = facts();
    let digest = |bea: Member| roster(&[ada.clone(), bea, retired.clone()]).digest();
    let same = digest(bea.clone());
    let changes: [fn(&mut Member); 8] = [
        |bea| bea.name.push('x'),
        |bea| bea.incarnation = 4,
        |bea| bea.replica = ReplicaId(7),
        |bea| bea.standing = Standing::Joined,
        |bea| bea.contact.cluster.clear(),
        |bea| bea.contact.http.clear(),
        |bea| bea.contact.zone = None,
        |bea| bea.standing = Standing::Left,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = bea.clone();
        change(&mut other);
        assert_ne!(digest(other), same, "change {number}");
    }
    assert_ne!(roster(&[ada.clone(), bea.clone()]).digest(), same);
}

#[test]
fn the_digest_is_of_the_roster_as_it_is_now() {
    let mut grown = roster(&[]);
    let facts = facts();
    for known in 1..=facts.len() {
        let before = grown.digest();
        assert!(grown.join(&facts[known - 1]));
        assert_ne!(grown.digest(), before);
        assert_eq!(grown.digest(), roster(&facts[..known]).digest());
        assert!(!grown.join(&facts[known - 1]));
        assert_eq!(grown.digest(), roster(&facts[..known]).digest());
    }
    assert_eq!(grown, roster(&facts), "one was asked, one was not");
}

#[test]
fn who_left_is_not_in_the_digest() {
    let [ada, mut bea, _] = facts();
    bea.standing = Standing::Left;
    let alone = roster(std::slice::from_ref(&ada)).digest();
    assert_eq!(roster(&[ada, bea]).digest(), alone);
}

#[test]
fn the_digest_of_a_view_is_stated() {
    let mut node = Node::new();
    assert_eq!(node.machine.view().digest(), ADA);
    let mut bea = member("bea", 2);
    bea.contact.zone = Some("east".into());
    node.meets(&bea);
    let two = node.machine.view().digest();
    assert_eq!(two, ADA_AND_BEA);
    node.act(|machine, _| machine.on_aside(true));
    assert_ne!(node.machine.view().digest(), two);
}

// Computed by another SipHash-1-3, from what the documentation of the two digests says.
const EMPTY: u64 = 0x26d6_97c0_ad45_36b9;
const THREE: u64 = 0x3c2d_50eb_166b_677d;
const ADA: u64 = 0xbb44_ad7c_aa3c_d9d8;
const ADA_AND_BEA: u64 = 0x6bb3_329d_9f89_39f1;
