//! What a Bid's evidence comes to.

use eider_attest::tpm2::{self, Credential, make_credential};
use eider_attest::{Appraisal, Code, Envelope, Expected, Issued, appraise};
use eider_protocol::{NodeId, Offer};
use eider_store::{Memory, Requirement};

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

/// Appraises a Bid. What it teaches goes into `memory`.
pub(crate) fn judge(
    requirement: &Requirement,
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
        demanded: requirement.policy.hash(),
        offer: issued,
        earlier: &memory.issued,
        seen: &memory.seen,
        activated: &memory.activated,
    };
    let appraisal = appraise(bid.bytes, &expected, now, &requirement.policy);
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
