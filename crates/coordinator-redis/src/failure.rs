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
    /// A master that takes no writes, since it cannot save or has too few replicas.
    WritesStopped,
    /// Redis is reading its data from disk.
    Loading,
    /// A Redis Cluster that has no master for the key, or is moving it.
    Cluster,
    /// Any other refusal.
    Refused,
    /// An answer that is none of our scripts'.
    Reply,
    /// One counter's: somebody keeps something else under its name, or changes it without end.
    Counter,
}

impl Reason {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Connection,
        Self::Auth,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::WritesStopped,
        Self::Loading,
        Self::Cluster,
        Self::Refused,
        Self::Reply,
        Self::Counter,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Auth => "auth",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::WritesStopped => "writes_stopped",
            Self::Loading => "loading",
            Self::Cluster => "cluster",
            Self::Refused => "refused",
            Self::Reply => "reply",
            Self::Counter => "counter",
        }
    }

    /// What it shows of the Redis as a whole.
    pub(crate) const fn evidence(self) -> Evidence {
        match self {
            // A Redis Cluster that has lost one master answers for the others.
            Self::Timeout | Self::Connection | Self::Cluster => Evidence::Silent,
            Self::Counter => Evidence::Answers,
            _ => Evidence::Refuses,
        }
    }
}

/// What the end of a call shows of the Redis as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    /// It could not be heard.
    Silent,
    /// It was heard, and did not do what was asked.
    Refuses,
    /// It was heard. A replica, or a Redis without memory, answers what writes nothing.
    Answers,
    /// It took a write.
    Writes,
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
            reason: Reason::Counter,
            uncounted: true,
            text: "the counter changed each time that a changed limit took it over".into(),
        }
    }

    /// What is kept under the counter's name is nothing that a script of ours wrote. It stays until the key is reset.
    pub(crate) fn foreign_value() -> Self {
        Self {
            reason: Reason::Counter,
            uncounted: true,
            text: "the counter's key holds a value of somebody else, which a reset removes".into(),
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
        let is_told = |code: &str| {
            let mut words = text.split_whitespace();
            words.any(|word| word.trim_start_matches('-') == code)
        };
        let says = |code: &str| error.code() == Some(code) || is_told(code);
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
            _ if says("MISCONF") || says("NOREPLICAS") => Reason::WritesStopped,
            _ if says("WRONGTYPE") => Reason::Counter,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 7 answers to a command in a script, and what versions before it do.
    #[test]
    fn what_redis_says_in_a_script_is_told_apart() {
        let old = "-ERR Error running script (call to f_0123): @user_script:9: ";
        let cases = [
            (
                "-READONLY You can't write against a read only replica. script: 0123, on @user_script:9.",
                Reason::ReadOnly,
            ),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.",
                Reason::OutOfMemory,
            ),
            (
                "-MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
                Reason::WritesStopped,
            ),
            (
                "-NOREPLICAS Not enough good replicas to write.",
                Reason::WritesStopped,
            ),
            (
                "-WRONGTYPE Operation against a key holding the wrong kind of value script: 0123, on @user_script:9.",
                Reason::Counter,
            ),
            (
                "-NOPERM this user has no permissions to run the 'set' command",
                Reason::Auth,
            ),
            (
                "-LOADING Redis is loading the dataset in memory",
                Reason::Loading,
            ),
            ("-BUSY Redis is busy running a script.", Reason::Refused),
            (
                &format!("{old}-READONLY You can't write against a read only replica."),
                Reason::ReadOnly,
            ),
            (
                &format!("{old}WRONGTYPE Operation against a key holding the wrong kind of value"),
                Reason::Counter,
            ),
            (
                &format!("{old}-OOM command not allowed when used memory > 'maxmemory'."),
                Reason::OutOfMemory,
            ),
        ];
        for (line, reason) in cases {
            let value = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
            let error = value.extract_error().unwrap_err();
            let failure = Failure::from(&error);
            assert_eq!(failure.reason, reason, "{line}");
            assert!(failure.uncounted, "{line}");
        }
    }
}
