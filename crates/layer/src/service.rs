//! A service behind limits.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use client::{Answer, Error, Key, Limits, Operation};
use http::{Request, Response};
use http_body_util::{Either, Full};
use smallvec::{SmallVec, smallvec};
use tower_service::Service;

use crate::extract::Clues;
use crate::layer::{Asked, Missing, OnFailure, ToldLayer};
use crate::respond::{self, Denied, Refused, ResponseBody};

/// A service behind the limits of a [`crate::RateLimitLayer`].
pub struct RateLimit<S, L: Limits> {
    inner: S,
    told: Arc<ToldLayer<L>>,
}

impl<S, L: Limits> RateLimit<S, L> {
    pub(crate) fn new(inner: S, told: Arc<ToldLayer<L>>) -> Self {
        Self { inner, told }
    }
}

impl<S: Clone, L: Limits> Clone for RateLimit<S, L> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.told))
    }
}

impl<S, L, B, R> Service<Request<B>> for RateLimit<S, L>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    L: Limits,
    B: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that said that it is ready is the one to call.
        let ready = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, ready);
        let told = Arc::clone(&self.told);
        Box::pin(async move {
            // Of what was asked nothing borrows from the request, whose body need not be shared between threads.
            let keys = keys(&told, &Clues::of(&request));
            let verdict = match keys {
                Ok(keys) => decide(&told, &keys).await,
                Err(refused) => Verdict::Refuse(refused, None),
            };
            let answers = match verdict {
                Verdict::Pass(answers) => answers,
                Verdict::Deny(answers, worst) => {
                    let response = deny(&told, &Clues::of(&request), &answers, worst);
                    return Ok(response.map(|body| Either::Left(Full::from(body))));
                }
                Verdict::Refuse(refused, retry_after) => {
                    let response = refuse(&Clues::of(&request), refused, retry_after);
                    return Ok(response.map(|body| Either::Left(Full::from(body))));
                }
            };
            let mut response = inner.call(request).await?;
            respond::write(named(&told, &answers), response.headers_mut());
            Ok(response.map(Either::Right))
        })
    }
}

/// Keys, each with the place of its limit in the layer. Most layers have one limit, for which nothing is allocated.
type Questions = SmallVec<[(usize, Key<'static>); 1]>;

/// The answers of the limits that were asked, with their places.
type Answers = SmallVec<[(usize, Answer); 1]>;

enum Verdict {
    Pass(Answers),
    /// And the place of the limit that it has to wait for longest.
    Deny(Answers, usize),
    Refuse(Refused, Option<Duration>),
}

/// What each limit is asked about.
fn keys<L: Limits>(told: &ToldLayer<L>, clues: &Clues<'_>) -> Result<Questions, Refused> {
    let mut keys = Questions::with_capacity(told.asked.len());
    for (place, asked) in told.asked.iter().enumerate() {
        match key(asked, clues)? {
            Some(key) => keys.push((place, Key::new(key).map_err(|_| Refused::Invalid)?)),
            None if told.missing == Missing::Pass => {}
            None => return Err(Refused::Missing),
        }
    }
    Ok(keys)
}

/// The key of all requests where nobody is told from anybody.
const EVERYBODY: &str = "everybody";

fn key<L: Limits>(asked: &Asked<L>, clues: &Clues<'_>) -> Result<Option<String>, Refused> {
    if asked.by.is_empty() {
        return Ok(Some(EVERYBODY.to_owned()));
    }
    for extractor in &asked.by {
        let key = extractor.key(clues).map_err(|_| Refused::Invalid)?;
        if key.is_some() {
            return Ok(key);
        }
    }
    Ok(None)
}

async fn decide<L: Limits>(told: &ToldLayer<L>, keys: &Questions) -> Verdict {
    let answers = ask(told, keys).await;
    let mut passed = Answers::with_capacity(keys.len());
    let mut trouble = None;
    let mut worst: Option<(usize, Duration)> = None;
    for ((place, _), answer) in keys.iter().zip(answers) {
        match answer {
            Ok(answer) => {
                if let Err(limited) = answer.outcome() {
                    told.asked[*place].denials.increment(1);
                    if worst.is_none_or(|(_, span)| span < limited.retry_after) {
                        worst = Some((*place, limited.retry_after));
                    }
                }
                passed.push((*place, answer));
            }
            Err(error) => trouble = trouble.max(Some(Trouble::of(told, *place, error))),
        }
    }
    if told.shadow {
        return Verdict::Pass(passed);
    }
    let verdict = match (trouble, worst) {
        (Some(Trouble::NeverConforms), _) => Verdict::Refuse(Refused::NeverConforms, None),
        (_, Some((place, _))) => Verdict::Deny(passed.clone(), place),
        (Some(Trouble::Asking), None) => Verdict::Refuse(Refused::NoDecision, None),
        (Some(Trouble::NoDecision(span)), None) if told.on_failure == OnFailure::Deny => {
            Verdict::Refuse(Refused::NoDecision, Some(span))
        }
        (Some(Trouble::NoDecision(_)) | None, None) => return Verdict::Pass(passed),
    };
    give_back(told, keys, &passed).await;
    verdict
}

/// Why a limit has not decided, in order of what a request is then told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Nobody could: the layer says what happens. With the time after which another attempt is worth making.
    NoDecision(Duration),
    /// The layer asks what cannot be asked, of an unknown limit or with a wrong token: no request may pass by that.
    Asking,
    /// The request costs more than ever passes.
    NeverConforms,
}

impl Trouble {
    fn of<L: Limits>(told: &ToldLayer<L>, place: usize, error: Error) -> Self {
        let limit = told.asked[place].limit.name();
        match error {
            Error::NeverConforms { .. } => Self::NeverConforms,
            Error::NoDecision { retry_after, .. } => {
                tracing::debug!(limit, %error, on_failure = ?told.on_failure, "no decision on a request");
                Self::NoDecision(retry_after)
            }
            // Of each request the same: told once.
            error => {
                told.asked[place].warned.call_once(|| {
                    tracing::warn!(limit, %error, "a limit cannot be asked, refusing requests");
                });
                Self::Asking
            }
        }
    }
}

/// Asks all at once.
async fn ask<L: Limits>(
    told: &ToldLayer<L>,
    keys: &Questions,
) -> SmallVec<[Result<Answer, Error>; 1]> {
    if let [(place, key)] = &keys[..] {
        let Asked { limit, cost, .. } = &told.asked[*place];
        let operation = Operation::Hit(*cost);
        return smallvec![limit.limits().ask(limit.found(), key, operation).await];
    }
    let Some(first) = told.asked.first() else {
        return SmallVec::new();
    };
    let questions: Vec<_> = keys
        .iter()
        .map(|(place, key)| {
            let Asked { limit, cost, .. } = &told.asked[*place];
            (limit.found(), key, Operation::Hit(*cost))
        })
        .collect();
    first.limit.limits().ask_all(&questions).await.into()
}

/// Gives back what was counted for a request that does not pass. What cannot be given back comes back by itself.
async fn give_back<L: Limits>(told: &ToldLayer<L>, keys: &Questions, answers: &Answers) {
    let counted = answers
        .iter()
        .filter(|(_, answer)| answer.allowed && !answer.by_fail_mode);
    let counted: Vec<usize> = counted.map(|&(place, _)| place).collect();
    let refunds: Vec<_> = keys
        .iter()
        .filter(|(place, _)| counted.contains(place))
        .map(|(place, key)| {
            let Asked { limit, cost, .. } = &told.asked[*place];
            (limit.found(), key, Operation::Refund(*cost))
        })
        .collect();
    if refunds.is_empty() {
        return;
    }
    let limits = told.asked[counted[0]].limit.limits();
    for refunded in limits.ask_all(&refunds).await {
        if let Err(error) = refunded {
            tracing::debug!(%error, "units of a request that did not pass were not given back");
        }
    }
}

fn deny<L: Limits>(
    told: &ToldLayer<L>,
    clues: &Clues<'_>,
    answers: &Answers,
    worst: usize,
) -> Response<Bytes> {
    let answer = answers.iter().find(|(place, _)| *place == worst);
    let limited = answer.and_then(|(_, answer)| answer.outcome().err());
    let Some(limited) = limited else {
        return refuse(clues, Refused::Limited, None);
    };
    let mut response = match respond::is_grpc(clues.headers) {
        true => Refused::Limited.grpc(),
        false => (told.respond)(&Denied {
            limit: told.asked[worst].limit.name(),
            limited,
            clues: *clues,
        }),
    };
    respond::write(named(told, answers), response.headers_mut());
    respond::write_retry_after(limited.retry_after, response.headers_mut());
    response
}

fn refuse(clues: &Clues<'_>, refused: Refused, retry_after: Option<Duration>) -> Response<Bytes> {
    let mut response = match respond::is_grpc(clues.headers) {
        true => refused.grpc(),
        false => refused.text(),
    };
    if let Some(span) = retry_after {
        respond::write_retry_after(span, response.headers_mut());
    }
    response
}

fn named<'t, L: Limits>(
    told: &'t ToldLayer<L>,
    answers: &'t Answers,
) -> impl Iterator<Item = (&'t str, &'t Answer)> + Clone {
    let name = |(place, answer): &'t (usize, Answer)| (told.asked[*place].limit.name(), answer);
    answers.iter().map(name)
}
