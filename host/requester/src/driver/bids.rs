//! Bids: what they take, and what their evidence comes to.

use std::sync::Arc;

use eider_core::{Event, Peer, PeerState};
use eider_protocol::{Bid, Challenge, Decline, ResetCode, Response, Signed, is_sealing_key, printable};
use eider_store::Fate;

use super::{Driver, Heard, misbehaved};
use crate::candidature::{Challenged, HeldBid};
use crate::evidence::{BidEvidence, Judged};
use crate::log::JobEvent;
use crate::offer::unix_now;
use crate::peer::Command;

/// Bytes of signed Bids that one job holds.
const BIDS_MAX: usize = 64 << 20;
/// Those of one network: no four of them keep others out.
const BIDS_OF_ONE_NETWORK: usize = BIDS_MAX / 4;

/// Whose Bids make room for another one.
#[derive(PartialEq)]
enum Dropped {
    Nothing,
    Unappraised,
    AllOut,
}

impl Driver {
    /// A Bid: what it shows of its worker's hardware is appraised first, elsewhere, if the job wants to know.
    pub(super) fn bid(&mut self, p: Peer, bid: Box<Signed<Bid>>) -> Option<Event> {
        if self.job.peers()[p] != PeerState::ExpectBid || self.peers[p].bid_hash.is_some() {
            return Some(misbehaved(p, ResetCode::Unexpected, "a bid that was not awaited"));
        }
        let m = bid.message();
        self.log.append(JobEvent::Bid(p, m.answer.is_ok()));
        let payload = bid.to_payload();
        self.peers[p].bid_hash = Some(blake3::hash(&payload).into());
        let accept = match &m.answer {
            Ok(accept) => *accept,
            Err(decline) => {
                if self.has_room_for(p, payload.len()) {
                    self.peers[p].signed_bid = Some(payload);
                }
                let detail = printable(&decline.detail, Fate::WORDS_MAX);
                return Some(Event::Bid(p, Err(Decline { reason: decline.reason, detail })));
            }
        };
        if !is_sealing_key(&m.sealing) {
            // Found now, and not when a seat has been spent on it.
            return Some(misbehaved(p, ResetCode::Malformed, "its sealing key is none"));
        }
        if !self.has_room_for(p, payload.len()) {
            return Some(Event::Unfit(p, "enough bids are held".into()));
        }
        let shown = m.evidence.as_ref().map(|e| eider_attest::Envelope::hash(e));
        self.peers[p].signed_bid = Some(payload);
        self.peers[p].held = Some(HeldBid { sealing: m.sealing, price: accept.price, shown });
        if self.wants_evidence() {
            self.judge(p, bid);
            return Some(Event::Appraising(p));
        }
        Some(Event::Bid(p, Ok(accept)))
    }

    pub(super) fn wants_evidence(&self) -> bool {
        self.request.attest.as_ref().is_some_and(|r| r.wants_evidence())
    }

    /// Whether a Bid of so many bytes can be held beside the others. Where it could not, those of candidates that are out of the
    /// job or declined it make room; of these the hash stays.
    fn has_room_for(&mut self, p: Peer, bytes: usize) -> bool {
        let network = self.peers[p].network;
        for dropped in [Dropped::Nothing, Dropped::Unappraised, Dropped::AllOut] {
            let (mut all, mut of_network) = (bytes, bytes);
            for (peer, state) in self.peers.iter_mut().zip(self.job.peers()) {
                // Out of the job, or not in favour of it.
                let out = (matches!(state, PeerState::Closed(_)) || peer.held.is_none()) && peer.granted.is_none();
                if out && (dropped == Dropped::AllOut || dropped == Dropped::Unappraised && peer.appraisal.is_none()) {
                    peer.signed_bid = None;
                }
                let held = peer.signed_bid.as_ref().map_or(0, Vec::len);
                all += held;
                of_network += if peer.network == network { held } else { 0 };
            }
            if all <= BIDS_MAX && of_network <= BIDS_OF_ONE_NETWORK {
                return true;
            }
        }
        false
    }

    fn judge(&mut self, p: Peer, bid: Box<Signed<Bid>>) {
        let (Some(requirement), Some(node)) = (self.request.attest.clone(), self.peers[p].node) else { return };
        let evidence = BidEvidence {
            bytes: bid.message().evidence.as_ref().map(|e| Arc::new(e.to_vec())),
            node,
            sealing: bid.message().sealing,
        };
        let (shared, offered, told) = (self.shared.clone(), self.offered.clone(), self.told.0.clone());
        self.tasks.spawn(async move {
            let (offer, issued) = (offered.offer.clone(), offered.issued());
            let judged = shared.knowledge.judge(requirement, evidence, offer, issued, unix_now()).await;
            let _ = told.send(Heard::Judged(p, bid, judged));
        });
    }

    pub(super) fn judged(&mut self, p: Peer, bid: Box<Signed<Bid>>, judged: Result<Judged, String>) -> Option<Event> {
        if self.job.peers()[p] != PeerState::Appraising {
            return None;
        }
        match judged {
            Err(why) => Some(Event::Unfit(p, format!("its evidence could not be appraised: {why}"))),
            Ok(Judged::Challenge { .. }) if self.peers[p].answered => {
                Some(Event::Unfit(p, "its TPM has answered, and lacks the keys".into()))
            }
            Ok(Judged::Challenge { credential, secret, pair }) => {
                self.log.append(JobEvent::Challenged(p));
                let m = Challenge { offer: self.offered.id, credential: credential.blob, secret: credential.secret };
                let message = Box::new(self.sign(p, m));
                self.peers[p].challenged = Some(Challenged { bid, secret, pair });
                self.peers[p].command(Command::Challenge(message));
                Some(Event::Challenged(p))
            }
            Ok(Judged::Done { appraisal, known }) => {
                let requirement = self.request.attest.as_ref()?;
                let lacking = Fate::lacking(&appraisal, &requirement.policy);
                self.peers[p].known = Some(known);
                self.peers[p].appraisal = Some(*appraisal);
                Some(match lacking {
                    Some(why) => Event::Unfit(p, why),
                    None => Event::Bid(p, bid.message().answer.clone()),
                })
            }
        }
    }

    /// The answer to a Challenge: the right secret shows that both keys live in one TPM.
    pub(super) fn responded(&mut self, p: Peer, response: &Response) -> Option<Event> {
        let Some(Challenged { bid, secret, pair }) = self.peers[p].challenged.take() else {
            return Some(misbehaved(p, ResetCode::Unexpected, "a response to no challenge"));
        };
        if response.secret != secret {
            return Some(Event::Unfit(p, "activation-missing: the TPM has opened another credential".into()));
        }
        self.peers[p].answered = true;
        self.shared.knowledge.activated(pair);
        self.judge(p, bid);
        Some(Event::Appraising(p))
    }
}
