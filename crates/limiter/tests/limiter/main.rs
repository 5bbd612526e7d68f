//! The limiter over a node that counts in memory and notes what it is asked.

mod billing;
mod tenants;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use catalogue::{Address, Changed, Content, NamedLimit, NotChanged, SERVICE};
use coordinator::{
    Answer, ClusterStatus, Coordinator, FailMode, Forgotten, Hit, NoDecision, Once, Ownership,
    Policy, Readiness, Strategy,
};
use http::HeaderMap;
use limiter::{
    Clues, Counted, Exported, Front, Identifier, Identity, Imported, Key, Kind, Limiter, Node,
    Refusal, Rule, Selected, Visit, Who,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use quota::{Algorithm, Cost, Count, Limit, Nanos, Stamp, UnixNanos};

const UNKNOWN: NoDecision = NoDecision::Unknown {
    retry_after: Nanos::from_millis(10),
};

const UNCOUNTED: NoDecision = NoDecision::Unavailable {
    retry_after: Nanos::from_millis(10),
};

#[derive(Default)]
struct Counting {
    /// By namespace, the name of the limit and the key.
    counts: Mutex<HashMap<String, Option<Count>>>,
    /// What was admitted, by its place and its id.
    remembered: Mutex<HashMap<String, Answer>>,
    /// Batches and single hits, by how many hits each had.
    asked: Mutex<Vec<usize>>,
    /// Limits made at run time.
    made: Mutex<BTreeMap<(catalogue::Kind, String, String), Content>>,
    /// By its name, what somebody else sets after it was read and before it is changed.
    meanwhile: Mutex<HashMap<String, Content>>,
    /// By its name, what another member alone knows.
    elsewhere: Mutex<HashMap<String, Content>>,
    fails: bool,
    waits: bool,
    /// Whoever counts the days of tenants cannot be reached.
    loses_days: AtomicBool,
}

impl Counting {
    fn loses_days(&self, loses: bool) {
        self.loses_days.store(loses, Relaxed);
    }

    fn decide(&self, hit: Hit<'_>) -> Result<Answer, NoDecision> {
        let limit = &hit.policy.limit;
        if self.fails {
            return hit.policy.on_failure.answer(limit, hit.cost, UNKNOWN);
        }
        if self.loses_days.load(Relaxed) && &*hit.policy.namespace == SERVICE {
            return Err(UNCOUNTED);
        }
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(place(hit.policy, hit.key)).or_default();
        let stamp = Stamp { term: 1, seq: 1 };
        let taken = limit.hit(UnixNanos::new(1 << 60), count, hit.cost, stamp);
        Ok(taken.decision.into())
    }
}

fn place(policy: &Policy, key: &str) -> String {
    format!("{} {} {key}", policy.namespace, policy.name)
}

impl Coordinator for Counting {
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        (!self.waits).then(|| self.decide(hit))
    }
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.asked.lock().unwrap().push(1);
        self.decide(Hit { policy, key, cost })
    }
    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        self.asked.lock().unwrap().push(hits.len());
        hits.iter().map(|&hit| self.decide(hit)).collect()
    }
    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        if self.fails {
            return Err(UNKNOWN);
        }
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(place(policy, key)).or_default();
        let taken = policy.limit.refund(UnixNanos::new(1 << 60), count, cost);
        Ok(taken.decision.into())
    }
    async fn once(&self, asked: Once<'_>, id: &str) -> Result<Answer, NoDecision> {
        let (Once::Hit(hit) | Once::Refund(hit)) = asked;
        let what = matches!(asked, Once::Refund(_));
        let id = format!(
            "{} {what} {} {id}",
            place(hit.policy, hit.key),
            hit.cost.units()
        );
        if let Some(answer) = self.remembered.lock().unwrap().get(&id) {
            return Ok(*answer);
        }
        let answer = match asked {
            Once::Hit(hit) => self.decide(hit)?,
            Once::Refund(hit) => self.refund(hit.policy, hit.key, hit.cost).await?,
        };
        if answer.decision.is_allowed() {
            self.remembered.lock().unwrap().insert(id, answer);
        }
        Ok(answer)
    }
    async fn reset(&self, _: &Policy, _: &str) -> Result<(), NoDecision> {
        Err(UNKNOWN)
    }
}

impl Node for Counting {
    fn cluster(&self) -> ClusterStatus {
        unreachable!("no test asks")
    }
    fn owner_of(&self, _: &Policy, _: &str) -> Option<Ownership> {
        Some(Ownership {
            shard: 0,
            term: 1,
            owner: "oskar".into(),
            replicas: Vec::new(),
        })
    }
    fn is_well(&self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        match self.waits {
            true => Readiness::Joining,
            false => Readiness::Ready,
        }
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn forget(&self, _: &str) -> Forgotten {
        Forgotten::Unknown
    }
    fn record(&self, kind: catalogue::Kind, namespace: &str, name: &str) -> Option<Content> {
        let place = (kind, kind.namespace(namespace).to_owned(), name.to_owned());
        self.made.lock().unwrap().get(&place).cloned()
    }
    async fn look_up(&self, kind: catalogue::Kind, namespace: &str, name: &str) -> bool {
        let found = self.elsewhere.lock().unwrap().remove(name);
        let place = (kind, namespace.to_owned(), name.to_owned());
        let found = found.map(|content| self.made.lock().unwrap().insert(place, content));
        found.is_some()
    }
    fn records(
        &self,
        kind: catalogue::Kind,
        namespace: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<(Arc<str>, Content)> {
        let made = self.made.lock().unwrap();
        let listed = made.iter().filter(|((of, whose, name), content)| {
            let address = Address {
                kind: *of,
                namespace: whose.as_str().into(),
                name: name.as_str().into(),
            };
            let within = content.listed_in(&address);
            let is_listed = within.iter().any(|listed| **listed == *namespace);
            *of == kind && is_listed && after.is_none_or(|after| after < name.as_str())
        });
        let listed = listed.map(|((_, _, name), content)| (name.as_str().into(), content.clone()));
        listed.take(count).collect()
    }
    fn count_records(&self, kind: catalogue::Kind, namespace: &str) -> usize {
        self.records(kind, namespace, None, usize::MAX).len()
    }
    fn export(&self, _: Option<&str>, _: usize) -> Result<Vec<Exported>, Refusal> {
        unreachable!("fronts ask for it")
    }
    async fn import(&self, _: &[Vec<u8>]) -> Result<Imported, Refusal> {
        unreachable!("fronts ask for it")
    }
    async fn edit<E: From<NotChanged> + Send>(
        &self,
        kind: catalogue::Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, E> + Send,
    ) -> Result<Changed, E> {
        let place = (kind, kind.namespace(namespace).to_owned(), name.to_owned());
        let mut made = self.made.lock().unwrap();
        if let Some(content) = self.meanwhile.lock().unwrap().remove(name) {
            made.insert(place.clone(), content);
        }
        let content = edit(made.get(&place))?;
        made.insert(place, content);
        Ok(Changed::default())
    }
    async fn remove(
        &self,
        kind: catalogue::Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Changed>, NotChanged> {
        let place = (kind, kind.namespace(namespace).to_owned(), name.to_owned());
        let removed = self.made.lock().unwrap().remove(&place);
        Ok(removed.map(|_| Changed::default()))
    }
}

fn limit(units: u32) -> Limit {
    Limit::new(Algorithm::SlidingLog, units, Nanos::from_secs(60)).unwrap()
}

fn policy(name: &str, on_failure: FailMode) -> Policy {
    Policy {
        namespace: "default".into(),
        name: name.into(),
        limit: limit(3),
        strategy: Strategy::Owner,
        on_failure,
        top_keys: false,
    }
}

fn limiter(node: Counting) -> Limiter<Counting> {
    let limits = [
        policy("login", FailMode::Deny),
        policy("open", FailMode::Allow),
    ];
    Limiter::new(Arc::new(node), "default".into(), limits, Front::Http)
}

fn key(key: &str) -> Key<'_> {
    Key::new(key, "key").unwrap()
}

/// Runs a future that waits for nothing.
fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn what_never_conforms_is_refused_before_anybody_is_asked() {
    let limiter = limiter(Counting::default());
    let login = &limiter.named("login").unwrap();
    let refusal = now(limiter.check(login, &key("ada"), Cost::new(4))).unwrap_err();
    assert_eq!(refusal.kind(), Kind::NeverConforms);
    assert_eq!(*limiter.node().asked.lock().unwrap(), [0; 0]);
    // A protocol that tells the state of the key asks.
    let answer = now(limiter.hit(login, &key("ada"), Cost::new(4))).unwrap();
    assert_eq!(answer.decision.remaining, 3);
    assert!(!answer.decision.is_allowed());
}

#[test]
fn a_batch_stays_one_and_is_answered_in_its_order() {
    let limiter = limiter(Counting::default());
    let login = &limiter.named("login").unwrap();
    let rule = limiter.inline(Rule::from(limit(1)));
    let keys = ["ada", "bo", "ada", "ada", "ada"].map(key);
    let mut hits: Vec<_> = keys.iter().map(|key| login.hit(key, Cost::ONE)).collect();
    hits.push(rule.hit(&keys[0], Cost::ONE));
    let told = now(limiter.hits(&hits));
    let allowed: Vec<_> = told
        .iter()
        .map(|told| told.as_ref().unwrap().decision.is_allowed())
        .collect();
    assert_eq!(allowed, [true, true, true, true, false, true]);
    assert_eq!(*limiter.node().asked.lock().unwrap(), [6]);
}

#[test]
fn a_hit_that_can_be_decided_at_once_needs_no_future() {
    let at_once = limiter(Counting::default());
    let login = &at_once.named("login").unwrap();
    let told = at_once.try_hit(login, &key("ada"), Cost::ONE);
    assert_eq!(told.unwrap().unwrap().decision.remaining, 2);
    assert_eq!(*at_once.node().asked.lock().unwrap(), [0; 0]);
    let waiting = limiter(Counting {
        waits: true,
        ..Counting::default()
    });
    let login = &waiting.named("login").unwrap();
    assert!(waiting.try_hit(login, &key("ada"), Cost::ONE).is_none());
}

#[test]
fn a_limit_that_fails_closed_says_whether_the_hit_was_counted() {
    let limiter = limiter(Counting {
        fails: true,
        ..Counting::default()
    });
    let login = &limiter.named("login").unwrap();
    let refusal = now(limiter.check(login, &key("ada"), Cost::ONE)).unwrap_err();
    assert_eq!(
        (refusal.kind(), refusal.counted()),
        (Kind::NoDecision, Counted::Unknown)
    );
    let open = &limiter.named("open").unwrap();
    let answer = now(limiter.check(open, &key("ada"), Cost::ONE)).unwrap();
    assert!(answer.by_fail_mode && answer.decision.is_allowed());
    for refusal in [
        now(limiter.refund(open, &key("ada"), Cost::ONE)).unwrap_err(),
        now(limiter.reset(open, &key("ada"))).unwrap_err(),
    ] {
        assert_eq!(refusal.counted(), Counted::Unknown);
    }
}

#[test]
fn a_key_without_a_limit_is_not_found_unless_it_may_still_be_told() {
    let ready = limiter(Counting::default());
    assert_eq!(
        ready.key_limit(&key("ada")).unwrap_err().kind(),
        Kind::NotFound
    );
    let joining = limiter(Counting {
        waits: true,
        ..Counting::default()
    });
    assert_eq!(
        joining.key_limit(&key("ada")).unwrap_err().kind(),
        Kind::NoDecision
    );
    assert_eq!(
        ready.named("nobody").unwrap_err().kind(),
        Kind::UnknownLimit
    );
}

#[test]
fn a_limit_made_at_run_time_is_found_as_it_is_now_and_the_files_stay() {
    let limiter = limiter(Counting::default());
    let made = |units| NamedLimit {
        limit: limit(units),
        as_token_bucket: false,
        strategy: Strategy::Local,
        on_failure: FailMode::Allow,
        top_keys: false,
    };
    for units in [5, 5, 7] {
        now(limiter.set_limit("made", made(units))).unwrap();
        let found = limiter.find("made").unwrap();
        let policy = found.policy();
        assert_eq!(
            (&*policy.namespace, policy.limit.units()),
            ("default", units)
        );
        assert_eq!(
            (policy.strategy, policy.on_failure),
            (Strategy::Local, FailMode::Allow)
        );
    }
    let refused = now(limiter.set_limit("login", made(5))).unwrap_err();
    assert_eq!(refused.kind(), Kind::DefinedInFile);
    assert_eq!(limiter.find("login").unwrap().policy().limit.units(), 3);
    now(limiter.remove_limit("made")).unwrap();
    assert_eq!(limiter.find("made").unwrap_err().kind(), Kind::UnknownLimit);
    let again = now(limiter.remove_limit("made")).unwrap_err();
    assert_eq!(again.kind(), Kind::UnknownLimit);
}

/// What is counted stays with the name: the node counts by it, and is handed another limit.
#[test]
fn all_fronts_find_what_the_file_says_now() {
    let http = limiter(Counting::default());
    let program = http.of(Front::Program);
    let before = program.find("login").unwrap();
    assert_eq!(program.as_of_now(&before).policy().limit.units(), 3);
    let changed = Policy {
        limit: limit(5),
        ..policy("login", FailMode::Deny)
    };
    let other = policy("other", FailMode::Deny);
    http.replace_limits([changed.clone(), other.clone()]);
    assert_eq!(program.find("login").unwrap().policy(), &changed);
    assert_eq!(program.as_of_now(&before).policy(), &changed);
    let kept = program.find("other").unwrap();
    // `open` was the file's, and may be made at run time now.
    assert_eq!(program.find("open").unwrap_err().kind(), Kind::UnknownLimit);
    program.may_change("open").unwrap();
    let gone = program.may_change("login").unwrap_err();
    assert_eq!(gone.kind(), Kind::DefinedInFile);
    // What stays as it was is not put together again, and one that has gone is as it was found.
    http.replace_limits([other]);
    let again = program.find("other").unwrap();
    assert!(Arc::ptr_eq(&kept.policy().name, &again.policy().name));
    assert_eq!(program.as_of_now(&before).policy().limit.units(), 3);
}

#[test]
fn a_browser_is_given_an_id_that_is_as_spent_as_where_it_comes_from() {
    let limiter = limiter(Counting::default());
    let login = &limiter.named("login").unwrap();
    let identifier = Identifier::new(&[], &[7; 32]);
    let headers = HeaderMap::new();
    let arrives = || {
        let clues = Clues {
            headers: &headers,
            query: "",
            peer: None,
        };
        let who = identifier.identify(&[Identity::Browser], clues);
        who.unwrap().unwrap()
    };
    let remaining = |who: &Who| {
        let peeked = now(limiter.hit(login, who.key(), Cost::PEEK)).unwrap();
        peeked.decision.remaining
    };
    let mut given = Vec::new();
    for left in [2, 1, 0, 0] {
        let who = arrives();
        let visited: Visit = now(limiter.visit(login, &who, Cost::ONE)).unwrap();
        assert_eq!(visited.answer.decision.remaining, left);
        let id = visited.gives.expect("a browser without one is given one");
        let mut headers = HeaderMap::new();
        let cookie = identifier.set_cookie(&id).to_str().unwrap().to_owned();
        headers.insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
        let clues = Clues {
            headers: &headers,
            query: "",
            peer: None,
        };
        let known = identifier.identify(&[Identity::Browser], clues);
        let known = known.unwrap().unwrap();
        assert_eq!(remaining(&known), left);
        given.push(known);
    }
    // A peek gives nothing away.
    let peeked = now(limiter.visit(login, &arrives(), Cost::PEEK)).unwrap();
    assert_eq!(peeked.gives, None);
    // A browser that is known is counted by its id, and keeps it.
    let again = now(limiter.visit(login, &given[0], Cost::ONE)).unwrap();
    assert_eq!((again.answer.decision.remaining, again.gives), (1, None));
}

/// The counters that are above 0, each with its labels, in order.
fn counters(snapshots: &Snapshotter) -> Vec<(String, u64)> {
    let mut counted: Vec<(String, u64)> = Vec::new();
    for (key, _, _, value) in snapshots.snapshot().into_vec() {
        let DebugValue::Counter(value) = value else {
            continue;
        };
        if value != 0 {
            let labels = key.key().labels().map(|label| label.value().to_owned());
            let labels: Vec<String> = labels.collect();
            counted.push((format!("{} {}", key.key().name(), labels.join(" ")), value));
        }
    }
    counted.sort();
    counted
}

#[test]
fn decisions_name_the_front_and_the_strategy() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let http = limiter(Counting::default());
        let resp = http.of(Front::Resp);
        let login: Selected = http.named("login").unwrap();
        for _ in 0..4 {
            let _told = now(http.hit(&login, &key("ada"), Cost::ONE));
        }
        let key = key("bo");
        now(resp.hits(&[login.hit(&key, Cost::ONE), login.hit(&key, Cost::new(9))]));
        // Refused by the front itself: nobody decided.
        now(http.check(&login, &key, Cost::new(9))).unwrap_err();
    });
    let counted = counters(&snapshots);
    assert_eq!(
        counted,
        [
            ("weir_decisions_total allow owner http".to_owned(), 3),
            ("weir_decisions_total allow owner resp".to_owned(), 1),
            ("weir_decisions_total deny owner http".to_owned(), 1),
            (
                "weir_decisions_total never_conforms owner resp".to_owned(),
                1
            ),
        ]
    );
}

/// Of the counters by limit: limit, decision, strategy and front.
fn by_limit(snapshots: &Snapshotter) -> Vec<(String, u64)> {
    let counted = counters(snapshots).into_iter();
    let by_limit = counted.filter_map(|(name, value)| {
        let labels = name.strip_prefix("weir_limit_decisions_total ")?;
        Some((labels.to_owned(), value))
    });
    by_limit.collect()
}

fn rule(units: u32) -> Rule {
    limit(units).into()
}

#[test]
fn decisions_name_a_limit_of_the_file_at_once_and_another_when_it_is_asked_often() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let http = limiter(Counting::default());
    http.count_by_limit(Arc::new(recorder));
    let grpc = http.of(Front::Grpc);
    let (login, open) = (http.named("login").unwrap(), http.named("open").unwrap());
    let (ada, bo) = (key("ada"), key("bo"));
    for _ in 0..4 {
        let _told = now(http.hit(&login, &ada, Cost::ONE));
    }
    now(grpc.hits(&[
        login.hit(&bo, Cost::ONE),
        open.hit(&bo, Cost::ONE),
        open.hit(&bo, Cost::new(9)),
        login.hit(&bo, Cost::ONE),
    ]));
    let inline = http.inline(rule(1_000));
    for _ in 0..103 {
        let _told = now(http.hit(&inline, &ada, Cost::ONE));
    }
    let expected = [
        (
            "@rule/sliding_log/1000/60000ms/1000/epoch allow owner http",
            3,
        ),
        ("login allow owner grpc", 2),
        ("login allow owner http", 3),
        ("login deny owner http", 1),
        ("open allow owner grpc", 1),
        ("open never_conforms owner grpc", 1),
        ("other allow owner http", 100),
    ];
    assert_eq!(
        by_limit(&snapshots),
        expected.map(|(labels, count)| (labels.to_owned(), count))
    );
}

/// Clients give rules that nobody gave before, each as often as it takes to be told apart.
#[test]
fn no_more_limits_are_told_apart_than_a_dashboard_has_room_for() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let limiter = limiter(Counting::default());
    limiter.count_by_limit(Arc::new(recorder));
    let ada = key("ada");
    for units in 1..=250 {
        let inline = limiter.inline(rule(units));
        let hits = vec![inline.hit(&ada, Cost::PEEK); 101];
        now(limiter.hits(&hits));
    }
    let told = by_limit(&snapshots);
    let (others, own): (Vec<_>, Vec<_>) = told
        .iter()
        .partition(|(labels, _)| labels.starts_with("other "));
    assert_eq!(own.len(), 200);
    let sum = |counted: &[&(String, u64)]| counted.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!((sum(&own), sum(&others)), (200, 250 * 101 - 200));

    // One that comes into the file has its own, however many there are.
    let last = limiter.inline(rule(250));
    let name = &last.policy().name;
    let mut of_file = policy("other", FailMode::Deny);
    of_file.name = name.clone();
    limiter.replace_limits([of_file]);
    let selected = limiter.named(name).unwrap();
    let _told = now(limiter.hit(&selected, &ada, Cost::PEEK));
    let told = by_limit(&snapshots);
    assert_eq!(told, [(format!("{name} allow owner http"), 1)]);
}
