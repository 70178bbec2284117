//! The timeline: each moment where it can be, and each seat drawn again.

use eider_protocol::Outcome;

use super::Check;
use crate::audit::{AuditError, bad, bytes32, ensure};
use crate::record::What;

impl Check<'_> {
    /// The moments: in order of time, and each where it can be.
    pub(super) fn timeline(&self) -> Result<(), AuditError> {
        let all = &self.record.timeline;
        ensure(all.is_sorted_by(|a, b| a.ms <= b.ms) && all.iter().all(|m| m.ms >= 0.0), || {
            "the timeline is not in order of time".into()
        })?;
        let done: Vec<_> = (0..all.len()).filter(|i| all[*i].what == What::Done).collect();
        let after = done.first().map_or(&all[..0], |i| &all[i + 1..]);
        let late = |what: &What| matches!(what, What::Commit | What::SecondCommit);
        ensure(done.len() == 1 && after.iter().all(|m| late(&m.what)), || "the timeline has not one end".into())?;
        ensure(all.iter().all(|m| m.peer.is_some() == (m.what != What::Done)), || {
            "a moment of the timeline is of nobody, or its end of somebody".into()
        })?;
        for p in 0..self.moments.len() {
            self.moments_of(p)?;
        }
        Ok(())
    }

    fn moments_of(&self, p: usize) -> Result<(), AuditError> {
        let (peer, words) = (&self.record.peers[p], &self.words[p]);
        let is = |same: bool, why: &str| ensure(same, || format!("{} {why}", self.name(p)));
        is(peer.node.is_some() || self.moments[p].is_empty(), "was asked, and is nobody")?;
        let (mut offered, mut bid, mut dispatched, mut asked, mut commits) = (false, false, false, false, (0, 0));
        for what in &self.moments[p] {
            match what {
                What::Offer => (offered, bid) = (true, false),
                What::Bid => {
                    is(offered && !bid || !self.log_is_whole(), "bid more often than it was asked")?;
                    bid = true;
                }
                What::Challenge => is(bid && self.offer.attest.is_some(), "was challenged for no evidence")?,
                What::Dispatch { .. } => {
                    is(bid, "was given a seat that it never bid for")?;
                    dispatched = true;
                }
                What::Commit => {
                    is(dispatched, "committed before it had the task")?;
                    commits.0 += 1;
                }
                What::SecondCommit => {
                    is(commits.0 > 0, "committed a second time first")?;
                    commits.1 += 1;
                }
                What::Quorum => {
                    let result = matches!(peer.commit, Some(Outcome::Completed { .. }));
                    is(commits.0 > 0 && result, "was asked for a result that it never committed to")?;
                    asked = true;
                }
                What::FirstByte | What::WrongBytes | What::SlowDelivery => {
                    is(asked, "delivered what nobody asked for")?
                }
                What::Reset(_) | What::Done => {}
            }
        }
        let (first, second) = (usize::from(words.first.is_some()), usize::from(words.second.is_some()));
        is(commits == (first, second), "committed more or less often than it signed")?;
        let named = bid == peer.bid_hash.is_some() || !self.log_is_whole();
        is(named, "bid, and its Bid is not named, or the other way round")
    }

    /// Draws each seat again, from a seed that the Offer committed to before there were bids ([P-OFFER-3]).
    pub(super) fn draws(&self) -> Result<(), AuditError> {
        let seed = bytes32(&self.record.draw)?;
        let (mut next, mut holds) = (0, vec![false; self.words.len()]);
        for moment in &self.record.timeline {
            let Some(p) = moment.peer else { continue };
            let What::Dispatch { seat, among } = &moment.what else {
                match moment.what {
                    What::Bid => holds[p] = true,
                    What::Offer | What::Reset(_) => holds[p] = false,
                    _ => {}
                }
                continue;
            };
            let held = among.iter().all(|(p, _)| holds.get(*p) == Some(&true));
            ensure(held && among.is_sorted_by(|a, b| a.0 < b.0), || {
                "a seat was drawn among candidates of whom one held no bid, or stood there twice".into()
            })?;
            holds[p] = false;
            ensure(*seat == next, || "a seat is missing, or was given twice".into())?;
            next += 1;
            let held =
                |(p, weight): &(usize, u64)| self.record.peers.get(*p).and_then(|peer| Some((peer.node?, *weight)));
            let held: Option<Vec<_>> = among.iter().map(held).collect();
            let held = held.ok_or_else(|| bad("a seat was drawn among candidates that there were not"))?;
            let drawn = eider_core::seat(&seed, *seat, &held).and_then(|i| Some(among.get(i)?.0));
            ensure(drawn.is_some() && drawn == moment.peer, || {
                "a seat was given to another candidate than the draw gives it to".into()
            })?;
        }
        Ok(())
    }
}
