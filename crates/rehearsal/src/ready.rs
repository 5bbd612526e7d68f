//! The line by which a node says that it is ready.

use std::net::SocketAddr;
use std::str::FromStr;

/// What a node says when it is ready: `weir NAME ready http=ADDR cluster=ADDR members=N`, and where else it serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Its name.
    pub name: String,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Where it serves other nodes.
    pub cluster: SocketAddr,
    /// Where it serves the Redis protocol, if it was told to.
    pub redis: Option<SocketAddr>,
    /// Where it serves Envoy's rate limit service, if it was told to.
    pub grpc: Option<SocketAddr>,
    /// Live members at that moment, itself included.
    pub members: usize,
}

/// Not the line of a node that is ready.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no node is ready that says {line:?}")]
pub struct NotReady {
    /// What was said.
    pub line: String,
}

impl FromStr for Ready {
    type Err = NotReady;

    fn from_str(line: &str) -> Result<Self, NotReady> {
        read(line).ok_or_else(|| NotReady {
            line: line.to_owned(),
        })
    }
}

fn read(line: &str) -> Option<Ready> {
    let mut words = line.split_whitespace();
    let (program, name, is) = (words.next()?, words.next()?, words.next()?);
    if (program, is) != ("weir", "ready") {
        return None;
    }
    let told = |key: &str| {
        let mut told = words.clone();
        told.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let address = |key| told(key).map(str::parse).transpose().ok();
    Some(Ready {
        name: name.to_owned(),
        http: address("http")??,
        cluster: address("cluster")??,
        redis: address("redis")?,
        grpc: address("grpc")?,
        members: told("members")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_where_a_node_serves() {
        let line = "weir ada ready http=127.0.0.1:4000 cluster=127.0.0.1:5000 members=2\n";
        let ready: Ready = line.parse().unwrap();
        assert_eq!((&*ready.name, ready.members), ("ada", 2));
        assert_eq!(ready.http, "127.0.0.1:4000".parse().unwrap());
        assert_eq!((ready.redis, ready.grpc), (None, None));
        let line = "weir ada ready http=127.0.0.1:1 redis=[::1]:2 grpc=127.0.0.1:3 cluster=127.0.0.1:4 members=1";
        let ready: Ready = line.parse().unwrap();
        assert_eq!(ready.redis, Some("[::1]:2".parse().unwrap()));
        assert_eq!(ready.grpc, Some("127.0.0.1:3".parse().unwrap()));
        for line in [
            "",
            "weir ada steady http=127.0.0.1:4000 cluster=127.0.0.1:5000 members=2",
            "weir ada ready http=127.0.0.1:4000 members=2",
            "weir ada ready http=here cluster=127.0.0.1:5000 members=2",
        ] {
            assert_eq!(line.parse::<Ready>(), Err(NotReady { line: line.into() }));
        }
    }
}
