//! The hardware of this machine as an [`Attester`], as `policies/worker.toml` names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eider_attest::tpm2::{Credential, stored_certificate};
use eider_attest::{Binding, EvidenceKind};
use eider_attest_device::collateral::{Keeper, PATIENCE, Renewal, Source};
use eider_attest_device::{AkKind, EVENT_LOG, TPM_DEVICE, Tpm, certificates, nsm, read_log, tsm};
use serde::Deserialize;

use crate::evidence::{Attester, DevelopmentAttester, Evidence};
use crate::worker::unix_now;

/// Registers that are quoted unless said: firmware, boot loader, kernel, Secure Boot.
const REGISTERS: [u8; 9] = [0, 1, 2, 3, 4, 5, 7, 8, 9];

/// `[attest]` of a worker's policy: what vouches for the machine.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// `tpm2`, `sev-snp`, `tdx`, `nitro` or `development`.
    pub kind: EvidenceKind,
    /// `tpm2`: a device, or HOST:PORT of a software TPM.
    #[serde(default = "tpm_device")]
    pub tpm: String,
    /// `tpm2`: registers of the SHA-256 bank to quote.
    #[serde(default = "registers")]
    pub registers: Vec<u8>,
    /// `tpm2`: the event log; none if the file is not there.
    #[serde(default = "event_log")]
    pub log: PathBuf,
    /// `tpm2`: which attestation key quotes: this program's own, whose endorsement key has a certificate, or the one that a
    /// cloud has certified.
    #[serde(default)]
    pub key: AttestationKey,
    /// `tpm2`: the endorsement key's certificate, for TPMs that hold none.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Further endorsements, DER or PEM: certificates of the vendor, root included, or a TDX collateral file. For SEV-SNP those
    /// that the host hands out stand in their place; for both, what was fetched, where that is the better.
    #[serde(default)]
    pub endorsements: Vec<PathBuf>,
}

/// An attestation key of a TPM.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum AttestationKey {
    /// This program's own, P-256.
    #[default]
    Own,
    /// This program's own, RSA-2048, for TPMs without P-256.
    OwnRsa,
    /// Google Cloud's, P-256. Never run there.
    Google,
    /// Google Cloud's, RSA-2048. Never run there.
    GoogleRsa,
    /// Azure's. Never run there.
    Azure,
}

impl From<AttestationKey> for AkKind {
    fn from(key: AttestationKey) -> Self {
        match key {
            AttestationKey::Own => Self::P256,
            AttestationKey::OwnRsa => Self::Rsa2048,
            AttestationKey::Google => Self::GoogleP256,
            AttestationKey::GoogleRsa => Self::GoogleRsa2048,
            AttestationKey::Azure => Self::Azure,
        }
    }
}

fn tpm_device() -> String {
    TPM_DEVICE.into()
}
fn registers() -> Vec<u8> {
    REGISTERS.to_vec()
}
fn event_log() -> PathBuf {
    EVENT_LOG.into()
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A file that the policy names.
    #[error("attest: {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A register.
    #[error("attest: `registers` must be 1 to 24 different numbers from 0 to 23")]
    Registers,
}

impl DeviceConfig {
    /// Reads the files and gives the device. It is asked for nothing yet. `collateral` says who is asked for that of a TEE, and in which
    /// folder it is kept ([`Keeper::open`]).
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn attester(&self, collateral: Option<(Source, PathBuf)>) -> Result<Arc<dyn Attester>, DeviceError> {
        let endorsements: Vec<_> = self.endorsements.iter().map(|p| read(p)).collect::<Result<_, _>>()?;
        let endorsements = endorsements.concat();
        Ok(match self.kind {
            EvidenceKind::Development => Arc::new(DevelopmentAttester),
            EvidenceKind::Tpm2 => {
                let mut sorted = self.registers.clone();
                sorted.sort_unstable();
                sorted.dedup();
                if sorted.len() != self.registers.len() || sorted.is_empty() || sorted.iter().any(|r| *r > 23) {
                    return Err(DeviceError::Registers);
                }
                let certificate =
                    self.certificate.as_ref().map(|p| read(p)).transpose()?.and_then(|c| c.into_iter().next());
                Arc::new(TpmAttester { config: self.clone(), certificate, issuers: endorsements })
            }
            EvidenceKind::SevSnp | EvidenceKind::Tdx => {
                let keeper = collateral.map(|(source, folder)| Keeper::open(source, folder, PATIENCE));
                Arc::new(TsmAttester { kind: self.kind, endorsements, keeper })
            }
            EvidenceKind::Nitro => Arc::new(NsmAttester),
        })
    }
}

/// The certificates of a PEM file; or the whole file, less what a TPM has before and behind a certificate that was read out of
/// it.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, DeviceError> {
    let bytes = std::fs::read(path).map_err(|e| DeviceError::File(path.to_owned(), e))?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(vec![stored_certificate(&bytes).map_or(bytes.clone(), <[u8]>::to_vec)]);
    }
    let parsed = pem::parse_many(&bytes);
    let parsed = parsed.map_err(|e| DeviceError::File(path.to_owned(), std::io::Error::other(e.to_string())))?;
    Ok(parsed.into_iter().map(pem::Pem::into_contents).collect())
}

/// A TPM 2.0. Opened for each call: a device serves several programs.
#[derive(Debug)]
struct TpmAttester {
    config: DeviceConfig,
    certificate: Option<Vec<u8>>,
    issuers: Vec<Vec<u8>>,
}

impl TpmAttester {
    fn open(&self) -> Result<Tpm, String> {
        let opened = match self.config.tpm.parse::<SocketAddr>() {
            Ok(address) => Tpm::connect(address),
            Err(_) => Tpm::open(Path::new(&self.config.tpm)),
        };
        opened.map(|tpm| tpm.with_ak(self.config.key.into())).map_err(|e| e.to_string())
    }
}

impl Attester for TpmAttester {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tpm2
    }

    fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
        let log =
            if self.config.log.exists() { Some(read_log(&self.config.log).map_err(|e| e.to_string())?) } else { None };
        let made = self.open()?.produce(
            &self.config.registers,
            &binding.short(),
            log,
            self.certificate.clone(),
            self.issuers.clone(),
        );
        let made = made.map_err(|e| e.to_string())?;
        Ok(Evidence { evidence: made.evidence, log: made.log, endorsements: made.endorsements })
    }

    fn activate(&self, credential: &[u8], secret: &[u8]) -> Result<Vec<u8>, String> {
        let credential = Credential { blob: credential.to_vec(), secret: secret.to_vec() };
        self.open()?.activate(&credential).map_err(|e| e.to_string())
    }
}

/// SEV-SNP or TDX through the kernel. Never run on its hardware.
struct TsmAttester {
    kind: EvidenceKind,
    endorsements: Vec<Vec<u8>>,
    keeper: Option<Keeper>,
}

impl TsmAttester {
    /// A report, and the certificates that are there for it without asking anybody.
    fn report(&self, data: &[u8; 64]) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
        let report = tsm::report(Path::new(tsm::ROOT), data).map_err(|e| e.to_string())?;
        if report.kind != self.kind {
            return Err(format!("the kernel makes {} evidence, the policy says {}", report.kind, self.kind));
        }
        // What the host hands out is of today's firmware; what the policy names is for hosts that hand out nothing.
        let mut endorsements = match report.auxiliary.as_slice() {
            [] => vec![],
            table => certificates(table).map_err(|e| e.to_string())?,
        };
        if endorsements.is_empty() {
            endorsements.clone_from(&self.endorsements);
        }
        Ok((report.evidence, endorsements))
    }
}

impl Attester for TsmAttester {
    fn kind(&self) -> EvidenceKind {
        self.kind
    }

    fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
        let (evidence, mut endorsements) = self.report(&binding.digest())?;
        if let Some(keeper) = &self.keeper {
            endorsements = keeper.staple(&evidence, endorsements, unix_now());
        }
        Ok(Evidence { evidence, log: None, endorsements })
    }

    fn collateral_version(&self) -> u64 {
        self.keeper.as_ref().map_or(0, Keeper::version)
    }

    fn renew(&self, now: i64) -> Option<Renewal> {
        // Which machine this is has to be known before anybody asks for its evidence.
        self.keeper.as_ref().map(|keeper| keeper.renew(now, || self.report(&[0; 64])))
    }
}

/// AWS Nitro. Never run on its hardware.
#[derive(Debug)]
struct NsmAttester;

impl Attester for NsmAttester {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Nitro
    }

    fn produce(&self, binding: &Binding) -> Result<Evidence, String> {
        let document = nsm::document(&binding.digest(), &binding.nonce, &binding.sealing);
        Ok(Evidence { evidence: document.map_err(|e| e.to_string())?, ..Evidence::default() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eider_attest_device::collateral::Host;

    use super::*;

    #[test]
    fn padding_of_a_certificate_in_a_file_is_taken_off_and_other_files_are_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let certificate = [&[0x30, 0x82, 1, 0][..], &[7; 256]].concat();
        let header = [0x10, 1, 0, 1, 9, 0x10, 2];
        for (content, wanted) in [
            (certificate.clone(), &certificate[..]),
            ([&certificate[..], &[0xff; 500]].concat(), &certificate),
            ([&header[..], &certificate, &[0; 3]].concat(), &certificate),
            (b"{\"tcb_info\":1}".to_vec(), b"{\"tcb_info\":1}"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap(), [wanted]);
        }
    }

    #[test]
    fn a_policy_names_whose_attestation_key_it_is() {
        let of = |lines: &str| toml::from_str::<DeviceConfig>(&format!("kind = \"tpm2\"\n{lines}")).map(|c| c.key);
        assert_eq!(of(""), Ok(AttestationKey::Own));
        assert_eq!(of("key = \"azure\""), Ok(AttestationKey::Azure));
        assert_eq!(of("key = \"google-rsa\""), Ok(AttestationKey::GoogleRsa));
        assert!(of("key = \"aws\"").is_err());
    }

    #[test]
    fn a_tee_has_collateral_renewed_only_where_the_policy_names_hosts_and_a_machine_that_is_none_is_told_so() {
        if Path::new(tsm::ROOT).exists() {
            return println!("SKIPPED: this machine is a guest of SEV-SNP or TDX");
        }
        let config: DeviceConfig = toml::from_str("kind = \"sev-snp\"").unwrap();
        assert!(config.attester(None).unwrap().renew(1).is_none());
        let folder = tempfile::tempdir().unwrap();
        // Nobody listens there, and nobody is asked.
        let host = Host::try_from("http://127.0.0.1:1".to_string()).unwrap();
        let source = Source::Amd { service: host, roots: vec![] };
        let attester = config.attester(Some((source, folder.path().into()))).unwrap();
        for first in [true, false] {
            match attester.renew(unix_now() + i64::from(!first) * 60) {
                Some(Renewal::Failed { why, first: told, .. }) => {
                    assert_eq!(told, first);
                    assert!(why.to_string().contains("no guest of SEV-SNP or TDX"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
