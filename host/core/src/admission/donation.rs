//! What a machine's owner gives.

use eider_protocol::{DataClass, Decline, DeclineReason, InputsSummary, Limits};

use super::Admission;

/// What a machine's owner gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Donation {
    /// Bytes of memory for all jobs together, with what waits for them.
    pub memory: u64,
    /// Bytes of that which cells hold while they wait for jobs.
    pub idle_memory: u64,
    /// Jobs at a time.
    pub jobs: u32,
    /// Jobs of one requester at a time.
    pub per_requester: u32,
    /// Bytes of disk for inputs and results together.
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

impl Donation {
    /// The usual share of one requester: a third of the jobs is left to others, where there are three.
    pub const fn usual_per_requester(jobs: u32) -> u32 {
        jobs - jobs / 3
    }

    /// Bytes of memory that jobs can have.
    pub(super) fn job_memory(&self) -> u64 {
        self.memory.saturating_sub(self.idle_memory)
    }

    /// Whether a job would fit if nothing else ran.
    pub(super) fn fits(&self, limits: &Limits, inputs: &InputsSummary) -> Result<(), Decline> {
        let checks = [
            ("memory", limits.memory.saturating_add(Admission::CELL_MEMORY), self.job_memory(), "bytes"),
            ("result", limits.result, self.result, "bytes"),
            ("running time", limits.run_ms, self.run_ms, "ms"),
            ("inputs and result", inputs.bytes.saturating_add(limits.result), self.disk, "bytes"),
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
