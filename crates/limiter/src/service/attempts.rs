//! How often somebody may try a password or a code, counted by the cluster itself like any other limit.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use accounts::{Email, UserId};
use coordinator::{FailMode, Hit, Policy, Strategy};
use quota::{Algorithm, Cost, Limit, Nanos, Verdict};

use crate::browser::hex;
use crate::{Kind, Limiter, Node, Refusal};

/// Where something is asked from, as far as that is counted and written down.
#[derive(Clone, Default)]
pub struct Origin {
    /// The address of the client. `None`: it is not known, and all of those are one.
    pub address: Option<IpAddr>,
    /// What its browser calls itself. Empty if it does not say.
    pub agent: String,
    /// What shows that its browser has logged in before, as cookies bring it.
    pub devices: Vec<String>,
}

impl Origin {
    fn address(&self) -> String {
        self.address.map_or_else(unknown, |at| at.to_string())
    }

    /// What of an address one customer of a provider has: of IPv4 the first 24 bits, of IPv6 the first 64.
    fn network(&self) -> String {
        self.address.map_or_else(unknown, |address| match address {
            IpAddr::V4(address) => {
                let network = Ipv4Addr::from_bits(address.to_bits() & !0xff);
                format!("{network}/24")
            }
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                format!("{}/64", Ipv6Addr::from_bits(network))
            }
        })
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What is counted: its name, how many, in how many seconds. No file can define such a name.
type Counted = (&'static str, u32, u64);

const LOGIN: Counted = ("@login", 5, 15 * MINUTE);
const LOGIN_OF_NETWORK: Counted = ("@login-network", 30, 15 * MINUTE);
const LOGIN_OF_ACCOUNT: Counted = ("@login-account", 100, DAY);
const SIGN_UP: Counted = ("@sign-up", 5, HOUR);
const SIGN_UP_OF_NETWORK: Counted = ("@sign-up-network", 20, DAY);
const EMAIL: Counted = ("@email", 5, HOUR);

/// Where attempts are counted: beside the cluster's own counts, which are never evicted. Strangers choose what is tried, and
/// what was given back leaves something as well, so these have the room of other keys.
const NAMESPACE: &str = "@attempts";

/// An attempt that was counted, until it is known whether it has failed.
pub(super) struct Attempt(Vec<(Policy, String)>);

impl Attempt {
    /// One to log in, or to prove a password or a code once more. A browser that has logged in before has a count of its own,
    /// `device`: strangers who try the same account leave it alone.
    pub(super) fn to_log_in(email: &Email, origin: &Origin, device: Option<[u8; 16]>) -> Self {
        let email = email.as_str();
        if let Some(device) = device {
            return Self(vec![counted(LOGIN, format!("device {}", hex(&device)))]);
        }
        let network = origin.network();
        Self(vec![
            counted(LOGIN, format!("{email} {network}")),
            counted(LOGIN_OF_NETWORK, network),
            counted(LOGIN_OF_ACCOUNT, email.to_owned()),
        ])
    }

    /// One to sign up.
    pub(super) fn to_sign_up(origin: &Origin) -> Self {
        Self(vec![
            counted(SIGN_UP, origin.address()),
            counted(SIGN_UP_OF_NETWORK, origin.network()),
        ])
    }

    /// One to have another address: whether somebody has it already is told, as at sign-up.
    pub(super) fn to_change_email(id: UserId) -> Self {
        Self(vec![counted(EMAIL, id.to_string())])
    }

    fn hits(&self) -> Vec<Hit<'_>> {
        let hits = self.0.iter().map(|(policy, key)| Hit {
            policy,
            key,
            cost: Cost::ONE,
        });
        hits.collect()
    }
}

fn counted((name, units, secs): Counted, key: String) -> (Policy, String) {
    let limit = Limit::new(Algorithm::SlidingLog, units, Nanos::from_secs(secs));
    let policy = Policy {
        namespace: NAMESPACE.into(),
        name: name.into(),
        limit: limit.expect("a log takes so few"),
        strategy: Strategy::Owner,
        // Who cannot count does not let anybody guess.
        on_failure: FailMode::Deny,
        top_keys: false,
    };
    (policy, key)
}

impl<N: Node> Limiter<N> {
    /// Counts an attempt before it is made.
    ///
    /// # Errors
    ///
    /// [`Kind::TooManyAttempts`], and when nobody could count it. It is not counted then.
    pub(super) async fn count(&self, attempt: &Attempt) -> Result<(), Refusal> {
        let hits = attempt.hits();
        // One after the other: what the first refuses takes nothing of what others of the same network may still try.
        for (place, hit) in hits.iter().enumerate() {
            let told = self.node().hit(hit.policy, hit.key, hit.cost).await;
            let refusal = match told.map(|answer| answer.decision.verdict) {
                Ok(Verdict::Allow) => continue,
                Ok(Verdict::Deny { retry_after }) => too_many(retry_after),
                Ok(Verdict::NeverConforms) => unreachable!("each takes one of several"),
                Err(error) => error.into(),
            };
            self.give_back(&hits[..place]).await;
            return Err(refusal);
        }
        Ok(())
    }

    /// Counts an attempt and makes it. Unless it has failed, which [`Kind::WrongCredentials`] says, it is as if it had not been
    /// made: also where nobody could look at it, as when too many passwords wait to be hashed. What is lost errs to the strict
    /// side.
    pub(super) async fn attempted<T: Send>(
        &self,
        attempt: &Attempt,
        made: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> Result<T, Refusal> {
        self.count(attempt).await?;
        let told = made.await;
        let has_failed = |refusal: &Refusal| refusal.kind() == Kind::WrongCredentials;
        if !told.as_ref().is_err_and(has_failed) {
            self.give_back(&attempt.hits()).await;
        }
        told
    }
}

fn too_many(retry_after: Nanos) -> Refusal {
    let detail = "too many attempts have failed; this one was not looked at";
    Refusal::new(Kind::TooManyAttempts, detail).with_retry_after(retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_one_customer_has() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ] {
            let origin = Origin {
                address: Some(address.parse().unwrap()),
                ..Origin::default()
            };
            assert_eq!(origin.network(), network);
        }
        assert_eq!(Origin::default().network(), "unknown");
    }
}
