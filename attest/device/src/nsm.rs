//! Attestation documents of AWS Nitro Enclaves, by way of the Nitro Secure Module (`include/uapi/linux/nsm.h`, Linux 6.8).
//!
//! NEVER RUN ON ITS HARDWARE: no enclave was at hand. What goes into the device and what is read out of its answer is
//! tested; the call itself is not.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use ciborium::Value;
use rustix::ioctl::{Updater, ioctl, opcode};

/// The device.
pub const DEVICE: &str = "/dev/nsm";
/// Bytes of its largest answer.
const RESPONSE_MAX: usize = 0x3000;

/// Cause and fix.
#[derive(Debug, thiserror::Error)]
pub enum NsmError {
    /// The device.
    #[error("{DEVICE}: {0}; it is there in an enclave of AWS Nitro alone, with Linux 6.8 or the driver of AWS")]
    Device(#[from] io::Error),
    /// It refused.
    #[error("the Nitro Secure Module refuses: {0}")]
    Refused(String),
    /// Not what its interface says.
    #[error("the Nitro Secure Module's answer cannot be read")]
    Answer,
}

#[repr(C)]
struct Span {
    address: u64,
    length: u64,
}

#[repr(C)]
struct Raw {
    request: Span,
    response: Span,
}

const RAW: rustix::ioctl::Opcode = opcode::read_write::<Raw>(0x0a, 0);

/// Asks for a document over these: [`eider_attest::Binding::digest`], the Offer's nonce, the sealing key.
///
/// # Errors
/// [`NsmError`].
pub fn document(user_data: &[u8; 64], nonce: &[u8; 32], public_key: &[u8; 32]) -> Result<Vec<u8>, NsmError> {
    let device = OpenOptions::new().read(true).write(true).open(Path::new(DEVICE))?;
    let request = request(user_data, nonce, public_key);
    let mut response = vec![0; RESPONSE_MAX];
    let mut raw = Raw {
        request: Span { address: request.as_ptr() as u64, length: request.len() as u64 },
        response: Span { address: response.as_mut_ptr() as u64, length: response.len() as u64 },
    };
    call(&device, &mut raw)?;
    let length = usize::try_from(raw.response.length).unwrap_or(usize::MAX);
    answer(response.get(..length).ok_or(NsmError::Answer)?)
}

#[expect(unsafe_code, reason = "a device's own ioctl")]
fn call(device: &std::fs::File, raw: &mut Raw) -> io::Result<()> {
    // SAFETY: the layout and number are those of the kernel's header. Both spans are of buffers that live until the call
    // returns, and the kernel writes at most the second one's length to it.
    unsafe { Ok(ioctl(device, Updater::<RAW, Raw>::new(raw))?) }
}

fn request(user_data: &[u8], nonce: &[u8], public_key: &[u8]) -> Vec<u8> {
    let field = |name: &str, bytes: &[u8]| (Value::from(name), Value::from(bytes));
    let fields = vec![field("user_data", user_data), field("nonce", nonce), field("public_key", public_key)];
    let request = Value::Map(vec![(Value::from("Attestation"), Value::Map(fields))]);
    let mut bytes = vec![];
    ciborium::into_writer(&request, &mut bytes).expect("writing to memory cannot fail");
    bytes
}

fn answer(bytes: &[u8]) -> Result<Vec<u8>, NsmError> {
    let value: Value = ciborium::from_reader(bytes).map_err(|_| NsmError::Answer)?;
    let get = |value: &Value, name: &str| {
        value.as_map()?.iter().find(|(k, _)| k.as_text() == Some(name)).map(|(_, v)| v.clone())
    };
    if let Some(error) = get(&value, "Error") {
        return Err(NsmError::Refused(error.as_text().unwrap_or("for no reason given").chars().take(80).collect()));
    }
    let document = get(&value, "Attestation").and_then(|a| get(&a, "document"));
    document.and_then(|d| d.into_bytes().ok()).ok_or(NsmError::Answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answers_are_those_of_the_interface() {
        let asked: Value = ciborium::from_reader(&request(&[1; 64], &[2; 32], &[3; 32])[..]).unwrap();
        let fields = asked.as_map().unwrap()[0].1.as_map().unwrap();
        let names: Vec<_> = fields.iter().map(|(k, _)| k.as_text().unwrap()).collect();
        assert_eq!(names, ["user_data", "nonce", "public_key"]);
        let pack = |value: Value| {
            let mut bytes = vec![];
            ciborium::into_writer(&value, &mut bytes).unwrap();
            bytes
        };
        let map = |name: &str, value: Value| Value::Map(vec![(Value::from(name), value)]);
        let given = pack(map("Attestation", map("document", Value::Bytes(vec![9; 10]))));
        assert_eq!(answer(&given).unwrap(), [9; 10]);
        let refused = answer(&pack(map("Error", Value::from("InvalidArgument")))).unwrap_err();
        assert!(refused.to_string().contains("InvalidArgument"));
        for length in 0..given.len() {
            assert!(answer(&given[..length]).is_err());
        }
        assert!(matches!(answer(&pack(Value::Null)), Err(NsmError::Answer)));
    }

    #[test]
    fn a_machine_without_it_is_told_so() {
        if !Path::new(DEVICE).exists() {
            let error = document(&[0; 64], &[0; 32], &[0; 32]).unwrap_err();
            assert!(error.to_string().contains("enclave of AWS Nitro"), "{error}");
        }
    }
}
