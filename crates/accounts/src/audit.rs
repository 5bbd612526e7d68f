//! What was changed, by whom and from where.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::{ApiKeyId, TenantId, UnixSecs, UserId};

/// Who did something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Actor {
    /// Whoever has the operator token or the API token.
    Operator,
    /// A user, operators among them.
    User(UserId),
    /// Whoever has the credential of an API key.
    ApiKey(ApiKeyId),
    /// What is known of the biller, such as a payment that came.
    Biller,
}

/// `operator`, `biller`, or the id.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::User(id) => id.fmt(f),
            Self::ApiKey(id) => id.fmt(f),
            Self::Biller => f.write_str("biller"),
        }
    }
}

/// Nobody who does something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not operator or biller, and not the id of a user or an API key")]
pub struct NoActor;

impl FromStr for Actor {
    type Err = NoActor;

    fn from_str(text: &str) -> Result<Self, NoActor> {
        match text {
            "operator" => return Ok(Self::Operator),
            "biller" => return Ok(Self::Biller),
            _ => {}
        }
        let user = text.parse().map(Self::User);
        user.or_else(|_| text.parse().map(Self::ApiKey))
            .map_err(|_| NoActor)
    }
}

/// One change. Never edited; secrets are never in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// When.
    pub at: UnixSecs,
    /// Who did it.
    pub who: Actor,
    /// What was done, as a stable name, such as `api-key.revoke`.
    pub what: Arc<str>,
    /// In which tenant. `None`: in none, as operators do.
    pub tenant: Option<TenantId>,
    /// To what: an id or a name.
    pub target: Arc<str>,
    /// What was so before, as people read it. `None`: nothing was.
    pub before: Option<Arc<str>>,
    /// What is so since. `None`: nothing is.
    pub after: Option<Arc<str>>,
    /// The address that it was asked from. `None`: it is not known, as over a Unix socket.
    pub address: Option<IpAddr>,
    /// The node that did it.
    pub node: Arc<str>,
}

impl AuditEntry {
    /// Seconds that one is kept: 400 days, so that a year can be looked back at from a month after it.
    pub const KEPT: u64 = 400 * 24 * 60 * 60;

    /// Whether it is still to be kept.
    #[must_use]
    pub fn is_kept(&self, now: UnixSecs) -> bool {
        now.since(self.at) < Self::KEPT
    }

    /// The names of what [`cells`](Self::cells) gives.
    pub const COLUMNS: [&str; 9] = [
        "at", "who", "what", "tenant", "target", "before", "after", "address", "node",
    ];

    /// What a table shows of it, empty where there is nothing. As text: a table of comma-separated values wants
    /// [`csv_row`](crate::csv_row).
    #[must_use]
    pub fn cells(&self) -> [String; 9] {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        [
            self.at.to_string(),
            self.who.to_string(),
            self.what.to_string(),
            self.tenant.map(|id| id.to_string()).unwrap_or_default(),
            self.target.to_string(),
            text(&self.before),
            text(&self.after),
            self.address.map(|at| at.to_string()).unwrap_or_default(),
            self.node.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_read_as_it_is_told() {
        let user = UserId::new([1; 10]);
        let api_key = "key_3fK9mQ2bXw7L".parse().unwrap();
        let (user, api_key) = (Actor::User(user), Actor::ApiKey(api_key));
        for who in [Actor::Operator, user, api_key, Actor::Biller] {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
        for text in ["", "Operator", "us_", "key_", "tn_0000000000000000"] {
            assert_eq!(text.parse::<Actor>(), Err(NoActor), "{text}");
        }
    }

    #[test]
    fn an_entry_is_a_row_and_is_kept_for_400_days() {
        let entry = AuditEntry {
            at: "2026-11-21T10:00:00Z".parse().unwrap(),
            who: Actor::Operator,
            what: "limit.change".into(),
            tenant: Some(TenantId::new([0; 10])),
            target: "login".into(),
            before: None,
            after: Some("10/s".into()),
            address: Some("2001:db8::1".parse().unwrap()),
            node: "oskar1".into(),
        };
        let cells = [
            "2026-11-21T10:00:00Z",
            "operator",
            "limit.change",
            "tn_0000000000000000",
            "login",
            "",
            "10/s",
            "2001:db8::1",
            "oskar1",
        ];
        assert_eq!(entry.cells(), cells);
        let end = entry.at + AuditEntry::KEPT;
        assert_eq!(end.to_string(), "2027-12-26T10:00:00Z");
        assert!(entry.is_kept(UnixSecs::new(end.get() - 1)) && !entry.is_kept(end));
    }
}
