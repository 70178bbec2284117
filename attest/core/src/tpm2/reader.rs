//! Bounded reading from the front of a slice.

/// Why bytes are not the structure that they should be.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ParseError {
    /// Too short.
    #[error("{what} ends {missing} bytes too early")]
    Short {
        /// Which structure.
        what: &'static str,
        /// By how much.
        missing: usize,
    },
    /// Too long.
    #[error("{left} bytes after {what}")]
    Long {
        /// Which structure.
        what: &'static str,
        /// By how much.
        left: usize,
    },
    /// A value that is not known, or not allowed here.
    #[error("{what} is {found:#06x}, which is not read here")]
    Value {
        /// Which field.
        what: &'static str,
        /// What it holds.
        found: u64,
    },
    /// A length that cannot be.
    #[error("{what} has {found} bytes; at most {max} are read")]
    Length {
        /// Which field.
        what: &'static str,
        /// What it says.
        found: usize,
        /// The most.
        max: usize,
    },
}

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; errors name `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(ParseError::Short { what: self.what, missing: len - self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let short = ParseError::Short { what: self.what, missing: N.saturating_sub(self.rest.len()) };
        let (head, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes, big endian.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big endian.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big endian.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A `TPM2B`: two bytes of length, then at most `max` bytes.
    ///
    /// # Errors
    /// [`ParseError::Length`], [`ParseError::Short`].
    pub fn sized(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], ParseError> {
        let found = usize::from(self.u16()?);
        if found > max {
            return Err(ParseError::Length { what, found, max });
        }
        self.take(found)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`ParseError::Long`].
    pub fn end(self) -> Result<(), ParseError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ParseError::Long { what: self.what, left }),
        }
    }
}
