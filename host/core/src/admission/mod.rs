//! A worker's side: whether a job fits what was donated.

use std::collections::{BTreeMap, HashMap};

use eider_protocol::{Accept, DataClass, Decline, DeclineReason, Hash, Limits, Offer, OfferId};

/// What a machine's owner gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Donation {
    /// Bytes of memory for all jobs together.
    pub memory: u64,
    /// Jobs at a time.
    pub jobs: u32,
    /// Bytes of disk for cached inputs and results together.
    pub disk: u64,
    /// Largest result that is spooled, bytes.
    pub result: u64,
    /// Longest that one job may run, ms.
    pub run_ms: u64,
    /// Data classes that are served.
    pub classes: Vec<DataClass>,
    /// Micro-credits asked for a job.
    pub price: u64,
}

/// What a running job holds of the donation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Bytes of memory.
    pub memory: u64,
}

/// What a worker makes of an engine: the profiles that it runs it under, or why it does not.
pub type EngineStand = Result<Vec<String>, String>;

/// Decides Offers and counts what is in use.
#[derive(Debug)]
pub struct Admission {
    donation: Donation,
    engines: BTreeMap<Hash, EngineStand>,
    leases: HashMap<OfferId, Lease>,
    /// Why no job is taken now, if none is.
    closed: Option<String>,
}

impl Admission {
    /// Bytes of the donation that a job takes beside its own memory: its cell's stacks, snapshot and window.
    pub const CELL_MEMORY: u64 = 64 << 20;

    /// A worker with these engines.
    pub fn new(donation: Donation, engines: BTreeMap<Hash, EngineStand>) -> Self {
        Self { donation, engines, leases: HashMap::new(), closed: None }
    }

    /// From now on no job is taken, for this reason, or jobs are taken again. Those that run go on.
    pub fn close(&mut self, reason: Option<String>) {
        self.closed = reason;
    }

    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.leases.len()
    }

    /// The answer to an Offer. Nothing is reserved by it.
    ///
    /// # Errors
    /// The reason why not, in order of what a requester can do least about.
    pub fn consider(&self, offer: &Offer) -> Result<Accept, Decline> {
        let no = |reason, detail: String| Err(Decline { reason, detail });
        if let Some(reason) = &self.closed {
            return no(DeclineReason::Unavailable, reason.clone());
        }
        let profiles = match self.engines.get(&offer.engine) {
            Some(Ok(profiles)) => profiles,
            Some(Err(reason)) => {
                return no(DeclineReason::Engine, format!("engine {}: {reason}", offer.engine.short()));
            }
            None => {
                let has: Vec<_> = self.engines.keys().map(Hash::short).collect();
                let asked = offer.engine.short();
                return no(
                    DeclineReason::Engine,
                    format!("this worker runs engine {}, not {asked}", has.join(" and ")),
                );
            }
        };
        if !profiles.contains(&offer.profile) {
            let asked: String = offer.profile.chars().take(40).collect();
            return no(DeclineReason::Profile, format!("this worker runs {}, not {asked:?}", profiles.join(" and ")));
        }
        if !self.donation.classes.contains(&offer.class) {
            return no(DeclineReason::DataClass, format!("this worker does not take {} data", offer.class));
        }
        self.fits_at_all(&offer.limits, offer.inputs.bytes)?;
        let (free_memory, free_jobs) = self.free();
        if free_jobs == 0 || offer.limits.memory.saturating_add(Self::CELL_MEMORY) > free_memory {
            return no(DeclineReason::Busy, format!("{free_jobs} jobs and {free_memory} bytes of memory are free now"));
        }
        Ok(Accept { eta_ms: 0, price: self.donation.price, free_memory, free_jobs })
    }

    /// Reserves what a job needs; [`Admission::release`] gives it back.
    ///
    /// # Errors
    /// As [`Admission::consider`]: things may have changed since the Bid.
    pub fn admit(&mut self, id: OfferId, offer: &Offer) -> Result<Lease, Decline> {
        self.consider(offer)?;
        let lease = Lease { memory: offer.limits.memory + Self::CELL_MEMORY };
        self.leases.insert(id, lease);
        Ok(lease)
    }

    /// The job is over.
    pub fn release(&mut self, id: &OfferId) {
        self.leases.remove(id);
    }

    fn free(&self) -> (u64, u32) {
        let used: u64 = self.leases.values().map(|l| l.memory).sum();
        let running = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        (self.donation.memory.saturating_sub(used), self.donation.jobs.saturating_sub(running))
    }

    fn fits_at_all(&self, limits: &Limits, input_bytes: u64) -> Result<(), Decline> {
        let d = &self.donation;
        let checks = [
            ("memory", limits.memory.saturating_add(Self::CELL_MEMORY), d.memory, "bytes"),
            ("result", limits.result, d.result, "bytes"),
            ("running time", limits.run_ms, d.run_ms, "ms"),
            ("inputs", input_bytes, d.disk, "bytes"),
        ];
        for (what, asked, given, unit) in checks {
            if asked > given {
                return Err(Decline {
                    reason: DeclineReason::TooLarge,
                    detail: format!("{what}: {asked} {unit} asked, {given} {unit} donated"),
                });
            }
        }
        Ok(())
    }
}
