//! Evidence from the hardware of this machine.
//!
//! This is the room with side effects beside `eider-attest`, which judges what is made here and touches nothing. [`Tpm`]
//! speaks with a TPM 2.0 and makes evidence of kind `tpm2`; [`tsm`] asks the kernel for a report of SEV-SNP or TDX, and
//! [`collateral`] fetches what vendors say of such machines; [`probe()`] lists what this machine has. What is found says nothing of what it proves: a tier comes out of an appraisal.
//!
//! The TPM part is tested with a software TPM, over its socket and (`make vm`) behind `/dev/tpmrm0`; one of hardware has not been
//! at hand. The part for SEV-SNP and TDX, and [`nsm`] for AWS Nitro, have never run on their hardware.

mod certificates;
pub mod collateral;
pub mod nsm;
mod probe;
#[cfg(feature = "swtpm")]
pub mod swtpm;
mod tpm;
pub mod tsm;

pub use certificates::certificates;
pub use probe::{Source, probe};
pub use tpm::{AkKind, EVENT_LOG, EkKind, Produced, TPM_DEVICE, Tpm, TpmError, read_log};
