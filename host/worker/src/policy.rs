//! `policies/worker.toml`: what a machine's owner gives.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use eider_attest::Tier;
use eider_attest_device::collateral::{Hosts, Source};
use eider_core::Donation;
use eider_protocol::DataClass;
use eider_sandbox::{CONTRACT, Wall};
use serde::Deserialize;

use crate::device::DeviceConfig;
use crate::owner::{Hours, Presence};

/// A worker's policy file. Every field has a default; unknown fields are refused.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerPolicy {
    /// Address to listen on, UDP.
    pub listen: SocketAddr,
    /// Memory for all jobs together.
    pub memory: ByteSize,
    /// Jobs at a time.
    pub jobs: u32,
    /// Jobs of one requester at a time, which has as large a part of memory and disk ([`Donation`]); two thirds of all unless said, so
    /// that no requester takes the whole machine.
    pub per_requester: Option<u32>,
    /// Processor threads, all unless said. A job runs on one, so no more jobs than this run at a time.
    pub threads: Option<u32>,
    /// Disk for cached inputs and results together.
    pub disk: ByteSize,
    /// Largest result of one job.
    pub result: ByteSize,
    /// Longest that one job may run.
    #[serde(with = "humantime_serde")]
    pub run: Duration,
    /// Data classes that are served.
    pub classes: Vec<DataClass>,
    /// Micro-credits asked for a job; 0 is a gift.
    pub price: u64,
    /// Serve metered jobs too (compiles a second image).
    pub metered: bool,
    /// Hours of the day, local time, in which jobs run; all unless said.
    pub hours: Option<Hours>,
    /// Run jobs on battery too.
    pub on_battery: bool,
    /// Load of everything else per processor above which no job runs; any unless said.
    pub load: Option<f64>,
    /// Layers of the operating-system jail without which the worker does not start, beside the floor that always must stand
    /// ([`Wall::FLOOR`], and one of [`Wall::BEHIND`]).
    pub require: Vec<Wall>,
    /// Interfaces of the engine contract that an engine may import.
    pub grant: Vec<String>,
    /// What vouches for this machine, if anything.
    pub attest: Option<DeviceConfig>,
    /// Which hosts are asked for collateral of a TEE; nothing is fetched unless said.
    pub collateral: Option<Hosts>,
}

impl Default for WorkerPolicy {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7440)),
            memory: ByteSize::gib(4),
            jobs: 2,
            per_requester: None,
            threads: None,
            disk: ByteSize::gib(10),
            result: ByteSize::gib(4),
            run: Duration::from_secs(600),
            classes: vec![DataClass::Public, DataClass::Internal],
            price: 0,
            metered: false,
            hours: None,
            on_battery: false,
            load: None,
            require: vec![],
            grant: CONTRACT.iter().map(ToString::to_string).collect(),
            attest: None,
            collateral: None,
        }
    }
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file.
    #[error("policy {0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// What is in it, with line and column.
    #[error("policy {0}: {1}")]
    Parse(PathBuf, Box<toml::de::Error>),
    /// A number that cannot be meant.
    #[error("policy: {0}")]
    Number(String),
    /// Hosts that are not those of this machine's evidence.
    #[error("policy: `[collateral]` {0}")]
    Collateral(String),
}

impl WorkerPolicy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path).map_err(|e| PolicyError::Io(path.to_owned(), e))?;
        Self::parse(&text).map_err(|e| PolicyError::Parse(path.to_owned(), Box::new(e)))
    }

    /// Reads a policy's text.
    ///
    /// # Errors
    /// What is wrong in it, with line and column.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// When jobs may run.
    pub fn presence(&self) -> Presence {
        Presence { hours: self.hours, on_battery: self.on_battery, load: self.load }
    }

    /// Who is asked for collateral of this machine, if anybody.
    ///
    /// # Errors
    /// [`PolicyError::Collateral`].
    pub fn collateral(&self) -> Result<Option<Source>, PolicyError> {
        let Some(hosts) = &self.collateral else { return Ok(None) };
        let kind = self.attest.as_ref().map(|attest| attest.kind);
        let kind = kind.ok_or_else(|| PolicyError::Collateral("is of no use without `[attest]`".into()))?;
        hosts.source(kind).map(Some).map_err(PolicyError::Collateral)
    }

    /// The donation that it describes.
    ///
    /// # Errors
    /// [`PolicyError::Number`].
    pub fn donation(&self) -> Result<Donation, PolicyError> {
        let no = |text: &str| Err(PolicyError::Number(text.into()));
        if self.jobs == 0 || self.jobs > 1024 {
            return no("`jobs` must be 1 to 1024");
        }
        if self.per_requester == Some(0) {
            return no("`per_requester` must be at least 1");
        }
        if self.threads == Some(0) {
            return no("`threads` must be at least 1");
        }
        if self.memory < ByteSize::mib(256) {
            return no("`memory` must be at least 256MiB: the engine alone takes 60 MB");
        }
        if self.classes.is_empty() {
            return no("`classes` must name at least one data class");
        }
        let proves = self.attest.as_ref().map_or(Tier::L0, |a| a.kind.tier());
        if self.classes.contains(&DataClass::Sensitive) && proves < Tier::L2 {
            return no("`classes` names `sensitive`, which needs proven hardware: an `[attest]` section with a TEE");
        }
        if self.load.is_some_and(|l| !(l > 0.0 && l <= 1000.0)) {
            return no("`load` must be a number above 0, in runnable tasks per processor");
        }
        if let Some(unknown) = self.grant.iter().find(|g| !CONTRACT.contains(&g.as_str())) {
            return no(&format!("`grant` names {unknown:?}, which is no interface of the engine contract"));
        }
        let jobs = self.jobs.min(self.threads.unwrap_or(u32::MAX));
        Ok(Donation {
            memory: self.memory.as_u64(),
            // What cells hold while they wait is known when there are images.
            idle_memory: 0,
            jobs,
            per_requester: self.per_requester.unwrap_or(Donation::usual_per_requester(jobs)).min(jobs),
            disk: self.disk.as_u64(),
            result: self.result.as_u64(),
            run_ms: u64::try_from(self.run.as_millis()).unwrap_or(u64::MAX),
            classes: self.classes.clone(),
            price: self.price,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<WorkerPolicy, PolicyError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        WorkerPolicy::load(file.path())
    }

    #[test]
    fn the_shipped_policy_says_the_defaults() {
        let shipped = load(include_str!("../../../policies/worker.toml")).unwrap();
        assert_eq!(shipped.donation().unwrap(), WorkerPolicy::default().donation().unwrap());
        assert_eq!(shipped.listen, WorkerPolicy::default().listen);
        assert_eq!(shipped.require, WorkerPolicy::default().require);
    }

    #[test]
    fn collateral_is_fetched_from_the_hosts_of_the_policys_kind_of_evidence_and_only_if_they_are_named() {
        let source = |lines: &str| load(lines).unwrap().collateral();
        let (amd, intel) = ("amd = \"https://kdsintf.amd.com\"", "intel = \"https://api.trustedservices.intel.com\"");
        let root = "intel_root = \"https://certificates.trustedservices.intel.com\"";
        let attest = |kind: &str| format!("[attest]\nkind = \"{kind}\"\n");
        assert!(source(&attest("sev-snp")).unwrap().is_none());
        let all = format!("[collateral]\n{amd}\n{intel}\n{root}\n");
        assert!(matches!(source(&(all.clone() + &attest("sev-snp"))).unwrap(), Some(Source::Amd { .. })));
        assert!(matches!(source(&(all.clone() + &attest("tdx"))).unwrap(), Some(Source::Intel { .. })));
        for (lines, word) in [
            (all.clone(), "without `[attest]`"),
            (all + &attest("tpm2"), "no use"),
            (format!("[collateral]\n{amd}\n{}", attest("tdx")), "`intel`"),
            (format!("[collateral]\n{intel}\n{}", attest("tdx")), "`intel_root`"),
            (format!("[collateral]\n{intel}\n{root}\n{}", attest("sev-snp")), "`amd`"),
            (format!("[collateral]\n{amd}\namd_roots = []\n{}", attest("sev-snp")), "`amd_roots`"),
        ] {
            let error = source(&lines).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("[collateral]"), "{error}");
        }
        let roots = format!("[collateral]\n{amd}\namd_roots = [\"{}\"]\n{}", "a5".repeat(32), attest("sev-snp"));
        let Some(Source::Amd { roots, .. }) = source(&roots).unwrap() else { panic!("AMD's") };
        assert_eq!(roots.iter().map(|root| root.sha256).collect::<Vec<_>>(), [[0xa5; 32]]);
        for line in [
            "amd_roots = [\"a5\"]",
            "arm = \"https://example.org\"",
            "amd = \"http://kdsintf.amd.com\"",
            "amd = \"kdsintf.amd.com\"",
        ] {
            assert!(load(&format!("[collateral]\n{line}\n")).unwrap_err().to_string().contains("line 2"), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        let unknown = load("jobs = 2\nmemroy = \"4GiB\"\n").unwrap_err().to_string();
        assert!(unknown.contains("line 2") && unknown.contains("memroy"), "{unknown}");
        for line in ["hours = \"9 to 5\"", "require = [\"moat\"]"] {
            assert!(load(line).unwrap_err().to_string().contains("line 1"), "{line}");
        }
        assert!(load("memory = \"lots\"").unwrap_err().to_string().contains("line 1"));
        for impossible in [
            "jobs = 0",
            "memory = \"1MiB\"",
            "classes = []",
            "classes = [\"sensitive\"]",
            "threads = 0",
            "per_requester = 0",
            "load = 0.0",
            "load = nan",
            "grant = [\"wasi:cli/run\"]",
        ] {
            assert!(matches!(load(impossible).unwrap().donation(), Err(PolicyError::Number(_))), "{impossible}");
        }
        assert_eq!(load("jobs = 8\nthreads = 3").unwrap().donation().unwrap().jobs, 3);
    }
}
