//! Evidence in a job's life: what vouches for this machine, and the envelopes that Bids carry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_attest::{Binding, Envelope, EvidenceKind};
use eider_protocol::{Challenge, Demand, Hash, Identity, NodeId, Offer, OfferId};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;

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
        if let Some((since, kept)) = self.made.lock().get(&key)
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
        let mut made = self.made.lock();
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
