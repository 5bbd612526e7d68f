//! What tenants see of their limits while they decide: a sample each second, and pictures of what was.
//!
//! Each node gathers what it has decided itself. The node that serves a stream asks the others once a second for all its streams
//! together, and nobody while there are none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts::TenantId;
use futures_util::future::join_all;
use metrics::{Gauge, gauge};
use series::{Asked, LimitTotal, Point, Sample, Store, Told, Total, Window, busiest, joined};
use tokio::sync::broadcast;

use super::{Caller, DayUsage, Rights};
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

/// What tenants see of their limits while they decide, on one node.
#[derive(Default)]
pub struct Live {
    store: Mutex<Store>,
    streams: Mutex<Streams>,
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
    pub limits: Vec<LimitTotal>,
    /// Where the day stands. `None`: nobody who knows could be reached yet.
    pub today: Option<DayUsage>,
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
    /// Seconds, minutes or hours in which something was decided, in their order.
    pub points: Vec<Point>,
    /// The busiest limits in sum, the busiest first. Empty in a picture of one.
    pub limits: Vec<LimitTotal>,
    /// Who has told of it.
    pub from: Answered,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// What this node has decided, as it tells another.
    #[must_use]
    pub fn answer(&self, asked: &Asked) -> Told {
        self.answer_at(last_second(), asked)
    }

    fn answer_at(&self, now: u32, asked: &Asked) -> Told {
        let store = lock(&self.store);
        match asked {
            Asked::Since { after, namespaces } => {
                // Of a clock that was set back, nothing is told twice.
                let after = after.unwrap_or(now.saturating_sub(1));
                let samples = namespaces.iter();
                let samples = samples.map(|namespace| store.since(namespace, after));
                Told::Since {
                    until: now.max(after),
                    samples: samples.collect(),
                }
            }
            Asked::Points {
                namespace,
                limit,
                window,
            } => Told::Points {
                points: store.points(namespace, limit.as_deref(), *window, now),
                limits: match limit {
                    None => store.limits(namespace, *window, now),
                    Some(_) => Vec::new(),
                },
            },
        }
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
    fn tell(&self, tenant: TenantId, sample: LiveSample, cap: Option<u32>) {
        let mut streams = lock(&self.streams);
        let Some(streamed) = streams.tenants.get_mut(&tenant) else {
            return;
        };
        let today = sample.today.or(streamed.day);
        let before = std::mem::replace(&mut streamed.day, today);
        let used = newly_used(before, today, cap);
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
    /// The last second that is over, since the epoch.
    #[must_use]
    pub fn last_second(&self) -> u32 {
        last_second()
    }

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

    /// Takes in what was decided in the second that is over, and tells those who watch. To be called when a second has begun.
    pub async fn sample(&mut self) {
        let at = last_second();
        self.limiter.gather(at);
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
        let usage = tenants.iter().map(|id| self.limiter.usage_today(*id));
        let (told, usage) = futures_util::future::join(told, join_all(usage)).await;
        let (told, from) = told;
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
        for ((tenant, sum), today) in tenants.into_iter().zip(sums).zip(usage) {
            let sample = LiveSample {
                at,
                all: sum.all,
                limits: busiest(sum.limits, LIMITS_TOLD),
                today,
                from: from.clone(),
            };
            live.tell(tenant, sample, self.limiter.cap_of(tenant));
        }
    }
}

impl<N: Node> Limiter<N> {
    /// A picture of what was decided in a tenant, or by one limit of it.
    pub async fn picture(&self, limit: Option<&str>, window: Window) -> Picture {
        let asked = Asked::Points {
            namespace: self.namespace().into(),
            limit: limit.map(Into::into),
            window,
        };
        let (told, from) = self.ask_members(|_| asked.clone()).await;
        let (mut all, mut of_limits) = (Vec::new(), Vec::new());
        for (_, told) in told {
            if let Told::Points { points, limits } = told {
                all.push(points);
                of_limits.extend(limits);
            }
        }
        Picture {
            points: joined(all),
            limits: busiest(of_limits, LIMITS_TOLD),
            from,
        }
    }

    /// Takes in what the tenants' limits have decided on this node.
    fn gather(&self, at: u32) {
        for shared in self.shared.tenants.all() {
            let tenancy = shared.tenancy.as_ref();
            let open = tenancy.and_then(|tenancy| tenancy.gathered.take());
            if let Some(open) = open {
                let mut store = lock(&self.live().store);
                store.add(shared.namespace(), at, open.limits, &open.others);
            }
        }
    }

    /// What all members that answer tell, this node among them, and who has.
    async fn ask_members(&self, asked: impl Fn(&str) -> Asked) -> (Vec<(String, Told)>, Answered) {
        let status = self.node().cluster();
        let asks = status.members.iter().map(|member| {
            let (name, asked) = (member.name.clone(), asked(&member.name));
            let is_self = name == status.node;
            async move {
                let told = match is_self {
                    true => Some(self.live().answer(&asked)),
                    false => self.node().ask_series(&name, asked).await,
                };
                (name, told)
            }
        });
        let mut answered = Answered {
            of: status.members.len(),
            ..Answered::default()
        };
        let mut all = Vec::new();
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

    async fn usage_today(&self, tenant: TenantId) -> Option<DayUsage> {
        let usage = self.usage(tenant, [super::today()]).await.ok()?;
        usage.first().copied()
    }

    /// The most requests of a tenant's day, as far as it was served here.
    fn cap_of(&self, tenant: TenantId) -> Option<u32> {
        let shared = self.shared.tenants.get(tenant)?;
        shared.tenancy.as_ref()?.cap(super::today())
    }
}

#[cfg(test)]
mod tests {
    use series::Counts;

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

    #[test]
    fn what_a_node_tells_of_seconds_it_tells_once() {
        let live = Live::default();
        let mut counts = Counts::default();
        counts.add(3, 1, 10);
        let namespace: Arc<str> = "tn".into();
        for at in 100..=103 {
            let limits = HashMap::from([("login".into(), counts.clone())]);
            lock(&live.store).add(&namespace, at, limits, &Counts::default());
        }
        let asked = |after| Asked::Since {
            after,
            namespaces: vec![Arc::clone(&namespace), "other".into()],
        };
        let told = |after| match live.answer_at(103, &asked(after)) {
            Told::Since { until, samples } => {
                assert_eq!((until, samples.len()), (103, 2));
                assert_eq!(samples[1], Sample::default());
                samples[0].all.allowed
            }
            Told::Points { .. } => unreachable!("it was not asked for"),
        };
        assert_eq!(told(None), 3, "the last second alone");
        assert_eq!(told(Some(100)), 9);
        assert_eq!(told(Some(103)), 0);
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
