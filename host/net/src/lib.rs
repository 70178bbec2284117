//! The job plane: QUIC, TLS 1.3 with mutual raw public keys (RFC 7250), one bidirectional stream per job and worker,
//! and BLAKE3-verified streaming of results and inputs. It moves messages and bytes and decides nothing.

mod blob;
mod endpoint;
mod stream;
mod tls;

pub use blob::{BlobError, Outboard, Source, file_outboard, receive, send};
pub use endpoint::{ConnectError, Connection, Endpoint, EndpointError};
pub use stream::{Incoming, JobStream, Receiver, Sender, StreamError};
