//! Writing commands (TPM 2.0 Library, part 3).

/// Command codes, TPM 2.0 Library part 2, section 6.5.2.
pub(super) mod code {
    #[cfg(feature = "swtpm")]
    pub(crate) const EVICT_CONTROL: u32 = 0x120;
    #[cfg(feature = "swtpm")]
    pub(crate) const HIERARCHY_CHANGE_AUTH: u32 = 0x129;
    #[cfg(feature = "swtpm")]
    pub(crate) const NV_DEFINE_SPACE: u32 = 0x12a;
    pub(crate) const CREATE_PRIMARY: u32 = 0x131;
    #[cfg(feature = "swtpm")]
    pub(crate) const NV_WRITE: u32 = 0x137;
    pub(crate) const ACTIVATE_CREDENTIAL: u32 = 0x147;
    pub(crate) const NV_READ: u32 = 0x14e;
    pub(crate) const POLICY_SECRET: u32 = 0x151;
    pub(crate) const QUOTE: u32 = 0x158;
    pub(crate) const FLUSH_CONTEXT: u32 = 0x165;
    pub(crate) const NV_READ_PUBLIC: u32 = 0x169;
    pub(crate) const READ_PUBLIC: u32 = 0x173;
    pub(crate) const START_AUTH_SESSION: u32 = 0x176;
    pub(crate) const PCR_READ: u32 = 0x17e;
    #[cfg(feature = "swtpm")]
    pub(crate) const PCR_EXTEND: u32 = 0x182;
}

/// `TPM_RS_PW`: the password of a handle, as it is.
const PASSWORD: u32 = 0x4000_0009;
/// `TPM_ST_NO_SESSIONS`.
const PLAIN: u16 = 0x8001;
/// `TPM_ST_SESSIONS`.
const AUTHORISED: u16 = 0x8002;

/// What shows that a handle may be used.
#[derive(Clone, Copy, Debug)]
pub(super) enum Auth<'a> {
    /// Its password.
    Password(&'a [u8]),
    /// A policy session that satisfies its policy; it ends with the command.
    Policy(u32),
}

/// A command that is being written.
#[derive(Debug)]
pub(super) struct Command {
    code: u32,
    handles: Vec<u8>,
    auths: Vec<u8>,
    parameters: Vec<u8>,
}

impl Command {
    pub(super) fn new(code: u32) -> Self {
        Self { code, handles: vec![], auths: vec![], parameters: vec![] }
    }

    /// A handle that needs no authorisation.
    pub(super) fn handle(mut self, handle: u32) -> Self {
        self.handles.extend(handle.to_be_bytes());
        self
    }

    /// A handle and why it may be used. These come before handles without.
    pub(super) fn authorised(mut self, handle: u32, auth: Auth<'_>) -> Self {
        let (session, attributes, secret) = match auth {
            Auth::Password(password) => (PASSWORD, 1, password),
            Auth::Policy(session) => (session, 0, &[][..]),
        };
        self.auths.extend(session.to_be_bytes());
        self.auths.extend(sized(&[]));
        self.auths.push(attributes);
        self.auths.extend(sized(secret));
        self.handle(handle)
    }

    /// Bytes as they are.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend(bytes);
        self
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A `TPM2B`.
    pub(super) fn sized(self, bytes: &[u8]) -> Self {
        self.bytes(&sized(bytes))
    }

    /// The command's code.
    pub(super) fn code(&self) -> u32 {
        self.code
    }

    /// Whether its response has a part for sessions.
    pub(super) fn is_authorised(&self) -> bool {
        !self.auths.is_empty()
    }

    /// The bytes for the TPM.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = self.handles.clone();
        if self.is_authorised() {
            body.extend(length(self.auths.len()).to_be_bytes());
            body.extend(&self.auths);
        }
        body.extend(&self.parameters);
        let tag = if self.is_authorised() { AUTHORISED } else { PLAIN };
        let size = length(body.len() + 10);
        [&tag.to_be_bytes()[..], &size.to_be_bytes(), &self.code.to_be_bytes(), &body].concat()
    }
}

/// Commands have a few kilobytes.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Bytes after their length in 2 bytes. What is too long for that gets a length that the TPM refuses.
pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

/// `TPML_PCR_SELECTION` of registers below 24 in the SHA-256 bank.
pub(super) fn selection(registers: &[u8]) -> Vec<u8> {
    let mut bits = [0_u8; 3];
    for register in registers {
        if let Some(byte) = bits.get_mut(usize::from(register / 8)) {
            *byte |= 1 << (register % 8);
        }
    }
    [&1_u32.to_be_bytes()[..], &0x000b_u16.to_be_bytes(), &[3], &bits].concat()
}
