//! A QUIC endpoint and its authenticated connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eider_protocol::{Identity, NodeId, ResetCode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;

use crate::stream::{JobStream, StreamError};
use crate::tls;

/// Job streams and input streams of one connection at a time, each way: a guard, far above what a job uses.
const STREAMS_MAX: u32 = 256;
/// A peer that says nothing for this long is gone. Keep-alives come three times as often.
const IDLE: Duration = Duration::from_secs(15);
/// Unread bytes that a peer may have under way on one stream: bandwidth times delay of 1 Gbit/s at 60 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// The same for a whole connection.
const CONNECTION_WINDOW: u32 = 32 << 20;

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
    /// Nobody answered, or not with this protocol.
    #[error("{0}")]
    Failed(String),
    /// Somebody else answered.
    #[error("it is {actual}, not {expected}")]
    WrongNode {
        /// Who was meant.
        expected: NodeId,
        /// Who answered.
        actual: NodeId,
    },
}

/// One UDP socket, for dialling and for being dialled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
}

/// A connection whose other end has proven its key.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: quinn::Connection,
    node: NodeId,
}

fn transport() -> Arc<TransportConfig> {
    let mut t = TransportConfig::default();
    t.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    t.max_concurrent_uni_streams(VarInt::from_u32(0));
    t.max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    t.keep_alive_interval(Some(IDLE / 3));
    t.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    t.receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    t.send_window(u64::from(CONNECTION_WINDOW));
    Arc::new(t)
}

impl Endpoint {
    /// Binds `address` (port 0 for any). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn bind(address: SocketAddr, identity: &Identity) -> Result<Self, EndpointError> {
        let tls_error = |e: &dyn std::fmt::Display| EndpointError::Tls(e.to_string());
        let server = tls::server(identity).map_err(|e| tls_error(&e))?;
        let server = QuicServerConfig::try_from(server).map_err(|e| tls_error(&e))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(transport());
        let client = tls::client(identity).map_err(|e| tls_error(&e))?;
        let client = QuicClientConfig::try_from(client).map_err(|e| tls_error(&e))?;
        let mut client = quinn::ClientConfig::new(Arc::new(client));
        client.transport_config(transport());
        let mut inner = quinn::Endpoint::server(server, address).map_err(|e| EndpointError::Bind(address, e))?;
        inner.set_default_client_config(client);
        Ok(Self { inner })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Dials a node.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, address: SocketAddr, expected: Option<NodeId>) -> Result<Connection, ConnectError> {
        let failed = |e: &dyn std::fmt::Display| ConnectError::Failed(e.to_string());
        // The name is not looked at: the key is what counts.
        let connecting = self.inner.connect(address, "eider").map_err(|e| failed(&e))?;
        let connection = Connection::new(connecting.await.map_err(|e| failed(&e))?)?;
        match expected {
            Some(expected) if expected != connection.node => {
                connection.close(ResetCode::WrongPeer);
                Err(ConnectError::WrongNode { expected, actual: connection.node })
            }
            _ => Ok(connection),
        }
    }

    /// The next connection from outside; `None` when the endpoint is closed. Failed handshakes are passed over.
    pub async fn accept(&self) -> Option<quinn::Incoming> {
        self.inner.accept().await
    }

    /// Finishes the handshake of an accepted connection.
    ///
    /// # Errors
    /// [`ConnectError::Failed`].
    pub async fn finish(incoming: quinn::Incoming) -> Result<Connection, ConnectError> {
        Connection::new(incoming.await.map_err(|e| ConnectError::Failed(e.to_string()))?)
    }

    /// Closes all connections and waits until the peers have been told, at most `wait`.
    pub async fn close(&self, code: ResetCode, wait: Duration) {
        self.inner.close(VarInt::from_u32(code.code()), code.to_string().as_bytes());
        let _ = tokio::time::timeout(wait, self.inner.wait_idle()).await;
    }
}

impl Connection {
    fn new(inner: quinn::Connection) -> Result<Self, ConnectError> {
        let key = inner
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|keys| keys.first().and_then(|k| tls::key_of(k)))
            .ok_or_else(|| ConnectError::Failed("the peer proved no Ed25519 key".into()))?;
        Ok(Self { inner, node: key.node_id() })
    }

    /// Who is at the other end, proven.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it is.
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`StreamError::Lost`].
    pub async fn open(&self) -> Result<JobStream, StreamError> {
        let (send, recv) = self.inner.open_bi().await.map_err(|e| StreamError::Lost(e.to_string()))?;
        Ok(JobStream::new(send, recv))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// [`StreamError::Lost`] when the connection is gone.
    pub async fn accept(&self) -> Result<JobStream, StreamError> {
        let (send, recv) = self.inner.accept_bi().await.map_err(|e| StreamError::Lost(e.to_string()))?;
        Ok(JobStream::new(send, recv))
    }

    /// Closes the connection at once.
    pub fn close(&self, code: ResetCode) {
        self.inner.close(VarInt::from_u32(code.code()), code.to_string().as_bytes());
    }

    /// Resolves when the connection is gone, with the reason.
    pub async fn closed(&self) -> String {
        self.inner.closed().await.to_string()
    }
}
