//! What two nodes say before either believes anything: versions, fresh challenges, proofs of the cookie.
//!
//! ```text
//! client                                                     server
//!   WEIR version plane nonce ─────────────────────────────▶
//!                            ◀──────────────────────────────  WEIR version nonce
//!   length proof hello ───────────────────────────────────▶  verifies, admits or refuses
//!                            ◀──────────────────────────────  length verdict proof hello
//! ```
//!
//! A proof is the HMAC-SHA256, under a key derived from the cookie, of a role label and everything said
//! so far: both nonces, both versions, the plane, the names, incarnations and addresses. Fresh nonces on
//! both sides defeat replays, role labels defeat reflection, and binding the names defeats swapping them.
//!
//! One side has to prove first, and that is the one who dialled. Whoever *connects* to a node, a port
//! scanner for example, thus gets a random nonce and nothing else: no proof to try guesses of the cookie
//! against. Who is *dialled* does get one, but nodes dial only addresses out of configuration, out of the
//! user's own directory or from proven members. Verdicts that make a node act ([`Refusal::Fenced`],
//! [`Refusal::NameTaken`]) are proven, too; only "wrong cookie" cannot be.
//!
//! What follows on the stream is neither encrypted nor authenticated. On a network where others can
//! write into a connection, the cluster belongs inside TLS or a tunnel.

use std::io;
use std::time::Duration;

use delta_crdt::ReplicaId;
use hmac::{KeyInit, Mac};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cookie::{Cookie, HmacSha256};

mod refusal;

pub use refusal::{HandshakeError, Refusal};

/// The protocol that this build speaks. It also speaks the one before it, so that a cluster can be
/// upgraded node by node. (5: hits that their clients named are passed on. 4: what is kept, and limits whose windows follow a calendar. 3: the catalogue. 2: copies in
/// pieces.)
pub const VERSION: u16 = 5;

/// From the first byte to the verdict. Four one-way trips fit into it at 500 ms each, and somebody who
/// connects and says nothing is rid of as soon.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);

/// The most that is read from somebody unproven in one piece. A hello is about 150 bytes.
pub const UNPROVEN_FRAME_MAX: usize = 4 * 1024;

const MAGIC: [u8; 4] = *b"WEIR";
const NONCE: usize = 32;
const PROOF: usize = 32;
const CLIENT_PREAMBLE: usize = 4 + 2 + 1 + NONCE;
const SERVER_PREAMBLE: usize = 4 + 2 + NONCE;

/// Who a node says it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hello {
    /// Unique in the cluster.
    pub name: String,
    /// Grows with each start under this name. Zero: a newcomer that has not been given one.
    pub incarnation: u64,
    /// Names this incarnation in terms and dots.
    pub replica: ReplicaId,
    /// What others dial for node-to-node traffic, `ADDR:PORT`.
    pub cluster: String,
    /// Where the HTTP front listens, `ADDR:PORT`.
    pub http: String,
    /// Where the node stands. `None` when zones are not named.
    pub zone: Option<String>,
    /// Whether it owns and holds nothing: it asks the others.
    pub asks: bool,
}

impl Hello {
    /// Whether this is a newcomer: it may ask to be let in and nothing else.
    #[must_use]
    pub fn is_newcomer(&self) -> bool {
        self.incarnation == 0
    }
}

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Plane {
    /// Questions between nodes, over `ractor_cluster`.
    Control,
    /// Hits, decisions, deltas and heartbeats.
    Data,
}

/// What a finished handshake knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The other end.
    pub peer: Hello,
    /// The protocol version that both speak.
    pub version: u16,
    /// What the stream is for.
    pub plane: Plane,
    /// The how many-th connection attempt of the dialling process this is. Orders its connections.
    pub attempt: u64,
}

/// What a handshake is kept with: derived once from the cookie.
#[derive(Clone)]
pub struct HandshakeKey([u8; 32]);

impl HandshakeKey {
    /// The key of all nodes with this cookie.
    #[must_use]
    pub fn new(cookie: &Cookie) -> Self {
        Self(cookie.secret("handshake"))
    }

    fn mac(&self, role: &[u8], said: &[&[u8]]) -> HmacSha256 {
        let mut mac = HmacSha256::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(role);
        for part in said {
            // Lengths keep two different conversations from reading the same.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// Follows the greeting of a node that asks.
const ASKS: u8 = 1;

/// A [`Hello`] as it travels, here and inside of what the control plane says.
#[derive(Serialize, Deserialize)]
pub struct WireHello {
    name: String,
    incarnation: u64,
    replica: u32,
    cluster: String,
    http: String,
    zone: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ClientHello {
    hello: WireHello,
    attempt: u64,
}

impl From<&Hello> for WireHello {
    fn from(hello: &Hello) -> Self {
        Self {
            name: hello.name.clone(),
            incarnation: hello.incarnation,
            replica: hello.replica.0,
            cluster: hello.cluster.clone(),
            http: hello.http.clone(),
            zone: hello.zone.clone(),
        }
    }
}

impl From<WireHello> for Hello {
    fn from(wire: WireHello) -> Self {
        Self {
            name: wire.name,
            incarnation: wire.incarnation,
            replica: ReplicaId(wire.replica),
            cluster: wire.cluster,
            http: wire.http,
            zone: wire.zone,
            asks: false,
        }
    }
}

/// A greeting, and a byte after it of a node that asks: one of the format before reads no further than the greeting.
fn encode_greeting(greeting: &impl Serialize, me: &Hello) -> Vec<u8> {
    let mut body = encode(greeting);
    body.extend(me.asks.then_some(ASKS));
    body
}

/// What [`encode_greeting`] encoded: the greeting, and whether its author asks.
fn decode_greeting<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, bool), HandshakeError> {
    let decoded = postcard::take_from_bytes(body);
    let (greeting, rest) = decoded.map_err(|_| HandshakeError::Foreign)?;
    Ok((greeting, rest.first() == Some(&ASKS)))
}

/// Greets the node at the other end of `stream`, which this end has opened.
///
/// # Errors
///
/// Every way in which the other end is not a node of this cluster that takes the connection.
pub async fn greet<S>(
    stream: &mut S,
    key: &HandshakeKey,
    me: &Hello,
    plane: Plane,
    attempt: u64,
) -> Result<Proven, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    within_deadline(greet_unhurried(stream, key, me, plane, attempt)).await
}

/// Receives whoever has opened `stream`.
///
/// `admit` is asked once the peer has proven the cookie, never before; it answers with who this node is.
///
/// # Errors
///
/// Every way in which the other end is not a node of this cluster that is admitted.
pub async fn receive<S>(
    stream: &mut S,
    key: &HandshakeKey,
    admit: impl FnOnce(&Hello, Plane) -> Result<Hello, Refusal>,
) -> Result<Proven, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    within_deadline(receive_unhurried(stream, key, admit)).await
}

async fn within_deadline(
    handshake: impl Future<Output = Result<Proven, HandshakeError>>,
) -> Result<Proven, HandshakeError> {
    tokio::time::timeout(HANDSHAKE_DEADLINE, handshake)
        .await
        .unwrap_or(Err(HandshakeError::Deadline))
}

async fn greet_unhurried<S>(
    stream: &mut S,
    key: &HandshakeKey,
    me: &Hello,
    plane: Plane,
    attempt: u64,
) -> Result<Proven, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mine = client_preamble(plane)?;
    stream.write_all(&mine).await?;
    let mut theirs = [0; SERVER_PREAMBLE];
    stream.read_exact(&mut theirs).await?;
    let version = agreed_version(&theirs)?;

    let greeting = ClientHello {
        hello: me.into(),
        attempt,
    };
    let hello = encode_greeting(&greeting, me);
    let proof = key
        .mac(b"weir client", &[&mine, &theirs, &hello])
        .finalize()
        .into_bytes();
    write_frame(stream, &[&proof, &hello]).await?;

    let verdict = read_frame(stream).await?;
    let (&code, proven) = verdict.split_first().ok_or(HandshakeError::Foreign)?;
    if code == Refusal::WrongCookie.code() {
        return Err(HandshakeError::RefusedBy(Refusal::WrongCookie));
    }
    let (proof, body) = proven
        .split_at_checked(PROOF)
        .ok_or(HandshakeError::Foreign)?;
    key.mac(b"weir server", &[&mine, &theirs, &hello, &[code], body])
        .verify_slice(proof)
        .map_err(|_| HandshakeError::Unproven)?;
    if let Some(refusal) = Refusal::from_code(code) {
        return Err(HandshakeError::RefusedBy(refusal));
    }
    let (peer, asks) = decode_greeting::<WireHello>(body)?;
    Ok(Proven {
        peer: Hello {
            asks,
            ..peer.into()
        },
        version,
        plane,
        attempt,
    })
}

async fn receive_unhurried<S>(
    stream: &mut S,
    key: &HandshakeKey,
    admit: impl FnOnce(&Hello, Plane) -> Result<Hello, Refusal>,
) -> Result<Proven, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut theirs = [0; CLIENT_PREAMBLE];
    stream.read_exact(&mut theirs).await?;
    if theirs[..4] != MAGIC {
        return Err(HandshakeError::Foreign);
    }
    // The answer comes before the check of the version: a node too old then knows why it was left.
    let mine = server_preamble()?;
    stream.write_all(&mine).await?;
    let version = agreed_version(&theirs)?;
    let plane = match theirs[6] {
        1 => Plane::Control,
        2 => Plane::Data,
        _ => return Err(HandshakeError::Foreign),
    };

    let claim = read_frame(stream).await?;
    let (proof, hello) = claim
        .split_at_checked(PROOF)
        .ok_or(HandshakeError::Foreign)?;
    if key
        .mac(b"weir client", &[&theirs, &mine, hello])
        .verify_slice(proof)
        .is_err()
    {
        write_frame(stream, &[&[Refusal::WrongCookie.code()]]).await?;
        return Err(HandshakeError::Refused(Refusal::WrongCookie));
    }
    let (client, asks) = decode_greeting::<ClientHello>(hello)?;
    let peer = Hello {
        asks,
        ..client.hello.into()
    };

    let verdict = admit(&peer, plane);
    let (code, body) = match &verdict {
        Ok(me) => (0, encode_greeting(&WireHello::from(me), me)),
        Err(refusal) => (refusal.code(), Vec::new()),
    };
    let proof = key
        .mac(b"weir server", &[&theirs, &mine, hello, &[code], &body])
        .finalize()
        .into_bytes();
    write_frame(stream, &[&[code], &proof, &body]).await?;
    verdict.map_err(HandshakeError::Refused)?;
    Ok(Proven {
        peer,
        version,
        plane,
        attempt: client.attempt,
    })
}

fn client_preamble(plane: Plane) -> Result<[u8; CLIENT_PREAMBLE], HandshakeError> {
    let mut preamble = [0; CLIENT_PREAMBLE];
    preamble[..4].copy_from_slice(&MAGIC);
    preamble[4..6].copy_from_slice(&VERSION.to_be_bytes());
    preamble[6] = match plane {
        Plane::Control => 1,
        Plane::Data => 2,
    };
    fill_random(&mut preamble[7..])?;
    Ok(preamble)
}

fn server_preamble() -> Result<[u8; SERVER_PREAMBLE], HandshakeError> {
    let mut preamble = [0; SERVER_PREAMBLE];
    preamble[..4].copy_from_slice(&MAGIC);
    preamble[4..6].copy_from_slice(&VERSION.to_be_bytes());
    fill_random(&mut preamble[6..])?;
    Ok(preamble)
}

fn fill_random(nonce: &mut [u8]) -> Result<(), HandshakeError> {
    getrandom::fill(nonce).map_err(|error| HandshakeError::Io(error.into()))
}

/// The version to speak with the author of `preamble`: the lower of the two, when they are neighbours.
fn agreed_version(preamble: &[u8]) -> Result<u16, HandshakeError> {
    if preamble[..4] != MAGIC {
        return Err(HandshakeError::Foreign);
    }
    let theirs = u16::from_be_bytes([preamble[4], preamble[5]]);
    if theirs.abs_diff(VERSION) <= 1 && theirs != 0 {
        Ok(theirs.min(VERSION))
    } else {
        Err(HandshakeError::Version { theirs })
    }
}

async fn write_frame<S: AsyncWrite + Unpin>(
    stream: &mut S,
    parts: &[&[u8]],
) -> Result<(), HandshakeError> {
    let body = parts.concat();
    let length = u16::try_from(body.len())
        .ok()
        .filter(|length| usize::from(*length) <= UNPROVEN_FRAME_MAX);
    let length = length
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "hello longer than 4 KiB"))?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &body].concat())
        .await?;
    stream.flush().await?;
    Ok(())
}

async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, HandshakeError> {
    let length = usize::from(stream.read_u16().await?);
    if UNPROVEN_FRAME_MAX < length {
        return Err(HandshakeError::Foreign);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("strings and integers can be encoded")
}

#[cfg(test)]
mod tests;
