//! Evidence in a job's life: what vouches for this machine, and the envelopes that Bids carry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_attest::{Binding, Envelope, EvidenceKind};
use eider_attest_device::collateral::Renewal;
use eider_net::Prefix;
use eider_protocol::{Challenge, Decline, DeclineReason, Demand, Hash, Identity, NodeId, Offer, OfferId, ResetCode};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

use crate::places::{Place, Places};

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

    /// Rises when evidence comes with other collateral than before, which may have been too little.
    fn collateral_version(&self) -> u64 {
        0
    }

    /// Fetches collateral that is due at a time, seconds since 1970; `None` where none ever is. Waits for the network, and is called
    /// beside the others.
    fn renew(&self, _now: i64) -> Option<Renewal> {
        None
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
/// Since when, with which version of the collateral, and its bytes.
type Made = (Instant, u64, Arc<Vec<u8>>);

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
        let version = self.attester.collateral_version();
        if let Some((since, with, kept)) = self.made.lock().get(&key)
            && since.elapsed() < may_be
            && *with == version
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
        let oldest = made.iter().min_by_key(|(_, (since, ..))| *since).map(|(key, _)| *key);
        if let Some(oldest) = oldest.filter(|_| made.len() >= KEPT && !made.contains_key(&key)) {
            made.remove(&oldest);
        }
        made.insert(key, (started, version, bytes.clone()));
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
/// Those of one network: a quarter.
const WAITING_PER_NETWORK: usize = WAITING / 4;

/// Why a device opens no credential.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivateError {
    /// Too many wait for it.
    #[error("the device makes evidence for others")]
    Busy,
    /// What it said.
    #[error("{0}")]
    Device(String),
}

impl ActivateError {
    /// The code to reset the stream with: it blames nobody, for a device fails as well at a good credential.
    pub(crate) fn reset_code(&self) -> ResetCode {
        match self {
            Self::Busy => ResetCode::OverCapacity,
            Self::Device(_) => ResetCode::CellFailed,
        }
    }
}

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
    of_requester: Places<NodeId>,
    of_network: Places<Prefix>,
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
        Self {
            asks,
            of_requester: Places::new(WAITING, WAITING_PER_REQUESTER),
            of_network: Places::new(WAITING, WAITING_PER_NETWORK),
        }
    }

    fn place(&self, requester: NodeId, network: Prefix) -> Option<(Place<NodeId>, Place<Prefix>)> {
        Some((self.of_requester.take(requester)?, self.of_network.take(network)?))
    }

    /// The envelope for a Bid; none if the device makes none.
    ///
    /// # Errors
    /// Too many wait for the device.
    pub(crate) async fn envelope(
        &self,
        identity: &Identity,
        sealing: [u8; 32],
        (id, offer): (OfferId, &Offer),
        demand: Demand,
        network: Prefix,
    ) -> Result<Option<Arc<Vec<u8>>>, Decline> {
        let busy = || Decline { reason: DeclineReason::Busy, detail: "its device makes evidence for others".into() };
        let _place = self.place(offer.requester, network).ok_or_else(busy)?;
        let (answer, answered) = oneshot::channel();
        let (identity, offer) = (Box::new(identity.clone()), Box::new(offer.clone()));
        let ask = Ask::Envelope { identity, sealing, offer, id, demand, answer };
        self.asks.try_send(ask).map_err(|_| busy())?;
        let made = answered.await.unwrap_or_else(|e| Err(e.to_string()));
        Ok(made.inspect_err(|why| tracing::warn!(job = %id, "no evidence: {why}")).ok())
    }

    /// Opens the credential of a Challenge.
    ///
    /// # Errors
    /// [`ActivateError`].
    pub(crate) async fn activate(
        &self,
        requester: NodeId,
        network: Prefix,
        challenge: Challenge,
    ) -> Result<Vec<u8>, ActivateError> {
        let _place = self.place(requester, network).ok_or(ActivateError::Busy)?;
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask::Activate { challenge, answer }).map_err(|_| ActivateError::Busy)?;
        answered.await.unwrap_or_else(|e| Err(e.to_string())).map_err(ActivateError::Device)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use eider_protocol::{DataClass, InputsSummary, Limits};

    use super::*;

    /// A device that says nothing until it is let go.
    struct Hangs(Mutex<mpsc::Receiver<()>>);

    impl Attester for Hangs {
        fn kind(&self) -> EvidenceKind {
            EvidenceKind::Development
        }
        fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
            DevelopmentAttester.produce(binding)
        }
        fn activate(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, String> {
            let _ = self.0.lock().recv();
            Err("it opens nothing".into())
        }
    }

    #[tokio::test]
    async fn no_requester_and_no_network_takes_all_places_before_the_device_and_being_busy_is_nobodys_fault() {
        let (let_go, hangs) = mpsc::channel();
        let desk = Arc::new(Desk::open(Arc::new(Hangs(Mutex::new(hangs)))));
        let ask = |node: u8, network: u8| {
            let desk = desk.clone();
            let challenge = Challenge { offer: OfferId::from_bytes([0; 32]), credential: vec![], secret: vec![] };
            let (node, network) = (NodeId::from_bytes([node; 32]), Prefix::V4([network; 3]));
            tokio::spawn(async move { desk.activate(node, network, challenge).await.unwrap_err().reset_code() })
        };
        let asked = [(1, 1), (1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (4, 2)].map(|(node, network)| ask(node, network));
        while asked.iter().filter(|a| a.is_finished()).count() < 2 {
            tokio::task::yield_now().await;
        }
        drop(let_go);
        let (mut busy, mut failed) = (0, 0);
        for answer in asked {
            match answer.await.unwrap() {
                ResetCode::OverCapacity => busy += 1,
                ResetCode::CellFailed => failed += 1,
                code => panic!("{code}"),
            }
        }
        assert_eq!((busy, failed), (2, 5), "the third of one requester, and the fifth of a network");
    }

    fn key(n: usize) -> Hash {
        Hash::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    /// The envelope for an Offer under the policy of that number, which may be used again for ten minutes.
    fn make(envelopes: &Envelopes, n: usize) -> Arc<Vec<u8>> {
        let identity = Identity::from_seed([1; 32]);
        let offer = Offer {
            requester: identity.node_id(),
            task: key(0),
            draw: key(0),
            issued_at: 0,
            valid_s: 60,
            class: DataClass::Public,
            engine: key(0),
            profile: String::new(),
            limits: Limits { memory: 0, result: 0, run_ms: 0, fuel: None },
            inputs: InputsSummary { count: 0, bytes: 0 },
            attest: None,
            nonce: [0; 32],
        };
        let demand = Demand { policy: key(n), max_age_s: 600 };
        envelopes.envelope(&identity, [0; 32], &offer, OfferId::from_bytes([0; 32]), demand).unwrap()
    }

    #[test]
    fn of_too_many_envelopes_the_oldest_goes() {
        let envelopes = Envelopes::new(Arc::new(DevelopmentAttester));
        let made: Vec<_> = (0..=KEPT).map(|n| make(&envelopes, n)).collect();
        assert_eq!(envelopes.made.lock().len(), KEPT);
        assert!((1..=KEPT).all(|n| Arc::ptr_eq(&made[n], &make(&envelopes, n))), "they are used again");
        assert!(!Arc::ptr_eq(&made[0], &make(&envelopes, 0)));
    }

    #[derive(Default)]
    struct Renews(AtomicU64);

    impl Attester for Renews {
        fn kind(&self) -> EvidenceKind {
            EvidenceKind::Development
        }
        fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
            DevelopmentAttester.produce(binding)
        }
        fn collateral_version(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn an_envelope_with_the_collateral_of_before_is_not_used_again() {
        let device = Arc::new(Renews::default());
        let envelopes = Envelopes::new(device.clone());
        let before = make(&envelopes, 1);
        assert!(Arc::ptr_eq(&before, &make(&envelopes, 1)));
        device.0.fetch_add(1, Ordering::Relaxed);
        let after = make(&envelopes, 1);
        assert!(!Arc::ptr_eq(&before, &after) && Arc::ptr_eq(&after, &make(&envelopes, 1)));
    }
}
