//! The strategy `redis` as this node runs it.

use cluster::node::Cluster;
use coordinator::RedisStatus;
use coordinator_redis::{BreakerState, Health, RedisConfig, RedisCoordinator};

use crate::builder::RedisError;
use crate::config::redis::RedisConfig as Settings;

/// Connects to the Redis of the file. While it is away, limits with `on_failure = "owner"` are counted by `fallback`.
pub(super) async fn connect(
    settings: &Settings,
    secret: [u8; 16],
    fallback: Cluster,
) -> Result<RedisCoordinator<Cluster>, RedisError> {
    let mut config = RedisConfig::new(settings.servers.clone(), secret)?
        .with_timeout(settings.timeout)?
        .with_start_without_redis(settings.start_without_redis);
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path).map_err(|source| RedisError::Read {
            path: path.clone(),
            source,
        })?;
        config = config
            .with_authority(pem)
            .map_err(|source| RedisError::Authority {
                path: path.clone(),
                source,
            })?;
    }
    Ok(RedisCoordinator::connect(config, fallback).await?)
}

/// How Redis is, for an operator.
pub(super) fn status(health: Health) -> RedisStatus {
    let breaker = match health.breaker {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    };
    RedisStatus {
        breaker: breaker.to_owned(),
        last_failure: health.last_failure,
    }
}
