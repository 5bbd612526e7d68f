//! The story, told by events as the driver would.

use super::*;

/// A driver whose cluster keeps every promise, unless a test breaks it.
pub(crate) struct Told {
    pub(crate) story: Story,
    pub(crate) now: Duration,
    /// Units used of each key.
    used: Vec<u64>,
    /// Effects not looked at yet.
    asked: VecDeque<Effect>,
}

const MS: Duration = Duration::from_millis(1);

fn http() -> SocketAddr {
    "127.0.0.1:4000".parse().unwrap()
}

fn seen(shards: [u64; NODES]) -> Seen {
    Seen {
        members: shards.map(|shards| (0 < shards, shards)),
        under_replicated: 0,
        lag_us: 700,
    }
}

impl Told {
    pub(crate) fn new() -> Self {
        let mut told = Self {
            story: Story::new(),
            now: Duration::ZERO,
            used: vec![0; KEYS.len()],
            asked: VecDeque::new(),
        };
        told.collect();
        told
    }

    fn collect(&mut self) {
        while let Some(effect) = self.story.next_effect() {
            self.asked.push_back(effect);
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.story.on_event(self.now, event);
        self.collect();
    }

    pub(crate) fn tick(&mut self, later: Duration) {
        self.now += later;
        self.story.on_tick(self.now);
        self.collect();
    }

    fn take_asked(&mut self) -> Vec<Effect> {
        self.asked.drain(..).collect()
    }

    fn ready(&mut self, node: usize, run: u32) {
        self.event(Event::Ready {
            node,
            run,
            pid: 100,
            http: http(),
        });
    }

    fn observe(&mut self, runs: [u32; NODES], shards: [u64; NODES]) {
        for node in (0..NODES).filter(|&node| 0 < shards[node]) {
            self.event(Event::Observed {
                node,
                run: runs[node],
                seen: seen(shards),
            });
        }
    }

    /// Hits every key in turn through `nodes`, each as long as its limit lasts.
    fn hits(&mut self, nodes: &[usize], hits: u64) {
        for (number, &node) in (0..hits as usize).zip(nodes.iter().cycle()) {
            self.now += MS;
            let key = number % KEYS.len();
            let admitted = self.used[key] < KEYS[key].limit;
            self.used[key] += u64::from(admitted);
            self.event(Event::Answered {
                node,
                key,
                sent_at: self.now - MS,
                took: MS,
                admitted,
            });
        }
    }

    fn answer_audit(&mut self, forgotten: u64) {
        let asked = self.take_asked();
        let Some(Effect::Audit { admitted }) = asked
            .iter()
            .find(|effect| matches!(effect, Effect::Audit { .. }))
        else {
            panic!("asks for an audit: {asked:?}");
        };
        let peek = |(key, &admitted_before): (usize, &u64)| Peek {
            key,
            admitted_before,
            remaining: KEYS[key].limit - self.used[key] + if key == 0 { forgotten } else { 0 },
        };
        let peeks = admitted.iter().enumerate().map(peek).collect();
        self.event(Event::Audited { peeks, failed: 0 });
    }

    /// Up to the kill of ben, who owns every second key.
    pub(crate) fn until_the_kill(&mut self) {
        assert_eq!(
            self.take_asked(),
            [0, 1, 2].map(|node| Effect::Start { node, run: 0 })
        );
        (0..NODES).for_each(|node| self.ready(node, 0));
        self.observe([0; 3], [340, 342, 342]);
        assert_eq!(self.take_asked(), [Effect::StartTraffic]);
        self.hits(&[0, 1, 2], HITS_TO_SEE);
        assert_eq!(self.take_asked(), [Effect::Locate]);
        let owners = (0..KEYS.len())
            .map(|key| Some(key % 2))
            .map(|owner| owner.map(|odd| 2 - odd));
        self.event(Event::Located {
            owners: owners.collect(),
        });
        assert_eq!(self.take_asked(), [Effect::Kill { node: 2 }]);
        let killed_at = self.now;
        self.now += 2 * MS;
        self.event(Event::Killed {
            node: 2,
            killed_at,
            dead_at: self.now,
        });
        self.event(Event::Ended {
            node: 2,
            run: 0,
            last_words: Vec::new(),
        });
    }

    /// Up to the second start of the victim, with that many hits missing from the first books.
    pub(crate) fn until_the_return(&mut self, forgotten: u64) {
        assert!(matches!(&self.take_asked()[..], [Effect::Probe { keys }] if keys.len() == 20));
        self.hits(&[0, 1], KEYS.len() as u64);
        assert_eq!(self.story.phase, Phase::Without);
        self.observe([0; 3], [512, 512, 0]);
        self.hits(&[0, 1], HITS_TO_SEE);
        self.answer_audit(forgotten);
        assert_eq!(self.take_asked(), [Effect::Start { node: 2, run: 1 }]);
    }

    pub(crate) fn until_the_end(&mut self) {
        self.ready(2, 1);
        self.observe([0, 0, 1], [340, 342, 342]);
        assert_eq!(self.story.phase, Phase::Restored);
        self.hits(&[0, 1, 2], HITS_TO_SEE);
        assert_eq!(self.take_asked(), [Effect::StopTraffic]);
        self.event(Event::Quiet);
        self.answer_audit(0);
        assert_eq!(self.story.phase, Phase::Over);
    }
}

#[test]
fn a_cluster_that_keeps_its_promises_is_found_to() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(0);
    assert!(!told.story.good(), "it is not over");
    told.until_the_end();
    assert!(told.story.good(), "{}", told.story.verdict());
    assert!(told.story.verdict().starts_with("AS PROMISED"));
    assert!(told.story.came_back.is_some());
}

#[test]
fn the_takeover_is_timed_from_the_kill() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(0);
    let takeover = told.story.takeover.as_ref().unwrap();
    // Dead after 2 ms; then the keys are answered one by one, a millisecond each, every second one being its.
    assert_eq!(takeover.first(), Some(3 * MS));
    assert_eq!(takeover.all(), Some(41 * MS));
}

#[test]
fn a_forgotten_hit_is_not_as_promised() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(2);
    told.until_the_end();
    assert_eq!(told.story.totals().forgotten, 2);
    assert!(!told.story.good());
    assert_eq!(
        told.story.verdict(),
        "NOT AS PROMISED: 2 hits forgotten, 0 over-admitted"
    );
}

#[test]
fn an_over_admitted_hit_is_not_as_promised() {
    let mut told = Told::new();
    told.until_the_kill();
    let small = KEYS.iter().position(|key| key.limit == 20).unwrap();
    assert_eq!(told.used[small], 20, "it is spent");
    told.event(Event::Answered {
        node: 0,
        key: small,
        sent_at: told.now,
        took: MS,
        admitted: true,
    });
    told.until_the_return(0);
    told.until_the_end();
    assert_eq!(told.story.totals().over_admitted, 1);
    assert!(!told.story.good());
}

#[test]
fn a_node_that_does_not_come_back_ends_the_story() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(0);
    told.ready(2, 1);
    told.observe([0, 0, 1], [511, 512, 1]);
    told.tick(PHASE_MAX);
    assert_eq!(
        told.story.phase,
        Phase::Returning,
        "one shard is not what it had"
    );
    told.tick(MS);
    assert!(!told.story.good());
    let trouble = told.story.trouble.as_deref().unwrap();
    assert!(
        trouble.starts_with("gave up after 20 s of: cleo starts again"),
        "{trouble}"
    );
    assert_eq!(told.take_asked(), [Effect::StopTraffic]);
}

#[test]
fn a_node_that_ends_by_itself_ends_the_story_with_its_last_words() {
    let mut told = Told::new();
    told.ready(0, 0);
    let last_words = vec!["weir: the cookie: is blank".to_owned()];
    told.event(Event::Ended {
        node: 1,
        run: 0,
        last_words: last_words.clone(),
    });
    assert_eq!(told.story.phase, Phase::Over);
    assert_eq!(told.story.last_words, last_words);
    assert!(told.story.verdict().contains("ben ended by itself"));
}

#[test]
fn a_second_process_that_ends_is_not_taken_for_the_killed_one() {
    let mut told = Told::new();
    told.until_the_kill();
    told.until_the_return(0);
    told.event(Event::Ended {
        node: 2,
        run: 1,
        last_words: Vec::new(),
    });
    assert!(told.story.trouble.is_some());
}

#[test]
fn only_what_died_with_the_node_may_go_unanswered() {
    let mut told = Told::new();
    told.until_the_kill();
    let unanswered = |node, sent_at| Event::Unanswered {
        node,
        key: 0,
        sent_at,
        why: "lost".to_owned(),
    };
    told.event(unanswered(2, told.now - 2 * MS));
    assert_eq!(told.story.failed_elsewhere, 0);
    told.event(unanswered(0, told.now));
    assert_eq!(told.story.failed_elsewhere, 1);
    assert_eq!(told.story.totals().unanswered, 2);
}

#[test]
fn an_observation_of_a_dead_process_says_nothing() {
    let mut told = Told::new();
    told.until_the_kill();
    told.event(Event::Observed {
        node: 2,
        run: 0,
        seen: seen([1, 1, 1]),
    });
    assert_eq!(told.story.nodes[2].seen, None);
}

#[test]
fn quitting_early_is_no_success() {
    let mut told = Told::new();
    told.until_the_kill();
    told.story.on_quit(told.now);
    assert!(!told.story.good());
}
