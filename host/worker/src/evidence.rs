//! Evidence in a job's life: what vouches for this machine, and the envelopes that Bids carry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_attest::{Binding, Envelope, EvidenceKind};
use eider_protocol::{Challenge, Decline, DeclineReason, Demand, Hash, Identity, NodeId, Offer, OfferId};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

use crate::places::Places;

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
struct Envelopes {
    attester: Arc<dyn Attester>,
    made: Mutex<HashMap<EnvelopeKey, Made>>,
}

/// As many envelopes are kept.
const KEPT: usize = 256;

impl Envelopes {
    fn new(attester: Arc<dyn Attester>) -> Self {
        Self { attester, made: Mutex::default() }
    }

    /// The envelope for a Bid. Waits for the device.
    fn envelope(
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

    fn activate(&self, challenge: &Challenge) -> Result<Vec<u8>, String> {
        self.attester.activate(&challenge.credential, &challenge.secret)
    }
}

/// Requests that wait for the device: it answers one at a time, and a TPM takes half a second for each.
const WAITING: usize = 16;
/// Those of one requester, so that it takes no more than its share of that time.
const WAITING_PER_REQUESTER: usize = 2;

/// What a device is asked.
enum Ask {
    Envelope {
        identity: Box<Identity>,
        sealing: [u8; 32],
        offer: Box<Offer>,
        id: OfferId,
        demand: Demand,
        answer: Answer<Arc<Vec<u8>>>,
    },
    Activate {
        challenge: Challenge,
        answer: Answer<Vec<u8>>,
    },
}

type Answer<T> = oneshot::Sender<Result<T, String>>;

/// The way to the device: one task asks it, one thing at a time, and nobody waits behind more than [`WAITING`] others.
pub(crate) struct Desk {
    asks: mpsc::Sender<Ask>,
    waiting: Places<NodeId>,
}

impl Desk {
    /// Must be called within a tokio runtime. The task ends with the desk.
    pub(crate) fn open(attester: Arc<dyn Attester>) -> Self {
        let (asks, mut asked) = mpsc::channel::<Ask>(WAITING);
        let envelopes = Arc::new(Envelopes::new(attester));
        tokio::spawn(async move {
            while let Some(ask) = asked.recv().await {
                let envelopes = envelopes.clone();
                // A device that hangs holds this queue and nothing else.
                let done = tokio::task::spawn_blocking(move || ask.answer(&envelopes)).await;
                if let Err(e) = done {
                    tracing::error!("evidence: {e}");
                }
            }
        });
        Self { asks, waiting: Places::new(WAITING, WAITING_PER_REQUESTER) }
    }

    /// The envelope for a Bid; none if the device makes none.
    ///
    /// # Errors
    /// Too many wait for the device.
    pub(crate) async fn envelope(
        &self,
        identity: &Identity,
        sealing: [u8; 32],
        offer: &Offer,
        id: OfferId,
        demand: Demand,
    ) -> Result<Option<Arc<Vec<u8>>>, Decline> {
        let busy = || Decline { reason: DeclineReason::Busy, detail: "its device makes evidence for others".into() };
        let _place = self.waiting.take(offer.requester).ok_or_else(busy)?;
        let (answer, answered) = oneshot::channel();
        let (identity, offer) = (Box::new(identity.clone()), Box::new(offer.clone()));
        let ask = Ask::Envelope { identity, sealing, offer, id, demand, answer };
        self.asks.try_send(ask).map_err(|_| busy())?;
        let made = answered.await.unwrap_or_else(|e| Err(e.to_string()));
        Ok(made.inspect_err(|why| tracing::warn!(job = %id, "no evidence: {why}")).ok())
    }

    /// Opens the credential of a Challenge.
    pub(crate) async fn activate(&self, requester: NodeId, challenge: Challenge) -> Result<Vec<u8>, String> {
        let busy = || "the device makes evidence for others".to_string();
        let _place = self.waiting.take(requester).ok_or_else(busy)?;
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask::Activate { challenge, answer }).map_err(|_| busy())?;
        answered.await.unwrap_or_else(|e| Err(e.to_string()))
    }
}

impl Ask {
    /// Waits for the device, unless nobody waits for the answer any more.
    fn answer(self, envelopes: &Envelopes) {
        match self {
            Self::Envelope { identity, sealing, offer, id, demand, answer } => {
                if !answer.is_closed() {
                    let _ = answer.send(envelopes.envelope(&identity, sealing, &offer, id, demand));
                }
            }
            Self::Activate { challenge, answer } => {
                if !answer.is_closed() {
                    let _ = answer.send(envelopes.activate(&challenge));
                }
            }
        }
    }
}
