//! What a requester has learned of evidence, and what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eider_attest::{Appraisal, AttestPolicy, Issued, Tier};
use eider_protocol::{Demand, OfferId};
use serde::{Deserialize, Serialize};

/// What a requester has learned of evidence and must not forget: kept in its store.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Offers that evidence may still be shown for.
    pub issued: Vec<Issued>,
    /// The highest number of each piece of collateral.
    pub seen: BTreeMap<String, u64>,
    /// Pairs of keys that a TPM has shown to be its own.
    pub activated: BTreeSet<String>,
}

impl Memory {
    /// Offers are remembered for this long at least, so that what is too old is told from what was never asked for.
    pub const KEPT_SECONDS: i64 = 86_400;

    /// Takes in what was learned elsewhere.
    pub fn learn(&mut self, other: Self) {
        let newest = other.issued.iter().map(|i| i.at).max().unwrap_or(0);
        self.issued.retain(|i| !other.issued.contains(i) && i.at >= newest.saturating_sub(Self::KEPT_SECONDS));
        self.issued.extend(other.issued);
        for (key, number) in other.seen {
            let known = self.seen.entry(key).or_default();
            *known = (*known).max(number);
        }
        self.activated.extend(other.activated);
    }

    /// The part that bears on one verdict.
    pub fn about(&self, appraisal: &Appraisal, offer: Option<OfferId>) -> Self {
        Self {
            issued: self.issued.iter().filter(|i| Some(i.offer) == offer).copied().collect(),
            seen: self.seen.iter().filter(|(k, _)| appraisal.collateral.contains_key(*k)).map(own).collect(),
            activated: self
                .activated
                .iter()
                .filter(|pair| Some(*pair) == appraisal.activation.as_ref())
                .cloned()
                .collect(),
        }
    }
}

fn own((key, number): (&String, &u64)) -> (String, u64) {
    (key.clone(), *number)
}

/// A policy that a job's workers must satisfy.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// The policy.
    pub policy: Arc<AttestPolicy>,
    /// Its file, as it was read: what an archive carries.
    pub text: Arc<str>,
}

impl Requirement {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`eider_attest::AttestPolicyError`].
    pub fn parse(text: &str) -> Result<Self, eider_attest::AttestPolicyError> {
        let policy = Arc::new(AttestPolicy::parse(text.as_bytes())?);
        Ok(Self { policy, text: text.into() })
    }

    /// Whether a worker has to show anything.
    pub fn wants_evidence(&self) -> bool {
        self.policy.minimum > Tier::L0
    }

    /// What an Offer says of it.
    pub fn demand(&self) -> Demand {
        let max_age_s = u32::try_from(self.policy.reuse_seconds()).unwrap_or(u32::MAX);
        Demand { policy: self.policy.hash(), max_age_s }
    }
}
