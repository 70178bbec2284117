//! An authenticated connection, and how much it may hold.
//!
//! # Windows
//! What a peer may make us hold is what we let it send unread and what it lets us send unacknowledged. Strangers get
//! little of both; a connection with an admitted job gets [`Connection::widen`].
//!
//! Credit that QUIC has given cannot be taken back. quinn's `set_receive_window`, lowered, withholds new credit until as
//! much was read as it was lowered by, and raised again gives the difference at once: a peer that never sends would
//! gain a wide window with each job. So the receive window is widened once and stays wide until the connection ends; at most
//! [`WIDE_MAX`] connections of an endpoint are so at a time, a quarter of them to one network and four to one node, and the owner
//! closes those that have no job any more when it likes. The send window and the number of streams do shrink again: the first for all
//! that is written after, the second as streams end.
//!
//! In the worst case an endpoint holds, in the windows of peers who are all hostile:
//! 1,024 accepted × 256 KiB = 256 MiB, 4,096 dialled × 1 MiB = 4 GiB (a job of as many candidates), and 64 wide × 32 MiB = 2 GiB, of which each is a
//! peer to whom a job was given or by whom one was taken.
//!
//! # Ends
//! QUIC ends a connection after [`IDLE`] without a packet, or after three probe timeouts if those are longer (RFC 9000, section
//! 10.1), and a peer makes those as long as it likes: by answering late, and by its word on how late it will (16 s at most). Who
//! must be sure looks at [`Connection::received`]. A closed connection is kept by QUIC for three probe timeouts more, without its
//! place in any count of ours: some ten times as long as it stood, and 48 s. Nothing bounds how many there are but the
//! pace at which the gate lets handshakes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eider_protocol::{NodeId, ResetCode, Version};
use parking_lot::Mutex;
use quinn::{ConnectionError, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use crate::endpoint::ConnectError;
use crate::gate::Prefix;
use crate::stream::{JobStream, StreamError};
use crate::tls;
use eider_protocol::printable;

/// A peer that says nothing for this long is gone. Keep-alives come three times as often.
const IDLE: Duration = Duration::from_secs(15);
/// Unread bytes that a peer may have under way on one stream: bandwidth times delay of 1 Gbit/s at 60 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// Connections of an endpoint that may have wide windows at a time: their memory is stated above.
const WIDE_MAX: usize = 64;
/// Those of one network.
const WIDE_PER_NETWORK: usize = WIDE_MAX / 4;
/// Those of one node.
const WIDE_PER_NODE: usize = 4;
/// How long a peer may take to let us open a stream. One that grants none of its streams is nobody to wait for.
const OPENED: Duration = Duration::from_secs(10);

/// What one connection may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Bytes of the peer's that we have not read.
    receive: u32,
    /// Bytes of ours that the peer has not acknowledged.
    send: u32,
    /// Streams that the peer may have open at a time.
    streams: u32,
}

impl Windows {
    /// The limit of QUIC with which the peer can always have that many open. quinn tells it that streams have ended only
    /// when these are more than an eighth of the limit; a peer that opens its last ones would wait for that.
    fn stream_limit(self) -> VarInt {
        VarInt::from_u32(self.streams + self.streams / 7 + 1)
    }
}

/// A stranger that dialled us: an Offer fits in a packet or six, a Bid with evidence leaves in three rounds. A stream for each
/// Offer and each Verify; a requester with many small jobs has some dozen.
const ACCEPTED: Windows = Windows { receive: 128 << 10, send: 128 << 10, streams: 64 };
/// One that we dialled: it answers with a Bid of up to 320 KiB. It opens streams only for inputs of a job that it got.
const DIALLED: Windows = Windows { receive: 512 << 10, send: 512 << 10, streams: 8 };
/// With a job: two streams at full speed, inputs one way or results the other.
const WIDE: Windows = Windows { receive: 16 << 20, send: 16 << 20, streams: 256 };

/// A connection whose other end has proven its key.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: quinn::Connection,
    node: NodeId,
    network: Prefix,
    version: Version,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    narrow: Windows,
    /// Places of the endpoint for wide receive windows.
    places: Arc<WidePlaces>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Guards that live.
    jobs: usize,
    /// Held from the first job on, until the connection ends.
    wide: Option<WidePlace>,
}

/// Who has the places for wide windows.
#[derive(Debug, Default)]
pub(crate) struct WidePlaces(Mutex<Vec<(Prefix, NodeId)>>);

#[derive(Debug)]
struct WidePlace {
    places: Arc<WidePlaces>,
    who: (Prefix, NodeId),
}

impl WidePlaces {
    fn take(self: &Arc<Self>, who: (Prefix, NodeId)) -> Option<WidePlace> {
        let mut taken = self.0.lock();
        let of_network = taken.iter().filter(|(network, _)| *network == who.0).count();
        let of_node = taken.iter().filter(|(_, node)| *node == who.1).count();
        if taken.len() >= WIDE_MAX || of_network >= WIDE_PER_NETWORK || of_node >= WIDE_PER_NODE {
            return None;
        }
        taken.push(who);
        Some(WidePlace { places: self.clone(), who })
    }
}

impl Drop for WidePlace {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(at) = taken.iter().position(|who| *who == self.who) {
            taken.swap_remove(at);
        }
    }
}

/// Keeps a connection's windows wide while it lives: one for each admitted job, and for each delivery.
#[derive(Debug)]
pub struct Widened {
    connection: Connection,
}

pub(crate) fn transport(windows: Windows) -> Arc<TransportConfig> {
    let mut t = TransportConfig::default();
    t.max_concurrent_bidi_streams(windows.stream_limit());
    t.max_concurrent_uni_streams(VarInt::from_u32(0));
    t.datagram_receive_buffer_size(None);
    t.max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    t.keep_alive_interval(Some(IDLE / 3));
    t.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    t.receive_window(VarInt::from_u32(windows.receive));
    t.send_window(windows.send.into());
    Arc::new(t)
}

/// Who dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Accepted,
    Dialled,
}

impl Role {
    pub(crate) const fn windows(self) -> Windows {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Dialled => DIALLED,
        }
    }
}

impl Connection {
    /// `network` is where the handshake was made with.
    pub(crate) fn new(
        inner: quinn::Connection,
        role: Role,
        network: Prefix,
        places: Arc<WidePlaces>,
    ) -> Result<Self, ConnectError> {
        let key = inner
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|keys| keys.first().and_then(|k| tls::key_of(k)))
            .ok_or_else(|| ConnectError::Failed("the peer proved no Ed25519 key".into()))?;
        let version = inner
            .handshake_data()
            .and_then(|any| any.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| Version::of_alpn(&data.protocol?))
            .ok_or(ConnectError::Incompatible)?;
        let shared = Arc::new(Shared { narrow: role.windows(), places, state: Mutex::default() });
        Ok(Self { inner, node: key.node_id(), network, version, shared })
    }

    /// Who is at the other end, proven.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The version of the protocol that both ends agreed on.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.inner.close_reason().is_some()
    }

    /// The network that the peer proved at the handshake to be in, by which to count it: it may move since, and nobody proves
    /// that the address is its own.
    pub fn network(&self) -> Prefix {
        self.network
    }

    /// Packets that have come. One that keeps the protocol sends some every five seconds.
    pub fn received(&self) -> u64 {
        self.inner.stats().udp_rx.datagrams
    }

    /// Where its packets come from now.
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// Wide windows and more streams while the guard lives, for a job that was admitted. Where others have the places for wide
    /// windows, those of this one stay narrow: it works, at a window for each round trip.
    pub fn widen(&self) -> Widened {
        let mut state = self.shared.state.lock();
        if state.wide.is_none()
            && let Some(place) = self.shared.places.take((self.network, self.node))
        {
            self.inner.set_receive_window(VarInt::from_u32(WIDE.receive));
            state.wide = Some(place);
        }
        if state.wide.is_some() {
            self.inner.set_send_window(WIDE.send.into());
        }
        self.inner.set_max_concurrent_bi_streams(WIDE.stream_limit());
        state.jobs += 1;
        Widened { connection: self.clone() }
    }

    fn narrow(&self) {
        let mut state = self.shared.state.lock();
        state.jobs -= 1;
        if state.jobs == 0 {
            self.inner.set_max_concurrent_bi_streams(self.shared.narrow.stream_limit());
            self.inner.set_send_window(self.shared.narrow.send.into());
        }
    }

    /// Whether it was widened, and nothing needs that any more: it holds one of few places until it is closed.
    pub fn spent(&self) -> bool {
        let state = self.shared.state.lock();
        state.jobs == 0 && state.wide.is_some()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`StreamError::Lost`]; [`StreamError::Stalled`] if the peer has not allowed another stream for ten seconds.
    pub async fn open(&self) -> Result<JobStream, StreamError> {
        let opened = timeout(OPENED, self.inner.open_bi()).await.map_err(|_| StreamError::Stalled)?;
        let (send, recv) = opened.map_err(|e| StreamError::lost(&e))?;
        Ok(JobStream::new(send, recv))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// [`StreamError::Lost`] when the connection is gone.
    pub async fn accept(&self) -> Result<JobStream, StreamError> {
        let (send, recv) = self.inner.accept_bi().await.map_err(|e| StreamError::lost(&e))?;
        Ok(JobStream::new(send, recv))
    }

    /// Closes the connection at once.
    pub fn close(&self, code: ResetCode) {
        self.inner.close(VarInt::from_u32(code.code()), code.to_string().as_bytes());
    }

    /// Resolves when the connection is gone, with the reason: printable, and bounded, for it may be the peer's words.
    pub async fn closed(&self) -> String {
        words(&self.inner.closed().await)
    }
}

impl Drop for Widened {
    fn drop(&mut self) {
        self.connection.narrow();
    }
}

pub(crate) fn words(e: &ConnectionError) -> String {
    printable(&e.to_string(), crate::WORDS_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_network_and_no_node_takes_all_wide_windows() {
        let places = Arc::new(WidePlaces::default());
        let take = |network: u8, node: u8| places.take((Prefix::V4([network; 3]), NodeId::from_bytes([node; 32])));
        let of_node: Vec<_> = (0..9).filter_map(|network| take(network, 1)).collect();
        assert_eq!(of_node.len(), WIDE_PER_NODE);
        drop(of_node);
        let of_network: Vec<_> = (0..99).filter_map(|node| take(1, node)).collect();
        assert_eq!(of_network.len(), WIDE_PER_NETWORK);
        let others: Vec<_> = (0..199).filter_map(|n| take(n, n)).collect();
        assert_eq!(of_network.len() + others.len(), WIDE_MAX);
        drop((of_network, others));
        assert!(places.0.lock().is_empty());
    }
}
