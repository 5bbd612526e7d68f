//! Where a node listens. A socket is bound once, and handed on until somebody accepts from it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that wait to be accepted. `std` takes 128, which a burst of clients overruns, and then theirs take a
/// second: the time until their kernel tries again.
const BACKLOG: i32 = 4_096;

/// Why a node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing was started.
    #[error("{address}, where {what} is to be served, is in use by another program")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Who was to listen there: `http`, `redis`, `grpc`, `metrics` or `cluster`.
        what: &'static str,
    },
    /// Nothing was started.
    #[error("listening on {address} for {what}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Who was to listen there: `http`, `redis`, `grpc`, `metrics` or `cluster`.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Nothing was started.
    #[error("taking over the listener for {what}")]
    TakeOver {
        /// Who was to listen there: `http`, `redis`, `grpc`, `metrics` or `cluster`.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Where a node listens: still to be bound, or bound by whoever starts it.
#[derive(Debug)]
pub(crate) enum Listen {
    /// Port 0: any.
    At(SocketAddr),
    On(TcpListener),
}

impl Listen {
    /// The listener, which does not block, and its address.
    pub(crate) fn open(self, what: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
        let listener = match self {
            Self::At(address) => bind(address).map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => ListenError::InUse { address, what },
                _ => ListenError::Bind {
                    address,
                    what,
                    source,
                },
            })?,
            Self::On(listener) => listener,
        };
        let address = listener
            .set_nonblocking(true)
            .and_then(|()| listener.local_addr())
            .map_err(|source| ListenError::TakeOver { what, source })?;
        Ok((listener, address))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A node that starts again at once finds its port held by connections that are ending.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What other nodes dial, port 0 standing for the one that was `bound`.
pub(crate) fn advertised(advertise: Option<SocketAddr>, bound: SocketAddr) -> SocketAddr {
    match advertise {
        Some(advertise) if advertise.port() == 0 => SocketAddr::new(advertise.ip(), bound.port()),
        Some(advertise) => advertise,
        None => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_in_use_is_told_in_one_line() {
        let (_holder, taken) = Listen::At(address("127.0.0.1:0")).open("http").unwrap();
        let error = Listen::At(taken).open("http").unwrap_err();
        let expected = format!("{taken}, where http is to be served, is in use by another program");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn port_0_is_advertised_as_the_port_that_was_bound() {
        let bound = address("0.0.0.0:4100");
        for (given, expected) in [
            (Some("10.0.0.1:0"), "10.0.0.1:4100"),
            (Some("10.0.0.1:5000"), "10.0.0.1:5000"),
            (None, "0.0.0.0:4100"),
        ] {
            assert_eq!(advertised(given.map(address), bound), address(expected));
        }
    }
}
