//! A machine with a TPM, the software one, as its worker and a requester see it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use eider_attest_device::swtpm::{self, Swtpm};
use eider_node::{Attester, DeviceConfig};
use sha2::{Digest, Sha256};

/// A machine with a TPM: the worker's policy, and the requester's.
pub struct Machine {
    tpm: Swtpm,
    dir: tempfile::TempDir,
}

impl Machine {
    /// Starts it; `None`, said loudly, where there can be no swtpm.
    pub fn start() -> Option<Self> {
        swtpm::required().then(|| Self { tpm: Swtpm::start().unwrap(), dir: tempfile::tempdir().unwrap() })
    }

    /// The TPM.
    pub fn tpm(&self) -> &Swtpm {
        &self.tpm
    }

    /// `[attest]` of the worker's policy.
    fn device(&self) -> String {
        let issuers = self.tpm.issuers().unwrap();
        let paths = issuers.iter().enumerate().map(|(i, der)| {
            let path = self.dir.path().join(format!("issuer{i}.der"));
            std::fs::write(&path, der).unwrap();
            format!("{path:?}")
        });
        let paths = paths.collect::<Vec<_>>().join(", ");
        format!(
            "kind = \"tpm2\"\ntpm = \"{}\"\nregisters = [0, 7, 16]\nlog = \"/nowhere\"\nendorsements = [{paths}]\n",
            self.tpm.address()
        )
    }

    /// What a worker here makes evidence with.
    pub fn attester(&self) -> Arc<dyn Attester> {
        toml::from_str::<DeviceConfig>(&self.device()).unwrap().attester(None).unwrap()
    }

    /// A worker's policy file.
    pub fn worker_policy(&self) -> String {
        let path = self.dir.path().join("worker.toml");
        std::fs::write(&path, format!("listen = \"127.0.0.1:0\"\n[attest]\n{}", self.device())).unwrap();
        path.to_str().unwrap().to_string()
    }

    /// A policy that wants this TPM, with register 16 as it is at the start.
    pub fn policy(&self, more: &str) -> String {
        let root = hex::encode(Sha256::digest(&self.tpm.issuers().unwrap()[1]));
        let zero = "0".repeat(64);
        format!(
            "name = \"lab\"\nclass = \"internal\"\nminimum = \"L1\"\n{more}\n[tpm2]\n\
             roots = [{{ name = \"lab\", sha256 = \"{root}\", from = \"this test\" }}]\nquoted = [0, 7, 16]\n\
             pcrs = [{{ index = 16, values = [\"{zero}\"], from = \"this test\" }}]\n"
        )
    }
}
