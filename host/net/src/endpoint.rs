//! A QUIC endpoint: who is dialled, and who may dial.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eider_protocol::{Identity, NodeId, ResetCode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::time::timeout;

use crate::connection::{Connection, Role, WidePlaces, transport, words};
use crate::gate::{Answer, Gate, Handshake, prefix};
use crate::tls;

/// How long a handshake may take: some round trips, and two packets lost.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes that wait for [`Endpoint::accept`]; more are refused.
const WAITING_MAX: usize = 1_024;
/// Bytes that one may send before it is accepted: a ClientHello and some packets beside it.
const WAITING_BYTES: u64 = 16 << 10;
/// The same for all that wait.
const WAITING_BYTES_ALL: u64 = 4 << 20;
/// TLS's alert `no_application_protocol` (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// The keys.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error, Clone)]
pub enum ConnectError {
    /// Nobody answered, or the answer was no. The text is printable and bounded, for it may be the peer's.
    #[error("{0}")]
    Failed(String),
    /// It speaks no version of this protocol that we do. Nobody's fault.
    #[error("it speaks another version of the protocol")]
    Incompatible,
    /// Somebody else answered.
    #[error("it is {actual}, not {expected}")]
    WrongNode {
        /// Who was meant.
        expected: NodeId,
        /// Who answered.
        actual: NodeId,
    },
}

impl From<ConnectionError> for ConnectError {
    fn from(e: ConnectionError) -> Self {
        let code = match &e {
            ConnectionError::VersionMismatch => return Self::Incompatible,
            ConnectionError::TransportError(e) => Some(e.code),
            ConnectionError::ConnectionClosed(close) => Some(close.error_code),
            _ => None,
        };
        match code {
            Some(code) if code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) => Self::Incompatible,
            _ => Self::Failed(words(&e)),
        }
    }
}

/// One UDP socket, for dialling and for being dialled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    places: Arc<WidePlaces>,
}

impl Endpoint {
    /// Binds `address` (port 0 for any). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn bind(address: SocketAddr, identity: &Identity) -> Result<Self, EndpointError> {
        Self::bind_tuned(address, identity, |_| {})
    }

    /// The same for dialling alone: whoever wants to connect to it is not answered.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn dialler(address: SocketAddr, identity: &Identity) -> Result<Self, EndpointError> {
        let endpoint = Self::bind(address, identity)?;
        endpoint.inner.set_server_config(None);
        Ok(endpoint)
    }

    /// The same with other settings of QUIC, for peers that misbehave in tests.
    ///
    /// # Errors
    /// [`EndpointError`].
    #[doc(hidden)]
    pub fn bind_tuned(
        address: SocketAddr,
        identity: &Identity,
        tune: impl Fn(&mut quinn::TransportConfig),
    ) -> Result<Self, EndpointError> {
        let transport = |role: Role| {
            let mut transport = transport(role.windows());
            // Nobody else has it yet.
            if let Some(transport) = Arc::get_mut(&mut transport) {
                tune(transport);
            }
            transport
        };
        let tls_error = |e: &dyn std::fmt::Display| EndpointError::Tls(e.to_string());
        let server = tls::server(identity).map_err(|e| tls_error(&e))?;
        let server = QuicServerConfig::try_from(server).map_err(|e| tls_error(&e))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(transport(Role::Accepted));
        server.max_incoming(WAITING_MAX);
        server.incoming_buffer_size(WAITING_BYTES);
        server.incoming_buffer_size_total(WAITING_BYTES_ALL);
        let client = tls::client(identity).map_err(|e| tls_error(&e))?;
        let client = QuicClientConfig::try_from(client).map_err(|e| tls_error(&e))?;
        let mut client = quinn::ClientConfig::new(Arc::new(client));
        client.transport_config(transport(Role::Dialled));
        let mut inner = quinn::Endpoint::server(server, address).map_err(|e| EndpointError::Bind(address, e))?;
        inner.set_default_client_config(client);
        Ok(Self { inner, places: Arc::default() })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Dials a node. It has ten seconds.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, address: SocketAddr, expected: Option<NodeId>) -> Result<Connection, ConnectError> {
        // The name is not looked at: the key is what counts.
        let connecting = self.inner.connect(address, "eider").map_err(|e| ConnectError::Failed(e.to_string()))?;
        let connection = in_time(connecting).await?;
        let connection = Connection::new(connection, Role::Dialled, prefix(address), self.places.clone())?;
        match expected {
            Some(expected) if expected != connection.node() => {
                connection.close(ResetCode::WrongPeer);
                Err(ConnectError::WrongNode { expected, actual: connection.node() })
            }
            _ => Ok(connection),
        }
    }

    /// The next one from outside that wants to connect; `None` when the endpoint is closed. Nothing was done for it yet.
    pub async fn accept(&self) -> Option<IncomingConnection> {
        let inner = self.inner.accept().await?;
        Some(IncomingConnection { inner, places: self.places.clone() })
    }

    /// Makes the handshake. The peer has ten seconds.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn finish(incoming: IncomingConnection) -> Result<Connection, ConnectError> {
        // A connection may move as soon as it stands: the network is that of which the gate was asked.
        let network = prefix(incoming.remote_address());
        let connecting = incoming.inner.accept()?;
        Connection::new(in_time(connecting).await?, Role::Accepted, network, incoming.places)
    }

    /// Closes all connections and waits until the peers have been told, at most `wait`.
    pub async fn close(&self, code: ResetCode, wait: Duration) {
        self.inner.close(VarInt::from_u32(code.code()), code.to_string().as_bytes());
        let _ = timeout(wait, self.inner.wait_idle()).await;
    }
}

async fn in_time(connecting: quinn::Connecting) -> Result<quinn::Connection, ConnectError> {
    let done = timeout(HANDSHAKE, connecting).await;
    Ok(done.map_err(|_| ConnectError::Failed(format!("no handshake within {} s", HANDSHAKE.as_secs())))??)
}

/// One from outside that wants to connect: a first packet and the address that it claims. Dropping it refuses it.
#[derive(Debug)]
pub struct IncomingConnection {
    inner: quinn::Incoming,
    places: Arc<WidePlaces>,
}

impl IncomingConnection {
    /// Where it says that it is.
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// Whether it showed that it receives what is sent there.
    pub fn validated(&self) -> bool {
        self.inner.remote_address_validated()
    }

    /// Says no, in a packet.
    pub fn refuse(self) {
        self.inner.refuse();
    }

    /// Lets it show that its address is real: it comes again, validated. One that may not be asked is refused.
    pub fn retry(self) {
        if let Err(e) = self.inner.retry() {
            e.into_incoming().refuse();
        }
    }

    /// Asks a gate, and answers those that may not pass.
    pub fn pass(self, gate: &Gate) -> Option<(Self, Handshake)> {
        match gate.arrive(self.remote_address(), self.validated()) {
            Answer::Admit(handshake) => return Some((self, handshake)),
            Answer::Retry => self.retry(),
            Answer::Refuse => self.refuse(),
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eider_protocol::{Kind, encode_frame};

    use super::*;
    use crate::gate::GateLimits;

    fn endpoint(seed: u8) -> (Endpoint, SocketAddr) {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &Identity::from_seed([seed; 32])).unwrap();
        let address = endpoint.local_addr().unwrap();
        (endpoint, address)
    }

    /// Server, client, and both ends of a connection of theirs.
    async fn connected() -> (Endpoint, Endpoint, Connection, Connection) {
        let (server, address) = endpoint(1);
        let (client, _) = endpoint(2);
        let accepting = async { Endpoint::finish(server.accept().await.unwrap()).await.unwrap() };
        let (connection, accepted) = tokio::join!(client.connect(address, None), accepting);
        (server, client, connection.unwrap(), accepted)
    }

    /// One that speaks `alpn`.
    fn stranger(seed: u8, alpn: &[u8]) -> (Endpoint, SocketAddr) {
        let (mut endpoint, address) = endpoint(seed);
        let identity = Identity::from_seed([seed; 32]);
        let mut client = tls::client(&identity).unwrap();
        client.alpn_protocols = vec![alpn.into()];
        let client = QuicClientConfig::try_from(client).unwrap();
        endpoint.inner.set_default_client_config(quinn::ClientConfig::new(Arc::new(client)));
        let mut server = tls::server(&identity).unwrap();
        server.alpn_protocols = vec![alpn.into()];
        let server = QuicServerConfig::try_from(server).unwrap();
        endpoint.inner.set_server_config(Some(quinn::ServerConfig::with_crypto(Arc::new(server))));
        (endpoint, address)
    }

    #[tokio::test]
    async fn another_version_is_incompatible_on_both_sides_and_no_fault() {
        let (old, address) = endpoint(1);
        let accepted = tokio::spawn(async move { Endpoint::finish(old.accept().await.unwrap()).await });
        let (later, _) = stranger(2, b"eider/99");
        assert!(matches!(later.connect(address, None).await, Err(ConnectError::Incompatible)));
        assert!(matches!(accepted.await.unwrap(), Err(ConnectError::Incompatible)));
        let (later, address) = stranger(3, b"eider/99");
        let accepted = tokio::spawn(async move { Endpoint::finish(later.accept().await.unwrap()).await });
        let (old, _) = endpoint(4);
        assert!(matches!(old.connect(address, None).await, Err(ConnectError::Incompatible)));
        assert!(accepted.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn last_words_are_bounded_and_printable() {
        let (rude, address) = endpoint(1);
        let reason = "\x1b[2J\u{202e}".repeat(100);
        let closing = reason.clone();
        tokio::spawn(async move {
            let connection = rude.accept().await.unwrap().inner.await.unwrap();
            let (_send, mut recv) = connection.accept_bi().await.unwrap();
            let _ = recv.read_chunk(1, true).await;
            connection.close(VarInt::from_u32(7), closing.as_bytes());
            rude.inner.wait_idle().await;
        });
        let (polite, _) = endpoint(2);
        let connection = polite.connect(address, None).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.sender.bytes("x".into()).await.unwrap();
        let lost = stream.receiver.bytes().await.unwrap_err().to_string();
        for words in [connection.closed().await, lost] {
            assert!(words.contains("\\u{1b}[2J") && words.chars().count() < 250, "{words}");
            assert!(words.chars().all(|c| c == '…' || (' '..='~').contains(&c)), "{words}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_moves_is_counted_where_it_was_made() {
        let (_server, client, connection, accepted) = connected().await;
        let mut stream = connection.open().await.unwrap();
        stream.sender.bytes("x".into()).await.unwrap();
        let mut theirs = accepted.accept().await.unwrap();
        theirs.receiver.bytes().await.unwrap();
        let received = accepted.received();
        client.inner.rebind(std::net::UdpSocket::bind("127.0.5.1:0").unwrap()).unwrap();
        stream.sender.bytes("x".into()).await.unwrap();
        theirs.receiver.bytes().await.unwrap();
        assert_eq!(prefix(accepted.remote_address()).to_string(), "127.0.5.0/24");
        assert_eq!(accepted.network().to_string(), "127.0.0.0/24");
        assert!(accepted.received() > received);
    }

    #[tokio::test]
    async fn what_follows_a_frame_is_left_to_quic_until_it_is_read() {
        let (_server, _client, connection, accepted) = connected().await;
        let mut stream = connection.open().await.unwrap();
        let frame = encode_frame(Kind::Offer, b"hello").unwrap();
        stream.sender.bytes([frame, vec![7; 20_000]].concat().into()).await.unwrap();
        stream.sender.finish().await;
        let mut receiver = accepted.accept().await.unwrap().receiver;
        assert_eq!(receiver.expect_of(&[Kind::Offer]).await.unwrap().payload, b"hello");
        assert!(receiver.ready().unwrap().is_none());
        let mut rest = 0;
        while let Some(bytes) = receiver.bytes().await.unwrap() {
            rest += bytes.len();
        }
        assert_eq!(rest, 20_000);
    }

    #[tokio::test]
    async fn a_busy_gate_asks_for_the_address_and_then_lets_in() {
        let (server, address) = endpoint(1);
        let gate = Gate::new(GateLimits { retry: 0, ..GateLimits::default() });
        let at_gate = gate.clone();
        let accepted = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let incoming = server.accept().await.unwrap();
                seen.push(incoming.validated());
                if let Some((incoming, handshake)) = incoming.pass(&at_gate) {
                    let connection = Endpoint::finish(incoming).await.unwrap();
                    let admitted = handshake.proven(connection.node()).unwrap();
                    return (seen, connection, admitted, server);
                }
            }
        });
        let (client, _) = endpoint(2);
        let connection = client.connect(address, None).await.unwrap();
        let (seen, accepted, admitted, _server) = accepted.await.unwrap();
        assert_eq!(seen, [false, true]);
        assert_eq!((gate.connections(), gate.handshakes()), (1, 0));
        assert_eq!(accepted.node(), Identity::from_seed([2; 32]).public().node_id());
        drop((admitted, connection));
        assert_eq!(gate.connections(), 0);
    }

    #[tokio::test]
    async fn a_full_gate_refuses() {
        let (server, address) = endpoint(1);
        let gate = Gate::new(GateLimits { connections: 0, ..GateLimits::default() });
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                assert!(incoming.pass(&gate).is_none());
            }
        });
        let (client, _) = endpoint(2);
        assert!(matches!(client.connect(address, None).await, Err(ConnectError::Failed(_))));
    }
}
