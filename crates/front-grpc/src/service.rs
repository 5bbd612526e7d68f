//! The rate limit service itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use coordinator::Hit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use futures_util::future::join_all;
use limiter::{Caller, Counted, Key, Kind, Limiter, Node, Refusal, Selected};
use quota::Cost;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};
use traces::{Active, current, within};

use crate::answer::{self, Told};
use crate::asked::{self, Ask, Deed, NotAsked};
use crate::front::{Front, Served};

/// Answers for the rules of this node.
pub(crate) struct Service<N> {
    limiter: Limiter<N>,
    served: Arc<ArcSwap<Served>>,
}

/// What spans are called: the method, as OpenTelemetry's conventions have it.
const METHOD: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

impl<N> Service<N> {
    pub(crate) fn new(front: &Front<N>) -> Self {
        Self {
            limiter: front.limiter.clone(),
            served: Arc::clone(&front.served),
        }
    }
}

#[tonic::async_trait]
impl<N: Node> RateLimitService for Service<N> {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let began = Instant::now();
        let headers = request.metadata().as_ref();
        let requests = self.limiter.requests();
        let span = requests.begin(METHOD, Some(headers));
        let answered = within(span, self.traced(request)).await;
        requests.answered(began);
        answered
    }
}

impl<N: Node> Service<N> {
    /// Answers, and notes the code for the span of the request, if it has one.
    async fn traced(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let answered = self.answer(request).await;
        if self.limiter.requests().are_traced() {
            let code = answered.as_ref().map_or_else(Status::code, |_| Code::Ok);
            current(|span| note_code(span, code));
        }
        answered
    }

    async fn answer(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = extensions.get::<Caller<N>>();
        let limiter = caller.map_or(&self.limiter, |caller| &caller.limiter);
        let find = |name: &str| limiter.find(name);
        let held_to = Arc::clone(&self.served.load().held_to);
        let asks = asked::read(&held_to.rules, find, &request).map_err(not_asked)?;
        let told = ask(limiter, &asks).await?;
        Ok(Response::new(answer::respond(
            &asks,
            &told,
            &held_to.meters,
        )))
    }
}

fn note_code(span: &Active, code: Code) {
    span.set("rpc.grpc.status_code", code as u32);
    if matches!(code, Code::Unavailable | Code::Internal | Code::Unknown) {
        span.fail(code.description());
    }
}

/// What each descriptor is told. All counts are asked in one batch, each for itself; after it, what is given back, all
/// at once too: one behind the other, sixteen that wait for a silent owner would outlast a drain.
async fn ask<N: Node>(limiter: &Limiter<N>, asks: &[Option<Ask<'_>>]) -> Result<Vec<Told>, Status> {
    if let [Some(ask)] = asks
        && let (Some(limit), Deed::Hit(cost)) = (&ask.limit, ask.deed)
    {
        let told = limiter.hit(limit, &ask.key, cost).await;
        let told = told.map(|answer| Told::of_hit(&answer));
        let told = told.or_else(|refusal| Told::of_day(&refusal).ok_or(refusal));
        let told = told.or_else(|refusal| ask.told_without_decision().ok_or(refusal));
        return Ok(vec![told.map_err(|refusal| unavailable(0, &refusal, 0))?]);
    }
    let now = SystemTime::now();
    let at_once = asks.iter().map(|ask| Told::at_once(ask.as_ref(), now));
    let mut told: Vec<_> = at_once.collect();
    let mut failures = Vec::new();
    let mut counted = 0;

    let (places, hits): (Vec<_>, Vec<_>) = hits(asks).unzip();
    let answers = limiter.hits(&hits).await;
    for ((place, hit), answer) in places.into_iter().zip(&hits).zip(answers) {
        match answer {
            Ok(answer) => {
                let is_counted = answer.decision.is_allowed() && !answer.by_fail_mode;
                counted += usize::from(is_counted && hit.cost != Cost::PEEK);
                told[place] = Some(Told::of_hit(&answer));
            }
            Err(refusal) => match Told::of_day(&refusal) {
                Some(over) => told[place] = Some(over),
                None => failures.push((place, refusal)),
            },
        }
    }
    let refunds = refunds(asks).map(async |(place, limit, key, cost)| {
        let answer = limiter.refund(limit, key, cost).await;
        (place, cost, answer)
    });
    for (place, cost, answer) in join_all(refunds).await {
        match answer {
            Ok(answer) => {
                counted += usize::from(cost != Cost::PEEK);
                told[place] = Some(Told::of_refund(&answer));
            }
            Err(refusal) => failures.push((place, refusal)),
        }
    }
    for (place, _) in &failures {
        told[*place] = asks[*place].as_ref().and_then(Ask::told_without_decision);
    }
    told.into_iter().collect::<Option<_>>().ok_or_else(|| {
        let (place, refusal) = worst(failures).expect("what is not known was asked in vain");
        unavailable(place, &refusal, counted)
    })
}

/// What is to be counted, with its place among the descriptors.
fn hits<'a>(asks: &'a [Option<Ask<'_>>]) -> impl Iterator<Item = (usize, Hit<'a>)> {
    held(asks).filter_map(|(place, ask)| match (&ask.limit, ask.deed) {
        (Some(limit), Deed::Hit(cost)) => Some((place, limit.hit(&ask.key, cost))),
        _ => None,
    })
}

/// What is to be given back, with its place among the descriptors.
fn refunds<'a>(
    asks: &'a [Option<Ask<'a>>],
) -> impl Iterator<Item = (usize, &'a Selected, &'a Key<'a>, Cost)> {
    held(asks).filter_map(|(place, ask)| match (&ask.limit, ask.deed) {
        (Some(limit), Deed::Refund(cost)) => Some((place, &**limit, &ask.key, cost)),
        _ => None,
    })
}

fn held<'a, 'r>(asks: &'a [Option<Ask<'r>>]) -> impl Iterator<Item = (usize, &'a Ask<'r>)> {
    let asks = asks.iter().enumerate();
    asks.filter_map(|(place, ask)| Some((place, ask.as_ref()?)))
}

/// Why nothing was asked.
fn not_asked(error: NotAsked) -> Status {
    match error {
        NotAsked::Invalid(what) => Status::invalid_argument(format!("{what}; nothing was counted")),
        NotAsked::NoLimit(place, refusal) if refusal.kind() == Kind::UnknownLimit => {
            let what = refusal.detail();
            Status::unavailable(format!("descriptor {place}: {what}; nothing was counted"))
        }
        NotAsked::NoLimit(place, refusal) => unavailable(place, &refusal, 0),
    }
}

/// The failure that is told: the first of those of which it is unknown whether they were counted, else the first. A client
/// that reads "not counted" may ask everything again.
fn worst(failures: Vec<(usize, Refusal)>) -> Option<(usize, Refusal)> {
    let failures = failures.into_iter();
    failures.min_by_key(|(place, refusal)| (refusal.counted() == Counted::No, *place))
}

/// No decision, as Envoy has to hear it to apply its `failure_mode_deny`. Of the other descriptors, `counted` were counted.
fn unavailable(place: usize, refusal: &Refusal, counted: usize) -> Status {
    let mut text = format!("descriptor {place}: {}", refusal.detail());
    if 0 < counted {
        text.push_str(&format!("; {counted} of the others were counted"));
    }
    let mut status = Status::unavailable(text);
    if let Some(seconds) = refusal.retry_after_secs() {
        status
            .metadata_mut()
            .insert("retry-after", MetadataValue::from(seconds));
    }
    status
}
