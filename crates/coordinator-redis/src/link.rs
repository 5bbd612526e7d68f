//! The connection to Redis, shared by all callers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, RedisResult, ServerErrorKind, Value};

use crate::config::{RedisConfig, Servers};
use crate::failure::{Failure, Reason};
use crate::scripts::{By, Script};

/// How long connecting may take, with TLS and the password, across a continent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls that may be handed to the connection before callers wait in line for it.
///
/// What 2 cores send in a millisecond. The callers are bounded elsewhere, so this is about waking them less.
const PIPELINE_BUFFER: usize = 512;

/// How often a call is sent again where a Redis Cluster says that the key has moved. It learns where to at the first.
const MOVES_MAX: usize = 3;

/// A connection that many callers use at once: their calls travel together, and are answered in order.
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The present connection, if there is one.
pub(crate) struct Link {
    client: ClientOf,
    connection: ArcSwapOption<Connection>,
}

enum ClientOf {
    One(Box<Client>),
    Cluster(Box<redis::cluster::ClusterClient>),
}

impl Link {
    /// Not connected yet.
    pub(crate) fn new(config: &RedisConfig) -> RedisResult<Self> {
        let certificates = config.authority.clone().map(|pem| redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(pem),
        });
        let client = match (&config.servers, certificates) {
            (Servers::One(_), None) => {
                ClientOf::One(Box::new(Client::open(config.infos[0].clone())?))
            }
            (Servers::One(_), Some(certificates)) => ClientOf::One(Box::new(
                Client::build_with_tls(config.infos[0].clone(), certificates)?,
            )),
            (Servers::Cluster(_), certificates) => {
                // No retries: it would send a call again that may have been counted.
                let mut builder = redis::cluster::ClusterClientBuilder::new(config.infos.clone())
                    .retries(0)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(CONNECT_TIMEOUT)
                    .overall_response_timeout(None);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                ClientOf::Cluster(Box::new(builder.build()?))
            }
        };
        Ok(Self {
            client,
            connection: ArcSwapOption::empty(),
        })
    }

    /// Connects anew. What waits on the connection before it is given up when its callers give up.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        self.connection.store(None);
        let connecting = async {
            let connected = match &self.client {
                ClientOf::One(client) => {
                    // No timeout for answers: callers have deadlines of their own.
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(CONNECT_TIMEOUT))
                        .set_response_timeout(None)
                        .set_pipeline_buffer_size(PIPELINE_BUFFER);
                    client
                        .get_multiplexed_async_connection_with_config(&config)
                        .await
                        .map(Connection::One)
                }
                ClientOf::Cluster(client) => {
                    client.get_async_connection().await.map(Connection::Cluster)
                }
            };
            connected.map_err(|error| Failure::connecting(&error))
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let connection = connected.unwrap_or_else(|_| Err(Failure::not_connected_in_time()))?;
        self.connection.store(Some(Arc::new(connection)));
        Ok(())
    }

    /// Lets go of the connection. It ends when the last call that waits on it is answered or given up.
    pub(crate) fn close(&self) {
        self.connection.store(None);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Runs `script` on `key`, with its source if Redis does not know it. Without a deadline.
    pub(crate) async fn run(
        &self,
        script: &Script,
        key: &[u8],
        args: &[&[u8]],
    ) -> Result<Value, Failure> {
        let mut by = By::Hash;
        let mut moves = 0;
        loop {
            let error = match self.send(&script.call(by, key, args)).await? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // Each of these says that nothing was done.
            match error.kind() {
                redis::ErrorKind::Server(ServerErrorKind::NoScript) if by == By::Hash => {
                    by = By::Source;
                }
                redis::ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::TryAgain)
                    if moves < MOVES_MAX =>
                {
                    moves += 1;
                }
                _ => return Err(Failure::from(&error)),
            }
        }
    }

    /// Forgets the key.
    pub(crate) async fn delete(&self, key: &[u8]) -> Result<(), Failure> {
        let answer = self.send(redis::cmd("DEL").arg(key)).await?;
        answer.map(drop).map_err(|error| Failure::from(&error))
    }

    /// Sends one command. The outer error: there is no connection.
    async fn send(&self, cmd: &Cmd) -> Result<RedisResult<Value>, Failure> {
        let Some(shared) = self.connection.load_full() else {
            return Err(Failure::not_connected());
        };
        let answer = match &*shared {
            Connection::One(connection) => cmd.query_async(&mut connection.clone()).await,
            Connection::Cluster(connection) => cmd.query_async(&mut connection.clone()).await,
        };
        if let Err(error) = &answer
            && is_to_be_left(&shared, error)
        {
            self.connection.compare_and_swap(&shared, None);
        }
        Ok(answer)
    }
}

/// Whether after `error` the connection can only be made anew.
fn is_to_be_left(connection: &Connection, error: &RedisError) -> bool {
    // A master that has become a replica keeps its connections, and refuses for as long as they last. The address may
    // lead to the new master by now.
    let is_demoted = Failure::from(error).reason == Reason::ReadOnly;
    match connection {
        Connection::One(_) => is_demoted || error.is_unrecoverable_error(),
        // It mends what breaks by itself.
        Connection::Cluster(_) => is_demoted,
    }
}
