//! What the escape drill tries.

/// A way out of a process whose first wall is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Escape {
    /// Reading a file.
    Open,
    /// Making a file.
    Write,
    /// Connecting to a port of this machine.
    Connect,
    /// Becoming another program.
    Exec,
    /// Making a process.
    Fork,
    /// Tracing the parent.
    Trace,
    /// Signalling the parent.
    Kill,
    /// Reading the parent's memory.
    ReadParent,
    /// A ring of system calls that no filter sees.
    IoUring,
    /// Memory that is written and run.
    WriteCode,
}

impl Escape {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::Write,
        Self::Connect,
        Self::Exec,
        Self::Fork,
        Self::Trace,
        Self::Kill,
        Self::ReadParent,
        Self::IoUring,
        Self::WriteCode,
    ];
}
