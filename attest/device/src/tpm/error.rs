//! What goes wrong with a TPM, and what to do about it.

use std::io;
use std::path::PathBuf;

use eider_attest::tpm2::parse::ParseError;

/// Cause and fix.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The device cannot be opened.
    #[error("{path} cannot be opened: {source}; {}", opening(source))]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The event log cannot be read.
    #[error(
        "the event log at {path}: {why}; read it as root, or produce evidence without it if the policy allows that"
    )]
    Log {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The socket of a software TPM cannot be reached.
    #[error("no TPM at {address}: {source}; start swtpm, or correct the address")]
    Connect {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A command did not come through.
    #[error("{command}: {source}; if it lasts, another process holds the TPM, or it needs a reset of the machine")]
    Io {
        /// Which command.
        command: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The TPM refuses.
    #[error("{command}: the TPM answers {code:#05x}: {}", meaning(*code))]
    Refused {
        /// Which command.
        command: &'static str,
        /// TPM 2.0 Library part 2, section 6.6.
        code: u32,
    },
    /// A response is not as the specification says.
    #[error("{command}: the TPM's response cannot be read: {source}; a fault of the TPM, or of this program")]
    Response {
        /// Which command.
        command: &'static str,
        /// Where.
        source: ParseError,
    },
    /// No certificate of the default endorsement key, or nothing of a cloud's attestation key.
    #[error(
        "the TPM holds nothing at index {index:#x} (answer {code:#05x}), where the certificate of an endorsement key (RSA-2048, or \
         else P-256) or a cloud's attestation key should be; fetch it from the TPM's maker, and give it along, or name another `key`"
    )]
    NoCertificate {
        /// Where it should be.
        index: u32,
        /// The TPM's answer.
        code: u32,
    },
    /// What is stored as a certificate is none.
    #[error("what the TPM holds as certificate cannot be read: {0}; fetch it from the TPM's maker, and give it along")]
    Certificate(String),
    /// The certificate is of another key.
    #[error(
        "the certificate is of no default endorsement key (RSA-2048, P-256) of this TPM; fetch the right one from its maker"
    )]
    OtherKey,
    /// A register that there is not.
    #[error(
        "register {0} cannot be quoted: there are 0 to 23, in the SHA-256 bank; switch that bank on in the firmware"
    )]
    Register(u8),
    /// The registers changed under each quote.
    #[error("the registers changed while they were quoted, {0} times: {1}; leave out those that change while it runs")]
    Moving(usize, String),
    /// The TPM's own quote does not pass the verifier.
    #[error("the TPM's quote does not pass this program's own check: {0}; a fault of the TPM, or of this program")]
    Unsound(String),
    /// The system has no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(String),
}

fn opening(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "this machine shows no TPM: switch it on in the firmware, or give the guest a virtual one"
        }
        io::ErrorKind::PermissionDenied => "let the user into the group that owns it, mostly `tss`",
        _ => "close what else holds it; /dev/tpmrm0 can be shared, /dev/tpm0 cannot",
    }
}

/// The answers that one can do something about.
fn meaning(code: u32) -> &'static str {
    // Format 1: which parameter, handle or session it is about stands in bits 6 and 8 to 11.
    let general = if code & 0x80 != 0 { code & 0xbf } else { code };
    match general {
        0x100 => "it is not started: restart it with TPM2_Startup, or reboot",
        0x101 => "it has failed its self-test: replace it",
        0x902 | 0x903 => "no room for keys or sessions: use /dev/tpmrm0, or flush what other software left behind",
        0x921 => "it is locked against guessing: wait, or reset the lockout with its owner's password",
        0x922 | 0x90a => "it stays busy: try again",
        0x084 | 0x08a | 0x082 | 0x083 => {
            "it does not know this kind of key or hash: try the other kind of attestation key"
        }
        0x08b => "no such handle or index",
        0x08e | 0x0a2 => "wrong authorisation: give the password of the endorsement hierarchy",
        0x099 => "a policy does not hold: the endorsement key is not of the default template",
        0x09f => "the credential is for another attestation key, or was changed",
        0x095 | 0x096 | 0x08d => "a damaged parameter: the credential is for another TPM, or was changed",
        _ => "see TPM 2.0 Library, part 2, section 6.6",
    }
}
