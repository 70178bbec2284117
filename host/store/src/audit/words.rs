//! What one candidate signed, opened: by it, for this job, task and price.

use eider_protocol::{Accept, Bid, Commit, Hash, Offer, Settle, Signed};

use super::{AuditError, bad, bid_of, ensure, unhex};
use crate::record::{JobRecord, PeerRecord};

/// What one candidate signed, as far as it is kept.
pub(super) struct Words {
    pub(super) bid: Option<Bid>,
    pub(super) first: Option<Commit>,
    pub(super) second: Option<Commit>,
    pub(super) receipt: Option<Settle>,
}

impl Words {
    pub(super) fn accept(&self) -> Option<&Accept> {
        self.bid.as_ref()?.answer.as_ref().ok()
    }

    pub(super) fn any(&self) -> bool {
        self.bid.is_some() || self.first.is_some() || self.receipt.is_some()
    }

    /// What it committed to first.
    pub(super) fn digest(&self) -> Option<Hash> {
        self.first.as_ref().map(|c| c.outcome.digest())
    }

    pub(super) fn committed_to(&self, digest: Hash) -> bool {
        [&self.first, &self.second].into_iter().flatten().any(|c| c.outcome.digest() == digest)
    }

    /// Whether the Bid, if it is kept, is in favour and at this price.
    pub(super) fn bid_fits(&self, price: u64) -> bool {
        self.bid.is_none() || self.accept().is_some_and(|a| a.price == price)
    }
}

/// All that a candidate signed, opened: by it, for this job, task and price.
pub(super) fn words(record: &JobRecord, offer: &Offer, peer: &PeerRecord) -> Result<Words, AuditError> {
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
