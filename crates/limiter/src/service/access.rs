//! Who asks, by the credential that a request brings.

use std::fmt;
use std::sync::Arc;

use accounts::{
    ApiKeyId, ApiKeyState, Credential, OperatorToken, Plans, Scope, Scopes, Status, TenantId,
};
use catalogue::{Content, Kind as Record, SERVICE};
use metrics::counter;
use subtle::ConstantTimeEq as _;

use crate::{Kind, Limiter, Node, Refusal};

/// What a front wants to be shown. The default wants nothing, and lets everybody do everything. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    api_token: Option<Arc<str>>,
    service: Option<Arc<Service>>,
}

/// What makes a cluster a service for many tenants, the same on every node.
#[derive(Clone)]
pub struct Service {
    /// What tenants may use.
    pub plans: Plans,
    /// What an operator brings: whoever can read the cluster's cookie derives it.
    pub operator: OperatorToken,
    /// Where people reach the service, without a slash at the end.
    pub public_url: String,
}

/// Without the secrets.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("api_token", &self.api_token.as_ref().map(|_| ".."))
            .field("service", &self.service.is_some())
            .finish()
    }
}

/// Who asks, and in whose namespace.
pub struct Caller<N> {
    /// Finds the limits of the namespace in which the caller acts, and counts there.
    pub limiter: Limiter<N>,
    /// What the caller may do.
    pub rights: Rights,
}

impl<N> Clone for Caller<N> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            rights: self.rights,
        }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Everything, also with the cluster: an operator, or anybody where nothing has to be shown.
    All,
    /// What the scopes of an API key say.
    ApiKey {
        /// Which.
        id: ApiKeyId,
        /// What they say.
        scopes: Scopes,
    },
}

impl<N> Caller<N> {
    /// Anybody, where nothing has to be shown.
    pub const fn anybody(limiter: Limiter<N>) -> Self {
        Self {
            limiter,
            rights: Rights::All,
        }
    }

    /// Refuses a caller without this scope.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`], with the scope.
    pub fn needs(&self, scope: Scope) -> Result<(), Refusal> {
        match self.rights {
            Rights::ApiKey { scopes, .. } if !scopes.has(scope) => {
                let detail = "this API key does not have the scope that this needs";
                Err(Refusal::new(Kind::Forbidden, detail).with("scope", scope.name()))
            }
            Rights::All | Rights::ApiKey { .. } => Ok(()),
        }
    }

    /// Refuses whoever is not an operator.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`].
    pub fn needs_operator(&self) -> Result<(), Refusal> {
        match self.rights {
            Rights::All => Ok(()),
            Rights::ApiKey { .. } => {
                let detail = "only an operator may do this";
                Err(Refusal::new(Kind::Forbidden, detail).with("role", "operator"))
            }
        }
    }

    /// The tenant in which the caller acts.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`] for an operator who acts in none.
    pub fn needs_tenant(&self) -> Result<TenantId, Refusal> {
        let tenancy = self.limiter.tenancy();
        tenancy.map(|tenancy| tenancy.id).ok_or_else(no_tenant)
    }

    /// The day that it is, since the epoch (UTC).
    #[must_use]
    pub fn today(&self) -> u64 {
        super::today()
    }

    /// Refuses what comes faster from a tenant than its plan lets it come to this node.
    ///
    /// # Errors
    ///
    /// [`Kind::TenantRate`].
    pub fn check_ceiling(&self) -> Result<(), Refusal> {
        match (self.rights, self.limiter.tenancy()) {
            (Rights::ApiKey { .. }, Some(tenancy)) => tenancy.check_ceiling(),
            _ => Ok(()),
        }
    }

    /// The scopes that an API key may have which this caller makes.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self.rights {
            Rights::All => Scopes::ALL,
            Rights::ApiKey { scopes, .. } => scopes,
        }
    }

    /// Whoever it is, as records name him.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self.rights {
            Rights::All => "operator".into(),
            Rights::ApiKey { id, .. } => id.to_string().into(),
        }
    }
}

impl Access {
    /// Wants a token, if there is one; with a service, the credential of a tenant does as well.
    #[must_use]
    pub fn new(api_token: Option<String>, service: Option<Service>) -> Self {
        Self {
            api_token: api_token.map(Into::into),
            service: service.map(Into::into),
        }
    }

    /// Wants this token.
    #[must_use]
    pub fn with_token(token: impl Into<String>) -> Self {
        Self::new(Some(token.into()), None)
    }

    /// Whether nothing has to be shown.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.api_token.is_none() && self.service.is_none()
    }

    /// What makes this a service for many, if it is one.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        self.service.as_ref()
    }

    /// Tells that a credential is needed and none was brought.
    #[must_use]
    pub fn missing(&self) -> Refusal {
        let (detail, accepted) = match self.service {
            Some(_) => (
                "the header Authorization must bring an API key",
                "Bearer and an API key",
            ),
            None => (
                "the header Authorization must bring the API token",
                "Bearer and the token",
            ),
        };
        Refusal::new(Kind::Unauthorized, detail)
            .at("Authorization")
            .with_accepted(accepted)
    }

    /// Who brings this credential. `limiter` is that of the file's namespace.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthorized`], [`Kind::Forbidden`] where there is but one token and this is another,
    /// [`Kind::TenantSuspended`].
    pub fn admit<N: Node>(
        &self,
        limiter: &Limiter<N>,
        credential: Option<&[u8]>,
    ) -> Result<Caller<N>, Refusal> {
        if self.is_open() {
            return Ok(Caller::anybody(limiter.clone()));
        }
        let given = credential.ok_or_else(|| self.missing())?;
        let is_token = |token: &str| bool::from(token.as_bytes().ct_eq(given));
        if self.api_token.as_deref().is_some_and(is_token) {
            return Ok(Caller::anybody(limiter.clone()));
        }
        let Some(service) = &self.service else {
            let detail = "this is not the API token";
            return Err(Refusal::new(Kind::Forbidden, detail).at("Authorization"));
        };
        let text = std::str::from_utf8(given).unwrap_or_default();
        if service.operator.matches(text) {
            return Ok(Caller::anybody(limiter.clone()));
        }
        let credential = Credential::parse(text);
        let credential = credential.ok_or_else(|| refused("malformed", not_valid()))?;
        tenant_of(service, limiter, &credential)
    }

    /// The caller in the namespace of a tenant, where an operator asks for it.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for an operator, [`Kind::Forbidden`] for who is of another tenant.
    pub fn within<N: Node>(&self, caller: Caller<N>, tenant: &str) -> Result<Caller<N>, Refusal> {
        if caller.limiter.namespace() == tenant {
            return Ok(caller);
        }
        let id: TenantId = tenant
            .parse()
            .map_err(|_| Refusal::field("Weir-Tenant", tenant, TENANT_ACCEPTED))?;
        let other = || {
            let detail = "this credential is of another tenant";
            Refusal::new(Kind::Forbidden, detail).at("Weir-Tenant")
        };
        caller.needs_operator().map_err(|_| other())?;
        let service = self.service.as_ref().ok_or_else(other)?;
        let tenant = caller.limiter.tenant(id)?;
        Ok(Caller {
            limiter: caller.limiter.in_tenant(service, id, &tenant),
            ..caller
        })
    }
}

/// Whoever brings the credential of an API key.
fn tenant_of<N: Node>(
    service: &Arc<Service>,
    limiter: &Limiter<N>,
    credential: &Credential,
) -> Result<Caller<N>, Refusal> {
    let id = credential.id();
    let secret = credential.hash();
    let record = limiter
        .node()
        .record(Record::ApiKey, SERVICE, &id.to_string());
    let key = record.as_ref().and_then(Content::api_key);
    let key = key.filter(|key| key.secret.matches(&secret));
    let key = key.ok_or_else(|| refused("unknown", not_valid()))?;
    let now = super::now();
    match key.state(now) {
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
    let tenant = limiter.tenant(key.tenant);
    let tenant = tenant.map_err(|_| refused("closed", not_valid()))?;
    match tenant.status {
        Status::Active => {}
        Status::Suspended => {
            let detail = "this tenant is suspended; nothing was counted";
            return Err(refused(
                "suspended",
                Refusal::new(Kind::TenantSuspended, detail),
            ));
        }
        Status::Closed => return Err(refused("closed", not_valid())),
    }
    let limiter = limiter.in_tenant(service, key.tenant, &tenant);
    if let Some(tenancy) = limiter.tenancy() {
        tenancy.uses.note(now, id);
    }
    Ok(Caller {
        limiter,
        rights: Rights::ApiKey {
            id,
            scopes: key.scopes,
        },
    })
}

/// Counts an API key that is not taken.
fn refused(reason: &'static str, refusal: Refusal) -> Refusal {
    counter!("weir_api_key_refusals_total", "reason" => reason).increment(1);
    refusal
}

/// The namespace of the file is no tenant.
fn no_tenant() -> Refusal {
    Refusal::missing("Weir-Tenant", TENANT_ACCEPTED)
}

/// What names a tenant.
const TENANT_ACCEPTED: &str = "the id of a tenant, such as tn_0123456789abcdef";

/// The same for every credential that is none, so that nobody learns which there are.
fn not_valid() -> Refusal {
    ended("this API key is not valid".into())
}

fn ended(detail: String) -> Refusal {
    Refusal::new(Kind::Unauthorized, detail)
        .at("Authorization")
        .with_invalid_token()
}
