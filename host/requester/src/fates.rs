//! What became of a job and of each candidate, in words.

use eider_core::{Closed, End, LostWhy, PeerState, Plan};
use eider_protocol::{Fault, Verdict};

/// What became of a candidate, and whether it is to blame.
pub(crate) fn fate(state: &PeerState) -> (String, bool) {
    match state {
        PeerState::Closed(Closed::Unreachable(why)) => (format!("unreachable: {why}"), false),
        PeerState::Closed(Closed::Duplicate(_)) => ("the same node as another candidate".into(), false),
        PeerState::Closed(Closed::Declined(d)) => (format!("declined: {}", d.detail), false),
        PeerState::Closed(Closed::TooExpensive(price)) => {
            (format!("asked {price} micro-credits, more than the job pays"), false)
        }
        PeerState::Closed(Closed::Unfit(why)) => (format!("unfit: {why}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::ResetByWorker(code))) => (format!("gave up: {code}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Disconnected(why))) => (format!("lost: {why}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Misbehaved(code, why))) => (format!("caught: {code} ({why})"), true),
        PeerState::Closed(Closed::Reset(code)) if code.fault() == Fault::Receiver => (format!("caught: {code}"), true),
        PeerState::Closed(Closed::Reset(code)) => (format!("reset: {code}"), false),
        PeerState::Closed(Closed::Settled(Verdict::Delivered)) => ("delivered the result".into(), false),
        PeerState::Closed(Closed::Settled(Verdict::Agreed)) => ("agreed".into(), false),
        other => (format!("{other:?}"), false),
    }
}

pub(crate) fn end_words(end: &End, plan: &Plan) -> (&'static str, String) {
    let (k, q) = (plan.k, plan.quorum);
    match end {
        End::Verified { agreed, .. } => {
            ("verified", format!("{} workers agreed, {q} of {k} were asked for; every byte checked", agreed.len()))
        }
        End::JobFailed { kind, message, agreed } => {
            ("job-failed", format!("{} workers agree that the query fails; {kind}.\n{message}", agreed.len()))
        }
        End::NoQuorum { split } => {
            let groups: Vec<_> = split.iter().map(|(d, peers)| format!("{} for {}", peers.len(), d.short())).collect();
            let groups = if groups.is_empty() { "nobody committed".into() } else { groups.join(", ") };
            ("no-quorum", format!("{q} equal commits were needed and cannot come any more: {groups}"))
        }
        End::NoCandidates => ("no-candidates", format!("fewer than {q} candidates took the job")),
        End::ExceedsCapacity => {
            ("exceeds-capacity", "no {q} candidates are large enough for the job".replace("{q}", &q.to_string()))
        }
        End::NoDelivery { .. } => ("no-delivery", "there was a quorum, but nobody of it delivered the bytes".into()),
        End::InputFailed(why) => ("input-failed", why.clone()),
        End::DeadlinePassed { split } => {
            let commits: usize = split.iter().map(|(_, peers)| peers.len()).sum();
            ("deadline-passed", format!("the deadline passed with {commits} commits and no quorum of {q}"))
        }
        End::Cancelled => ("cancelled", "the job was cancelled".into()),
    }
}
