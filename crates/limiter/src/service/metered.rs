//! Hits of a tenant: its limits decide first, and the requests of its day then.

use std::time::Instant;

use coordinator::{Answer, Hit, Once};
use quota::{Cost, Verdict};

use super::Tenancy;
use super::gathered::Went;
use super::usage::Spent;
use crate::{HitName, Key, Limiter, Node, Refusal, Selected};

impl<N: Node> Limiter<N> {
    /// One hit: a day that is known to be used up refuses it, a limit denies it at no cost of the day, and what a limit has
    /// admitted is given back to it when the day has no room.
    pub(crate) async fn metered_hit(
        &self,
        tenancy: &Tenancy,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Result<Answer, Refusal> {
        if cost == Cost::PEEK {
            return self.decide(selected, key, cost).await;
        }
        let began = Instant::now();
        let day = super::today();
        self.check_day(tenancy, day)?;
        let answer = self.decide(selected, key, cost).await?;
        if is_request(cost, &answer)
            && let Err(Spent { refusal, .. }) = self.charge(tenancy, day, 1).await
        {
            self.give_back(&[selected.hit(key, cost)]).await;
            return Err(refusal);
        }
        self.note_decided(tenancy, began, [(selected.hit(key, cost), &answer)]);
        Ok(answer)
    }

    /// As [`metered_hit`](Self::metered_hit), of a hit that is counted once by its name, by its limit and as a request of the day.
    /// What is given back is so once. A day that is used up does not refuse it at once: it may have been counted before.
    pub(crate) async fn metered_once(
        &self,
        tenancy: &Tenancy,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
        name: &HitName<'_>,
    ) -> Result<Answer, Refusal> {
        let began = Instant::now();
        let answer = self.decide_once(selected, key, cost, name).await?;
        if is_request(cost, &answer) {
            let charged_as = charged_as(name, &selected.hit(key, cost));
            let charged = self.charge_once(tenancy, super::today(), &charged_as);
            if let Err(Spent { refusal, .. }) = charged.await {
                // No client can call a refund so: it has a space.
                let given_back = format!("{} back", name.as_str());
                let refund = Once::Refund(selected.hit(key, cost));
                let _lost = self.node().once(refund, &given_back).await;
                return Err(refusal);
            }
        }
        self.note_decided(tenancy, began, [(selected.hit(key, cost), &answer)]);
        Ok(answer)
    }

    /// Many hits: as many of those that were admitted as the day has room for, the first ones.
    pub(crate) async fn metered_hits(
        &self,
        tenancy: &Tenancy,
        hits: &[Hit<'_>],
    ) -> Vec<Result<Answer, Refusal>> {
        let began = Instant::now();
        let day = super::today();
        let mut answers = self.decide_hits(tenancy, day, hits).await;
        let mut requests = admitted(hits, &answers);
        while !requests.is_empty() {
            let asked = u32::try_from(requests.len()).unwrap_or(u32::MAX);
            let Err(Spent { left, refusal }) = self.charge(tenancy, day, asked).await else {
                break;
            };
            // Of those that have no room the last go first. Who else has charged meanwhile may have left less.
            let refused = requests.split_off((left as usize).min(requests.len() - 1));
            let given_back: Vec<Hit<'_>> = refused.iter().map(|&place| hits[place]).collect();
            self.give_back(&given_back).await;
            for place in refused {
                answers[place] = Err(refusal.clone());
            }
        }
        self.note_answers(tenancy, began, hits, &answers);
        answers
    }

    /// Many hits, all of them or none.
    pub(crate) async fn metered_together(
        &self,
        tenancy: &Tenancy,
        hits: &[Hit<'_>],
    ) -> Result<Vec<Result<Answer, Refusal>>, Refusal> {
        let began = Instant::now();
        let day = super::today();
        if hits.iter().any(|hit| hit.cost != Cost::PEEK) {
            self.check_day(tenancy, day)?;
        }
        let answers = self.decide_all(hits).await;
        let requests = admitted(hits, &answers);
        if !requests.is_empty() {
            let asked = u32::try_from(requests.len()).unwrap_or(u32::MAX);
            if let Err(Spent { refusal, .. }) = self.charge(tenancy, day, asked).await {
                let given_back: Vec<Hit<'_>> = requests.iter().map(|&place| hits[place]).collect();
                self.give_back(&given_back).await;
                return Err(refusal);
            }
        }
        self.note_answers(tenancy, began, hits, &answers);
        Ok(answers)
    }

    /// Nothing but peeks is asked on a day that is known to be used up.
    async fn decide_hits(
        &self,
        tenancy: &Tenancy,
        day: u64,
        hits: &[Hit<'_>],
    ) -> Vec<Result<Answer, Refusal>> {
        let Err(refusal) = self.check_day(tenancy, day) else {
            return self.decide_all(hits).await;
        };
        let is_peek = |hit: &&Hit<'_>| hit.cost == Cost::PEEK;
        let peeks: Vec<Hit<'_>> = hits.iter().filter(is_peek).copied().collect();
        let mut peeked = self.decide_all(&peeks).await.into_iter();
        let answers = hits.iter().map(|hit| match is_peek(&hit) {
            true => peeked.next().expect("every peek was asked"),
            false => Err(refusal.clone()),
        });
        answers.collect()
    }

    fn note_answers(
        &self,
        tenancy: &Tenancy,
        began: Instant,
        hits: &[Hit<'_>],
        answers: &[Result<Answer, Refusal>],
    ) {
        let answered = hits.iter().zip(answers);
        let answered = answered.filter_map(|(hit, answer)| Some((*hit, answer.as_ref().ok()?)));
        self.note_decided(tenancy, began, answered);
    }

    /// Takes note of what limits have decided that were asked then. What refuses for the day is no decision of theirs.
    fn note_decided<'h>(
        &self,
        tenancy: &Tenancy,
        began: Instant,
        answered: impl IntoIterator<Item = (Hit<'h>, &'h Answer), IntoIter: Clone>,
    ) {
        let answered = answered.into_iter();
        let by_key = answered.clone().filter(|(hit, _)| hit.policy.top_keys);
        let by_key = by_key.filter_map(|(hit, answer)| Some((hit, went(hit.cost, answer)?)));
        self.live().note_keys(self.shared.namespace(), by_key);
        let mut denied = 0;
        let decided = answered.filter_map(|(hit, answer)| {
            let went = went(hit.cost, answer)?;
            denied += u32::from(went == Went::Denied);
            Some((&hit.policy.name, went))
        });
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        if tenancy.gathered.add(decided, self.by(), micros) {
            self.live().touched(tenancy.id);
        }
        if 0 < denied {
            self.denied(tenancy, denied);
        }
    }

    /// What was counted and is to be as if it had not been, such as what the day has no room for. That a refund is lost errs to the strict side.
    pub(super) async fn give_back(&self, hits: &[Hit<'_>]) {
        for hit in hits {
            let _lost = self.node().refund(hit.policy, hit.key, hit.cost).await;
        }
    }
}

/// The places of those that were admitted.
fn admitted(hits: &[Hit<'_>], answers: &[Result<Answer, Refusal>]) -> Vec<usize> {
    let answered = hits.iter().zip(answers).enumerate();
    let requests = answered.filter_map(|(place, (hit, answer))| {
        let answer = answer.as_ref().ok()?;
        is_request(hit.cost, answer).then_some(place)
    });
    requests.collect()
}

/// What a limit has decided. `None`: nothing was asked of it but how things stand, or its fail mode has answered.
fn went(cost: Cost, answer: &Answer) -> Option<Went> {
    if cost == Cost::PEEK || answer.by_fail_mode {
        return None;
    }
    match answer.decision.verdict {
        Verdict::Allow => Some(Went::Allowed),
        Verdict::Deny { .. } => Some(Went::Denied),
        Verdict::NeverConforms => None,
    }
}

/// Whether a plan counts it: it was admitted, and somebody decided that.
fn is_request(cost: Cost, answer: &Answer) -> bool {
    went(cost, answer) == Some(Went::Allowed)
}

/// By what name a named hit is a request of the day: one for all that tells it from others of that name. A name has no space,
/// and how long the limit's is stands before it.
fn charged_as(name: &HitName<'_>, hit: &Hit<'_>) -> String {
    let (name, cost, limit) = (name.as_str(), hit.cost.units(), &hit.policy.name);
    format!("{name} {cost} {} {limit} {}", limit.len(), hit.key)
}
