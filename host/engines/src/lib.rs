//! Engine builds: what one is, who says so, where that is written down for ever, and what of it is believed.
//!
//! Everything here is read from bytes that strangers made: each reader has a largest size, and an error that says what is wrong.

mod bundle;
mod checkpoint;
mod dsse;
mod entry;
mod key;
mod log;
mod manifest;
mod note;
mod witnessed;

pub use bundle::{BUNDLE_MAX, Bundle, BundleError, Logged, Step, Trust};
pub use checkpoint::{Checkpoint, PROOF_MAX, Proof, ProofError, SIZE_MAX, TreeHash};
pub use dsse::Envelope;
pub use entry::{Entry, EntryError, REASON_MAX};
pub use key::{KeyError, NAME_MAX, Role, Signer, Verifier, is_name};
pub use log::{ENTRY_MAX, Files, Log, LogError, Tree, WIDTH, newest};
pub use manifest::{
    Build, BuildDefinition, Builder, Dependency, Digests, EngineName, MANIFEST_MAX, Manifest, ManifestError, Provenance,
    RunDetails, Touches,
};
pub use note::{NOTE_MAX, Note, NoteError, SIGNATURES_MAX};
pub use witnessed::{LogPolicy, LogPolicyError, POLICY_MAX, Unwitnessed, Witnessed};
