//! What can go wrong with a call to Redis, and what became of the hit.

use coordinator::NoDecision;
use quota::Nanos;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call got no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// Whether it is certain that nothing was counted.
    pub(crate) uncounted: bool,
    text: String,
}

/// The kinds of failures, as metrics tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// No answer within the deadline.
    Timeout,
    /// No connection, or one that broke.
    Connection,
    /// The password is wrong or missing, or the user may not do this.
    Auth,
    /// A replica, which takes no writes.
    ReadOnly,
    /// Redis has reached its `maxmemory`.
    OutOfMemory,
    /// Redis is reading its data from disk.
    Loading,
    /// A Redis Cluster that has no master for the key, or is moving it.
    Cluster,
    /// Any other refusal.
    Refused,
    /// An answer that is none of our scripts'.
    Reply,
}

impl Reason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Auth => "auth",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::Loading => "loading",
            Self::Cluster => "cluster",
            Self::Refused => "refused",
            Self::Reply => "reply",
        }
    }
}

impl Failure {
    /// There was no connection to send anything on.
    pub(crate) fn not_connected() -> Self {
        Self {
            reason: Reason::Connection,
            uncounted: true,
            text: "no connection to redis".into(),
        }
    }

    /// Nobody answered while connecting.
    pub(crate) fn not_connected_in_time() -> Self {
        Self {
            uncounted: true,
            ..Self::timeout()
        }
    }

    /// Sent, or waiting to be, and not answered in time.
    pub(crate) fn timeout() -> Self {
        Self {
            reason: Reason::Timeout,
            uncounted: false,
            text: "redis did not answer within the deadline".into(),
        }
    }

    /// Others were faster each time that a changed limit was to take a counter over.
    pub(crate) fn contended() -> Self {
        Self {
            reason: Reason::Refused,
            uncounted: true,
            text: "the counter changed each time that a changed limit took it over".into(),
        }
    }

    /// Something answered that is not one of our scripts. What it did is unknown.
    pub(crate) fn reply(what: &str) -> Self {
        Self {
            reason: Reason::Reply,
            uncounted: false,
            text: format!("redis answered {what}"),
        }
    }

    /// Connecting failed.
    pub(crate) fn connecting(error: &RedisError) -> Self {
        Self {
            uncounted: true,
            ..Self::from(error)
        }
    }

    /// What to tell a client who may try again `after`.
    pub(crate) const fn no_decision(&self, retry_after: Nanos) -> NoDecision {
        if self.uncounted {
            NoDecision::Unavailable { retry_after }
        } else {
            NoDecision::Unknown { retry_after }
        }
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        let text = error.to_string();
        // Before version 7, what a command inside a script answered is told inside a general error.
        let says = |code: &str| error.code() == Some(code) || text.contains(&format!("-{code} "));
        let reason = match error.kind() {
            ErrorKind::AuthenticationFailed => Reason::Auth,
            ErrorKind::Io if error.is_timeout() => Reason::Timeout,
            ErrorKind::Io => Reason::Connection,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Reason::Loading,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Reason::Auth,
            ErrorKind::ClusterConnectionNotFound => Reason::Cluster,
            _ if error.is_cluster_error() || says("MASTERDOWN") => Reason::Cluster,
            _ if says("NOAUTH") || says("WRONGPASS") => Reason::Auth,
            _ if says("READONLY") => Reason::ReadOnly,
            _ if says("OOM") => Reason::OutOfMemory,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Reason::Reply,
            _ => Reason::Refused,
        };
        // What the server refuses, it has not done: our scripts write last, and all or nothing.
        let uncounted = error.code().is_some() || reason == Reason::Cluster;
        Self {
            reason,
            uncounted,
            text,
        }
    }
}
