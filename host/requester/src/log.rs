//! The one ordered log of what happens in a job. Its record and its progress display are made from it.

use std::time::Instant;

use eider_core::Peer;
use eider_protocol::ResetCode;
use eider_store::{JobEnd, JobRecord, Moment, ResetCodeWord, What};
use tokio::sync::watch;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// An Offer went to a candidate.
    Offered(Peer),
    /// Its Bid came, in favour or not.
    Bid(Peer, bool),
    /// A credential went to its TPM.
    Challenged(Peer),
    /// It was given a seat, drawn among these.
    Dispatched {
        /// Who.
        peer: Peer,
        /// Which seat of the job.
        seat: u32,
        /// Whose Bids were held, and what each weighed.
        among: Vec<(Peer, u64)>,
    },
    /// Its Commit came.
    Committed(Peer),
    /// It committed again.
    CommittedAgain(Peer),
    /// Enough agree: it is asked for a result of so many bytes.
    Quorum(Peer, u64),
    /// Its first verified bytes are out.
    FirstByte(Peer),
    /// So many bytes are verified. Not kept: only the last one is of interest.
    Verified(u64),
    /// Its bytes were wrong.
    WrongBytes(Peer),
    /// Its bytes came too slowly.
    Slow(Peer),
    /// It was reset.
    Reset(Peer, ResetCode),
    /// The job is over.
    Done(JobEnd),
}

/// How far a job is, for a progress display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Bids that came.
    pub bids: usize,
    /// Workers that run it.
    pub running: usize,
    /// Commits so far.
    pub commits: usize,
    /// Bytes verified, and all.
    pub delivered: Option<(u64, u64)>,
}

impl Notice {
    fn apply(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Bid(..) => self.bids += 1,
            JobEvent::Dispatched { .. } => self.running += 1,
            JobEvent::Committed(_) => {
                self.commits += 1;
                self.running = self.running.saturating_sub(1);
            }
            JobEvent::Quorum(_, all) => {
                let done = self.delivered.map_or(0, |(done, _)| done);
                self.delivered = Some((done, *all));
                self.running = 0;
            }
            JobEvent::Verified(bytes) => {
                if let Some((done, _)) = &mut self.delivered {
                    *done = *bytes;
                }
            }
            _ => {}
        }
    }
}

/// The log of one job.
pub(crate) struct JobLog {
    started: Instant,
    entries: Vec<(f64, JobEvent)>,
    notices: watch::Sender<Notice>,
}

impl JobLog {
    pub(crate) fn new(notices: watch::Sender<Notice>) -> Self {
        Self { started: Instant::now(), entries: vec![], notices }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn append(&mut self, event: JobEvent) {
        self.notices.send_modify(|notice| notice.apply(&event));
        // A job that has more keeps the first ones, its end, and what an audit cannot do without.
        let limit = match event {
            JobEvent::Verified(_) => 0,
            JobEvent::Offered(_) | JobEvent::Bid(_, false) | JobEvent::Challenged(_) => JobRecord::MOMENTS_MAX,
            JobEvent::FirstByte(_) | JobEvent::Slow(_) => JobRecord::MOMENTS_MAX,
            JobEvent::Done(_) => usize::MAX,
            _ => JobRecord::ALL_MOMENTS_MAX,
        };
        if self.entries.len() < limit {
            self.entries.push((self.started.elapsed().as_secs_f64() * 1e3, event));
        }
    }

    /// What a record keeps of it.
    pub(crate) fn timeline(&self) -> Vec<Moment> {
        self.entries.iter().filter_map(|(ms, event)| moment(*ms, event)).collect()
    }
}

fn moment(ms: f64, event: &JobEvent) -> Option<Moment> {
    let of = |p: &Peer, what| (Some(*p), what);
    let (peer, what) = match event {
        JobEvent::Offered(p) => of(p, What::Offer),
        JobEvent::Bid(p, _) => of(p, What::Bid),
        JobEvent::Challenged(p) => of(p, What::Challenge),
        JobEvent::Dispatched { peer, seat, among } => of(peer, What::Dispatch { seat: *seat, among: among.clone() }),
        JobEvent::Committed(p) => of(p, What::Commit),
        JobEvent::CommittedAgain(p) => of(p, What::SecondCommit),
        JobEvent::Quorum(p, _) => of(p, What::Quorum),
        JobEvent::FirstByte(p) => of(p, What::FirstByte),
        JobEvent::Verified(_) => return None,
        JobEvent::WrongBytes(p) => of(p, What::WrongBytes),
        JobEvent::Slow(p) => of(p, What::SlowDelivery),
        JobEvent::Reset(p, code) => of(p, What::Reset(ResetCodeWord(*code))),
        JobEvent::Done(_) => (None, What::Done),
    };
    Some(Moment { ms, peer, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_job_loses_whom_it_asked_and_keeps_who_answered() {
        let mut log = JobLog::new(watch::Sender::default());
        for _ in 0..JobRecord::MOMENTS_MAX {
            log.append(JobEvent::Offered(0));
        }
        let said = [
            (JobEvent::Offered(1), false),
            (JobEvent::Bid(1, false), false),
            (JobEvent::Bid(2, true), true),
            (JobEvent::Dispatched { peer: 2, seat: 0, among: vec![(2, 1)] }, true),
            (JobEvent::Committed(2), true),
            (JobEvent::Verified(1), false),
            (JobEvent::Reset(1, ResetCode::JobEnded), true),
            (JobEvent::Done(JobEnd::Verified), true),
        ];
        for (event, is_kept) in said {
            let before = log.entries.len();
            log.append(event.clone());
            assert_eq!(log.entries.len() > before, is_kept, "{event:?}");
        }
        for _ in 0..JobRecord::ALL_MOMENTS_MAX {
            log.append(JobEvent::Bid(1, true));
        }
        assert_eq!(log.entries.len(), JobRecord::ALL_MOMENTS_MAX);
    }
}
