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
mod store;
mod tree;
mod trust;
mod witnessed;

pub use bundle::{BUNDLE_MAX, Bundle, BundleError, Logged, Look, Step, Trust};
pub use checkpoint::{Checkpoint, Proof, ProofError, TreeHash};
pub use dsse::Envelope;
pub use entry::{Entry, EntryError};
pub use key::{KeyError, Role, Signer, Verifier};
pub use log::{Log, LogError};
pub use manifest::{Build, Digests, EngineName, MANIFEST_MAX, Manifest, ManifestError, Touches, version};
pub use note::{NOTE_MAX, Note, NoteError, SIGNATURES_MAX};
pub use store::{COMPONENT_MAX, EngineStore, Part, StoreError, Stored, Wanted};
pub use tree::{ENTRY_MAX, Files, Tree, WIDTH, newest};
pub use trust::{Candidate, EnginePolicy, EnginePolicyError, Judgement, RuleVerdict, Yanked};
pub use witnessed::{LogPolicy, LogPolicyError, POLICY_MAX, Unwitnessed, Witnessed};
