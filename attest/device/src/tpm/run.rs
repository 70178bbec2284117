//! Running commands: retries, sessions, and keys that are flushed again.

use std::time::Duration;

use eider_attest::tpm2::Credential;
use eider_attest::tpm2::parse::{ParseError, Reader, id};

use super::command::{Auth, Command, code, sized};
use super::template::{self, AkKind, Place};
use super::{Tpm, TpmError};

/// `TPM_RH_ENDORSEMENT`.
pub(super) const ENDORSEMENT: u32 = 0x4000_000b;
/// `TPM_RH_OWNER`.
pub(super) const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_NULL`.
const NULL: u32 = 0x4000_0007;
/// `TPM_SE_POLICY`.
const POLICY: u8 = 1;
/// `TPM_RC_RETRY` and `TPM_RC_TESTING`: ask again.
const BUSY: [u32; 2] = [0x922, 0x90a];
/// How often to ask again, and after what pause: 10 s, as a self-test may take.
const RETRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// The largest field of a response.
pub(super) const FIELD_MAX: usize = 4096;

impl Tpm {
    pub(super) fn policy_session(&mut self) -> Result<u32, TpmError> {
        let what = "TPM2_StartAuthSession";
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|e| TpmError::Random(e.to_string()))?;
        let command = Command::new(code::START_AUTH_SESSION).handle(NULL).handle(NULL).sized(&nonce).sized(&[]);
        let response = self.run(what, command.bytes(&[POLICY]).u16(id::NULL).u16(id::SHA256))?;
        parse(what, || Reader::new(&response, "the session").u32())
    }

    pub(super) fn policy_secret(&mut self, session: u32) -> Result<(), TpmError> {
        let password = self.password.clone();
        let command = Command::new(code::POLICY_SECRET).authorised(ENDORSEMENT, Auth::Password(&password));
        let command = command.handle(session).sized(&[]).sized(&[]).sized(&[]).u32(0);
        self.run("TPM2_PolicySecret", command).map(|_| ())
    }

    pub(super) fn open_credential(
        &mut self,
        ak: u32,
        ek: u32,
        session: u32,
        credential: &Credential,
    ) -> Result<Vec<u8>, TpmError> {
        let what = "TPM2_ActivateCredential";
        let command = Command::new(code::ACTIVATE_CREDENTIAL)
            .authorised(ak, Auth::Password(&[]))
            .authorised(ek, Auth::Policy(session))
            .sized(&credential.blob)
            .sized(&credential.secret);
        let response = self.run(what, command)?;
        parse(what, || Ok(Reader::new(&response, "the secret").sized("the secret", FIELD_MAX)?.to_vec()))
    }

    /// Makes a key of the endorsement hierarchy, lends its handle and `TPMT_PUBLIC`, and flushes it.
    pub(super) fn with_primary<T>(
        &mut self,
        template: &[u8],
        lend: impl FnOnce(&mut Self, u32, Vec<u8>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let what = "TPM2_CreatePrimary";
        let password = self.password.clone();
        let command = Command::new(code::CREATE_PRIMARY).authorised(ENDORSEMENT, Auth::Password(&password));
        // No password and no data in the key; nothing from outside, and no register at its creation.
        let command = command.sized(&[sized(&[]), sized(&[])].concat()).sized(template).sized(&[]).u32(0);
        let response = self.run(what, command)?;
        let (handle, public) = parse(what, || {
            let mut r = Reader::new(&response, "the key");
            Ok((r.u32()?, r.sized("the key", FIELD_MAX)?.to_vec()))
        })?;
        let result = lend(self, handle, public);
        let flushed = self.flush(handle);
        result.and_then(|value| flushed.map(|()| value))
    }

    /// The same with the attestation key, whosever it is.
    pub(super) fn with_ak_key<T>(
        &mut self,
        lend: impl FnOnce(&mut Self, u32, Vec<u8>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        match self.kind.place() {
            None => self.with_primary(&template::ak(self.kind == AkKind::Rsa2048), lend),
            Some((Place::Template(index), _)) => {
                let template = self.stored(index)?;
                self.with_primary(&template, lend)
            }
            Some((Place::Persistent(handle), _)) => {
                let what = "TPM2_ReadPublic";
                let response = self.run(what, Command::new(code::READ_PUBLIC).handle(handle))?;
                let public =
                    parse(what, || Ok(Reader::new(&response, "the key").sized("the key", FIELD_MAX)?.to_vec()))?;
                lend(self, handle, public)
            }
        }
    }

    pub(super) fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        self.run("TPM2_FlushContext", Command::new(code::FLUSH_CONTEXT).u32(handle)).map(|_| ())
    }

    /// Runs a command and returns its response without header: a handle, if the command makes one, and the parameters.
    pub(super) fn run(&mut self, what: &'static str, command: Command) -> Result<Vec<u8>, TpmError> {
        let bytes = command.encode();
        let mut tries = 0;
        let response = loop {
            let response = self.transport.exchange(&bytes).map_err(|source| TpmError::Io { command: what, source })?;
            let code = parse(what, || {
                let mut r = Reader::new(&response, "the response");
                r.take(6)?;
                r.u32()
            })?;
            match code {
                0 => break response,
                _ if BUSY.contains(&code) && tries < RETRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                _ => return Err(TpmError::Refused { command: what, code }),
            }
        };
        parse(what, || {
            let mut r = Reader::new(&response, "the response");
            r.take(10)?;
            if !command.is_authorised() {
                return Ok(r.rest().to_vec());
            }
            let handle = if command.code() == code::CREATE_PRIMARY { r.take(4)? } else { &[] };
            let len = r.u32()?;
            Ok([handle, r.take(usize::try_from(len).unwrap_or(usize::MAX))?].concat())
        })
    }
}

pub(super) fn parse<T>(command: &'static str, read: impl FnOnce() -> Result<T, ParseError>) -> Result<T, TpmError> {
    read().map_err(|source| TpmError::Response { command, source })
}
