//! What no signature bears on: fields of a record that are its requester's word alone.

use eider_protocol::{DeclineReason, NodeId, ResetCode};
use serde::Serialize;

use super::check::Check;
use super::words::Words;
use super::{Archive, AuditError};
use crate::record::{Fate, JobEnd, What};

/// Something that is the requester's word alone.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Field of the record.
    pub field: &'static str,
    /// Of which candidates, or moments of the timeline, by index; of all if none is named.
    pub of: Vec<usize>,
    /// What there is to know of it.
    pub why: &'static str,
}

impl Archive {
    /// What an audit cannot show: fields of the record that are its requester's word alone.
    ///
    /// # Errors
    /// [`AuditError::Record`].
    pub fn alone(&self) -> Result<Vec<Alone>, AuditError> {
        let offer = self.offer()?;
        Ok(Check::new(self, &offer)?.alone())
    }
}

impl Check<'_> {
    fn alone(&self) -> Vec<Alone> {
        let r = self.record;
        let candidates =
            |which: &dyn Fn(usize) -> bool| (0..self.words.len()).filter(|p| which(*p)).collect::<Vec<_>>();
        let judged = candidates(&|p| r.peers[p].appraisal.is_some());
        let settled = |p: usize| matches!(r.peers[p].fate, Fate::Settled { .. });
        let own_receipt =
            |n: NodeId| (0..self.words.len()).any(|p| r.peers[p].node == Some(n) && self.words[p].receipt.is_some());
        let moments: Vec<_> = (0..r.timeline.len()).filter(|i| self.is_moment_alone(*i)).collect();
        // Of which candidates or moments: an entry that needs one and has none says nothing.
        let (some, all) = (|of: Vec<usize>| (!of.is_empty()).then_some(of), Some(vec![]));
        let when = |is: bool| is.then(Vec::new);
        let entries = [
            (
                "record",
                when(!self.words.iter().any(Words::any)),
                "no candidate has signed anything that is kept: all of this",
            ),
            (
                "end",
                when(r.outcome.is_none()),
                "why a job has no result: signatures show only that it may have ended so",
            ),
            ("reason", when(r.end == JobEnd::InputFailed), "what happened to its input"),
            (
                "deliverer",
                when(r.deliverer.is_some_and(|n| !own_receipt(n))),
                "who of those that agreed delivered: there is no receipt",
            ),
            ("split", some(candidates(&|p| self.may_be_late(p))), "whether a Commit of these came in time to count"),
            ("peers", all.clone(), "who was asked: a candidate, with all that it signed, may be left out"),
            ("peers.address", all.clone(), "where a candidate was asked"),
            ("peers.network", all.clone(), "in which network it was met"),
            ("peers.node", some(candidates(&|p| !self.words[p].any())), "who it was that has signed nothing"),
            (
                "peers.fate",
                some(candidates(&|p| self.is_fate_alone(p))),
                "what became of those whose words do not show it",
            ),
            (
                "peers.known",
                some(judged.clone()),
                "what the requester knew of evidence: earlier offers, collateral, keys that a TPM has shown",
            ),
            ("peers.appraisal.at", some(judged.clone()), "at which second of the job evidence was judged"),
            (
                "peers.appraisal",
                some(candidates(&|p| self.is_verdict_alone(p))),
                "the verdict on evidence that is not kept; and whether there was one, of who did not get the task",
            ),
            (
                "peers.bid_hash",
                some(candidates(&|p| r.peers[p].bid_hash.is_some() && self.words[p].bid.is_none())),
                "which Bid it signed: the Bid is not kept",
            ),
            (
                "peers.signed_bid",
                some(candidates(&|p| self.words[p].bid.is_some() && self.words[p].first.is_none())),
                "a Bid that led to no Commit may be left out",
            ),
            ("peers.signed_receipt", some(candidates(&settled)), "a receipt may be left out"),
            ("peers.input_bytes", some(candidates(&|p| self.was_dispatched(p))), "how many bytes of inputs it fetched"),
            ("timeline.ms", all.clone(), "when things happened, and in which order beyond what follows from them"),
            ("timeline", some(moments), "moments that no kept word shows"),
            ("timeline.what.dispatch.among", all, "whose Bids were held when a seat was drawn, and what each weighed"),
        ];
        entries.into_iter().filter_map(|(field, of, why)| of.map(|of| Alone { field, of, why })).collect()
    }

    /// Whether a verdict is of a Bid that is not kept, or could be left out, or has been.
    fn is_verdict_alone(&self, p: usize) -> bool {
        let judged = self.record.peers[p].appraisal.is_some();
        judged && self.words[p].bid.is_none()
            || !self.has_task(p) && (judged || self.offer.attest.is_some() && self.words[p].accept().is_some())
    }

    /// Whether nothing that is signed shows this candidate's fate.
    fn is_fate_alone(&self, p: usize) -> bool {
        let words = &self.words[p];
        match &self.record.peers[p].fate {
            Fate::Settled { .. } => words.receipt.is_none(),
            Fate::Declined { reason, .. } => {
                *reason == DeclineReason::Busy || words.bid.as_ref().is_none_or(|b| b.answer.is_ok())
            }
            Fate::TooExpensive { .. } | Fate::TooLate { .. } => words.bid.is_none(),
            Fate::Unfit { .. } => self.record.peers[p].appraisal.is_none() || words.bid.is_none(),
            Fate::Caught { code, .. } => !matches!(code.0, ResetCode::Dissent | ResetCode::Equivocation),
            _ => true,
        }
    }

    /// Whether a candidate committed, and its fate does not say whether that counted.
    fn may_be_late(&self, p: usize) -> bool {
        let told = match &self.record.peers[p].fate {
            Fate::Settled { .. } => true,
            Fate::Caught { code, .. } => {
                matches!(code.0, ResetCode::Dissent | ResetCode::Equivocation | ResetCode::WrongBytes)
            }
            _ => false,
        };
        self.words[p].first.is_some() && !told
    }

    /// Whether a moment could be left out, or stand twice.
    fn is_moment_alone(&self, i: usize) -> bool {
        let moment = &self.record.timeline[i];
        let Some(p) = moment.peer else { return false };
        match moment.what {
            What::Commit | What::SecondCommit | What::Done => false,
            What::Dispatch { .. } => self.words[p].first.is_none(),
            What::Bid => {
                let later = self.record.timeline[i + 1..].iter();
                later.filter(|m| m.peer == Some(p)).any(|m| m.what == What::Offer)
            }
            _ => true,
        }
    }
}
