//! What a record says, by kind.

use std::sync::Arc;

use accounts::{
    ApiKey, AuditEntry, EmailClaim, EndedSession, Invite, KnownSession, MeterEvent, MonthUsage,
    Seat, Subscription, Tenant, UnixSecs, User,
};
use coordinator::{FailMode, Strategy};
use quota::{Algorithm, Limit};

use crate::record::Address;

/// What a record is about. Names are unique within kind and namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A limit by name, as one of the file.
    Limit,
    /// A limit for one key: its name is the key.
    KeyLimit,
    /// A tenant: its name is its id. In the namespace [`SERVICE`].
    Tenant,
    /// An API key: its name is its id. In the namespace [`SERVICE`], and listed in that of its tenant.
    ApiKey,
    /// A user: its name is its id. In the namespace [`SERVICE`], and listed in that of the address that the user registered.
    User,
    /// Who has an e-mail address: its name is the address. In the namespace [`SERVICE`].
    Email,
    /// The seat of a user in a tenant: its name is both ids, with a slash between them. In the namespace [`SERVICE`], and
    /// listed in those of the tenant and of the user.
    Seat,
    /// An invitation to a tenant: its name is its id. In the namespace [`SERVICE`], and listed in that of its tenant.
    Invite,
    /// A session that was begun: its name is its id. In the namespace [`SERVICE`], and listed in that of its user.
    Session,
    /// A session that was ended: its name is its id. In the namespace [`SERVICE`].
    EndedSession,
    /// A user who is an operator: its name is the id of the user. In the namespace [`SERVICE`].
    Operator,
    /// What was changed, by whom: its name begins with the second. In the namespace of the tenant in which it was done, or in
    /// [`SERVICE`].
    Audit,
    /// What a tenant has used in a month: its name is [`MonthUsage::name`]. In the namespace [`SERVICE`].
    Usage,
    /// What the biller says of a tenant: its name is the id of the tenant. In the namespace [`SERVICE`], and listed there and in
    /// that of the customer.
    Subscription,
    /// What the biller was told of a day of a tenant: its name is [`MeterEvent::name`]. In the namespace [`SERVICE`], and listed
    /// in that of its tenant.
    MeterEvent,
}

/// The namespace of records that are found by an id alone, whosever they are.
pub const SERVICE: &str = "@service";

/// What becomes of two writes of which neither had seen the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The newer stays, whole.
    Newer,
    /// Both count, and whatever either forbids is forbidden.
    GrantsLess,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Limit,
        Self::KeyLimit,
        Self::Tenant,
        Self::ApiKey,
        Self::User,
        Self::Email,
        Self::Seat,
        Self::Invite,
        Self::Session,
        Self::EndedSession,
        Self::Operator,
        Self::Audit,
        Self::Usage,
        Self::Subscription,
        Self::MeterEvent,
    ];

    /// Its name in logs, metrics, and under the hash of an address: fixed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::KeyLimit => "key_limit",
            Self::Tenant => "tenant",
            Self::ApiKey => "api_key",
            Self::User => "user",
            Self::Email => "email",
            Self::Seat => "seat",
            Self::Invite => "invite",
            Self::Session => "session",
            Self::EndedSession => "ended_session",
            Self::Operator => "operator",
            Self::Audit => "audit",
            Self::Usage => "usage",
            Self::Subscription => "subscription",
            Self::MeterEvent => "meter_event",
        }
    }

    /// Its number on disks, between nodes, and in the order of places: fixed.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Limit => 0,
            Self::KeyLimit => 1,
            Self::Tenant => 2,
            Self::ApiKey => 3,
            Self::User => 4,
            Self::Email => 5,
            Self::Seat => 6,
            Self::Invite => 7,
            Self::Session => 8,
            Self::EndedSession => 9,
            Self::Operator => 10,
            Self::Audit => 11,
            Self::Usage => 12,
            Self::Subscription => 13,
            Self::MeterEvent => 14,
        }
    }

    /// The kind of that number. `None`: it is of a later version, or none.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// What becomes of two writes of a record of this kind of which neither had seen the other.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Limit | Self::KeyLimit => Rule::Newer,
            Self::Tenant
            | Self::ApiKey
            | Self::User
            | Self::Email
            | Self::Seat
            | Self::Invite
            | Self::Session
            | Self::EndedSession
            | Self::Operator
            | Self::Audit
            | Self::Usage
            | Self::Subscription
            | Self::MeterEvent => Rule::GrantsLess,
        }
    }

    /// The namespace of the addresses of what is listed in `namespace`.
    #[must_use]
    pub const fn namespace(self, namespace: &str) -> &str {
        match self {
            Self::Limit | Self::KeyLimit | Self::Audit => namespace,
            Self::Tenant
            | Self::ApiKey
            | Self::User
            | Self::Email
            | Self::Seat
            | Self::Invite
            | Self::Session
            | Self::EndedSession
            | Self::Operator
            | Self::Usage
            | Self::Subscription
            | Self::MeterEvent => SERVICE,
        }
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Of a [`Kind::Limit`].
    Limit(NamedLimit),
    /// Of a [`Kind::KeyLimit`].
    KeyLimit(KeyLimit),
    /// Of a [`Kind::Tenant`].
    Tenant(Arc<Tenant>),
    /// Of a [`Kind::ApiKey`].
    ApiKey(Arc<ApiKey>),
    /// Of a [`Kind::User`].
    User(Arc<User>),
    /// Of a [`Kind::Email`].
    Email(EmailClaim),
    /// Of a [`Kind::Seat`].
    Seat(Seat),
    /// Of a [`Kind::Invite`].
    Invite(Arc<Invite>),
    /// Of a [`Kind::Session`].
    Session(Arc<KnownSession>),
    /// Of a [`Kind::EndedSession`].
    EndedSession(EndedSession),
    /// Of a [`Kind::Operator`]: since when.
    Operator(UnixSecs),
    /// Of a [`Kind::Audit`].
    Audit(Arc<AuditEntry>),
    /// Of a [`Kind::Usage`].
    Usage(Arc<MonthUsage>),
    /// Of a [`Kind::Subscription`].
    Subscription(Arc<Subscription>),
    /// Of a [`Kind::MeterEvent`].
    MeterEvent(MeterEvent),
}

impl Content {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Limit(_) => Kind::Limit,
            Self::KeyLimit(_) => Kind::KeyLimit,
            Self::Tenant(_) => Kind::Tenant,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::User(_) => Kind::User,
            Self::Email(_) => Kind::Email,
            Self::Seat(_) => Kind::Seat,
            Self::Invite(_) => Kind::Invite,
            Self::Session(_) => Kind::Session,
            Self::EndedSession(_) => Kind::EndedSession,
            Self::Operator(_) => Kind::Operator,
            Self::Audit(_) => Kind::Audit,
            Self::Usage(_) => Kind::Usage,
            Self::Subscription(_) => Kind::Subscription,
            Self::MeterEvent(_) => Kind::MeterEvent,
        }
    }

    /// The limit, if it is one by name.
    #[must_use]
    pub const fn named_limit(&self) -> Option<NamedLimit> {
        match self {
            Self::Limit(limit) => Some(*limit),
            _ => None,
        }
    }

    /// The limit, if it is one for a single key.
    #[must_use]
    pub const fn key_limit(&self) -> Option<KeyLimit> {
        match self {
            Self::KeyLimit(limit) => Some(*limit),
            _ => None,
        }
    }

    /// The tenant, if it is one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&Arc<Tenant>> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    /// The API key, if it is one.
    #[must_use]
    pub const fn api_key(&self) -> Option<&Arc<ApiKey>> {
        match self {
            Self::ApiKey(key) => Some(key),
            _ => None,
        }
    }

    /// The user, if it is one.
    #[must_use]
    pub const fn user(&self) -> Option<&Arc<User>> {
        match self {
            Self::User(user) => Some(user),
            _ => None,
        }
    }

    /// Who has the address, if it is one.
    #[must_use]
    pub const fn email(&self) -> Option<EmailClaim> {
        match self {
            Self::Email(claim) => Some(*claim),
            _ => None,
        }
    }

    /// The seat, if it is one.
    #[must_use]
    pub const fn seat(&self) -> Option<Seat> {
        match self {
            Self::Seat(seat) => Some(*seat),
            _ => None,
        }
    }

    /// The invitation, if it is one.
    #[must_use]
    pub const fn invite(&self) -> Option<&Arc<Invite>> {
        match self {
            Self::Invite(invite) => Some(invite),
            _ => None,
        }
    }

    /// The session that was begun, if it is one.
    #[must_use]
    pub const fn session(&self) -> Option<&Arc<KnownSession>> {
        match self {
            Self::Session(session) => Some(session),
            _ => None,
        }
    }

    /// What was changed, if it is that.
    #[must_use]
    pub const fn audit(&self) -> Option<&Arc<AuditEntry>> {
        match self {
            Self::Audit(entry) => Some(entry),
            _ => None,
        }
    }

    /// What was used in a month, if it is that.
    #[must_use]
    pub const fn usage(&self) -> Option<&Arc<MonthUsage>> {
        match self {
            Self::Usage(month) => Some(month),
            _ => None,
        }
    }

    /// What the biller says of a tenant, if it is that.
    #[must_use]
    pub const fn subscription(&self) -> Option<&Arc<Subscription>> {
        match self {
            Self::Subscription(subscription) => Some(subscription),
            _ => None,
        }
    }

    /// What the biller was told of a day, if it is that.
    #[must_use]
    pub const fn meter_event(&self) -> Option<MeterEvent> {
        match self {
            Self::MeterEvent(event) => Some(*event),
            _ => None,
        }
    }

    /// What two writes say together that did not see each other: a removal, or what grants no more than either. In any
    /// order and however often, it comes to the same. Of contents of [`Rule::GrantsLess`].
    pub(crate) fn together(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        Some(match (one?, other?) {
            (Self::Tenant(one), Self::Tenant(other)) => Self::Tenant(one.meet(&other).into()),
            (Self::ApiKey(one), Self::ApiKey(other)) => Self::ApiKey(one.meet(&other).into()),
            (Self::User(one), Self::User(other)) => Self::User(one.meet(&other).into()),
            (Self::Email(one), Self::Email(other)) => Self::Email(one.meet(&other)),
            (Self::Seat(one), Self::Seat(other)) => Self::Seat(one.meet(&other)),
            (Self::Invite(one), Self::Invite(other)) => Self::Invite(one.meet(&other).into()),
            (Self::EndedSession(one), Self::EndedSession(other)) => {
                Self::EndedSession(one.meet(&other))
            }
            (Self::Operator(one), Self::Operator(other)) => Self::Operator(one.min(other)),
            (Self::Usage(one), Self::Usage(other)) => Self::Usage(one.meet(&other).into()),
            (Self::Subscription(one), Self::Subscription(other)) => {
                Self::Subscription(one.meet(&other).into())
            }
            (Self::MeterEvent(one), Self::MeterEvent(other)) => Self::MeterEvent(one.meet(&other)),
            (Self::Session(one), Self::Session(other)) => Self::Session(one.meet(&other).into()),
            (Self::Audit(one), Self::Audit(other)) => match one.cells() <= other.cells() {
                true => Self::Audit(one),
                false => Self::Audit(other),
            },
            // Contents of one record are of one kind, and those of the others are never two.
            (one, _) => one,
        })
    }

    /// The namespaces in which a record of this content and address is listed, without repeats.
    #[must_use]
    pub fn listed_in(&self, address: &Address) -> Vec<Arc<str>> {
        match self {
            Self::ApiKey(key) => vec![key.tenant.to_string().into()],
            Self::User(user) => vec![user.email.get().as_str().into()],
            Self::Seat(_) => address.name.split('/').map(Arc::from).collect(),
            Self::Invite(invite) => vec![invite.tenant.to_string().into()],
            Self::Session(session) => vec![session.user.to_string().into()],
            Self::Subscription(subscription) => {
                let customer = subscription.customer.iter().map(Arc::clone);
                std::iter::once(Arc::clone(&address.namespace))
                    .chain(customer)
                    .collect()
            }
            Self::MeterEvent(_) => {
                let tenant = address.name.split('/').next();
                tenant.map(Arc::from).into_iter().collect()
            }
            Self::Limit(_)
            | Self::KeyLimit(_)
            | Self::Tenant(_)
            | Self::Email(_)
            | Self::EndedSession(_)
            | Self::Operator(_)
            | Self::Audit(_)
            | Self::Usage(_) => vec![Arc::clone(&address.namespace)],
        }
    }

    /// From when on every node lets go of it by itself. `None`: never.
    #[must_use]
    pub fn over_at(&self) -> Option<UnixSecs> {
        match self {
            Self::Session(session) => Some(session.over_at),
            Self::EndedSession(ended) => Some(ended.remember_until),
            Self::Audit(entry) => Some(entry.at + AuditEntry::KEPT),
            Self::Usage(month) => Some(month.over_at()),
            Self::MeterEvent(event) => Some(event.over_at()),
            _ => None,
        }
    }

    /// About how many bytes it takes in a message: no less than it does.
    pub(crate) fn weight(&self) -> usize {
        match self {
            // At most some 40 bytes with everything that belongs to it.
            Self::Limit(_) | Self::KeyLimit(_) => 64,
            // Four names of bounded length, with their times.
            Self::Tenant(tenant) => 144 + tenant.name.get().as_str().len(),
            Self::ApiKey(key) => 192 + key.name.get().len() + key.made_by.len(),
            // Four times and hashes, and a link.
            Self::User(user) => {
                let password = user.password.get().as_ref();
                let password = password.map_or(0, |hash| hash.as_str().len());
                192 + user.email.get().as_str().len() + password
            }
            Self::Email(_) | Self::Seat(_) | Self::EndedSession(_) | Self::Operator(_) => 48,
            Self::Invite(invite) => {
                let email = invite.email.as_ref();
                128 + email.map_or(0, |email| email.as_str().len()) + invite.made_by.len()
            }
            Self::Session(session) => 96 + session.agent.len(),
            // A day, and two numbers of five bytes at most.
            Self::Usage(month) => 48 + 11 * month.days().len(),
            Self::MeterEvent(_) => 64,
            // Ids of the biller, four times, and what its subscriptions began with.
            Self::Subscription(subscription) => {
                let bought = subscription.bought.as_ref();
                let price = bought.and_then(|bought| bought.price.as_deref());
                let texts = [
                    subscription.customer.as_deref(),
                    bought.map(|bought| &*bought.id),
                    price,
                ];
                let texts: usize = texts.into_iter().flatten().map(str::len).sum();
                let bases = subscription.bases.keys().map(|id| id.len() + 24);
                128 + texts + bases.sum::<usize>()
            }
            Self::Audit(entry) => {
                let text = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
                let texts = entry.what.len() + entry.target.len() + entry.node.len();
                112 + texts + text(&entry.before) + text(&entry.after)
            }
        }
    }
}

/// A limit that people made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedLimit {
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Whether whoever made it called its algorithm `token_bucket`.
    pub as_token_bucket: bool,
    /// Who counts.
    pub strategy: Strategy,
    /// What is answered when no decision can be had.
    pub on_failure: FailMode,
    /// Whether it is told which keys it denies most.
    pub top_keys: bool,
}

/// A limit for one key. It counts by the strategy `owner`, and fails closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLimit {
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Whether whoever made it called its algorithm `token_bucket`.
    pub as_token_bucket: bool,
}

impl NamedLimit {
    /// The algorithm's name as it was written.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        written(self.limit.algorithm(), self.as_token_bucket)
    }
}

impl KeyLimit {
    /// The algorithm's name as it was written.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        written(self.limit.algorithm(), self.as_token_bucket)
    }
}

const fn written(algorithm: Algorithm, as_token_bucket: bool) -> &'static str {
    match (algorithm, as_token_bucket) {
        (Algorithm::Gcra, true) => "token_bucket",
        (algorithm, _) => algorithm.name(),
    }
}
