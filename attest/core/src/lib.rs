//! Evidence of hardware, and what it proves.
//!
//! A worker sends an [`Envelope`]: a vendor's bytes (a TPM quote, a TEE report) that are bound to one Offer, to its node key
//! and to its sealing key. [`appraise`] says what that proves as an [`Appraisal`]. Everything here is a pure function: the
//! time, the policy and all certificates are arguments, and nothing reads a clock, a file or the network. So an auditor
//! gets, from the same bytes, the same verdict.

mod appraisal;
mod binding;
pub mod chain;
mod crl;
mod envelope;
mod lint;
pub mod nitro;
mod policy;
mod reason;
pub mod snp;
mod staple;
pub mod tdx;
mod tee;
pub mod tpm2;

pub use appraisal::{
    Appraisal, Expected, Findings, Given, Issued, Status, TrustVector, Verifier, Window, appraise, verifier,
};
pub use binding::Binding;
pub use chain::Chain;
pub use envelope::{ENDORSEMENTS_MAX, ENVELOPE_MAX, Envelope, EnvelopeError, EvidenceKind, Tier};
pub use policy::{Accept, AttestPolicy, AttestPolicyError, Floor, Image, Known, Measurement, Pcr, Root, Value};
pub use reason::{Class, Code, Reason};
pub use staple::{Worth, stapled};
