//! A record against what was signed in it: each field that a signature bears on, and what must follow from another field.
//!
//! The requester holds the key of its archive and of the Offer, so neither can convict it. What workers signed can: each
//! Bid, Commit and receipt names the job, which is the hash of the Offer, which names the task and commits to the terms. What
//! nobody else signed is the requester's word alone: [`Archive::alone`] lists it.

use std::collections::{BTreeMap, BTreeSet};

use eider_attest::{AttestPolicy, Tier};
use eider_protocol::{
    Accept, Bid, Commit, DeclineReason, Fault, Hash, Kind, NodeId, Offer, Outcome, ResetCode, Settle, Signed,
    TaskOutline, Terms, Verdict, printable,
};
use serde::Serialize;

use super::{Archive, AuditError, bid_of, bytes32, unhex};
use crate::record::{Fate, JobEnd, JobRecord, PeerRecord, ResetCodeWord, What};

fn bad(why: impl Into<String>) -> AuditError {
    AuditError::Record(why.into())
}

/// An error unless it is so.
fn ensure(is: bool, why: impl FnOnce() -> String) -> Result<(), AuditError> {
    if is { Ok(()) } else { Err(bad(why())) }
}

/// What one candidate signed, as far as it is kept.
struct Words {
    bid: Option<Bid>,
    first: Option<Commit>,
    second: Option<Commit>,
    receipt: Option<Settle>,
}

impl Words {
    fn accept(&self) -> Option<&Accept> {
        self.bid.as_ref()?.answer.as_ref().ok()
    }

    fn any(&self) -> bool {
        self.bid.is_some() || self.first.is_some() || self.receipt.is_some()
    }

    /// What it committed to first.
    fn digest(&self) -> Option<Hash> {
        self.first.as_ref().map(|c| c.outcome.digest())
    }

    fn committed_to(&self, digest: Hash) -> bool {
        [&self.first, &self.second].into_iter().flatten().any(|c| c.outcome.digest() == digest)
    }
}

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

/// A record beside what was signed in it.
struct Check<'a> {
    record: &'a JobRecord,
    policy: Option<&'a AttestPolicy>,
    offer: &'a Offer,
    words: Vec<Words>,
    /// Moments of each candidate, in order.
    moments: Vec<Vec<&'a What>>,
}

impl Archive {
    /// Compares all of the record.
    pub(super) fn check(&self, requester: NodeId) -> Result<(), AuditError> {
        ensure(self.record.requester == requester, || "the job is of another requester than the archive".into())?;
        let offer = self.offer()?;
        let check = Check::new(self, &offer)?;
        check.offer()?;
        check.timeline()?;
        check.draws()?;
        for p in 0..check.words.len() {
            check.peer(p)?;
        }
        check.split()?;
        check.end()
    }

    /// What an audit cannot show: fields of the record that are its requester's word alone.
    ///
    /// # Errors
    /// [`AuditError::Record`].
    pub fn alone(&self) -> Result<Vec<Alone>, AuditError> {
        let offer = self.offer()?;
        Ok(Check::new(self, &offer)?.alone())
    }
}

impl<'a> Check<'a> {
    fn new(archive: &'a Archive, offer: &'a Offer) -> Result<Self, AuditError> {
        let record = &archive.record;
        let (peers, named) = (record.peers.len(), record.split.iter().map(|(_, nodes)| nodes.len()).sum::<usize>());
        let moments = record.timeline.len();
        // What follows may look at each candidate for each.
        let fits = peers <= JobRecord::PEERS_MAX && record.agreed.len() <= peers && named <= 2 * peers;
        ensure(fits && record.split.len() <= named && moments <= JobRecord::MOMENTS_MAX + 1, || {
            "more candidates, commits or moments than a job can have".into()
        })?;
        let words = record.peers.iter().map(|p| words(record, offer, p)).collect::<Result<_, _>>()?;
        let mut moments = vec![vec![]; record.peers.len()];
        for moment in &record.timeline {
            if let Some(p) = moment.peer {
                moments
                    .get_mut(p)
                    .ok_or_else(|| bad("the timeline names a candidate that there was not"))?
                    .push(&moment.what);
            }
        }
        Ok(Self { record, policy: archive.policy.as_ref(), offer, words, moments })
    }

    /// The log of a very large job is cut: what came later is not in it.
    fn log_is_whole(&self) -> bool {
        self.record.timeline.len() < JobRecord::MOMENTS_MAX
    }

    /// Who is written down as the `p`-th candidate.
    fn name(&self, p: usize) -> String {
        self.record.peers[p].node.map_or_else(|| format!("candidate {p}"), |n| n.to_string())
    }

    fn has(&self, p: usize, what: impl Fn(&What) -> bool) -> bool {
        self.moments[p].iter().any(|w| what(w))
    }

    fn was_dispatched(&self, p: usize) -> bool {
        self.has(p, |w| matches!(w, What::Dispatch { .. }))
    }

    /// The candidate whose Commit to this digest counted for this node.
    fn committer(&self, node: NodeId, digest: Hash) -> Option<usize> {
        (0..self.words.len()).find(|p| self.record.peers[*p].node == Some(node) && self.words[*p].committed_to(digest))
    }

    /// What the Offer says, and what it commits to.
    fn offer(&self) -> Result<(), AuditError> {
        let (r, o) = (self.record, self.offer);
        let is = |name: &str, same: bool| ensure(same, || format!("the Offer says another {name}"));
        is("requester", o.requester == r.requester)?;
        is("time", o.issued_at == r.at)?;
        is("class", o.class == r.class)?;
        is("engine", o.engine == r.engine)?;
        is("profile", o.profile == r.profile)?;
        let (seed, salt) = (bytes32(&r.seed)?, bytes32(&r.salt)?);
        let task = TaskOutline { query: r.query, inputs: &r.inputs, time_us: r.time_us, seed, salt };
        is("task than query, inputs, time, seed and salt make", task.hash() == o.task)?;
        let bytes = r.inputs.iter().try_fold(0u64, |sum, e| sum.checked_add(e.size));
        is("number of inputs", r.inputs.len() as u64 == u64::from(o.inputs.count) && bytes == Some(o.inputs.bytes))?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (k, quorum, executions) = (count(r.k), count(r.quorum), count(r.executions));
        let terms = Terms { seed: bytes32(&r.draw)?, k, quorum, executions, policy: r.policy };
        ensure(terms.commitment() == o.draw, || {
            "the Offer commits to another seed of the draw, k, quorum, executions or policy".into()
        })?;
        ensure(self.policy.map(AttestPolicy::hash) == r.policy, || {
            "the policy is not the one that the record names".into()
        })?;
        let wanting = self.policy.filter(|p| p.minimum > Tier::L0);
        let demand = wanting.map(|p| (p.hash(), u32::try_from(p.reuse_seconds()).unwrap_or(u32::MAX)));
        ensure(o.attest.map(|d| (d.policy, d.max_age_s)) == demand, || {
            "the Offer asks for other evidence than the policy does".into()
        })
    }

    /// One candidate: its fate, and all that is written of it, against what it signed.
    fn peer(&self, p: usize) -> Result<(), AuditError> {
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
            is(self.was_dispatched(p) || !self.log_is_whole(), "committed to a task that it is not said to have got")?;
            is(bid_fits(words, first.price), "committed at another price than it bid, or never bid in favour")?;
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
        let of_quorum = peer.node.is_some_and(|n| self.record.agreed.contains(&n)) && self.words[p].first.is_some();
        is(enough || !(of_quorum || matches!(peer.fate, Fate::Settled { .. })), "agreed, and has not proven enough")
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

    /// The moments: in order of time, and each where it can be.
    fn timeline(&self) -> Result<(), AuditError> {
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
                    is(offered && !bid, "bid more often than it was asked")?;
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
        if self.log_is_whole() {
            let (first, second) = (usize::from(words.first.is_some()), usize::from(words.second.is_some()));
            is(commits == (first, second), "committed more or less often than it signed")?;
            is(bid == peer.bid_hash.is_some(), "bid, and its Bid is not named, or the other way round")?;
        }
        Ok(())
    }

    /// Draws each seat again, from a seed that the Offer committed to before there were bids ([P-OFFER-3]).
    fn draws(&self) -> Result<(), AuditError> {
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

    /// Who committed to what: all of it is signed, and who was judged by its Commit is in it.
    fn split(&self) -> Result<(), AuditError> {
        let r = self.record;
        let mut named = BTreeSet::new();
        for (digest, nodes) in &r.split {
            for node in nodes {
                let new = named.insert((*digest, *node));
                ensure(new && self.committer(*node, *digest).is_some(), || {
                    format!("{node} is said to have committed to {}, and has not", digest.short())
                })?;
            }
        }
        for (p, peer) in r.peers.iter().enumerate() {
            let counted = match &peer.fate {
                Fate::Settled { .. } => true,
                Fate::Caught { code, .. } => {
                    matches!(code.0, ResetCode::Dissent | ResetCode::Equivocation | ResetCode::WrongBytes)
                }
                _ => false,
            };
            let equivocated = matches!(&peer.fate, Fate::Caught { code, .. } if code.0 == ResetCode::Equivocation);
            let second = self.words[p].second.as_ref().filter(|_| equivocated).map(|c| c.outcome.digest());
            let Some(node) = peer.node.filter(|_| counted) else { continue };
            let all = self.words[p].digest().into_iter().chain(second);
            ensure(all.into_iter().all(|d| named.contains(&(d, node))), || {
                format!("{node} committed, and is missing among those who did")
            })?;
        }
        ensure(!self.log_is_whole() || self.split_of_log(&named) == r.split, || {
            "who committed to what is not in the order in which it was".into()
        })
    }

    /// The split as the order of Commits gives it, of those who are named in it.
    fn split_of_log(&self, named: &BTreeSet<(Hash, NodeId)>) -> Vec<(Hash, Vec<NodeId>)> {
        let mut groups: BTreeMap<Hash, Vec<NodeId>> = BTreeMap::new();
        for moment in &self.record.timeline {
            let Some(p) = moment.peer else { continue };
            let commit = match moment.what {
                What::Commit => &self.words[p].first,
                What::SecondCommit => &self.words[p].second,
                _ => continue,
            };
            if let (Some(commit), Some(node)) = (commit, self.record.peers[p].node) {
                let digest = commit.outcome.digest();
                if named.contains(&(digest, node)) {
                    groups.entry(digest).or_default().push(node);
                }
            }
        }
        let mut split: Vec<_> = groups.into_iter().collect();
        split.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        split
    }

    /// How the job ended, on what, and by whose word.
    fn end(&self) -> Result<(), AuditError> {
        let r = self.record;
        let is = |same: bool, why: &str| ensure(same, || format!("the job is said to have ended {}: {why}", r.end));
        is(r.told().is_none_or(|told| told == r.reason), "the reason says something else")?;
        is(r.digest == r.outcome.as_ref().map(Outcome::digest), "the digest is not the outcome's")?;
        let committers: BTreeSet<_> = r.split.iter().flat_map(|(_, nodes)| nodes).collect();
        is(committers.len() <= r.executions, "more workers committed than it might cause executions")?;
        let completed = r.outcome.as_ref().map(|o| matches!(o, Outcome::Completed { .. }));
        match r.end {
            JobEnd::Verified => is(completed == Some(true), "there is no result"),
            JobEnd::JobFailed => is(completed == Some(false), "there is no failure"),
            _ => is(completed.is_none(), "there is an outcome"),
        }?;
        let Some(digest) = r.digest else {
            is(r.agreed.is_empty() && r.deliverer.is_none(), "somebody agreed or delivered")?;
            return self.end_without_outcome();
        };
        is(r.agreed.len() >= r.quorum, "fewer agreed than the quorum")?;
        let group = r.split.iter().find(|(d, _)| *d == digest).map_or(&[][..], |(_, nodes)| nodes);
        let agreed: Vec<_> = group.iter().filter(|n| r.agreed.contains(n)).copied().collect();
        is(agreed == r.agreed, "somebody is said to have agreed, and has not")?;
        for node in group.iter().filter(|n| !r.agreed.contains(n)) {
            let void = |p: usize| r.peers[p].at_fault || self.words[p].second.is_some();
            is(self.committer(*node, digest).is_some_and(void), "somebody agreed, and is not counted")?;
        }
        for (_, nodes) in r.split.iter().filter(|(d, _)| *d != digest) {
            let blamed = |p: usize| r.peers[p].at_fault || matches!(r.peers[p].fate, Fate::Incompatible { .. });
            let other = |n: &NodeId| (0..self.words.len()).any(|p| r.peers[p].node == Some(*n) && blamed(p));
            is(nodes.iter().all(other), "somebody committed to something else, and is not called to dissent")?;
        }
        let Some(deliverer) = r.deliverer else { return is(r.end == JobEnd::JobFailed, "nobody delivered") };
        let p = self.committer(deliverer, digest);
        let settled = p.is_some_and(|p| r.peers[p].fate == Fate::Settled { verdict: Verdict::Delivered });
        let asked = p.is_some_and(|p| self.has(p, |w| *w == What::Quorum) || !self.log_is_whole());
        is(r.end == JobEnd::Verified && settled && asked, "its deliverer did not deliver")
    }

    /// An end without an outcome is the requester's word, but it must be possible.
    fn end_without_outcome(&self) -> Result<(), AuditError> {
        let r = self.record;
        let is = |same: bool, why: &str| ensure(same, || format!("the job is said to have ended {}: {why}", r.end));
        let dispatched = (0..self.words.len()).any(|p| self.was_dispatched(p));
        let largest = r.split.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
        match r.end {
            JobEnd::NoCandidates | JobEnd::ExceedsCapacity => {
                is(!dispatched && r.split.is_empty(), "workers were given the task")
            }
            JobEnd::NoDelivery => is(largest >= r.quorum, "there was no quorum"),
            JobEnd::NoQuorum | JobEnd::ExecutionsSpent => {
                let asked: Vec<_> = (0..self.words.len()).filter(|p| self.has(*p, |w| *w == What::Quorum)).collect();
                // A quorum for something else than what was already on its way to the user is none.
                let opened = |digest: Hash| asked.iter().any(|p| self.words[*p].digest() != Some(digest));
                let stands = |digest: Hash, node: &NodeId| {
                    self.committer(*node, digest)
                        .is_some_and(|p| !r.peers[p].at_fault && self.words[p].second.is_none())
                };
                let quorum = |(digest, nodes): &(Hash, Vec<NodeId>)| {
                    nodes.iter().filter(|n| stands(*digest, n)).count() >= r.quorum && !opened(*digest)
                };
                is(!r.split.iter().any(quorum), "there was a quorum")?;
                let seats = r.timeline.iter().filter(|m| matches!(m.what, What::Dispatch { .. })).count();
                let spent = seats >= r.executions || !self.log_is_whole();
                is(r.end == JobEnd::NoQuorum || spent, "executions were left")
            }
            _ => Ok(()),
        }
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
                some(judged.into_iter().filter(|p| self.words[*p].bid.is_none()).collect()),
                "the verdict on evidence that is not kept",
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

/// Whether a code is the job's own verdict, and no breach of the protocol.
fn is_verdict(code: ResetCode) -> bool {
    code.code() < ResetCode::Malformed.code()
}

fn reset_of(what: &What) -> Option<ResetCode> {
    if let What::Reset(code) = what { Some(code.0) } else { None }
}

/// Whether the Bid, if it is kept, is in favour and at this price.
fn bid_fits(words: &Words, price: u64) -> bool {
    words.bid.is_none() || words.accept().is_some_and(|a| a.price == price)
}

/// All that a candidate signed, opened: by it, for this job, task and price.
fn words(record: &JobRecord, offer: &Offer, peer: &PeerRecord) -> Result<Words, AuditError> {
    let Some(node) = peer.node else {
        let signed = [&peer.signed_bid, &peer.signed_commit, &peer.second_commit, &peer.signed_receipt];
        ensure(signed.into_iter().all(Option::is_none), || "nobody is said to have signed something".into())?;
        return Ok(Words { bid: None, first: None, second: None, receipt: None });
    };
    let bid = bid_of(record.version, peer)?.map(|(_, bid)| bid);
    ensure(bid.as_ref().is_none_or(|b| b.offer == record.job), || format!("the bid of {node} is for another job"))?;
    let commit = |text: &Option<String>| -> Result<Option<Commit>, AuditError> {
        let Some(text) = text else { return Ok(None) };
        let commit = Signed::<Commit>::open(&unhex(text)?, record.version, node)
            .map_err(|e| bad(format!("the commit of {node}: {e}")))?;
        let m = commit.message();
        ensure(m.offer == record.job && m.task == offer.task, || format!("the commit of {node} is to something else"))?;
        Ok(Some(m.clone()))
    };
    let (first, second) = (commit(&peer.signed_commit)?, commit(&peer.second_commit)?);
    let receipt = peer.signed_receipt.as_deref().map(unhex).transpose()?;
    let receipt = receipt.map(|bytes| Signed::<Settle>::open(&bytes, record.version, node)).transpose();
    let receipt = receipt.map_err(|e| bad(format!("the receipt of {node}: {e}")))?.map(|s| s.message().clone());
    if let Some(m) = &receipt {
        let same = m.offer == record.job && m.task == offer.task && m.worker == node && Some(m.digest) == record.digest;
        let price = first.as_ref().is_some_and(|f| f.price == m.price);
        ensure(same && price, || format!("the receipt of {node} is for another job, price or outcome"))?;
    }
    Ok(Words { bid, first, second, receipt })
}
