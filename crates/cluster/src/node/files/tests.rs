//! What files differ in, and what is told of them.

use super::*;

const KEYS: [u8; 16] = [7; 16];

fn file(limits: &[(&str, &str)]) -> File {
    let limits = limits
        .iter()
        .map(|&(name, says)| (name.into(), says.to_owned()));
    File::new(&KeyHasher::new(KEYS), limits.collect())
}

fn check(files: &[(&str, File)], expected: &[&str]) {
    check_part(Part::Limits, files, expected);
}

fn check_part(part: Part, files: &[(&str, File)], expected: &[&str]) {
    let files: BTreeMap<&str, &File> = files.iter().map(|(node, file)| (*node, file)).collect();
    let differing = differing(&files, part)
        .into_iter()
        .map(|(name, definitions)| {
            let definitions = definitions.iter().map(|definition| {
                let says = definition.says.as_deref().unwrap_or("nothing");
                format!("{}={says}", definition.nodes.join("+"))
            });
            format!("{name}: {}", definitions.collect::<Vec<_>>().join(" "))
        });
    assert_eq!(differing.collect::<Vec<_>>(), expected);
}

#[test]
fn a_limit_differs_when_one_file_says_something_else_or_nothing() {
    let five = || file(&[("api", "5"), ("page", "1")]);
    check(&[("a", five()), ("b", five())], &[]);
    check(
        &[
            ("a", five()),
            ("b", file(&[("api", "10"), ("page", "1")])),
            ("c", five()),
        ],
        &["api: a+c=5 b=10"],
    );
    check(
        &[("a", five()), ("b", file(&[("api", "5")]))],
        &["page: a=1 b=nothing"],
    );
}

/// A program has a node without routes beside nodes that serve them.
#[test]
fn of_sections_those_are_compared_that_speak_of_them() {
    let serves = |limit| {
        file(&[
            ("[[route]]", ""),
            ("[[route]] /a", limit),
            ("[cluster]", ""),
        ])
    };
    let one = || serves("limit one");
    check_part(Part::Sections, &[("a", one()), ("b", one())], &[]);
    let program = || file(&[("[cluster]", ""), ("[cluster] replicas", "1")]);
    check_part(
        Part::Sections,
        &[("a", one()), ("b", serves("limit two")), ("c", program())],
        &[
            "[[route]] /a: a=limit one b=limit two",
            "[cluster] replicas: a+b=nothing c=1",
        ],
    );
    let nothing = file(&[("[[route]]", "")]);
    check_part(
        Part::Sections,
        &[("a", one()), ("b", nothing)],
        &["[[route]] /a: a=limit one b=nothing"],
    );
}

/// A node of an earlier version says nothing of `[service]`; one that serves HTTP without it says so.
#[test]
fn a_node_without_a_service_differs_from_one_that_has_it() {
    let serves = |url, free| {
        file(&[
            ("[service]", ""),
            ("[service] public_url", url),
            ("[[plan]]", ""),
            ("[[plan]] free", free),
        ])
    };
    let without = || file(&[("[cluster]", ""), ("[service]", "")]);
    check_part(
        Part::Sections,
        &[
            ("a", serves("https://a", "5")),
            ("b", serves("https://a", "6")),
            ("c", without()),
            ("d", file(&[("[cluster]", "")])),
        ],
        &[
            "[[plan]] free: a=5 b=6",
            "[service] public_url: a+b=https://a c=nothing",
        ],
    );
}

#[test]
fn what_was_not_told_of_a_long_file_differs_in_nothing() {
    let whole = file(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let limits = vec![
        ("a".to_owned(), "1".to_owned()),
        ("b".to_owned(), "9".to_owned()),
    ];
    let first = File::told(7, limits, false);
    check(&[("x", whole), ("y", first)], &["b: x=2 y=9"]);
}

#[test]
fn files_with_the_same_limits_have_one_sum_and_others_have_others() {
    let one = file(&[("api", "5"), ("page", "1")]);
    assert_eq!(one.sum, file(&[("page", "1"), ("api", "5")]).sum);
    for other in [
        file(&[("api", "1"), ("page", "5")]),
        file(&[("api", "5")]),
        file(&[("api", "5"), ("page", "1"), ("more", "1")]),
    ] {
        assert_ne!(one.sum, other.sum);
    }
}

/// The limits travel once, whatever was asked how often.
#[test]
fn a_file_is_spelled_out_for_those_who_do_not_know_it() {
    let peer = Peer {
        replica: ReplicaId(2),
        name: "b".into(),
        status: Status::Alive,
        asks: false,
    };
    let (here, there) = (Compared::default(), Compared::default());
    let ask = || {
        let answer = there.answer(&here.sums(peer.replica));
        let length = answer.len();
        here.on_answer(BootNanos::ZERO, &peer, decode(&answer));
        (here.compare("a", Part::Limits).len(), length)
    };
    assert_eq!(ask(), (0, 1), "no file there");
    here.mine.store(Arc::new(file(&[("api", "5")])));
    assert_eq!(ask(), (0, 1));
    let long = "x".repeat(1_000);
    there.mine.store(Arc::new(file(&[("api", &long)])));
    assert!(matches!(ask(), (1, length) if 1_000 < length));
    assert!(matches!(ask(), (1, length) if length < 20));
    here.mine.store(Arc::new(file(&[("api", &long)])));
    assert!(matches!(ask(), (0, length) if length < 20));
    // Back to what it was: the sum that is known is not the other's.
    here.mine.store(Arc::new(file(&[("api", "5")])));
    assert!(matches!(ask(), (1, length) if 1_000 < length));
    // A node that takes no part differs in nothing.
    here.mine.store(Arc::default());
    assert_eq!(here.compare("a", Part::Limits), []);
    here.mine.store(Arc::new(file(&[("api", "5")])));
    assert_eq!(here.compare("a", Part::Limits).len(), 1);
    // One that does not understand says nothing.
    here.on_answer(BootNanos::ZERO, &peer, decode(&[]));
    assert!(here.is_deaf(peer.replica));
    assert_eq!(here.compare("a", Part::Limits), []);
}

#[test]
fn an_answer_is_shorter_than_what_the_control_plane_carries() {
    let limits = (0..60_000).map(|number| (format!("{number:064}"), "y".repeat(40)));
    let file = File::told(1, limits.collect(), true);
    let answer = encode(&file.tell());
    assert!(answer.len() < crate::control::BODY_MAX, "{}", answer.len());
    let Some(FileAnswer::Says {
        entries, is_all, ..
    }) = decode(&answer)
    else {
        panic!("it is told");
    };
    assert!(!is_all && 30_000 < entries.len());
}

/// Of two nodes on a busy machine each held the other for dead again and again, and a warning came and went with that.
#[test]
fn a_file_is_remembered_while_its_node_is_silent_for_a_while() {
    let peer = |status| Peer {
        replica: ReplicaId(2),
        name: "b".into(),
        status,
        asks: false,
    };
    let at = |secs| BootNanos::ZERO + Nanos::from_secs(secs);
    let files = Compared::default();
    files.mine.store(Arc::new(file(&[("api", "5")])));
    let said = FileAnswer::Says {
        sum: 7,
        entries: vec![("api".to_owned(), "10".to_owned())],
        is_all: true,
    };
    files.on_answer(at(1), &peer(Status::Alive), Some(said));
    for (now, status, differing) in [
        (5, Status::Dead, 1),
        (6, Status::Alive, 1),
        (15, Status::Dead, 1),
        (16, Status::Dead, 0),
    ] {
        files.on_members(at(now), &[peer(status)]);
        assert_eq!(files.compare("a", Part::Limits).len(), differing, "{now}");
    }
}
