//! What tenants see of their limits while they decide: a sample each second, and pictures of what was.
//!
//! Each node gathers what it has decided itself. The node that serves a stream asks the others once a second for all its streams
//! together, and nobody while there are none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use accounts::TenantId;
use futures_util::future::join_all;
use metrics::{Gauge, gauge};
use series::{Asked, NamedTotal, Point, Sample, Store, Told, Tops, Total, Window, busiest, joined};
use tokio::sync::broadcast;

use super::{Caller, DayUsage, MostDenied, Rights};
use crate::{Kind, Limiter, Node, Refusal};

/// Streams of one session, or of one API key, on a node.
const OF_SESSION_MAX: usize = 4;
/// Streams of one tenant on a node.
const OF_TENANT_MAX: usize = 50;
/// Streams of a node.
const OF_NODE_MAX: usize = 1_000;

/// Events that may wait for a stream: beyond, it has not been read for so many seconds, and skips some.
const WAITING_MAX: usize = 8;

/// Limits that a sample and a picture tell of.
const LIMITS_TOLD: usize = 20;

/// API keys that a picture tells of: of the usual plans all.
const API_KEYS_TOLD: usize = 50;

/// Limits of a namespace that one node tells another of, when it tells of many: those that are the busiest of all are among the busiest of some. A
/// thousand namespaces, with names of 64 bytes, come to some 3.4 MB, of the 4 MiB that an answer may have.
const LIMITS_TOLD_TO_NODES: usize = 2 * LIMITS_TOLD;

/// Pictures that are kept for those who ask for the same within a second. More are put together for each who asks.
pub(super) const PICTURES_MAX: usize = 1_000;

/// How long whoever knows where days stand may take. Until then, and beyond, what was known last is told.
const USAGE_WITHIN: Duration = Duration::from_millis(500);

/// A clock that steps back by more seconds was set; by fewer it has drifted, and is waited for.
const STEP_BACK_MAX: u32 = 10;

/// What tenants see of their limits while they decide, on one node.
#[derive(Default)]
pub struct Live {
    pub(super) kept: Mutex<Kept>,
    streams: Mutex<Streams>,
    /// The keys that limits with `top_keys` deny most.
    pub(super) tops: Mutex<Tops>,
    /// Tenants whose limits have decided something since it was taken in.
    touched: Mutex<Vec<TenantId>>,
}

/// What was decided, as far as it was taken in.
#[derive(Default)]
pub(super) struct Kept {
    store: Store,
    /// The last second that was, whether or not anything was decided in it. Of it and those before nothing more comes.
    pub(super) until: u32,
    /// What all have told by then, by what they were asked.
    pictures: HashMap<Asked, Arc<Picture>>,
    /// The same of the most denied keys.
    pub(super) most_denied: HashMap<Asked, Arc<MostDenied>>,
}

/// The streams of a node.
#[derive(Default)]
struct Streams {
    tenants: HashMap<TenantId, Streamed>,
    /// How many each session, or API key, has.
    of_session: HashMap<Arc<str>, usize>,
    count: usize,
    have_ended: bool,
    /// Made with the first stream.
    gauge: Option<Gauge>,
}

impl Streams {
    fn count(&mut self, count: usize) {
        self.count = count;
        let gauge = self
            .gauge
            .get_or_insert_with(|| gauge!("weir_live_streams"));
        gauge.set(count as f64);
    }
}

/// The streams of one tenant.
struct Streamed {
    count: usize,
    events: broadcast::Sender<LiveEvent>,
    /// Where the day stood when it was told last.
    day: Option<DayUsage>,
}

/// What a stream tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveEvent {
    /// What a second was like.
    Sample(Arc<LiveSample>),
    /// So many hundredths of the day's requests are used, which were not before: 80 or 100.
    Used(u32),
    /// This node stops: another one goes on.
    Bye,
}

/// What a second was like in a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveSample {
    /// When it began, in seconds since the epoch, by this node's clock.
    pub at: u32,
    /// What was decided.
    pub all: Total,
    /// The busiest limits, the busiest first.
    pub limits: Vec<NamedTotal>,
    /// Where the day stands. `None`: nobody who knows could be reached yet.
    pub today: Option<DayUsage>,
    /// The most requests of the day. `None`: there is no cap.
    pub cap: Option<u32>,
    /// Who has told of it.
    pub from: Answered,
}

/// Who has told, of the members that there are.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answered {
    /// Members that have told, this node counted.
    pub from: usize,
    /// Members that there are, those that are dead and not forgotten counted.
    pub of: usize,
    /// Those that have not, in order.
    pub missing: Vec<String>,
}

/// A picture of what was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// The last second of it.
    pub until: u32,
    /// Seconds, minutes or hours in which something was decided, in their order.
    pub points: Vec<Point>,
    /// The busiest limits in sum, the busiest first. Empty in a picture of one.
    pub limits: Vec<NamedTotal>,
    /// The busiest API keys in sum, by their ids. Empty in a picture of one limit.
    pub api_keys: Vec<NamedTotal>,
    /// Who has told of it.
    pub from: Answered,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// What this node has decided, as it tells another.
    #[must_use]
    pub fn answer(&self, asked: &Asked) -> Told {
        match asked {
            Asked::Top { namespace, limit } => Told::Top(self.top_keys(namespace, limit)),
            Asked::Since { after, namespaces } => {
                let Kept { store, until, .. } = &*lock(&self.kept);
                // What a clock that was set back since has told is told no more.
                let known = after.filter(|after| after <= until);
                let after = known.unwrap_or(until.saturating_sub(1));
                let samples = namespaces.iter().map(|namespace| {
                    let Sample { all, limits } = store.since(namespace, after);
                    let limits = busiest(limits, LIMITS_TOLD_TO_NODES);
                    Sample { all, limits }
                });
                Told::Since {
                    until: *until,
                    samples: samples.collect(),
                }
            }
            Asked::Points {
                namespace,
                limit,
                window,
            } => {
                let Kept { store, until, .. } = &*lock(&self.kept);
                let (limits, api_keys) = match limit {
                    None => store.by_name(namespace, *window, *until),
                    Some(_) => Default::default(),
                };
                Told::Points {
                    points: store.points(namespace, limit.as_deref(), *window, *until),
                    limits,
                    api_keys,
                }
            }
        }
    }

    /// A limit of this tenant has decided something, the first since what it had decided was taken in.
    pub(super) fn touched(&self, tenant: TenantId) {
        lock(&self.touched).push(tenant);
    }

    /// Begins to take in what was decided in a second that is over by this clock. `None`: it was already, and goes with the next.
    fn begin_second(&self, now: u32) -> Option<MutexGuard<'_, Kept>> {
        let mut kept = lock(&self.kept);
        if now <= kept.until && kept.until - now <= STEP_BACK_MAX {
            return None;
        }
        if now < kept.until {
            // The time that was drawn comes again.
            kept.store = Store::default();
        }
        kept.until = now;
        kept.pictures.clear();
        kept.most_denied.clear();
        Some(kept)
    }

    /// From now on there are no streams: this node stops.
    pub fn end(&self) {
        let mut streams = lock(&self.streams);
        streams.have_ended = true;
        for streamed in streams.tenants.values() {
            // Nobody listens if it fails.
            let _ = streamed.events.send(LiveEvent::Bye);
        }
    }

    /// The tenants that have streams.
    fn streamed(&self) -> Vec<TenantId> {
        lock(&self.streams).tenants.keys().copied().collect()
    }

    /// Tells the streams of a tenant.
    fn tell(&self, tenant: TenantId, sample: LiveSample) {
        let mut streams = lock(&self.streams);
        let Some(streamed) = streams.tenants.get_mut(&tenant) else {
            return;
        };
        let today = sample.today.or(streamed.day);
        let before = std::mem::replace(&mut streamed.day, today);
        let used = newly_used(before, today, sample.cap);
        let sample = LiveEvent::Sample(Arc::new(LiveSample { today, ..sample }));
        for event in [Some(sample), used.map(LiveEvent::Used)]
            .into_iter()
            .flatten()
        {
            let _ = streamed.events.send(event);
        }
    }

    fn begin(
        self: &Arc<Self>,
        tenant: TenantId,
        session: &Arc<str>,
    ) -> Result<LiveStream, Refusal> {
        let mut streams = lock(&self.streams);
        if streams.have_ended {
            return Err(Refusal::new(
                Kind::NoDecision,
                "this node stops; another one goes on",
            ));
        }
        let of_session = streams.of_session.get(session).copied().unwrap_or(0);
        let of_tenant = streams.tenants.get(&tenant).map_or(0, |it| it.count);
        let too_many = [
            (of_session, OF_SESSION_MAX, "session or API key"),
            (of_tenant, OF_TENANT_MAX, "tenant"),
            (streams.count, OF_NODE_MAX, "node"),
        ];
        let too_many = too_many.into_iter().find(|(count, max, _)| max <= count);
        if let Some((_, max, of)) = too_many {
            let detail = format!("at most {max} streams of one {of} are served; ask /v1/series");
            return Err(
                Refusal::new(Kind::TenantRate, detail).with_retry_after(quota::Nanos::from_secs(5))
            );
        }
        *streams.of_session.entry(Arc::clone(session)).or_default() += 1;
        let count = streams.count + 1;
        streams.count(count);
        let streamed = streams.tenants.entry(tenant).or_insert_with(|| Streamed {
            count: 0,
            events: broadcast::Sender::new(WAITING_MAX),
            day: None,
        });
        streamed.count += 1;
        Ok(LiveStream {
            events: streamed.events.subscribe(),
            seat: Seat {
                live: Arc::clone(self),
                tenant,
                session: Arc::clone(session),
            },
        })
    }
}

/// The last second that is over.
fn last_second() -> u32 {
    u32::try_from(super::now().get().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// The hundredths of a cap that are worth telling of, if the day has come to more of them.
fn newly_used(before: Option<DayUsage>, now: Option<DayUsage>, cap: Option<u32>) -> Option<u32> {
    let (before, now, cap) = (before?, now?, cap?);
    let reached = |day: DayUsage| {
        let used = u64::from(day.requests) * 100;
        let steps = [100, 80].into_iter();
        let mut reached = steps.filter(|step| u64::from(cap) * u64::from(*step) <= used);
        reached.next()
    };
    let is_next_day = before.day != now.day;
    reached(now).filter(|step| is_next_day || reached(before) < Some(*step))
}

/// The events of one stream, as long as it is held.
#[derive(Debug)]
pub struct LiveStream {
    events: broadcast::Receiver<LiveEvent>,
    #[expect(dead_code, reason = "gives its place back when it is dropped")]
    seat: Seat,
}

impl LiveStream {
    /// The next event. One that is not taken for some seconds is left out. `None`: there are no more.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// The place of one stream.
struct Seat {
    live: Arc<Live>,
    tenant: TenantId,
    session: Arc<str>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.tenant).finish()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut streams = lock(&self.live.streams);
        let count = streams.count - 1;
        streams.count(count);
        if let Some(streamed) = streams.tenants.get_mut(&self.tenant) {
            streamed.count -= 1;
            if streamed.count == 0 {
                streams.tenants.remove(&self.tenant);
            }
        }
        if let Some(count) = streams.of_session.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                streams.of_session.remove(&self.session);
            }
        }
    }
}

impl<N: Node> Caller<N> {
    /// A stream of what is decided in the tenant of the caller.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`] for an operator who acts in no tenant; [`Kind::TenantRate`] when there are too many.
    pub fn stream(&self) -> Result<LiveStream, Refusal> {
        let tenant = self.needs_tenant()?;
        let session: Arc<str> = match (&self.signed_in, self.rights) {
            (Some(signed_in), _) => signed_in.session.id().to_string().into(),
            (None, Rights::ApiKey { id, .. }) => id.to_string().into(),
            (None, Rights::All | Rights::User { .. }) => format!("operator in {tenant}").into(),
        };
        self.limiter.live().begin(tenant, &session)
    }
}

/// Makes samples, once a second. What is kept from one to the next is whom has told how much.
pub struct Sampler<N> {
    limiter: Limiter<N>,
    /// The last second of which each member has told, by its own clock. Empty while nobody is asked.
    told: HashMap<String, u32>,
}

impl<N: Node> Sampler<N> {
    /// Of the tenants of this limiter, which is that of the file's namespace.
    #[must_use]
    pub fn new(limiter: Limiter<N>) -> Self {
        let told = HashMap::new();
        Self { limiter, told }
    }

    /// Tells those who watch what was decided since it was told last. To be called once a second.
    pub async fn tell(&mut self) {
        let live = Arc::clone(self.limiter.live());
        let tenants = live.streamed();
        if tenants.is_empty() {
            self.told.clear();
            return;
        }
        let namespaces: Vec<Arc<str>> = tenants.iter().map(|id| id.to_string().into()).collect();
        let asked = |member: &str| Asked::Since {
            after: self.told.get(member).copied(),
            namespaces: namespaces.clone(),
        };
        let told = self.limiter.ask_members(asked);
        let usage = self.limiter.usage_today(&tenants);
        let ((told, from), usage) = futures_util::future::join(told, usage).await;
        let mut sums = vec![Sample::default(); tenants.len()];
        for (member, told) in told {
            let Told::Since { until, samples } = told else {
                continue;
            };
            for (sum, sample) in sums.iter_mut().zip(samples) {
                sum.add(sample);
            }
            self.told.insert(member, until);
        }
        let at = lock(&live.kept).until;
        for ((tenant, sum), today) in tenants.into_iter().zip(sums).zip(usage) {
            let sample = LiveSample {
                at,
                all: sum.all,
                limits: busiest(sum.limits, LIMITS_TOLD),
                today,
                cap: self.limiter.cap_of(tenant),
                from: from.clone(),
            };
            live.tell(tenant, sample);
        }
    }
}

impl<N: Node> Limiter<N> {
    /// A picture of what was decided in a tenant, or by one limit of it.
    pub async fn picture(&self, limit: Option<&str>, window: Window) -> Arc<Picture> {
        let asked = Asked::Points {
            namespace: Arc::clone(self.shared.namespace()),
            limit: limit.map(Arc::from),
            window,
        };
        let until = {
            let kept = lock(&self.live().kept);
            if let Some(known) = kept.pictures.get(&asked) {
                return Arc::clone(known);
            }
            kept.until
        };
        let (told, from) = self.ask_members(|_| asked.clone()).await;
        let (mut all, mut of_limits, mut of_keys) = (Vec::new(), Vec::new(), Vec::new());
        for (_, told) in told {
            if let Told::Points {
                points,
                limits,
                api_keys,
            } = told
            {
                all.push(points);
                of_limits.extend(limits);
                of_keys.extend(api_keys);
            }
        }
        let picture = Arc::new(Picture {
            until,
            points: joined(all),
            limits: busiest(of_limits, LIMITS_TOLD),
            api_keys: busiest(of_keys, API_KEYS_TOLD),
            from,
        });
        let mut kept = lock(&self.live().kept);
        if kept.until == until && kept.pictures.len() < PICTURES_MAX {
            kept.pictures.insert(asked, Arc::clone(&picture));
        }
        picture
    }

    /// Takes in what the tenants' limits have decided on this node in the second that is over. To be called when one has begun.
    pub fn gather(&self) {
        self.gather_at(last_second());
    }

    fn gather_at(&self, now: u32) {
        lock(&self.live().tops).on_second(now);
        let Some(mut kept) = self.live().begin_second(now) else {
            return;
        };
        let touched = std::mem::take(&mut *lock(&self.live().touched));
        for shared in touched
            .into_iter()
            .filter_map(|id| self.shared.tenants.get(id))
        {
            if let Some(tenancy) = &shared.tenancy {
                let decided = tenancy.gathered.take();
                let namespace = shared.namespace();
                kept.store.add(namespace, now, decided);
            }
        }
    }

    /// What all members that answer tell, this node among them, and who has.
    pub(super) async fn ask_members(
        &self,
        asked: impl Fn(&str) -> Asked,
    ) -> (Vec<(String, Told)>, Answered) {
        let others = self.node().others();
        let asks = others.iter().map(|name| {
            let asked = asked(name);
            async move { (name.clone(), self.node().ask_series(name, asked).await) }
        });
        // Nobody else has its name.
        let own = (String::new(), self.live().answer(&asked("")));
        let mut answered = Answered {
            of: 1 + others.len(),
            ..Answered::default()
        };
        let mut all = vec![own];
        for (name, told) in join_all(asks).await {
            match told {
                Some(told) => all.push((name, told)),
                None => answered.missing.push(name),
            }
        }
        answered.from = all.len();
        answered.missing.sort();
        (all, answered)
    }

    /// Where the day of each of these stands, of those of which whoever knows answers in time.
    async fn usage_today(&self, tenants: &[TenantId]) -> Vec<Option<DayUsage>> {
        let today = super::today();
        let of: Vec<_> = tenants.iter().map(|id| (*id, today)).collect();
        let usage = tokio::time::timeout(USAGE_WITHIN, self.days_used(&of)).await;
        match usage {
            Ok(usage) => usage.into_iter().map(Result::ok).collect(),
            Err(_late) => vec![None; tenants.len()],
        }
    }

    /// The most requests of a tenant's day, as far as it was served here.
    fn cap_of(&self, tenant: TenantId) -> Option<u32> {
        let shared = self.shared.tenants.get(tenant)?;
        shared.tenancy.as_ref()?.cap(super::today())
    }
}

#[cfg(test)]
mod tests {
    use series::{Counts, Decided};

    use super::*;

    const TENANT: TenantId = TenantId::new([7; 10]);

    fn session(number: usize) -> Arc<str> {
        format!("ses_{number}").into()
    }

    #[test]
    fn streams_have_a_bound_for_each_session_and_tenant() {
        let live = Arc::new(Live::default());
        let mut of_one: Vec<_> = (0..OF_SESSION_MAX)
            .map(|_| live.begin(TENANT, &session(0)).unwrap())
            .collect();
        let refused = live.begin(TENANT, &session(0)).unwrap_err();
        assert_eq!(refused.kind(), Kind::TenantRate);
        of_one.pop();
        of_one.push(
            live.begin(TENANT, &session(0))
                .expect("there is a place again"),
        );
        let others: Vec<_> = (of_one.len()..OF_TENANT_MAX)
            .map(|number| live.begin(TENANT, &session(number)).unwrap())
            .collect();
        assert!(live.begin(TENANT, &session(OF_TENANT_MAX)).is_err());
        assert_eq!(live.streamed(), [TENANT]);
        drop((of_one, others));
        assert_eq!(live.streamed(), []);
        let streams = lock(&live.streams);
        assert!(streams.of_session.is_empty() && streams.count == 0);
    }

    #[tokio::test]
    async fn a_node_that_stops_says_so_and_begins_no_stream() {
        let live = Arc::new(Live::default());
        let mut stream = live.begin(TENANT, &session(0)).unwrap();
        live.end();
        assert_eq!(stream.next().await, Some(LiveEvent::Bye));
        assert!(live.begin(TENANT, &session(1)).is_err());
    }

    /// Takes in that three were allowed in this second.
    fn gather(live: &Live, now: u32) {
        let mut counts = Counts::default();
        counts.add(3, 1, 10);
        if let Some(mut kept) = live.begin_second(now) {
            let limits = HashMap::from([("login".into(), counts)]);
            let decided = Decided {
                limits,
                ..Decided::default()
            };
            kept.store.add(&"tn".into(), now, decided);
        }
    }

    /// Until when a node tells, and how many it has allowed since then.
    fn told(live: &Live, after: Option<u32>) -> (u32, u64) {
        let namespaces = vec!["tn".into(), "other".into()];
        match live.answer(&Asked::Since { after, namespaces }) {
            Told::Since { until, samples } => {
                assert_eq!(samples.len(), 2);
                assert_eq!(samples[1], Sample::default());
                (until, samples[0].all.allowed)
            }
            Told::Points { .. } | Told::Top(_) => unreachable!("it was not asked for"),
        }
    }

    #[test]
    fn what_a_node_tells_of_seconds_it_tells_once() {
        let live = Live::default();
        for now in 100..=103 {
            gather(&live, now);
        }
        assert_eq!(told(&live, None), (103, 3), "the last second alone");
        assert_eq!(told(&live, Some(100)), (103, 9));
        assert_eq!(told(&live, Some(103)), (103, 0));
        // Whoever asks in the next second before it was taken in hears of it the next time.
        gather(&live, 104);
        assert_eq!(told(&live, Some(103)), (104, 3));
    }

    #[test]
    fn a_clock_that_drifts_back_is_waited_for_and_one_that_was_set_begins_anew() {
        let live = Live::default();
        gather(&live, 1_000);
        for now in [1_000, 999, 990] {
            assert!(live.begin_second(now).is_none(), "{now}");
        }
        assert_eq!(told(&live, Some(999)), (1_000, 3));
        gather(&live, 500);
        assert_eq!(
            told(&live, Some(1_000)),
            (500, 3),
            "what was told is no cursor any more"
        );
        gather(&live, 501);
        assert_eq!(told(&live, Some(500)), (501, 3));
    }

    #[test]
    fn four_fifths_and_all_of_a_day_are_told_once() {
        let day = |requests| {
            Some(DayUsage {
                day: 1,
                requests,
                denied: 0,
            })
        };
        for (before, now, told) in [
            (day(0), day(79), None),
            (day(79), day(80), Some(80)),
            (day(80), day(99), None),
            (day(99), day(100), Some(100)),
            (day(10), day(150), Some(100)),
            (day(100), day(101), None),
            (None, day(100), None),
            (day(0), None, None),
        ] {
            assert_eq!(
                newly_used(before, now, Some(100)),
                told,
                "{before:?} {now:?}"
            );
            assert_eq!(newly_used(before, now, None), None);
        }
        let next = day(85).map(|day| DayUsage { day: 2, ..day });
        assert_eq!(newly_used(day(90), next, Some(100)), Some(80));
    }
}
