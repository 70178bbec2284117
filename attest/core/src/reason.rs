//! Why a tier is what it is, in codes that do not change.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of reason.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// There is no evidence.
    Absent,
    /// There is evidence, and it is not true, or not about this job.
    Invalid,
    /// It is true, and the policy wants more.
    Insufficient,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $class:ident, $advice:literal;)*) => {
        /// Code of a [`Reason`]. The word is stable: logs, archives and policies of others hold it.
        #[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl Code {
            /// All, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The stable word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
            /// What kind of reason.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }
            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

codes! {
    /// No envelope came with the bid.
    EvidenceAbsent, "evidence-absent", Absent, "start the worker on a machine with a TPM or TEE; `eider doctor` says what it sees";
    /// Larger than any envelope.
    EnvelopeTooLarge, "envelope-too-large", Invalid, "fewer or smaller endorsements; a shorter event log";
    /// Not deterministic CBOR of an envelope, or bytes after it, or a field that is not known.
    EnvelopeMalformed, "envelope-malformed", Invalid, "the worker's build differs from what the protocol says";
    /// A version of the envelope that is not known.
    EnvelopeVersion, "envelope-version", Invalid, "update the older of the two programs";
    /// A kind of evidence that is not known.
    KindUnknown, "kind-unknown", Invalid, "update the requester";
    /// Not signed by the node that sent it.
    EnvelopeSignature, "envelope-signature", Invalid, "somebody else's envelope, or one that was changed on its way";
    /// Made by another node.
    NodeMismatch, "node-mismatch", Invalid, "another node's envelope was sent";
    /// Vouches for another sealing key than the bid names.
    SealingMismatch, "sealing-key-mismatch", Invalid, "the sealing key was exchanged on its way";
    /// Made for another offer.
    NonceMismatch, "nonce-mismatch", Invalid, "a replay: evidence of another offer was sent, and the policy or its age does not allow that";
    /// Older than the policy allows to use again.
    EvidenceStale, "evidence-stale", Insufficient, "the worker must make new evidence";
    /// The policy does not accept this kind.
    KindNotAccepted, "kind-not-accepted", Insufficient, "add a section for this kind to the policy, or ask other workers";
    /// Development evidence under a policy that is not for development.
    Development, "development-evidence", Insufficient, "development evidence proves nothing; use hardware";
    /// The vendor's bytes cannot be parsed.
    EvidenceMalformed, "evidence-malformed", Invalid, "the evidence is damaged, or of a version that is not known";
    /// The vendor's signature is not right.
    SignatureInvalid, "signature-invalid", Invalid, "the evidence was changed, or signed by another key";
    /// True evidence about something else than this offer, node, sealing key, engine and policy.
    BindingMismatch, "binding-mismatch", Invalid, "the evidence was made for something else";
    /// A certificate chain does not lead from the signing key to its root.
    ChainInvalid, "chain-invalid", Invalid, "a certificate is missing, or is not signed by the next";
    /// A certificate in the chain has an algorithm or a critical extension that is not accepted here.
    ChainUnsupported, "chain-unsupported", Insufficient, "the detail names what is not accepted; if that is above the issuer of the keys, pin the issuer itself in the policy";
    /// The chain ends in a root that the policy does not pin.
    RootUnpinned, "root-unpinned", Insufficient, "pin the vendor's root in the policy, if you trust it";
    /// A certificate's validity does not include now.
    CertificateExpired, "certificate-expired", Insufficient, "the worker must fetch new certificates; check both clocks";
    /// A certificate is on its issuer's revocation list.
    CertificateRevoked, "certificate-revoked", Insufficient, "the vendor has withdrawn this key: the machine cannot be trusted";
    /// Collateral that the policy needs was not stapled.
    CollateralMissing, "collateral-missing", Insufficient, "the worker must staple TCB info and revocation lists";
    /// Collateral past its next update, or before its issue.
    CollateralStale, "collateral-stale", Insufficient, "the worker must fetch new collateral";
    /// Collateral older than what was seen before.
    CollateralRollback, "collateral-rollback", Insufficient, "the worker hides a newer TCB evaluation or revocation list";
    /// Collateral that is not what its vendor signed.
    CollateralInvalid, "collateral-invalid", Invalid, "the collateral was changed, or is for another platform";
    /// The guest can be inspected from outside.
    DebugEnabled, "debug-enabled", Insufficient, "start the guest without debugging";
    /// Security version below what the policy wants.
    TcbTooOld, "tcb-too-old", Insufficient, "update firmware and microcode";
    /// The vendor's word on the security version is not one that the policy accepts.
    TcbStatus, "tcb-status", Insufficient, "update firmware and microcode, or accept the status in the policy";
    /// The vendor names an advisory that the policy denies.
    AdvisoryDenied, "advisory-denied", Insufficient, "update what the advisory names";
    /// The platform has a property that the policy does not accept.
    PlatformRefused, "platform-refused", Insufficient, "change the platform's setting, or accept it in the policy";
    /// The processor is of a product that the policy does not name.
    ProductRefused, "product-refused", Insufficient, "ask workers on a processor that the policy names; add a product only if its keys are still secret";
    /// The guest was launched with a policy that lets its host do what must not be done, or whose meaning is not known.
    GuestPolicyRefused, "guest-policy-refused", Insufficient, "launch the guest with a policy that does not allow what the detail names";
    /// The machine, or who holds its key, is not on a list of the policy.
    MachineUnknown, "machine-unknown", Insufficient, "ask a machine on the policy's list, or add this one, if you know who guards it";
    /// Who launched the guest has not signed for it with a key of the policy.
    LauncherUnknown, "launcher-unknown", Insufficient, "sign the guest's identity block with a key that the policy names, or add the key";
    /// The TD has attributes, or a companion, that no policy accepts.
    TdRefused, "td-refused", Insufficient, "start the TD anew without what the detail names; no policy can accept that";
    /// The code that runs is not among the policy's reference values.
    MeasurementUnknown, "measurement-unknown", Insufficient, "add the measurement to the policy with its provenance, if you trust the build";
    /// The report was asked for by less privileged software than the policy wants.
    VmplTooHigh, "vmpl-too-high", Insufficient, "ask for the report from the guest's kernel";
    /// A register that the policy wants is not in the quote.
    PcrMissing, "pcr-missing", Insufficient, "quote all registers that the policy names";
    /// A register has another value than the policy's reference.
    PcrMismatch, "pcr-mismatch", Insufficient, "the machine booted something else; if it is wanted, add its value to the policy";
    /// The event log does not lead to the quoted registers.
    LogMismatch, "log-mismatch", Invalid, "the event log was changed, or is of another boot";
    /// The policy wants an event log.
    LogMissing, "log-missing", Insufficient, "the worker must be able to read its event log";
    /// The event log does not show that Secure Boot was on.
    SecureBootUnproven, "secure-boot-unproven", Insufficient, "switch Secure Boot on; the detail says what register 7 shows in its place";
    /// Something was started that nobody on the policy's list has signed.
    SignerUnknown, "signer-unknown", Insufficient, "add the certificate to the policy, if you trust all that it signs";
    /// The signing key is not shown to be of the chip that the certificates are about.
    IdentityMismatch, "identity-mismatch", Invalid, "key and certificate are of different machines";
    /// The attestation key is not yet shown to live in the TPM of the endorsement key.
    ActivationMissing, "activation-missing", Insufficient, "the TPM must open a credential made for both keys";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One reason for a tier below what was claimed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Code.
    pub code: Code,
    /// Which component, which value, how far off.
    pub detail: String,
}

impl Reason {
    /// With a detail for people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
