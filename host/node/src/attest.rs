//! Evidence in a job's life: a worker makes it, a requester appraises it before it chooses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eider_attest::tpm2::{self, Credential, make_credential};
use eider_attest::{Appraisal, AttestPolicy, Binding, Code, Envelope, EvidenceKind, Expected, Issued, Tier, appraise};
use eider_protocol::{Challenge, Demand, Hash, Identity, NodeId, Offer, OfferId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::requester::locked;

/// What a device says.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The vendor's bytes.
    pub evidence: Vec<u8>,
    /// Event log.
    pub log: Option<Vec<u8>>,
    /// Certificates and collateral.
    pub endorsements: Vec<Vec<u8>>,
}

/// A source of evidence on this machine. Its calls may take seconds, and are made on threads that may wait.
pub trait Attester: Send + Sync + 'static {
    /// Whose evidence it makes.
    fn kind(&self) -> EvidenceKind;

    /// Evidence that is bound to all of `binding`.
    ///
    /// # Errors
    /// Why there is none.
    fn produce(&self, binding: &Binding) -> Result<Evidence, String>;

    /// Opens a credential that was made for the device's keys.
    ///
    /// # Errors
    /// Why it does not; most kinds have no such thing.
    fn activate(&self, _credential: &[u8], _secret: &[u8]) -> Result<Vec<u8>, String> {
        Err(format!("{} evidence knows no credentials", self.kind()))
    }
}

/// Evidence that proves nothing, for development policies: the binding itself.
#[derive(Clone, Copy, Debug)]
pub struct DevelopmentAttester;

impl Attester for DevelopmentAttester {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Development
    }
    fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
        Ok(Evidence { evidence: binding.digest().to_vec(), ..Evidence::default() })
    }
}

/// Requester, policy, engine.
type EnvelopeKey = (NodeId, Hash, Hash);
/// Since when, and its bytes.
type Made = (Instant, Arc<Vec<u8>>);

/// A worker's envelopes: the last one for each requester, policy and engine can be used again.
pub(crate) struct Envelopes {
    attester: Arc<dyn Attester>,
    made: Mutex<HashMap<EnvelopeKey, Made>>,
}

/// As many envelopes are kept.
const KEPT: usize = 256;

impl Envelopes {
    pub(crate) fn new(attester: Arc<dyn Attester>) -> Self {
        Self { attester, made: Mutex::default() }
    }

    /// The envelope for a Bid. Waits for the device.
    pub(crate) fn envelope(
        &self,
        identity: &Identity,
        sealing: [u8; 32],
        offer: &Offer,
        id: OfferId,
        demand: Demand,
    ) -> Result<Arc<Vec<u8>>, String> {
        let key = (offer.requester, demand.policy, offer.engine);
        // The requester counts from its Offer, which was a little earlier.
        let may_be = Duration::from_secs(demand.max_age_s.into()).mul_f32(0.9);
        if let Some((since, kept)) = locked(&self.made).get(&key)
            && since.elapsed() < may_be
        {
            return Ok(kept.clone());
        }
        let started = Instant::now();
        let kind = self.attester.kind();
        let binding = Binding {
            kind,
            nonce: offer.nonce,
            requester: offer.requester,
            offer: id,
            node: identity.node_id(),
            sealing,
            engine: offer.engine,
            policy: demand.policy,
        };
        let Evidence { evidence, log, endorsements } = self.attester.produce(&binding)?;
        let envelope = Envelope {
            v: 1,
            kind,
            evidence,
            log: log.map(ByteBuf::from),
            endorsements: endorsements.into_iter().map(ByteBuf::from).collect(),
            offer: id,
            nonce: offer.nonce,
            sealing,
        };
        let bytes = Arc::new(envelope.sign(identity));
        let mut made = locked(&self.made);
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, (started, bytes.clone()));
        Ok(bytes)
    }

    pub(crate) fn activate(&self, challenge: &Challenge) -> Result<Vec<u8>, String> {
        self.attester.activate(&challenge.credential, &challenge.secret)
    }
}

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
    pub(crate) const KEPT_SECONDS: i64 = 86_400;

    /// Both together.
    #[must_use]
    pub(crate) fn merged(mut self, other: Self) -> Self {
        let newest = other.issued.iter().map(|i| i.at).max().unwrap_or(0);
        self.issued.retain(|i| !other.issued.contains(i) && i.at >= newest.saturating_sub(Self::KEPT_SECONDS));
        self.issued.extend(other.issued);
        for (key, number) in other.seen {
            let known = self.seen.entry(key).or_default();
            *known = (*known).max(number);
        }
        self.activated.extend(other.activated);
        self
    }

    /// The part that bears on one verdict.
    pub(crate) fn about(&self, appraisal: &Appraisal, offer: Option<OfferId>) -> Self {
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

    pub(crate) fn demand(&self) -> Demand {
        let max_age_s = u32::try_from(self.policy.reuse_seconds()).unwrap_or(u32::MAX);
        Demand { policy: self.policy.hash(), max_age_s }
    }
}

/// What a Bid's evidence comes to.
pub(crate) enum Judged {
    /// The verdict stands.
    Done(Box<Appraisal>),
    /// The TPM has first to open a credential; the secret in it, and the pair of keys that opening it shows.
    Challenge { credential: Credential, secret: [u8; 32], pair: String },
}

/// A Bid, as it is judged.
pub(crate) struct BidEvidence<'a> {
    pub(crate) bytes: Option<&'a [u8]>,
    pub(crate) node: NodeId,
    pub(crate) sealing: [u8; 32],
}

impl Requirement {
    /// Appraises a Bid. What it teaches goes into `memory`.
    pub(crate) fn judge(
        &self,
        bid: &BidEvidence<'_>,
        offer: &Offer,
        issued: Issued,
        now: i64,
        memory: &mut Memory,
    ) -> Judged {
        let expected = Expected {
            requester: offer.requester,
            node: bid.node,
            sealing: bid.sealing,
            engine: offer.engine,
            demanded: self.policy.hash(),
            offer: issued,
            earlier: &memory.issued,
            seen: &memory.seen,
            activated: &memory.activated,
        };
        let appraisal = appraise(bid.bytes, &expected, now, &self.policy);
        let only_activation = appraisal.reasons.iter().all(|r| r.code == Code::ActivationMissing);
        if let (false, true, Some(pair), Some(bytes)) =
            (appraisal.reasons.is_empty(), only_activation, &appraisal.activation, bid.bytes)
            && let Ok((credential, secret)) = challenge_of(bytes, bid.node)
        {
            return Judged::Challenge { credential, secret, pair: pair.clone() };
        }
        // Numbers of evidence that did not hold teach nothing.
        if appraisal.reasons.is_empty() {
            for (key, number) in &appraisal.collateral {
                let known = memory.seen.entry(key.clone()).or_default();
                *known = (*known).max(*number);
            }
        }
        Judged::Done(Box::new(appraisal))
    }
}

/// A credential that only a TPM with the endorsement key and the attestation key of this evidence can open.
fn challenge_of(bytes: &[u8], node: NodeId) -> Result<(Credential, [u8; 32]), String> {
    let envelope = Envelope::open(bytes, node).map_err(|e| e.to_string())?;
    let evidence = tpm2::Evidence::decode(&envelope.evidence).map_err(|e| e.to_string())?;
    let ak = tpm2::parse::Public::parse(&evidence.ak).map_err(|e| e.to_string())?;
    let certificate = envelope.endorsements.first().ok_or("no certificate")?;
    let (mut secret, mut random) = ([0; 32], [0; tpm2::RANDOM]);
    getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut random)).map_err(|e| e.to_string())?;
    let credential = make_credential(certificate, &ak.name, &secret, &random).map_err(|e| e.to_string())?;
    Ok((credential, secret))
}
