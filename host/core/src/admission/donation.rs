//! What a machine's owner gives, and which part of it one requester or network may have.

use eider_protocol::{DataClass, Decline, DeclineReason, InputsSummary, Limits};

use super::Admission;

/// Bytes that each input takes on the disk beside its own: its map, and what its last blocks leave empty. With [`INPUT_MAP`] this is no
/// less than `inputs::disk_of`, which a test of the worker holds, and that no less than the disk, which the tests of inputs do.
const INPUT_OVERHEAD: u64 = 16 << 10;
/// Bytes of an input for which its map has one.
const INPUT_MAP: u64 = 1 << 17;

/// What a machine's owner gives.
///
/// All is divided by [`Donation::jobs`]: a job's part of memory or disk is that of one of so many jobs. Jobs are of any size, but
///
/// - one requester has [`Donation::per_requester`] jobs at a time, and no more memory and disk than as many parts of each; a job that
///   is larger runs while its requester runs nothing else, and then leaves one part to others. Where one requester may have
///   all jobs, as where there is one, it may have all of the rest.
/// - one network has [`Donation::per_network`] jobs at a time. The worker counts these, for nobody here knows a network.
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

    /// Jobs of one network at a time: three quarters of all, so that a network of friends is not kept waiting, and never less than
    /// one requester's.
    pub fn per_network(&self) -> u32 {
        (self.jobs - self.jobs / 4).max(self.per_requester)
    }

    /// Bytes of all so many of memory or disk that one requester may have at a time; `alone` if it runs nothing else.
    pub(super) fn share(&self, all: u64, alone: bool) -> u64 {
        let left = self.jobs.saturating_sub(self.per_requester).min(if alone { 1 } else { u32::MAX });
        all - all / u64::from(self.jobs.max(1)) * u64::from(left)
    }

    /// Bytes of disk that inputs take, whole.
    pub(super) fn inputs_disk(inputs: &InputsSummary) -> u64 {
        let overhead = u64::from(inputs.count) * INPUT_OVERHEAD + inputs.bytes / INPUT_MAP;
        inputs.bytes.saturating_add(overhead)
    }

    /// Bytes of memory that jobs can have.
    pub(super) fn job_memory(&self) -> u64 {
        self.memory.saturating_sub(self.idle_memory)
    }

    /// Whether a job would fit if nothing else ran and nothing were kept.
    pub(super) fn fits(&self, limits: &Limits, inputs: &InputsSummary) -> Result<(), Decline> {
        let checks = [
            (
                "memory",
                limits.memory.saturating_add(Admission::CELL_MEMORY),
                self.share(self.job_memory(), true),
                "bytes",
            ),
            ("result", limits.result, self.result, "bytes"),
            ("running time", limits.run_ms, self.run_ms, "ms"),
            (
                "inputs and result",
                Self::inputs_disk(inputs).saturating_add(limits.result),
                self.share(self.disk, true),
                "bytes",
            ),
        ];
        for (what, asked, given, unit) in checks {
            if asked > given {
                return Err(Decline {
                    reason: DeclineReason::TooLarge,
                    detail: format!("{what}: {asked} {unit} asked, {given} {unit} donated for one job"),
                });
            }
        }
        Ok(())
    }
}
