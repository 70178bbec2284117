//! A TPM 2.0, spoken to with raw commands: no library of the system is needed.
//!
//! Both keys come from the endorsement seed by a fixed template, so nothing is stored and a restart finds the same keys.
//! They are flushed after each use. Where a cloud has certified an attestation key of its own, that one can be used instead; no
//! endorsement key is needed then. The password of the endorsement hierarchy, if it has one, must be given.

mod command;
mod error;
mod run;
mod template;
mod transport;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use command::{Auth, Command, code, selection};
use eider_attest::Code;
use eider_attest::tpm2::eventlog::LOG_MAX;
use eider_attest::tpm2::parse::{ParseError, Public, Reader, id};
use eider_attest::tpm2::{Credential, Evidence, certificate_key, stored_certificate};
pub use error::TpmError;
use run::{FIELD_MAX, parse};
use serde_bytes::ByteArray;
pub use template::{AkKind, EkKind};
use transport::Transport;

/// The kernel's TPM that several processes can use.
pub const TPM_DEVICE: &str = "/dev/tpmrm0";
/// The event log, as the kernel shows it to root.
pub const EVENT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// `TPM_RC_AUTH_UNAVAILABLE` and `TPM_RC_NV_AUTHORIZATION`: who asks may not read it.
const NOT_ALLOWED: [u32; 2] = [0x12f, 0x149];
/// Bytes of the largest certificate that is read.
const CERTIFICATE_MAX: u16 = 8192;
/// Bytes of one read of stored data; every TPM serves that.
const NV_CHUNK: u16 = 512;
/// How often to quote anew when a register has changed in between.
const QUOTES: usize = 4;

/// A TPM.
#[derive(Debug)]
pub struct Tpm {
    transport: Transport,
    /// Password of the endorsement hierarchy.
    password: Vec<u8>,
    kind: AkKind,
}

/// What goes into an envelope of kind `tpm2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Produced {
    /// See [`Evidence`].
    pub evidence: Vec<u8>,
    /// The event log, as it was given.
    pub log: Option<Vec<u8>>,
    /// Certificate of the endorsement key, then what the caller gave.
    pub endorsements: Vec<Vec<u8>>,
}

impl Tpm {
    /// The kernel's TPM, mostly [`TPM_DEVICE`]. A read waits as long as the TPM does.
    ///
    /// # Errors
    /// [`TpmError::Open`].
    pub fn open(path: &Path) -> Result<Self, TpmError> {
        let transport = Transport::device(path).map_err(|source| TpmError::Open { path: path.into(), source })?;
        Ok(Self { transport, password: vec![], kind: AkKind::default() })
    }

    /// The command socket of a software TPM.
    ///
    /// # Errors
    /// [`TpmError::Connect`].
    pub fn connect(address: SocketAddr) -> Result<Self, TpmError> {
        let failed = |source| TpmError::Connect { address: address.to_string(), source };
        Ok(Self { transport: Transport::socket(address).map_err(failed)?, password: vec![], kind: AkKind::default() })
    }

    /// With the password of the endorsement hierarchy; without this call it is empty, as it comes from the factory.
    #[must_use]
    pub fn with_endorsement_password(mut self, password: Vec<u8>) -> Self {
        self.password = password;
        self
    }

    /// With an attestation key of this kind.
    #[must_use]
    pub fn with_ak(mut self, kind: AkKind) -> Self {
        self.kind = kind;
        self
    }

    /// Everything for an envelope: a quote of `registers` with `qualifying`, which is [`eider_attest::Binding::short`].
    /// `log` and `issuers` (intermediates and root of the TPM's maker) are the caller's. `certificate` takes the place of that
    /// in the TPM, for TPMs that hold none. What is returned has been checked once.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn produce(
        &mut self,
        registers: &[u8],
        qualifying: &[u8; 32],
        log: Option<Vec<u8>>,
        certificate: Option<Vec<u8>>,
        issuers: Vec<Vec<u8>>,
    ) -> Result<Produced, TpmError> {
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => self.certificate()?,
        };
        let evidence = self.quote(registers, qualifying)?.encode();
        Ok(Produced { evidence, log, endorsements: [vec![certificate], issuers].concat() })
    }

    /// DER of the certificate that vouches for the attestation key: its own, if it is a cloud's, or else that of the
    /// endorsement key.
    ///
    /// # Errors
    /// As [`Tpm::ek_certificate`].
    pub fn certificate(&mut self) -> Result<Vec<u8>, TpmError> {
        let Some((_, index)) = self.kind.place() else { return self.ek_certificate() };
        self.stored_certificate(index)
    }

    /// DER of the certificate of an endorsement key, as the TPM holds it: of the RSA-2048 key, which most verifiers know; of the
    /// P-256 key, if there is none of that.
    ///
    /// # Errors
    /// [`TpmError::NoCertificate`], [`TpmError::Certificate`] and those of any command.
    pub fn ek_certificate(&mut self) -> Result<Vec<u8>, TpmError> {
        match self.stored_certificate(EkKind::Rsa2048.certificate()) {
            Err(TpmError::NoCertificate { .. }) => self.stored_certificate(EkKind::P256.certificate()),
            found => found,
        }
    }

    fn stored_certificate(&mut self, index: u32) -> Result<Vec<u8>, TpmError> {
        let all = self.stored(index)?;
        let der = stored_certificate(&all);
        let der = der.ok_or_else(|| TpmError::Certificate("it is not DER, or is cut off".into()))?.to_vec();
        certificate_key(&der).map_err(TpmError::Certificate)?;
        Ok(der)
    }

    /// What is stored at an index, all of it.
    fn stored(&mut self, index: u32) -> Result<Vec<u8>, TpmError> {
        let what = "TPM2_NV_ReadPublic";
        let public = match self.run(what, Command::new(code::NV_READ_PUBLIC).handle(index)) {
            Err(TpmError::Refused { code, .. }) => return Err(TpmError::NoCertificate { index, code }),
            public => public?,
        };
        let size = parse(what, || {
            let mut r = Reader::new(&public, "TPM2B_NV_PUBLIC");
            let mut r = Reader::new(r.sized("the index", FIELD_MAX)?, "TPMS_NV_PUBLIC");
            r.take(10)?;
            r.sized("its policy", FIELD_MAX)?;
            let size = r.u16()?;
            match size {
                0..=CERTIFICATE_MAX => Ok(size),
                _ => Err(ParseError::Length { what: "a certificate", found: size.into(), max: CERTIFICATE_MAX.into() }),
            }
        })?;
        let mut all = vec![];
        // Mostly its own password, which is empty, lets anybody read it; where not, that of the owner.
        let mut who = index;
        for offset in (0..size).step_by(NV_CHUNK.into()) {
            let what = "TPM2_NV_Read";
            let read = |who| {
                let command = Command::new(code::NV_READ).authorised(who, Auth::Password(&[]));
                command.handle(index).u16(NV_CHUNK.min(size - offset)).u16(offset)
            };
            let response = match self.run(what, read(who)) {
                Err(TpmError::Refused { code, .. }) if who == index && NOT_ALLOWED.contains(&code) => {
                    who = run::OWNER;
                    self.run(what, read(who))?
                }
                response => response?,
            };
            all.extend(parse(what, || Reader::new(&response, "stored data").sized("stored data", FIELD_MAX))?);
        }
        Ok(all)
    }

    /// `TPMT_PUBLIC` of the attestation key.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn ak(&mut self) -> Result<Vec<u8>, TpmError> {
        self.with_ak_key(|_, _, public| Ok(public))
    }

    /// `TPMT_PUBLIC` of a default endorsement key.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn ek(&mut self, kind: EkKind) -> Result<Vec<u8>, TpmError> {
        self.with_primary(&template::ek(kind), |_, _, public| Ok(public))
    }

    /// Registers of the SHA-256 bank.
    ///
    /// # Errors
    /// [`TpmError::Register`] if one is over 23 or the TPM has none in that bank, and those of any command.
    pub fn pcrs(&mut self, registers: &[u8]) -> Result<BTreeMap<u8, [u8; 32]>, TpmError> {
        let what = "TPM2_PCR_Read";
        let mut values = BTreeMap::new();
        for register in registers {
            if *register > 23 {
                return Err(TpmError::Register(*register));
            }
            let response = self.run(what, Command::new(code::PCR_READ).bytes(&selection(&[*register])))?;
            // The counter of changes, what was read of the selection, and a list of one.
            let value = parse(what, || {
                let mut r = Reader::new(&response, "the registers");
                r.u32()?;
                for _ in 0..r.u32()?.min(16) {
                    r.u16()?;
                    let len = r.u8()?;
                    r.take(len.into())?;
                }
                let found = r.u32()?;
                if found == 0 { Ok(None) } else { Ok(<[u8; 32]>::try_from(r.sized("a register", 32)?).ok()) }
            })?;
            values.insert(*register, value.ok_or(TpmError::Register(*register))?);
        }
        Ok(values)
    }

    /// A quote of registers, with their values.
    ///
    /// # Errors
    /// [`TpmError::Moving`] if the registers are never those that were quoted, and those of any command.
    pub fn quote(&mut self, registers: &[u8], qualifying: &[u8]) -> Result<Evidence, TpmError> {
        let what = "TPM2_Quote";
        self.with_ak_key(|tpm, handle, ak| {
            let mut last = String::new();
            for _ in 0..QUOTES {
                let command = Command::new(code::QUOTE).authorised(handle, Auth::Password(&[]));
                let command = command.sized(qualifying).u16(id::NULL).bytes(&selection(registers));
                let values = tpm.pcrs(registers)?;
                let response = tpm.run(what, command)?;
                let (quote, signature) = parse(what, || {
                    let mut r = Reader::new(&response, "the quote");
                    Ok((r.sized("the quote", FIELD_MAX)?.to_vec(), r.rest().to_vec()))
                })?;
                let pcrs = values.into_iter().map(|(index, value)| (index, ByteArray::new(value))).collect();
                let evidence = Evidence { ak: ak.clone(), quote, signature, pcrs };
                match evidence.check(qualifying) {
                    Ok(_) => return Ok(evidence),
                    Err(reason) if reason.code == Code::SignatureInvalid => last = reason.to_string(),
                    Err(reason) => return Err(TpmError::Unsound(reason.to_string())),
                }
            }
            Err(TpmError::Moving(QUOTES, last))
        })
    }

    /// Opens a credential that was made for one of this TPM's endorsement keys and this attestation key, and returns the secret.
    ///
    /// # Errors
    /// [`TpmError::Refused`] if it was made for other keys, and those of any command.
    pub fn activate(&mut self, credential: &Credential) -> Result<Vec<u8>, TpmError> {
        self.with_ak_key(|tpm, ak, _| {
            tpm.with_primary(&template::ek(EkKind::opens(credential)), |tpm, ek, _| {
                let session = tpm.policy_session()?;
                let opened = tpm.policy_secret(session).and_then(|()| tpm.open_credential(ak, ek, session, credential));
                // A session that was used ends with the command; one that was not must be flushed.
                if opened.is_err() {
                    let _ = tpm.flush(session);
                }
                opened
            })
        })
    }

    /// Whether the certificate is of an endorsement key of this TPM, so that a credential for it can be opened here.
    ///
    /// # Errors
    /// [`TpmError::OtherKey`] if not, and those of any command.
    pub fn holds(&mut self, certificate: &[u8]) -> Result<(), TpmError> {
        let certified = certificate_key(certificate).map_err(TpmError::Certificate)?;
        let ek = self.ek(EkKind::of(&certified))?;
        let ek = parse("TPM2_CreatePrimary", || Public::parse(&ek))?;
        if ek.key == certified { Ok(()) } else { Err(TpmError::OtherKey) }
    }

    /// Sets the password of the endorsement hierarchy, as tests of a software TPM do.
    ///
    /// # Errors
    /// [`TpmError`].
    #[cfg(feature = "swtpm")]
    pub fn set_endorsement_password(&mut self, password: &[u8]) -> Result<(), TpmError> {
        let command = Command::new(code::HIERARCHY_CHANGE_AUTH);
        let command = command.authorised(run::ENDORSEMENT, Auth::Password(&self.password)).sized(password);
        self.run("TPM2_HierarchyChangeAuth", command).map(|_| ())
    }

    /// Stores data at an index for anybody, or for the owner alone, to read, as clouds do.
    ///
    /// # Errors
    /// [`TpmError`].
    #[cfg(feature = "swtpm")]
    pub fn store(&mut self, index: u32, data: &[u8], anybody: bool) -> Result<(), TpmError> {
        let size = u16::try_from(data.len()).unwrap_or(u16::MAX);
        // TPMA_NV: the owner writes and reads it, and with AUTHREAD who knows its empty password; no lockout.
        let attributes: u32 = 1 << 1 | 1 << 17 | 1 << 25 | if anybody { 1 << 18 } else { 0 };
        let public = [
            &index.to_be_bytes()[..],
            &id::SHA256.to_be_bytes(),
            &attributes.to_be_bytes(),
            &[0, 0],
            &size.to_be_bytes(),
        ];
        let command = Command::new(code::NV_DEFINE_SPACE).authorised(run::OWNER, Auth::Password(&[]));
        self.run("TPM2_NV_DefineSpace", command.sized(&[]).sized(&public.concat()))?;
        for (offset, chunk) in (0..size).step_by(NV_CHUNK.into()).zip(data.chunks(NV_CHUNK.into())) {
            let command = Command::new(code::NV_WRITE).authorised(run::OWNER, Auth::Password(&[])).handle(index);
            self.run("TPM2_NV_Write", command.sized(chunk).u16(offset))?;
        }
        Ok(())
    }

    /// Keeps the attestation key in the TPM under a handle, as clouds do.
    ///
    /// # Errors
    /// [`TpmError`].
    #[cfg(feature = "swtpm")]
    pub fn keep_ak(&mut self, at: u32) -> Result<(), TpmError> {
        self.with_ak_key(|tpm, handle, _| {
            let command = Command::new(code::EVICT_CONTROL).authorised(run::OWNER, Auth::Password(&[]));
            tpm.run("TPM2_EvictControl", command.handle(handle).u32(at)).map(|_| ())
        })
    }

    /// The template of this project's own attestation key.
    #[cfg(feature = "swtpm")]
    pub fn ak_template(kind: AkKind) -> Vec<u8> {
        template::ak(kind == AkKind::Rsa2048)
    }

    /// Changes a register, as tests of a software TPM do.
    ///
    /// # Errors
    /// [`TpmError`].
    #[cfg(feature = "swtpm")]
    pub fn extend(&mut self, register: u8, digest: &[u8; 32]) -> Result<(), TpmError> {
        let command = Command::new(code::PCR_EXTEND).authorised(register.into(), Auth::Password(&[]));
        self.run("TPM2_PCR_Extend", command.u32(1).u16(id::SHA256).bytes(digest)).map(|_| ())
    }
}

/// Reads an event log, mostly [`EVENT_LOG`].
///
/// # Errors
/// [`TpmError::Log`], if it is longer than a verifier reads too.
pub fn read_log(path: &Path) -> Result<Vec<u8>, TpmError> {
    let failed = |why: String| TpmError::Log { path: path.into(), why };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut log = vec![];
    // The kernel's file says that it has no bytes, so it is read to see how many there are.
    let limit = u64::try_from(LOG_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut log).map_err(|e| failed(e.to_string()))?;
    if log.len() > LOG_MAX {
        return Err(failed(format!("it has more than {LOG_MAX} bytes")));
    }
    Ok(log)
}
