//! Whom a credential or a session admits.

use std::sync::Arc;

use accounts::{ApiKeyState, Credential, Status};
use catalogue::{Kind as Record, SERVICE};
use metrics::counter;
use quota::Nanos;
use subtle::ConstantTimeEq as _;

use super::access::suspended;
use super::unknown::Unknown;
use super::{Access, Caller, Rights, Service};
use crate::{Kind, Limiter, Node, Refusal};

/// Why a credential is not taken, as long as nobody was told.
struct NotTaken {
    refusal: Refusal,
    /// As it is counted. `None`: it is no API key.
    reason: Option<&'static str>,
    /// What it names and this node does not know: another member may.
    unknown: Option<Unknown>,
}

impl Access {
    /// Who brings this credential. `limiter` is that of the file's namespace. An API key was used then, and one that is refused is
    /// counted.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthorized`], [`Kind::Forbidden`] where there is but one token and this is another,
    /// [`Kind::TenantSuspended`], [`Kind::StaleConfiguration`].
    pub fn admit<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Result<Caller<N>, Refusal> {
        told(self.recognise(limiter, credential))
    }

    /// Admits whom this node knows. `None`: another member is to be asked first, as [`admit_asking`](Self::admit_asking) does;
    /// nothing was counted.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`].
    pub fn admit_at_once<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Option<Result<Caller<N>, Refusal>> {
        match self.recognise(limiter, credential) {
            Err(NotTaken {
                unknown: Some(_), ..
            }) => None,
            recognised => Some(told(recognised)),
        }
    }

    /// Admits as [`admit`](Self::admit) does, once another member was asked of what this node does not know. Takes 200 ms for
    /// each question at most, of which there are two: for an API key, and for its tenant.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`].
    pub async fn admit_asking<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Result<Caller<N>, Refusal> {
        loop {
            let recognised = self.recognise(limiter, credential);
            match &recognised {
                Err(NotTaken {
                    unknown: Some(unknown),
                    ..
                }) if limiter.look_up(unknown).await => {}
                _ => return told(recognised),
            }
        }
    }

    /// Whether [`admit`](Self::admit) would take it, of a credential that was taken before. It is neither used nor counted.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`].
    pub fn admit_again<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Result<Caller<N>, Refusal> {
        let recognised = self.recognise(limiter, credential);
        recognised.map_err(|not_taken| not_taken.refusal)
    }

    /// What is to be [looked up](Limiter::look_up) of a credential before it is [admitted](Self::admit). `None`: nothing, it is
    /// taken, or refused for what is known of it.
    #[must_use]
    pub fn unknown<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Option<Unknown> {
        let not_taken = self.recognise(limiter, credential).err();
        not_taken?.unknown
    }

    fn recognise<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Result<Caller<N>, NotTaken> {
        if self.is_open() {
            return Ok(Caller::anybody(limiter.clone()));
        }
        let given = credential.ok_or_else(|| self.missing())?;
        let operator = || Caller {
            service: self.service.clone(),
            ..Caller::anybody(limiter.clone())
        };
        let is_token = |token: &str| bool::from(token.as_bytes().ct_eq(given));
        if self.api_token.as_deref().is_some_and(is_token) {
            return Ok(operator());
        }
        let Some(service) = &self.service else {
            let detail = "this is not the API token";
            let refusal = Refusal::new(Kind::Forbidden, detail);
            return Err(refusal.at("Authorization").into());
        };
        let text = std::str::from_utf8(given).unwrap_or_default();
        if service.operator.matches(text) {
            return Ok(operator());
        }
        let credential = Credential::parse(text);
        let credential = credential.ok_or_else(|| refused("malformed", not_valid()))?;
        tenant_of(service, limiter, &credential)
    }

    /// Whoever has logged in, and brings one of these as the cookie of the session. `limiter` is that of the file's namespace.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthorized`], the same for every session that is not valid. [`Kind::NoDecision`] while the node joins;
    /// [`Kind::StaleConfiguration`].
    pub fn admit_session<N: Node>(
        &self,
        limiter: &Limiter<N>,
        cookies: &[&str],
    ) -> Result<Caller<N>, Refusal> {
        let service = self.service.as_ref().ok_or_else(|| self.missing())?;
        check_is_fresh(service, limiter)?;
        let signed_in = limiter.signed_in(service, cookies)?;
        let rights = Rights::User {
            id: signed_in.id,
            role: None,
            is_operator: limiter.is_operator(signed_in.id),
        };
        Ok(Caller {
            limiter: limiter.clone(),
            rights,
            signed_in: Some(Arc::new(signed_in)),
            address: None,
            service: Some(Arc::clone(service)),
        })
    }

    /// Admits as [`admit_session`](Self::admit_session) does, once another member was asked of what this node does not know: the
    /// user, and whose his address is. Takes 200 ms for each question at most.
    ///
    /// # Errors
    ///
    /// As [`Self::admit_session`].
    pub async fn admit_session_asking<N: Node>(
        &self,
        limiter: &Limiter<N>,
        cookies: &[&str],
    ) -> Result<Caller<N>, Refusal> {
        loop {
            let admitted = self.admit_session(limiter, cookies);
            let may_be_known = match &admitted {
                Ok(caller) => caller.signed_in.as_ref().is_some_and(|it| it.has_conflict),
                Err(refusal) => refusal.kind() == Kind::Unauthorized,
            };
            let unknown = may_be_known.then(|| self.unknown_session(limiter, cookies));
            match unknown.flatten() {
                Some(unknown) if limiter.look_up(&unknown).await => {}
                _ => return admitted,
            }
        }
    }
}

/// Refuses while what is known here may be long out of date: others may have revoked what is brought.
fn check_is_fresh<N: Node>(service: &Service, limiter: &Limiter<N>) -> Result<(), Refusal> {
    let Some(stale_after) = service.stale_after else {
        return Ok(());
    };
    match limiter.node().silent() {
        Some(silent) if stale_after <= silent => {
            let detail = "this node has heard of no other member for longer than what it knows is taken for true; nothing was counted";
            let refusal = Refusal::new(Kind::StaleConfiguration, detail);
            Err(refusal.with_retry_after(Nanos::from_secs(1)))
        }
        _ => Ok(()),
    }
}

/// Whoever brings the credential of an API key.
fn tenant_of<N: Node>(
    service: &Arc<Service>,
    limiter: &Limiter<N>,
    credential: &Credential,
) -> Result<Caller<N>, NotTaken> {
    check_is_fresh(service, limiter)?;
    let id = credential.id();
    let name = id.to_string();
    let Some(record) = limiter.node().record(Record::ApiKey, SERVICE, &name) else {
        return Err(refused("unknown", not_valid()).unless(Record::ApiKey, name));
    };
    let secret = credential.hash();
    let key = record.api_key().filter(|key| key.secret.matches(&secret));
    let key = key.ok_or_else(|| refused("unknown", not_valid()))?;
    match key.state(super::now()) {
        ApiKeyState::Valid => {}
        ApiKeyState::Revoked(at) => {
            let detail = format!("this API key was revoked at {at}");
            return Err(refused("revoked", ended(detail)));
        }
        ApiKeyState::Expired(at) => {
            let detail = format!("this API key expired at {at}");
            return Err(refused("expired", ended(detail)));
        }
    }
    let tenant = limiter.tenant(key.tenant).map_err(|_| {
        // Made as lately as its first API key.
        refused("closed", not_valid()).unless(Record::Tenant, key.tenant.to_string())
    })?;
    match tenant.status {
        Status::Active => {}
        Status::Suspended => return Err(refused("suspended", suspended())),
        Status::Closed => return Err(refused("closed", not_valid())),
    }
    Ok(Caller {
        limiter: limiter.in_tenant(service, key.tenant, &tenant).for_key(id),
        rights: Rights::ApiKey {
            id,
            scopes: key.scopes,
        },
        signed_in: None,
        address: None,
        service: Some(Arc::clone(service)),
    })
}

/// Notes that an API key was used, and counts one that is not taken.
fn told<N: Node>(recognised: Result<Caller<N>, NotTaken>) -> Result<Caller<N>, Refusal> {
    match recognised {
        Ok(caller) => {
            if let (Rights::ApiKey { id, .. }, Some(tenancy)) =
                (caller.rights, caller.limiter.tenancy())
            {
                tenancy.uses.note(super::now(), id);
            }
            Ok(caller)
        }
        Err(NotTaken {
            refusal, reason, ..
        }) => {
            if let Some(reason) = reason {
                counter!("weir_api_key_refusals_total", "reason" => reason).increment(1);
            }
            Err(refusal)
        }
    }
}

impl NotTaken {
    /// It may be taken once this record is known.
    fn unless(self, kind: Record, name: String) -> Self {
        Self {
            unknown: Some(Unknown::new(kind, name)),
            ..self
        }
    }
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            reason: None,
            unknown: None,
        }
    }
}

/// An API key that is not taken.
fn refused(reason: &'static str, refusal: Refusal) -> NotTaken {
    NotTaken {
        reason: Some(reason),
        ..refusal.into()
    }
}

/// The same for every credential that is none, so that nobody learns which there are.
fn not_valid() -> Refusal {
    ended("this API key is not valid".into())
}

fn ended(detail: String) -> Refusal {
    Refusal::new(Kind::Unauthorized, detail)
        .at("Authorization")
        .with_invalid_token()
}
