//! How a node that is in no cluster yet looks for one, and how one that had to go on alone looks on.

use std::sync::MutexGuard;
use std::time::Duration;

use futures_util::StreamExt as _;
use membership::{Beginning, Founding, FoundingRules, FoundingStep, Member, Silence, View};
use quota::{BootNanos, Nanos};

use super::join::{Found, JoinError};
use super::questions::{Answer, Question, decode_answer, encode};
use super::{Cluster, ClusterConfig};
use crate::control::AskError;
use crate::discovery::{self, Neighbours, Seed};
use transport::OpenError;
use transport::handshake::{HandshakeError, Refusal};

/// How long one introduction may take: the old holder of a name is asked for half a second.
const INTRODUCTION: Duration = Duration::from_millis(1_500);

/// How long a node with nobody to be found looks before it founds a cluster. Nodes that are started at
/// the same moment find each other in it.
const LOOK_AROUND: Nanos = Nanos::from_millis(300);

/// How long a node whose `--join` addresses are all silent waits for them before it goes on alone, where it may.
const WAIT_FOR_SEEDS: Nanos = Nanos::from_secs(5);

/// Addresses that are asked at once, so that a round takes no longer than one silent address.
const ASKED_AT_ONCE: usize = 16;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(40);

/// Between two looks of a node that serves alone meanwhile. Addresses are dialled again by themselves, once a second; a
/// name may have got new ones.
const LOOK_ON: Duration = Duration::from_secs(1);

/// What one address had to say.
enum Told {
    LetIn(Found),
    /// It looks for a cluster itself.
    Newcomer {
        name: String,
        founds: bool,
        follows: Option<String>,
        remembers: bool,
    },
    /// It is in a cluster, and will let this node in in a moment.
    InAMoment,
    /// Somebody is there, and has not answered.
    Somebody,
    Nothing,
}

impl Cluster {
    /// Asks every node that can be found to be let in, until one does or this one may found a cluster.
    pub(super) async fn look_for_cluster(
        &self,
        neighbours: Option<&Neighbours>,
        advertised: &str,
        last: &[Member],
    ) -> Result<Found, JoinError> {
        let ClusterConfig {
            name,
            asks,
            join: seeds,
            expect,
            shards,
            start_wait,
            ..
        } = &self.inner.config;
        let now = || self.inner.clock.now().boot;
        let rules = FoundingRules {
            asks: *asks,
            quorum: shards.partition == shard::Partition::Quorum,
            has_seeds: !seeds.is_empty(),
            expect: *expect,
            look_around: LOOK_AROUND,
            patience: WAIT_FOR_SEEDS,
        };
        let members = last.iter().map(|member| member.name.clone());
        let founding = Founding::new(now(), name, rules).remembering(members, *start_wait);
        let others = last.iter().map(|member| member.name.as_str());
        let others: Vec<&str> = others.filter(|other| other != name).collect();
        if !others.is_empty() {
            let members = others.join(", ");
            tracing::info!(members, "looking for the last members of the cluster");
        }
        *self.founding() = Some(founding);
        let addresses = last.iter().map(|member| &member.contact.cluster);
        let addresses = addresses.filter(|address| !address.is_empty());
        let addresses: Vec<String> = addresses.cloned().collect();
        let mut silence = Silence::new(now());
        loop {
            let mut candidates = discovery::candidates(seeds, neighbours, advertised).await;
            for address in &addresses {
                if address != advertised && !candidates.contains(address) {
                    candidates.push(address.clone());
                }
            }
            let mut round = futures_util::stream::iter(candidates)
                .map(|address| self.ask_to_join(address))
                .buffered(ASKED_AT_ONCE);
            while let Some(told) = round.next().await {
                let told = told?;
                match told {
                    Told::LetIn(found) => {
                        if let Some(founding) = self.founding().take() {
                            self.await_newcomers(&founding);
                        }
                        return Ok(found);
                    }
                    Told::Newcomer {
                        name,
                        founds,
                        follows,
                        remembers,
                    } => {
                        if let Some(founding) = &mut *self.founding() {
                            founding.on_newcomer(now(), &name, founds, follows.as_deref());
                            if remembers {
                                founding.on_remembering(&name);
                            }
                        }
                    }
                    Told::InAMoment => {
                        silence.on_answer(now());
                        if let Some(founding) = &mut *self.founding() {
                            founding.on_cluster();
                        }
                    }
                    Told::Somebody => {
                        silence.on_answer(now());
                        if let Some(founding) = &mut *self.founding() {
                            founding.on_somebody();
                        }
                    }
                    Told::Nothing => {}
                }
            }
            drop(round);
            let found = self
                .founding()
                .take_if(|it| it.step(now()) == FoundingStep::Found);
            if let Some(found) = found {
                if !seeds.is_empty() {
                    *self.silence() = Some(silence);
                }
                self.await_newcomers(&found);
                let founders = found.founders(now());
                return Ok(Found::Nobody { founders });
            }
            if !seeds.is_empty() && silence.is_due(now()) {
                let met = self.founding().as_ref().map(|it| it.met(now()));
                say_silent(seeds, &met.unwrap_or_default(), silence.lasts(now()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks one address to be let in.
    async fn ask_to_join(&self, address: String) -> Result<Told, JoinError> {
        let question = encode(&Question::Join {
            name: self.inner.config.name.clone(),
        });
        let asked = self
            .control()
            .introduce(&address, &question, INTRODUCTION)
            .await;
        let (peer, answer) = match asked {
            Ok((peer, answer)) => (peer, decode_answer(&answer)),
            Err(error) => {
                tracing::debug!(address, error = %crate::chain(&error), "no answer to the introduction");
                let is_seed = || {
                    self.inner
                        .config
                        .join
                        .contains(&Seed::Node(address.clone()))
                };
                return match refusal(&error) {
                    Some(reason @ Refusal::WrongCookie) if is_seed() => Err(JoinError::Refused {
                        at: address,
                        reason,
                    }),
                    // Another newcomer of this name, and it has precedence.
                    Some(Refusal::NameTaken) => Err(self.name_taken(address)),
                    // Somebody is there and slow.
                    _ if !is_absent(&error) && !is_seed() => Ok(Told::Somebody),
                    _ => Ok(Told::Nothing),
                };
            }
        };
        Ok(match answer {
            Some((
                Answer::Granted {
                    incarnation,
                    roster,
                    ..
                },
                more,
            )) => Told::LetIn(Found::Granted {
                incarnation,
                roster,
                dead: more.dead,
            }),
            Some((Answer::Taken, _)) => return Err(self.name_taken(address)),
            Some((Answer::Asking, _)) => Told::InAMoment,
            Some((Answer::Joining, _)) => Told::Newcomer {
                name: peer.name,
                founds: true,
                follows: None,
                remembers: false,
            },
            Some((Answer::Newcomer { founds, follows }, more)) => Told::Newcomer {
                name: peer.name,
                founds,
                follows,
                remembers: more.remembers,
            },
            None => {
                tracing::warn!(address, "its answer to the introduction is not understood");
                Told::Somebody
            }
        })
    }

    /// What this node, not in a cluster yet, tells others that look for one.
    pub(super) fn as_newcomer(&self) -> Answer {
        let now = self.inner.clock.now().boot;
        match &*self.founding() {
            Some(founding) => Answer::Newcomer {
                founds: founding.founds(),
                follows: founding.follows(now).map(str::to_owned),
            },
            // It has been let in, or founds, and is about to take part.
            None => Answer::Asking,
        }
    }

    /// Whether this node, not in a cluster yet, remembers who was in the one before.
    pub(super) fn remembers_members(&self) -> bool {
        let founding = self.founding();
        founding.as_ref().is_some_and(Founding::remembers)
    }

    fn await_newcomers(&self, founding: &Founding) {
        let now = self.inner.clock.now().boot;
        *self.beginning() = founding.beginning(now);
    }

    /// Whether the newcomers that were met are members, or have had their time.
    pub(super) fn has_begun(&self, now: BootNanos, view: &View) -> bool {
        let mut beginning = self.beginning();
        if beginning.as_ref().is_some_and(|it| it.waits(now, view)) {
            return false;
        }
        *beginning = None;
        true
    }

    fn beginning(&self) -> MutexGuard<'_, Option<Beginning>> {
        let beginning = self.inner.beginning.lock();
        beginning.expect("nothing panics under this lock")
    }

    /// Goes on looking for those that were to be joined, until somebody is met.
    pub(super) async fn look_on(self) {
        let now = || self.inner.clock.now().boot;
        let seeds = self.inner.config.join.clone();
        while !self.inner.is_stopped() && self.live_members() == 1 {
            for address in
                discovery::candidates(&seeds, None, self.inner.transport.advertised()).await
            {
                self.inner.transport.dial(&address);
            }
            // It goes on from before: what was said then is not said again at once.
            let silence = self
                .silence()
                .as_mut()
                .map(|it| (it.is_due(now()), it.lasts(now())));
            if let Some((true, lasts)) = silence {
                say_silent(&seeds, &[], lasts);
            }
            tokio::time::sleep(LOOK_ON).await;
        }
        *self.silence() = None;
    }

    fn founding(&self) -> MutexGuard<'_, Option<Founding>> {
        let founding = self.inner.founding.lock();
        founding.expect("nothing panics under this lock")
    }

    /// How long a node that serves alone has had no answer from those that it was to join. `None`: it is not alone, or was to
    /// join nobody.
    pub(super) fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        let silence = self.inner.silence.lock();
        silence.expect("nothing panics under this lock")
    }
}

/// `met` are newcomers as this node is.
fn say_silent(seeds: &[Seed], met: &[String], lasts: Nanos) {
    let addresses: Vec<String> = seeds.iter().map(Seed::to_string).collect();
    let addresses = addresses.join(", ");
    let silent_ms = lasts.ceil_millis();
    if met.is_empty() {
        tracing::warn!(
            addresses,
            silent_ms,
            "nobody answers at the addresses to join by"
        );
    } else {
        let met = met.join(", ");
        tracing::warn!(
            addresses,
            met,
            silent_ms,
            "nobody who was met is in a cluster, and too few were met to found one"
        );
    }
}

/// Whether there is no node of this cluster at the address.
fn is_absent(error: &AskError) -> bool {
    match error {
        AskError::Open(OpenError::Connect { source, .. }) => {
            source.kind() == std::io::ErrorKind::ConnectionRefused
        }
        _ => refusal(error) == Some(Refusal::WrongCookie),
    }
}

fn refusal(error: &AskError) -> Option<Refusal> {
    match error {
        AskError::Open(OpenError::Handshake {
            source: HandshakeError::RefusedBy(reason) | HandshakeError::Refused(reason),
            ..
        }) => Some(*reason),
        _ => None,
    }
}
