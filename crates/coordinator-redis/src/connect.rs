//! Finding out at start whether a Redis can be used.

use std::time::Duration;

use quota::{Algorithm, Cost, Limit, Nanos};

use crate::counting::{Clock, Operation, Subject, decide};
use crate::failure::{Failure, Reason};
use crate::link::Link;
use crate::scripts::Scripts;

/// Why a Redis cannot be used. Nothing was counted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody there, or it does not answer.
    #[error("cannot reach redis at {servers}: {cause}")]
    Unreachable {
        /// The URLs, without passwords.
        servers: String,
        /// What was tried and what came of it.
        cause: String,
    },
    /// The password or user is wrong or missing, or the user may not run scripts that write.
    #[error("redis at {servers} refuses the password or user: {cause}")]
    Unauthorized {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
    /// A replica. Counting needs the server that it copies.
    #[error("redis at {servers} is a read-only replica, its master is needed: {cause}")]
    ReadOnly {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
    /// It has reached its `maxmemory`, and evicts nothing.
    #[error("redis at {servers} is out of memory, raise its maxmemory: {cause}")]
    OutOfMemory {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
    /// A master that takes no writes: it cannot save, or has fewer replicas than it is told to want.
    #[error("redis at {servers} takes no writes: {cause}")]
    WritesStopped {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
    /// It is still reading its data from disk.
    #[error("redis at {servers} is still loading its data: {cause}")]
    Loading {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
    /// It answers, but not as the scripts need it.
    #[error("redis at {servers} cannot run the scripts that count: {cause}")]
    Unusable {
        /// The URLs, without passwords.
        servers: String,
        /// What Redis said.
        cause: String,
    },
}

impl ConnectError {
    pub(crate) fn new(servers: String, failure: &Failure) -> Self {
        let cause = failure.to_string();
        match failure.reason {
            Reason::Timeout | Reason::Connection => Self::Unreachable { servers, cause },
            Reason::Auth => Self::Unauthorized { servers, cause },
            Reason::ReadOnly => Self::ReadOnly { servers, cause },
            Reason::OutOfMemory => Self::OutOfMemory { servers, cause },
            Reason::Loading => Self::Loading { servers, cause },
            Reason::WritesStopped => Self::WritesStopped { servers, cause },
            Reason::Cluster | Reason::Refused | Reason::Reply | Reason::Counter => {
                Self::Unusable { servers, cause }
            }
        }
    }
}

/// Whether Redis runs a script that writes. The question a probe asks.
pub(crate) async fn probe(
    link: &Link,
    scripts: &Scripts,
    key: &[u8],
    deadline: Duration,
) -> Result<(), Failure> {
    let probing = link.run(&scripts.probe, key, &[]);
    let answer = tokio::time::timeout(deadline, probing).await;
    match answer.unwrap_or_else(|_| Err(Failure::timeout()))? {
        redis::Value::Int(1) => Ok(()),
        _ => Err(Failure::reply("a probe with something else")),
    }
}

/// Whether every script loads and runs: each peeks at a counter that there is not.
pub(crate) async fn check_scripts(
    link: &Link,
    scripts: &Scripts,
    key: &[u8],
    deadline: Duration,
) -> Result<(), Failure> {
    for algorithm in Algorithm::ALL {
        let limit = Limit::new(algorithm, 1, Nanos::from_secs(1)).expect("one a second is a limit");
        let subject = Subject {
            key,
            limit: &limit,
            operation: Operation::Hit(Cost::PEEK),
        };
        let peeking = decide(link, scripts, subject, Clock::SERVER);
        let answer = tokio::time::timeout(deadline, peeking).await;
        let _full = answer.unwrap_or_else(|_| Err(Failure::timeout()))?;
    }
    Ok(())
}
