//! A worker's side: whether a job fits what was donated, and what is in use.
//!
//! An admitted job holds a slot, memory and disk until its Commit, then the disk of its result until that is forgotten.
//! Everything is counted by the requester's key, so that none takes all: [`Donation`] says how much one may have.

mod dispatched;
mod donation;

use std::collections::{BTreeMap, HashMap};

use eider_protocol::{Accept, Decline, DeclineReason, Hash, NodeId, Offer, OfferId};

use dispatched::{Dispatched, OFFERS_PER_REQUESTER};
pub use donation::Donation;

/// What a worker makes of an engine: the profiles that it runs it under, or why it does not.
pub type EngineStand = Result<Vec<String>, String>;

/// Why a Dispatch starts no job.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It does not fit: things may have changed since the Bid.
    #[error("{}", .0.detail)]
    Decline(Decline),
    /// The same Offer was dispatched before, whatever became of it.
    #[error("this offer was dispatched before")]
    Twice,
}

/// What an admitted job holds of the donation.
#[derive(Clone, Copy, Debug)]
struct Lease {
    requester: NodeId,
    /// Until its Commit; then only its result is kept.
    running: bool,
    memory: u64,
    /// Disk for its inputs, which the cache may not take back while it runs.
    inputs: u64,
    /// Disk for its result.
    result: u64,
}

/// Decides Offers and counts what is in use.
#[derive(Debug)]
pub struct Admission {
    donation: Donation,
    engines: BTreeMap<Hash, EngineStand>,
    leases: HashMap<OfferId, Lease>,
    /// Bytes of memory that jobs cannot have for now, because an engine is made ready.
    aside: u64,
    /// Bytes of disk that engines take.
    engines_disk: u64,
    dispatched: Dispatched,
    /// Why no job is taken now, if none is.
    closed: Option<String>,
}

fn no<T>(reason: DeclineReason, detail: impl Into<String>) -> Result<T, Decline> {
    Err(Decline { reason, detail: detail.into() })
}

impl Admission {
    /// Bytes of the donation that a job takes beside its own memory: its cell's stacks, snapshot and window.
    pub const CELL_MEMORY: u64 = 64 << 20;
    /// Results kept for one requester at a time, jobs that run counted in; more where more of its jobs may run.
    pub const RESULTS_PER_REQUESTER: u32 = 16;
    /// Those of all requesters: each holds a file open.
    pub const RESULTS: u32 = 1_024;

    /// A worker with these engines.
    pub fn new(donation: Donation, engines: BTreeMap<Hash, EngineStand>) -> Self {
        Self {
            donation,
            engines,
            leases: HashMap::new(),
            aside: 0,
            engines_disk: 0,
            dispatched: Dispatched::default(),
            closed: None,
        }
    }

    /// What the worker makes of an engine from now on; nothing, if it does not know it any more. Jobs that run go on.
    pub fn set_engine(&mut self, engine: Hash, stand: Option<EngineStand>) {
        match stand {
            Some(stand) => self.engines.insert(engine, stand),
            None => self.engines.remove(&engine),
        };
    }

    /// Whether the worker has a word on an engine.
    pub fn knows(&self, engine: &Hash) -> bool {
        self.engines.contains_key(engine)
    }

    /// Whether a job would be run if there were its engine and nothing else ran: whether the engine is worth having for it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn would_run(&self, offer: &Offer) -> Result<(), Decline> {
        self.serves_class(offer)?;
        self.donation.fits(&offer.limits, &offer.inputs)
    }

    /// New jobs get so many bytes of memory less, from now on; those that run keep what they have.
    pub fn set_aside(&mut self, bytes: u64) {
        self.aside = self.aside.saturating_add(bytes);
    }

    /// What was set aside is for jobs again.
    pub fn put_back(&mut self, bytes: u64) {
        self.aside = self.aside.saturating_sub(bytes);
    }

    /// Whether jobs that run have still more memory than is left to them by what was set aside.
    pub fn is_overdrawn(&self) -> bool {
        self.sum(|l| l.memory).saturating_add(self.aside) > self.donation.job_memory()
    }

    /// Takes bytes of disk for an engine, if those that jobs hold leave so much; whether they do.
    pub fn take_disk(&mut self, bytes: u64) -> bool {
        let held = self.sum(|l| l.inputs.saturating_add(l.result)).saturating_add(self.engines_disk);
        let fits = held.saturating_add(bytes) <= self.donation.disk;
        if fits {
            self.engines_disk += bytes;
        }
        fits
    }

    /// What engines take of the disk is so many bytes more or less, which was found out afterwards.
    pub fn change_disk(&mut self, more: u64, less: u64) {
        self.engines_disk = self.engines_disk.saturating_add(more).saturating_sub(less);
    }

    /// Memory that jobs can have if nothing is set aside, bytes.
    pub fn job_memory(&self) -> u64 {
        self.donation.job_memory()
    }

    /// Cells that wait for jobs take so many bytes of memory more, or less.
    pub fn change_idle(&mut self, more: u64, less: u64) {
        self.donation.idle_memory = self.donation.idle_memory.saturating_add(more).saturating_sub(less);
    }

    /// From now on no job is taken, for this reason, or jobs are taken again. Those that run go on.
    pub fn close(&mut self, reason: Option<String>) {
        self.closed = reason;
    }

    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.leases.values().filter(|l| l.running).count()
    }

    /// The answer to an Offer, by a clock that says `now_s` (unix seconds). Nothing is reserved by it.
    ///
    /// # Errors
    /// The reason why not, in order of what a requester can do least about.
    pub fn consider(&self, offer: &Offer, now_s: i64) -> Result<Accept, Decline> {
        if !offer.is_current(now_s) {
            let detail = format!("made at {} for {} s, it is {now_s} here", offer.issued_at, offer.valid_s);
            return no(DeclineReason::Expired, detail);
        }
        if let Some(reason) = &self.closed {
            return no(DeclineReason::Unavailable, reason.clone());
        }
        self.serves(offer)?;
        self.donation.fits(&offer.limits, &offer.inputs)?;
        self.quota(&offer.requester)?;
        let (free_memory, free_jobs) = (self.free_memory(&offer.requester), self.free_jobs(&offer.requester));
        if free_jobs == 0 || offer.limits.memory.saturating_add(Self::CELL_MEMORY) > free_memory {
            let detail = format!("{free_jobs} jobs and {free_memory} bytes of memory are free for you now");
            return no(DeclineReason::Busy, detail);
        }
        let disk = self.donation.disk.saturating_sub(self.engines_disk);
        let free_disk = self.free(&offer.requester, disk, |l| l.inputs.saturating_add(l.result));
        if Donation::inputs_disk(&offer.inputs).saturating_add(offer.limits.result) > free_disk {
            return no(DeclineReason::Busy, format!("{free_disk} bytes of disk are free for you now"));
        }
        Ok(Accept { eta_ms: 0, price: self.donation.price, free_memory, free_jobs })
    }

    /// Reserves what a job needs. [`Admission::committed`] and [`Admission::forget`] give it back; the id stays known until
    /// the Offer has expired.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&mut self, id: OfferId, offer: &Offer, now_s: i64) -> Result<(), Refused> {
        self.dispatched.sweep(now_s);
        // A job may outlive its Offer: its own id stays taken.
        if self.dispatched.contains(&id) || self.leases.contains_key(&id) {
            return Err(Refused::Twice);
        }
        self.consider(offer, now_s).map_err(Refused::Decline)?;
        let remembered = self.dispatched.count(&offer.requester);
        if remembered >= OFFERS_PER_REQUESTER {
            let detail = format!("{remembered} of your offers were dispatched here and have not expired yet");
            return no(DeclineReason::Busy, detail).map_err(Refused::Decline);
        }
        self.dispatched.insert(id, offer.requester, offer.expires_s());
        let lease = Lease {
            requester: offer.requester,
            running: true,
            memory: offer.limits.memory.saturating_add(Self::CELL_MEMORY),
            inputs: Donation::inputs_disk(&offer.inputs),
            result: offer.limits.result,
        };
        self.leases.insert(id, lease);
        Ok(())
    }

    /// The job has committed, and its result of so many bytes is kept for delivery: slot and memory are free again, and so is the
    /// disk beyond the result. A failure keeps no bytes, and counts like a result.
    pub fn committed(&mut self, id: &OfferId, kept_bytes: u64) {
        if let Some(lease) = self.leases.get_mut(id) {
            *lease = Lease { running: false, memory: 0, inputs: 0, result: lease.result.min(kept_bytes), ..*lease };
        }
    }

    /// The job is over, or its result gone: gives back what it still holds. More than once is the same as once.
    pub fn forget(&mut self, id: &OfferId) {
        self.leases.remove(id);
    }

    /// Whether the worker runs such jobs at all.
    fn serves(&self, offer: &Offer) -> Result<(), Decline> {
        let asked = offer.engine.short();
        let profiles = match self.engines.get(&offer.engine) {
            Some(Ok(profiles)) => profiles,
            Some(Err(reason)) => return no(DeclineReason::Engine, format!("engine {asked}: {reason}")),
            None => {
                let has: Vec<_> = self.engines.keys().map(Hash::short).collect();
                let detail = format!("this worker runs engine {}, not {asked}", has.join(" and "));
                return no(DeclineReason::Engine, detail);
            }
        };
        if !profiles.contains(&offer.profile) {
            let asked: String = offer.profile.chars().take(40).collect();
            return no(DeclineReason::Profile, format!("this worker runs {}, not {asked:?}", profiles.join(" and ")));
        }
        self.serves_class(offer)
    }

    fn serves_class(&self, offer: &Offer) -> Result<(), Decline> {
        if !self.donation.classes.contains(&offer.class) {
            return no(DeclineReason::DataClass, format!("this worker does not take {} data", offer.class));
        }
        Ok(())
    }

    /// Whether results may be kept of one more job of this requester.
    fn quota(&self, requester: &NodeId) -> Result<(), Decline> {
        let own_most = Self::RESULTS_PER_REQUESTER.max(self.donation.per_requester) as usize;
        let all_most = Self::RESULTS.max(self.donation.jobs) as usize;
        let own = self.leases.values().filter(|l| l.requester == *requester).count();
        let all = self.leases.len();
        if own >= own_most || all >= all_most {
            let detail =
                format!("{own} of your jobs run or wait for their result to be taken, {all} of all requesters");
            return no(DeclineReason::Busy, detail);
        }
        Ok(())
    }

    /// Jobs that this requester could run now.
    fn free_jobs(&self, requester: &NodeId) -> u32 {
        let left = |most: u32, running: usize| most.saturating_sub(u32::try_from(running).unwrap_or(u32::MAX));
        left(self.donation.jobs, self.running()).min(left(self.donation.per_requester, self.running_of(requester)))
    }

    fn free_memory(&self, requester: &NodeId) -> u64 {
        self.free(requester, self.donation.job_memory().saturating_sub(self.aside), |l| l.memory)
    }

    /// What this requester could have now of all so many bytes of which leases hold so many.
    fn free(&self, requester: &NodeId, all: u64, of: impl Fn(&Lease) -> u64) -> u64 {
        let own = self.sum(|l| if l.requester == *requester { of(l) } else { 0 });
        let share = self.donation.share(all, self.running_of(requester) == 0);
        share.saturating_sub(own).min(all.saturating_sub(self.sum(of)))
    }

    fn running_of(&self, requester: &NodeId) -> usize {
        self.leases.values().filter(|l| l.running && l.requester == *requester).count()
    }

    fn sum(&self, of: impl Fn(&Lease) -> u64) -> u64 {
        self.leases.values().map(of).fold(0, u64::saturating_add)
    }
}
