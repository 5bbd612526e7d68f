//! Who asks, by the credential that a request brings.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use accounts::{
    Act, ApiKeyId, OperatorToken, Plans, Role, Scope, Scopes, SessionKeys, SessionSpans, Status,
    TenantId, UserId, may,
};
use quota::Nanos;

use super::Tenancy;
use super::billing::Billing;
use super::hashing::Hashing;
use super::session::SignedIn;
use crate::{Kind, Limiter, Node, Refusal};

/// What a front wants to be shown. The default wants nothing, and lets everybody do everything. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    pub(super) api_token: Option<Arc<str>>,
    pub(super) service: Option<Arc<Service>>,
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
    /// Who may sign up.
    pub signup: Signup,
    /// How long sessions live.
    pub spans: SessionSpans,
    /// By what sessions are signed.
    pub keys: Arc<SessionKeys>,
    /// A node that has heard of no other for so long takes the API token and the operator's token alone: API keys and sessions,
    /// those of operators too, may have ended meanwhile. `None`: however long.
    pub stale_after: Option<Nanos>,
    /// How plans are sold. `None`: operators give them.
    pub billing: Option<Arc<Billing>>,
    /// What this node is called where it is written down who changed what.
    pub node: Arc<str>,
    pub(super) hashing: Hashing,
}

/// Who may sign up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signup {
    /// Nobody: operators make tenants and their owners.
    Closed,
    /// Who was invited to a tenant.
    Invited,
    /// Anybody, with a tenant of his own.
    Open,
}

impl Signup {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Invited, Self::Open];

    /// Its name, which is stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Invited => "invited",
            Self::Open => "open",
        }
    }
}

impl Service {
    /// That of the cluster with this cookie, reached at this address, where nobody can sign up and sessions live as long as they
    /// do unless a file says otherwise.
    #[must_use]
    pub fn new(cookie: &[u8], public_url: String, plans: Plans) -> Self {
        Self {
            plans,
            operator: OperatorToken::derive(cookie),
            public_url,
            signup: Signup::Closed,
            spans: SessionSpans::default(),
            keys: Arc::new(SessionKeys::derive(cookie)),
            stale_after: None,
            billing: None,
            node: "".into(),
            hashing: Hashing::new(),
        }
    }
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
    /// Whoever has logged in, if it is by a session that the caller is known.
    pub signed_in: Option<Arc<SignedIn>>,
    /// Where the caller asks from, for what is written down of changes.
    pub address: Option<IpAddr>,
    pub(super) service: Option<Arc<Service>>,
}

impl<N> Clone for Caller<N> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            rights: self.rights,
            signed_in: self.signed_in.clone(),
            address: self.address,
            service: self.service.clone(),
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
    /// What the role of somebody who has logged in lets him do in a tenant.
    User {
        /// Who.
        id: UserId,
        /// His role there. `None`: he acts in no tenant, or in one in which he has no seat.
        role: Option<Role>,
        /// He is an operator, and may do everything.
        is_operator: bool,
    },
}

impl Rights {
    /// Whether it is everything.
    #[must_use]
    pub const fn are_operators(self) -> bool {
        matches!(
            self,
            Self::All
                | Self::User {
                    is_operator: true,
                    ..
                }
        )
    }
}

/// What of the scopes of an API key a role lets its user do.
fn scopes_of(role: Role) -> Scopes {
    let act = |scope: &Scope| match scope {
        Scope::LimitsRead | Scope::UsageRead => Act::See,
        // What is checked is counted, and is a request of the plan.
        Scope::Check | Scope::Adjust | Scope::LimitsWrite => Act::ChangeLimits,
        Scope::KeysRead | Scope::KeysWrite => Act::ManageApiKeys,
    };
    let scopes = Scope::ALL.into_iter();
    scopes.filter(|scope| may(role, act(scope))).collect()
}

impl<N> Caller<N> {
    /// Anybody, where nothing has to be shown.
    pub const fn anybody(limiter: Limiter<N>) -> Self {
        Self {
            limiter,
            rights: Rights::All,
            signed_in: None,
            address: None,
            service: None,
        }
    }

    /// Refuses a caller without this scope.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`], with the scope or the role.
    pub fn needs(&self, scope: Scope) -> Result<(), Refusal> {
        match self.rights {
            Rights::ApiKey { scopes, .. } if !scopes.has(scope) => {
                let detail = "this API key does not have the scope that this needs";
                Err(Refusal::new(Kind::Forbidden, detail).with("scope", scope.name()))
            }
            Rights::User { .. } if !self.scopes().has(scope) => {
                let may = |role: &&Role| scopes_of(**role).has(scope);
                let least = Role::ALL.iter().rev().find(may);
                Err(needs_role(*least.expect("owners may do all of it")))
            }
            Rights::All | Rights::ApiKey { .. } | Rights::User { .. } => Ok(()),
        }
    }

    /// Refuses a caller who may not do this in the tenant in which he acts: an API key does nothing of the kind.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`], with the role.
    pub fn needs_act(&self, act: Act) -> Result<(), Refusal> {
        match self.rights {
            rights if rights.are_operators() => Ok(()),
            Rights::User {
                role: Some(role), ..
            } if may(role, act) => Ok(()),
            _ => Err(needs_role(act.least_role())),
        }
    }

    /// Whoever has logged in.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthorized`] for a caller who has not: this is about an account.
    pub fn needs_session(&self) -> Result<&Arc<SignedIn>, Refusal> {
        self.signed_in.as_ref().ok_or_else(|| {
            let detail = "this is about the account of somebody who has logged in";
            Refusal::new(Kind::Unauthorized, detail).with_accepted("the cookie of a session")
        })
    }

    /// Refuses whoever is not an operator.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`].
    pub fn needs_operator(&self) -> Result<(), Refusal> {
        match self.rights.are_operators() {
            true => Ok(()),
            false => {
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

    /// Refuses what comes faster from a tenant than its plan lets it come to this node. Operators are not held to it.
    ///
    /// # Errors
    ///
    /// [`Kind::TenantRate`].
    pub fn check_ceiling(&self) -> Result<(), Refusal> {
        self.held().map_or(Ok(()), Tenancy::check_ceiling)
    }

    /// Refuses what looks through a tenant, as its limits, API keys and people, faster than this node does that for any.
    /// Operators are not held to it.
    ///
    /// # Errors
    ///
    /// [`Kind::TenantRate`].
    pub fn check_reads(&self) -> Result<(), Refusal> {
        self.held().map_or(Ok(()), Tenancy::check_reads)
    }

    /// The same of what changes a tenant.
    ///
    /// # Errors
    ///
    /// [`Kind::TenantRate`].
    pub fn check_changes(&self) -> Result<(), Refusal> {
        self.held().map_or(Ok(()), Tenancy::check_changes)
    }

    /// The tenant to whose ceilings the caller is held.
    fn held(&self) -> Option<&Tenancy> {
        let tenancy = self.limiter.tenancy();
        tenancy.filter(|_| !self.rights.are_operators())
    }

    /// The scopes that an API key may have which this caller makes.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self.rights {
            rights if rights.are_operators() => Scopes::ALL,
            Rights::ApiKey { scopes, .. } => scopes,
            Rights::User { role, .. } => role.map_or(Scopes::NONE, scopes_of),
            Rights::All => Scopes::ALL,
        }
    }

    /// Whoever it is, as records name him.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self.rights {
            Rights::All => "operator".into(),
            Rights::ApiKey { id, .. } => id.to_string().into(),
            Rights::User { id, .. } => id.to_string().into(),
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

    /// The caller in the namespace of a tenant that he names.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for an operator, and for who has logged in and has no seat there. [`Kind::Forbidden`] for an API key of
    /// another tenant. [`Kind::TenantSuspended`].
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
        let service = self.service.as_ref().ok_or_else(other)?;
        if let Rights::User {
            id: user,
            is_operator: false,
            ..
        } = caller.rights
        {
            return as_member(service, caller, user, id);
        }
        caller.needs_operator().map_err(|_| other())?;
        let tenant = caller.limiter.tenant(id)?;
        Ok(Caller {
            limiter: caller.limiter.in_tenant(service, id, &tenant),
            ..caller
        })
    }

    /// The caller in the one tenant in which he acts, as he names none. An operator acts in none.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`] for who has several seats, [`Kind::Forbidden`] for who has none. [`Kind::TenantSuspended`].
    pub fn within_own<N: Node>(&self, caller: Caller<N>) -> Result<Caller<N>, Refusal> {
        let (
            Some(service),
            Rights::User {
                id,
                is_operator: false,
                ..
            },
        ) = (&self.service, caller.rights)
        else {
            return Ok(caller);
        };
        let seats = caller.limiter.memberships(id);
        match &*seats {
            [] => {
                let detail = "this user has no seat in any tenant";
                Err(Refusal::new(Kind::Forbidden, detail).with("role", Role::Viewer.name()))
            }
            [one] => as_member(service, caller, id, one.tenant),
            several => {
                let ids: Vec<String> = several.iter().map(|it| it.tenant.to_string()).collect();
                let accepted = format!("one of your tenants: {}", ids.join(", "));
                Err(Refusal::missing("Weir-Tenant", accepted))
            }
        }
    }
}

/// Somebody who has logged in, in a tenant in which he has a seat.
fn as_member<N: Node>(
    service: &Arc<Service>,
    caller: Caller<N>,
    user: UserId,
    id: TenantId,
) -> Result<Caller<N>, Refusal> {
    let none = || Refusal::new(Kind::NotFound, "there is no such tenant").at("Weir-Tenant");
    let role = caller.limiter.role(id, user).ok_or_else(none)?;
    let tenant = caller.limiter.tenant(id).map_err(|_| none())?;
    match tenant.status {
        Status::Active => {}
        Status::Suspended => return Err(suspended()),
        Status::Closed => return Err(none()),
    }
    Ok(Caller {
        limiter: caller.limiter.in_tenant(service, id, &tenant),
        rights: Rights::User {
            id: user,
            role: Some(role),
            is_operator: false,
        },
        ..caller
    })
}

pub(super) fn suspended() -> Refusal {
    let detail = "this tenant is suspended; nothing was counted";
    Refusal::new(Kind::TenantSuspended, detail)
}

fn needs_role(role: Role) -> Refusal {
    let detail = "whoever asks does not have the role that this needs";
    Refusal::new(Kind::Forbidden, detail).with("role", role.name())
}

/// The namespace of the file is no tenant.
fn no_tenant() -> Refusal {
    Refusal::missing("Weir-Tenant", TENANT_ACCEPTED)
}

/// What names a tenant.
const TENANT_ACCEPTED: &str = "the id of a tenant, such as tn_0123456789abcdef";
