//! What a Bid's evidence comes to: appraised on threads of its own, a few at a time, and never where a job waits.

use std::sync::Arc;

use eider_attest::tpm2::{self, Credential, make_credential};
use eider_attest::{Appraisal, Code, Envelope, Expected, Issued, appraise};
use eider_protocol::{NodeId, Offer, OfferId};
use eider_store::{Memory, Requirement};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Appraisals at a time: each takes milliseconds of a processor, and a thousand Bids may come at once.
const AT_A_TIME: usize = 2;

/// What a Bid's evidence comes to.
pub(crate) enum Judged {
    /// The verdict stands; with what was known when it was found, as far as it bears on it.
    Done { appraisal: Box<Appraisal>, known: Memory },
    /// The TPM has first to open a credential; the secret in it, and the pair of keys that opening it shows.
    Challenge { credential: Credential, secret: [u8; 32], pair: String },
}

/// A Bid, as it is judged.
pub(crate) struct BidEvidence {
    pub(crate) bytes: Option<Arc<Vec<u8>>>,
    pub(crate) node: NodeId,
    pub(crate) sealing: [u8; 32],
}

/// What a requester knows of evidence: what judges see is a snapshot, and what is learned is told apart, to be kept.
pub(crate) struct Knowledge {
    state: Mutex<State>,
    permits: Semaphore,
}

struct State {
    known: Arc<Memory>,
    learned: Memory,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { known: Arc::default(), learned: Memory::default() }),
            permits: Semaphore::new(AT_A_TIME),
        }
    }
}

impl Knowledge {
    pub(crate) fn set(&self, memory: Memory) {
        self.state.lock().known = Arc::new(memory);
    }

    /// What was learned since the last time.
    pub(crate) fn take_learned(&self) -> Memory {
        std::mem::take(&mut self.state.lock().learned)
    }

    fn learn(&self, what: &Memory) {
        let mut state = self.state.lock();
        state.learned.learn(what.clone());
        // Copied only while somebody judges by it.
        Arc::make_mut(&mut state.known).learn(what.clone());
    }

    /// Keeps an offer for which evidence may come again.
    pub(crate) fn offered(&self, issued: Issued, requirement: Option<&Requirement>) {
        if requirement.is_some_and(Requirement::wants_evidence) {
            self.learn(&Memory { issued: vec![issued], ..Memory::default() });
        }
    }

    /// A TPM has shown that two keys are its own.
    pub(crate) fn activated(&self, pair: String) {
        self.learn(&Memory { activated: [pair].into(), ..Memory::default() });
    }

    /// Appraises a Bid, when its turn has come.
    pub(crate) async fn judge(
        &self,
        requirement: Requirement,
        bid: BidEvidence,
        offer: Offer,
        issued: Issued,
        now: i64,
    ) -> Result<Judged, String> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        let known = self.state.lock().known.clone();
        let judged = tokio::task::spawn_blocking(move || judge(&requirement, &bid, &offer, issued, now, &known));
        let judged = judged.await.map_err(|e| e.to_string())?;
        // Numbers of evidence that did not hold teach nothing.
        if let Judged::Done { appraisal, .. } = &judged
            && appraisal.reasons.is_empty()
            && !appraisal.collateral.is_empty()
        {
            self.learn(&Memory { seen: appraisal.collateral.clone(), ..Memory::default() });
        }
        Ok(judged)
    }
}

fn judge(
    requirement: &Requirement,
    bid: &BidEvidence,
    offer: &Offer,
    issued: Issued,
    now: i64,
    known: &Memory,
) -> Judged {
    let bytes = bid.bytes.as_ref().map(|b| &b[..]);
    let expected = Expected {
        requester: offer.requester,
        node: bid.node,
        sealing: bid.sealing,
        engine: offer.engine,
        demanded: requirement.policy.hash(),
        offer: issued,
        earlier: &known.issued,
        seen: &known.seen,
        activated: &known.activated,
    };
    let appraisal = appraise(bytes, &expected, now, &requirement.policy);
    let only_activation = appraisal.reasons.iter().all(|r| r.code == Code::ActivationMissing);
    if let (false, true, Some(pair), Some(bytes)) =
        (appraisal.reasons.is_empty(), only_activation, &appraisal.activation, bytes)
        && let Ok((credential, secret)) = challenge_of(bytes, bid.node)
    {
        return Judged::Challenge { credential, secret, pair: pair.clone() };
    }
    let known = known.about(&appraisal, bytes.and_then(|b| offer_of(b, bid.node)));
    Judged::Done { appraisal: Box::new(appraisal), known }
}

/// The offer that evidence says it was made for.
fn offer_of(bytes: &[u8], node: NodeId) -> Option<OfferId> {
    Envelope::open(bytes, node).ok().map(|e| e.offer)
}

/// A credential that only a TPM with the endorsement key and the attestation key of this evidence can open.
fn challenge_of(bytes: &[u8], node: NodeId) -> Result<(Credential, [u8; 32]), String> {
    let envelope = Envelope::open(bytes, node).map_err(|e| e.to_string())?;
    let evidence = tpm2::Evidence::decode(&envelope.evidence).map_err(|e| e.to_string())?;
    let ak = tpm2::parse::Public::parse(&evidence.ak).map_err(|e| e.to_string())?;
    let certificate = tpm2::leaf(&envelope).ok_or("no certificate")?;
    let (mut secret, mut random) = ([0; 32], [0; tpm2::RANDOM]);
    getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut random)).map_err(|e| e.to_string())?;
    let credential = make_credential(certificate, &ak.name, &secret, &random).map_err(|e| e.to_string())?;
    Ok((credential, secret))
}
