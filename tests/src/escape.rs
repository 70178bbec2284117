//! What the escape drill tries, and how its cell is told.

use std::fmt;
use std::str::FromStr;

use eider_sandbox::Wall;

macro_rules! escapes {
    ($($(#[$doc:meta])* $name:ident $word:literal,)*) => {
        /// A way out of a process whose first wall is open.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Escape { $($(#[$doc])* $name,)* }

        impl Escape {
            /// All.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

escapes! {
    /// One more descriptor.
    Descriptor "descriptor",
    /// Two descriptors, in the place of one that was closed, as all below.
    Pipe "pipe",
    /// Reading a file of the machine.
    Open "open",
    /// Making a file.
    Create "create",
    /// Making a file with something in it.
    Write "write",
    /// Opening the engine's image again, for writing.
    Image "image",
    /// Opening the engine's image again, for reading.
    ImageAgain "image-again",
    /// Connecting to a TCP port of this machine.
    Connect "connect",
    /// Offering a TCP port.
    Listen "listen",
    /// Sending a datagram to a UDP port of this machine.
    Datagram "datagram",
    /// Connecting to a local socket without a file.
    Abstract "abstract",
    /// Connecting to a local socket that has a file.
    SocketFile "socket-file",
    /// Becoming another program.
    Exec "exec",
    /// Becoming a program that it wrote itself, in memory.
    ExecMemory "exec-memory",
    /// Having more rights as another program.
    Regain "regain",
    /// Making a process.
    Fork "fork",
    /// Making a process in a new user and network namespace, where it would have all rights.
    Namespace "namespace",
    /// Tracing the parent.
    Trace "trace",
    /// Signalling the parent.
    Signal "signal",
    /// Reading the parent's memory.
    ReadParent "read-parent",
    /// Taking a descriptor of the parent.
    TakeDescriptor "take-descriptor",
    /// Setting a resource limit of the parent.
    LimitParent "limit-parent",
    /// Finding a System V memory segment of the parent.
    Segment "segment",
    /// Reading a key of the parent's session.
    SessionKey "session-key",
    /// Reading a key of the parent's user.
    UserKey "user-key",
    /// A ring of system calls that no filter sees.
    IoUring "io-uring",
    /// Stopping the kernel where it touches memory.
    UserFault "user-fault",
    /// What only root may do.
    Rights "rights",
    /// Leaving the scheduler's idle class.
    Priority "priority",
    /// Changing what the kernel thinks of the process.
    Setting "setting",
    /// Running memory that was mapped writable and executable.
    WriteCode "write-code",
    /// Running memory that was written first and made executable then.
    ProtectCode "protect-code",
    /// A system call of the 32-bit ABI, whose numbers mean something else.
    OtherAbi "other-abi",
    /// More private memory than any job may have.
    Memory "memory",
    /// As much that is shared, with nobody.
    SharedMemory "shared-memory",
    /// As much that says it is a stack.
    StackMemory "stack-memory",
    /// As much by stretching the stack that the process was given.
    StretchStack "stretch-stack",
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Escape {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|e| e.word() == s).ok_or_else(|| format!("there is no escape {s:?}"))
    }
}

/// What a cell of the drill is to try and with which walls. It is told by the name of its program, since its arguments are
/// those of any cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drill {
    /// Walls that are left out.
    pub without: Vec<Wall>,
    /// What is tried.
    pub escape: Escape,
    /// The parent's process.
    pub parent: u32,
    /// An address in its memory.
    pub address: usize,
    /// A TCP port and a UDP port that it has.
    pub ports: (u16, u16),
    /// Who it becomes first.
    pub user: u32,
}

impl Drill {
    /// The name of the program, of at most 255 bytes.
    pub fn name(&self) -> String {
        let without: Vec<_> = self.without.iter().map(ToString::to_string).collect();
        let Self { escape, parent, address, ports: (tcp, udp), user, .. } = self;
        format!("eider-drill.{escape}.{}.{parent}.{address}.{tcp}.{udp}.{user}", without.join("+"))
    }

    /// Reads [`Drill::name`]; `None` of any other.
    pub fn parse(name: &str) -> Option<Self> {
        let mut words = name.strip_prefix("eider-drill.")?.split('.');
        let escape = words.next()?.parse().ok()?;
        let without = words.next()?.split('+').filter(|w| !w.is_empty());
        Some(Self {
            escape,
            without: without.map(|w| w.parse().ok()).collect::<Option<_>>()?,
            parent: words.next()?.parse().ok()?,
            address: words.next()?.parse().ok()?,
            ports: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
            user: words.next()?.parse().ok()?,
        })
    }

    /// The name of the parent's local socket without a file and of its keys, and the number of its memory segment.
    pub fn secret(&self) -> (String, i32) {
        let port = self.ports.0;
        (format!("eider-drill-{port}"), 0x0e1d_0000 | i32::from(port))
    }
}
