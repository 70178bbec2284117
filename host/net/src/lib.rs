//! The job plane: QUIC, TLS 1.3 with mutual raw public keys (RFC 7250), one bidirectional stream per job and worker,
//! and BLAKE3-verified streaming of results and inputs. It moves messages and bytes and decides nothing.

mod blob;
mod endpoint;
mod gate;
mod stream;
mod tls;
mod words;

pub use blob::{BlobError, Outboard, Source, file_outboard, receive, send};
pub use endpoint::{ConnectError, Connection, Endpoint, EndpointError};
pub use gate::{Admitted, Answer, Full, Gate, GateLimits, Handshake, Prefix, prefix};
pub use stream::{Incoming, JobStream, Receiver, Sender, StreamError};
pub use words::{WORDS_MAX, printable};
