//! Each candidate: its fate, and all that is written of it, against what it signed.

use eider_protocol::{DeclineReason, Fault, Kind, Offer, ResetCode, Verdict, printable};

use super::Check;
use crate::audit::{AuditError, ensure, unhex};
use crate::record::{Fate, JobRecord, PeerRecord, ResetCodeWord, What};

impl Check<'_> {
    /// One candidate: its fate, and all that is written of it, against what it signed.
    pub(super) fn peer(&self, p: usize) -> Result<(), AuditError> {
        let (peer, words) = (&self.record.peers[p], &self.words[p]);
        let is = |same: bool, why: &str| ensure(same, || format!("{} {why}", self.name(p)));
        is(peer.commit.as_ref() == words.first.as_ref().map(|c| &c.outcome), "committed to something else")?;
        is(peer.at_fault == peer.fate.is_fault(), "is blamed for more or less than its fate")?;
        is(
            peer.input_bytes == 0 || self.was_dispatched(p),
            "is said to have fetched inputs of a task that it never got",
        )?;
        let bid = peer.signed_bid.as_deref().map(unhex).transpose()?;
        is(bid.is_none_or(|b| peer.bid_hash == Some(blake3::hash(&b).into())), "signed another Bid than is named")?;
        if let Some(first) = &words.first {
            is(self.was_dispatched(p), "committed to a task that it is not said to have got")?;
            is(words.bid_fits(first.price), "committed at another price than it bid, or never bid in favour")?;
            // A Bid of a worker that committed is dropped only where the largest would not have found room.
            let kept: usize = self.record.peers.iter().filter_map(|p| Some(p.signed_bid.as_ref()?.len() / 2)).sum();
            let full = kept + Kind::Bid.max_bytes() > JobRecord::BIDS_MAX;
            is(words.bid.is_some() || full, "committed, and its Bid is not kept")?;
        }
        if let Some(second) = &words.second {
            let differs = words.first.as_ref().is_some_and(|f| f.outcome != second.outcome && f.price == second.price);
            is(differs, "is said to have equivocated, and has not")?;
        }
        self.appraisal(p)?;
        self.fate(p)
    }

    fn appraisal(&self, p: usize) -> Result<(), AuditError> {
        let peer = &self.record.peers[p];
        let is = |same: bool, why: &str| ensure(same, || format!("{} {why}", self.name(p)));
        is(
            peer.known.is_some() == peer.appraisal.is_some(),
            "was judged by nothing, or something is known for no verdict",
        )?;
        let enough = match (&peer.appraisal, self.policy.filter(|_| self.offer.attest.is_some())) {
            (None, None) => return Ok(()),
            (Some(_), None) => return is(false, "was judged, and the Offer asks for no evidence"),
            (None, Some(_)) => false,
            (Some(a), Some(policy)) => {
                let in_time =
                    self.offer.issued_at.saturating_sub(Offer::SKEW_S) <= a.at && a.at <= self.offer.expires_s();
                is(in_time, "was judged before the job or after it")?;
                is(a.policy == policy.hash(), "was judged under another policy")?;
                let lacking = Fate::lacking(a, policy).map(|why| printable(&why, Fate::REASONS_MAX));
                match (&peer.fate, &lacking) {
                    (Fate::Unfit { why }, lacking) => is(Some(why) == lacking.as_ref(), "is unfit for another reason")?,
                    (_, Some(_)) => is(false, "proved less than the policy wants, and is not called unfit")?,
                    _ => {}
                }
                lacking.is_none()
            }
        };
        is(enough || !self.has_task(p), "was given the task, and has not proven enough")
    }

    /// Whether a candidate got the task, and not only once before it was asked again, when it is judged anew.
    pub(in crate::audit) fn has_task(&self, p: usize) -> bool {
        let since = self.moments[p].iter().rposition(|w| **w == What::Offer).unwrap_or(0);
        let dispatched = self.moments[p][since..].iter().any(|w| matches!(w, What::Dispatch { .. }));
        // Who was asked again last, a log that is cut may not say.
        self.words[p].first.is_some() || dispatched && self.log_is_whole()
    }

    /// What became of a candidate, as far as signatures and moments show it.
    fn fate(&self, p: usize) -> Result<(), AuditError> {
        let (peer, words) = (&self.record.peers[p], &self.words[p]);
        let is = |same: bool, why: &str| ensure(same, || format!("{} {why}", self.name(p)));
        let resets: Vec<ResetCode> = self.moments[p].iter().filter_map(|w| reset_of(w)).collect();
        let silent = !words.any() && peer.bid_hash.is_none() && self.moments[p].is_empty();
        let settled = matches!(peer.fate, Fate::Settled { .. });
        is(words.receipt.is_none() || settled, "signed a receipt, and is not said to be settled with")?;
        is(resets.len() <= 1, "was reset more than once")?;
        // To disagree is no fault once the quorum is lost, and one again when it is back.
        let relabelled = |code| matches!(code, ResetCode::Dissent | ResetCode::JobEnded);
        let reset_as =
            |code: &ResetCodeWord| resets.iter().all(|r| *r == code.0 || relabelled(*r) && relabelled(code.0));
        let refused = |price_or_eta: bool| words.bid.is_none() || price_or_eta;
        let unasked = matches!(
            peer.fate,
            Fate::Unreachable { .. } | Fate::Duplicate | Fate::Incompatible { .. } | Fate::Reset { .. } | Fate::Open
        );
        is(unasked || self.has(p, |w| *w == What::Offer) || !self.log_is_whole(), "was never asked")?;
        // Who is busy is asked again, and what it says then may be lost.
        let declined = matches!(words.bid.as_ref().map(|b| &b.answer), Some(Err(d)) if d.reason != DeclineReason::Busy);
        is(!declined || matches!(peer.fate, Fate::Declined { .. }), "declined, and something else is written")?;
        match &peer.fate {
            Fate::Unreachable { .. } => is(silent, "is called unreachable, and was heard of"),
            Fate::Duplicate => {
                let same = |other: &PeerRecord| other.node == peer.node && other.fate != Fate::Duplicate;
                is(silent && peer.node.is_some(), "is called another's duplicate, and was asked itself")?;
                is(self.record.peers.iter().any(same), "is called a duplicate, and is the only one")
            }
            Fate::Declined { reason, detail } => {
                is(resets.is_empty(), "is said to have declined, and was reset")?;
                let said = match words.bid.as_ref().map(|b| &b.answer) {
                    None => true,
                    Some(Err(d)) => d.reason == *reason && printable(&d.detail, Fate::WORDS_MAX) == *detail,
                    // It refused the Dispatch.
                    Some(Ok(_)) => *reason == DeclineReason::Busy && *detail == ResetCode::OverCapacity.to_string(),
                };
                is(said && words.first.is_none(), "did not decline so")
            }
            Fate::TooExpensive { price } => {
                is(resets == [ResetCode::NotChosen], "is said to be too expensive, and was not let go for it")?;
                is(refused(words.accept().is_some_and(|a| a.price == *price)), "did not ask that price")
            }
            Fate::TooLate { eta_ms } => {
                is(resets == [ResetCode::NotChosen], "is said to be too late, and was not let go for it")?;
                is(refused(words.accept().is_some_and(|a| a.eta_ms == *eta_ms)), "did not say that time")
            }
            Fate::Unfit { .. } => is(resets == [ResetCode::NotChosen], "is called unfit, and was not let go for it"),
            Fate::GaveUp { .. } | Fate::Lost { .. } => is(resets.is_empty(), "is said to be gone, and was reset"),
            Fate::Incompatible { .. } => {
                let of_version = |code: &ResetCode| !is_verdict(*code) && code.fault() != Fault::Receiver;
                is(resets.iter().all(of_version), "is called incompatible, and was reset for something else")
            }
            Fate::Caught { code, why } => {
                is(why.is_none() || !is_verdict(code.0), "is blamed in words that its fate does not have")?;
                is(
                    code.0.fault() == Fault::Receiver && reset_as(code),
                    "is blamed for what is no fault, or for another one",
                )?;
                match code.0 {
                    ResetCode::Equivocation => is(words.second.is_some(), "is said to have equivocated, and has not"),
                    ResetCode::Dissent => is(self.dissents(p), "is said to dissent, and there is no quorum against it"),
                    ResetCode::WrongBytes => {
                        is(self.has(p, |w| *w == What::WrongBytes), "is said to have sent wrong bytes, and never did")
                    }
                    _ => Ok(()),
                }
            }
            Fate::Reset { code } => is(code.0.fault() != Fault::Receiver && reset_as(code), "was not reset so"),
            Fate::Settled { verdict } => {
                is(resets.is_empty(), "was settled with and reset")?;
                is(
                    words.receipt.as_ref().is_none_or(|m| m.verdict == *verdict),
                    "signed a receipt of another verdict",
                )?;
                let agreed = self.record.digest.is_some() && words.digest() == self.record.digest;
                is(agreed, "was settled with for something that it did not commit to")?;
                is(peer.node.is_some_and(|n| self.record.agreed.contains(&n)), "was settled with, and did not agree")?;
                let delivered = peer.node == self.record.deliverer;
                is(delivered == (*verdict == Verdict::Delivered), "has another verdict than the delivery gives it")
            }
            Fate::Open => Ok(()),
        }
    }

    /// Whether enough others committed to one thing, and this candidate to another.
    fn dissents(&self, p: usize) -> bool {
        let Some(own) = self.words[p].digest() else { return false };
        self.record.split.iter().any(|(digest, nodes)| *digest != own && nodes.len() >= self.record.quorum)
    }
}

/// Whether a code is the job's own verdict, and no breach of the protocol.
fn is_verdict(code: ResetCode) -> bool {
    code.code() < ResetCode::Malformed.code()
}

fn reset_of(what: &What) -> Option<ResetCode> {
    if let What::Reset(code) = what { Some(code.0) } else { None }
}
