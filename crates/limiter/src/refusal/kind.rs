//! The kinds of refusals.

/// What kind of refusal. Fronts choose their protocol's code by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The request makes no sense: it is the same tomorrow.
    InvalidRequest,
    /// It is not known who asks.
    Unauthorized,
    /// A password or a code is wrong, or whoever's it is may not log in.
    WrongCredentials,
    /// Whoever asks may not.
    Forbidden,
    /// A browser sends it, and nothing shows that its user meant to.
    ForgedRequest,
    /// Nobody can sign up here, or not without an invitation.
    SignupClosed,
    /// Whoever asks is of a tenant that may do nothing for now.
    TenantSuspended,
    /// No limit has that name.
    UnknownLimit,
    /// There is no such thing, though the name may be right.
    NotFound,
    /// The limit is the file's.
    DefinedInFile,
    /// The member that is to be forgotten answers.
    MemberAlive,
    /// What the file says now cannot be in force.
    NotReloaded,
    /// What is to be changed is not in a state in which it can be.
    Conflict,
    /// Another has the address.
    EmailTaken,
    /// Another has the address of whoever asks: first another is to be chosen.
    EmailConflict,
    /// A tenant would be left without an owner.
    LastOwner,
    /// The plan has no room for another.
    PlanLimit,
    /// The tenant has bought something already, or has nothing that could be changed.
    BillingConflict,
    /// The link was used or has expired, or never was.
    LinkUsed,
    /// More than is read, or asked at once.
    TooLarge,
    /// The cost is above the burst.
    NeverConforms,
    /// The plan's requests of the day are used up.
    QuotaExceeded,
    /// More of one tenant comes to this node than its plan lets.
    TenantRate,
    /// Too many passwords or codes were wrong.
    TooManyAttempts,
    /// A later version does that.
    NotImplemented,
    /// Nobody could decide, and the limit fails closed.
    NoDecision,
    /// This node reaches no majority of its cluster, without which nothing is changed.
    NoQuorum,
    /// This node has heard of nobody for longer than what it knows is taken for true, and takes the API token and the
    /// operator's token alone.
    StaleConfiguration,
    /// The biller does not answer, or refuses.
    BillingUnavailable,
    /// Shed.
    Overloaded,
    /// The node is stopping.
    Draining,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::WrongCredentials,
        Self::Forbidden,
        Self::ForgedRequest,
        Self::SignupClosed,
        Self::TenantSuspended,
        Self::UnknownLimit,
        Self::NotFound,
        Self::DefinedInFile,
        Self::MemberAlive,
        Self::NotReloaded,
        Self::Conflict,
        Self::EmailTaken,
        Self::EmailConflict,
        Self::LastOwner,
        Self::PlanLimit,
        Self::BillingConflict,
        Self::LinkUsed,
        Self::TooLarge,
        Self::NeverConforms,
        Self::QuotaExceeded,
        Self::TenantRate,
        Self::TooManyAttempts,
        Self::NotImplemented,
        Self::NoDecision,
        Self::NoQuorum,
        Self::StaleConfiguration,
        Self::BillingUnavailable,
        Self::Overloaded,
        Self::Draining,
    ];

    /// Its name, and in a few words what it says. Both are stable.
    const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", "The request is not valid"),
            Self::Unauthorized => ("unauthorized", "It is not known who asks"),
            Self::WrongCredentials => (
                "wrong-credentials",
                "What was given does not open this account",
            ),
            Self::Forbidden => ("forbidden", "Whoever asks may not do this"),
            Self::ForgedRequest => (
                "forged-request",
                "Nothing shows that the user of the browser meant this",
            ),
            Self::SignupClosed => ("signup-closed", "Nobody can sign up here by himself"),
            Self::TenantSuspended => ("tenant-suspended", "The tenant is suspended"),
            Self::UnknownLimit => ("unknown-limit", "There is no limit of this name"),
            Self::NotFound => ("not-found", "There is nothing here"),
            Self::DefinedInFile => ("defined-in-file", "The limit is defined in the file"),
            Self::MemberAlive => ("member-alive", "The member is alive"),
            Self::NotReloaded => ("not-reloaded", "The file was not taken"),
            Self::Conflict => ("conflict", "Its state does not allow this"),
            Self::EmailTaken => ("email-taken", "Another user has this address"),
            Self::EmailConflict => (
                "email-conflict",
                "Another user has your address: choose another first",
            ),
            Self::LastOwner => ("last-owner", "A tenant keeps an owner"),
            Self::BillingConflict => (
                "billing-conflict",
                "What was bought before does not allow this",
            ),
            Self::LinkUsed => ("link-used", "This link does not work any more"),
            Self::PlanLimit => ("plan-limit", "The plan has no room for another"),
            Self::TooLarge => ("too-large", "The request is too large"),
            Self::NeverConforms => (
                "never-conforms",
                "The cost is above the burst: no wait helps",
            ),
            Self::QuotaExceeded => (
                "quota-exceeded",
                "The plan's requests of this day are used up",
            ),
            Self::TenantRate => (
                "tenant-rate",
                "More comes from this tenant than its plan lets",
            ),
            Self::TooManyAttempts => (
                "too-many-attempts",
                "Too many attempts have failed: wait before the next",
            ),
            Self::NotImplemented => ("not-implemented", "This version does not do that"),
            Self::NoDecision => ("no-decision", "No decision could be had"),
            Self::NoQuorum => ("no-quorum", "This node reaches no majority"),
            Self::StaleConfiguration => (
                "stale-configuration",
                "This node has heard of no other for too long",
            ),
            Self::BillingUnavailable => ("billing-unavailable", "The biller does not do this now"),
            Self::Overloaded => ("overloaded", "Too much is waiting already"),
            Self::Draining => ("draining", "This node is stopping"),
        }
    }

    /// Its name, as in `/problems/NAME`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.parts().0
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.parts().1
    }
}
