//! How commands reach a TPM.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// Bytes of the largest response that is read; TPMs answer with 4 KiB at most.
const RESPONSE_MAX: usize = 8192;
/// Bytes of a response's tag, size and code.
const HEADER: usize = 10;
/// How long a simulator may take for one answer. RSA keys can take many seconds to make.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where commands go.
#[derive(Debug)]
pub(super) enum Transport {
    /// A character device: one write is a command, one read its response.
    Device(File),
    /// A software TPM's socket: commands and responses follow each other.
    Socket(TcpStream),
}

impl Transport {
    pub(super) fn device(path: &Path) -> Result<Self, Error> {
        OpenOptions::new().read(true).write(true).open(path).map(Self::Device)
    }

    pub(super) fn socket(address: impl ToSocketAddrs) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self::Socket(stream))
    }

    /// Sends a command and returns the whole response, whose size has been checked against its header.
    pub(super) fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Device(file) => {
                file.write_all(command)?;
                let mut response = vec![0; RESPONSE_MAX];
                let len = file.read(&mut response)?;
                response.truncate(len);
                if len < HEADER || size(&response) != len {
                    return Err(Error::new(ErrorKind::InvalidData, "a response of another length than it says"));
                }
                Ok(response)
            }
            Self::Socket(stream) => {
                stream.write_all(command)?;
                let mut response = vec![0; HEADER];
                stream.read_exact(&mut response)?;
                let len = size(&response);
                if !(HEADER..=RESPONSE_MAX).contains(&len) {
                    return Err(Error::new(ErrorKind::InvalidData, format!("a response of {len} bytes")));
                }
                response.resize(len, 0);
                stream.read_exact(response.split_at_mut(HEADER).1)?;
                Ok(response)
            }
        }
    }
}

/// The size that a header names.
fn size(response: &[u8]) -> usize {
    let bytes = response.get(2..6).and_then(|b| b.try_into().ok()).unwrap_or([0; 4]);
    usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
}
