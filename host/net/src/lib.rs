//! The job plane: QUIC, TLS 1.3 with mutual raw public keys (RFC 7250), one bidirectional stream per job and worker,
//! and BLAKE3-verified streaming of results and inputs. It moves messages and bytes and decides nothing. Nothing here waits
//! for a peer longer than its caller says, or than a limit beside the wait does.

mod blob;
mod connection;
mod endpoint;
mod gate;
mod outbox;
mod pace;
mod sealed;
mod stream;
mod tls;

pub use blob::{BlobError, BlobSink, Hashes, Outboard, ReadAt, Source, file_outboard, receive, send};
pub use connection::{Connection, Widened};
pub use endpoint::{ConnectError, Endpoint, EndpointError, IncomingConnection};
pub use gate::{Admitted, Answer, Full, Gate, GateLimits, Handshake, Prefix, prefix};
pub use outbox::Outbox;
pub use pace::Pace;
pub use stream::{Incoming, JobStream, Receiver, Sender, StreamError};

/// Characters of a peer's words, such as the reason of a close, that errors here carry.
pub(crate) const WORDS_MAX: usize = 200;
