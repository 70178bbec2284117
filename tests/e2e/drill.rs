//! The escape drill: an engine that may make system calls, which is what a broken first wall would give it, in a cell with
//! all walls of the second, with each of them left out, with each of them alone, and with none: there each way out must be
//! one, or a wall that stops it would show nothing.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::{fs, ptr};

use eider_node::EngineBinary;
use eider_sandbox::limits::{COMPILE_MEMORY, IMAGE_BYTES, READ_FACTOR};
use eider_sandbox::{Cell, CellCommand, CellError, Finished, Image, JobSpec, Variant, Wall, probe_walls};
use eider_tests::{Drill, Escape, NoBroker, eider, process, programs, target_dir};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Reports at once, which in the drill is to try what its program's name says.
const PRISONER: &str = r#";; Makes one report.
;; ends: completed
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $report (i32.const 0))
  (call $done (i64.const 0)))"#;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Up {
    /// All, without some.
    Without(&'static [Wall]),
    /// These alone.
    Only(&'static [Wall]),
}

impl Up {
    fn left_out(self) -> Vec<Wall> {
        let is_out = |w: &Wall| match self {
            Self::Without(walls) => walls.contains(w),
            Self::Only(walls) => !walls.contains(w),
        };
        Wall::ALL.into_iter().filter(is_out).collect()
    }
}

/// The columns of the table: all walls, all but one, one alone, none.
const COLUMNS: [(&str, Up); 10] = [
    ("all", Up::Without(&[])),
    ("-landlock", Up::Without(&[Wall::Landlock])),
    ("-namespaces", Up::Without(&[Wall::Namespaces])),
    ("-seccomp", Up::Without(&[Wall::Seccomp])),
    ("seccomp", Up::Only(&[Wall::Seccomp])),
    ("landlock", Up::Only(&[Wall::Landlock])),
    ("namespaces", Up::Only(&[Wall::Namespaces])),
    ("rlimits", Up::Only(&[Wall::Rlimits])),
    ("privileges", Up::Only(&[Wall::Privileges])),
    ("none", Up::Only(&[])),
];

/// What each way out meets behind which walls, as root on a kernel that has all of them. Where nothing stops it, it stays in
/// what the walls leave to a cell: its own processes, in an empty network, with its own memory.
const TABLE: &str = "\
descriptor      killed killed killed EMFILE       killed done   done         EMFILE  done   done
pipe            killed killed killed EMFILE       killed done   done         EMFILE  done   done
open            killed killed killed ENOENT       killed EACCES ENOENT       done    done   done
create          killed killed killed ENOENT       killed EACCES ENOENT       done    done   done
write           killed killed killed ENOENT       killed EACCES ENOENT       SIGXFSZ done   done
image           killed killed killed ENOENT       killed EACCES ENOENT       done    done   done
image-again     killed killed killed ENOENT       killed EACCES ENOENT       done    done   done
connect         killed killed killed EACCES       killed EACCES ENETUNREACH  done    done   done
listen          killed killed killed EACCES       killed EACCES done         done    done   done
datagram        killed killed killed ENETUNREACH  killed done   ENETUNREACH  done    done   done
abstract        killed killed killed ECONNREFUSED killed EPERM  ECONNREFUSED done    done   done
socket-file     killed killed killed ENOENT       killed done   ENOENT       done    done   done
exec            killed killed killed ENOENT       killed EACCES ENOENT       done    done   done
exec-memory     killed killed killed EFBIG        killed done   done         SIGXFSZ done   done
regain          killed killed killed EFBIG        killed done   done         SIGXFSZ EPERM  done
fork            killed killed killed done         killed done   done         done    done   done
namespace       killed killed killed ENOSPC       killed done   ENOSPC       done    done   done
trace           killed killed killed ESRCH        killed EPERM  ESRCH        done    EPERM  done
signal          killed killed killed ESRCH        killed EPERM  ESRCH        done    done   done
read-parent     killed killed killed ESRCH        killed EPERM  ESRCH        done    EPERM  done
take-descriptor killed killed killed ESRCH        killed EPERM  ESRCH        EMFILE  EPERM  done
limit-parent    killed killed killed ESRCH        killed done   ESRCH        done    done   done
segment         killed killed killed ENOENT       killed done   ENOENT       done    done   done
session-key     killed killed killed ENOKEY       killed done   done         done    ENOKEY done
user-key        killed killed killed ENOKEY       killed done   ENOKEY       done    done   done
io-uring        killed killed killed done         killed done   done         done    done   done
user-fault      killed killed killed EPERM        killed done   EPERM        done    EPERM  done
rights          killed killed killed EPERM        killed done   done         done    EPERM  done
priority        killed killed killed EPERM        killed done   EPERM        done    EPERM  done
setting         killed killed killed done         killed done   done         done    done   done
write-code      killed killed killed done         killed done   done         done    done   done
protect-code    killed killed killed done         killed done   done         done    done   done
other-abi       killed killed killed done         killed done   done         done    done   done
memory          ENOMEM ENOMEM ENOMEM ENOMEM       done   done   done         ENOMEM  done   done
shared-memory   killed killed killed done         killed done   done         done    done   done
stack-memory    killed killed killed done         killed done   done         done    done   done
stretch-stack   EPERM  EPERM  EPERM  EPERM        done   done   done         EPERM   done   done
";

/// What this machine has less of than the table's, and which cells of it are then otherwise.
struct Machine {
    is_root: bool,
    landlock: i32,
    seals_memory: bool,
    /// A container's filter or a setting of the kernel may forbid what an ordinary machine allows.
    is_free: bool,
}

impl Machine {
    fn this() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let is_free = |file: &str| fs::read_to_string(file).map_or(true, |n| n.trim() == "0");
        let forbid = ["yama/ptrace_scope", "io_uring_disabled"].map(|f| format!("/proc/sys/kernel/{f}"));
        Self {
            is_root: rustix::process::geteuid().is_root(),
            landlock: outside::landlock(),
            seals_memory: outside::seals_memory(),
            is_free: status.contains("Seccomp:\t0") && forbid.iter().all(|file| is_free(file)),
        }
    }

    /// What is to be expected here instead of what the table says, with the reason.
    fn otherwise(&self, escape: Escape, up: Up) -> Option<(&'static str, &'static str)> {
        let left_out = up.left_out();
        let has = |wall| !left_out.contains(&wall);
        let seccomp = has(Wall::Seccomp);
        match escape {
            Escape::Fork if !self.is_root && has(Wall::Rlimits) && !seccomp => {
                Some(("EAGAIN", "the processes of an ordinary user are counted"))
            }
            Escape::Namespace if !self.is_root && up == Up::Only(&[Wall::Rlimits]) => {
                Some(("EAGAIN", "the processes of an ordinary user are counted"))
            }
            Escape::StretchStack if has(Wall::Rlimits) && !self.seals_memory => {
                Some(("done", "this kernel cannot seal memory (Linux 6.10)"))
            }
            Escape::Listen | Escape::Connect if self.landlock < 4 && has(Wall::Landlock) && !seccomp => {
                let alone = !has(Wall::Namespaces) || escape == Escape::Listen;
                Some((if alone { "done" } else { "ENETUNREACH" }, "this kernel's Landlock knows no TCP (Linux 6.7)"))
            }
            Escape::Abstract | Escape::Signal if self.landlock < 6 && up == Up::Only(&[Wall::Landlock]) => {
                Some(("done", "this kernel's Landlock has no scopes (Linux 6.12)"))
            }
            _ => None,
        }
    }

    /// Whether it must succeed here without walls: of an ordinary user, or in a container, the machine itself forbids some.
    fn must_succeed(&self, escape: Escape) -> bool {
        let of_root = [Escape::UserFault, Escape::Rights, Escape::Regain, Escape::Priority];
        let forbidden = [
            Escape::Namespace,
            Escape::Trace,
            Escape::ReadParent,
            Escape::TakeDescriptor,
            Escape::SessionKey,
            Escape::UserKey,
            Escape::IoUring,
            Escape::OtherAbi,
        ];
        (self.is_root || !of_root.contains(&escape)) && (self.is_free || !forbidden.contains(&escape))
    }
}

/// What there is outside of a cell to be found, and its program.
struct Outside {
    dir: tempfile::TempDir,
    command: CellCommand,
    image: Image,
    drill: Drill,
    _listeners: (TcpListener, UdpSocket, UnixListener, UnixListener),
    segment: i32,
    keys: [libc::c_long; 2],
}

/// In the parent's memory.
static SECRET: u8 = 42;

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = target_dir().join("eider-drill");
        let image = programs::image(&dir.path().join("engines"), &CellCommand::new(&program), PRISONER);
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let drill = Drill {
            without: vec![],
            escape: Escape::Open,
            parent: std::process::id(),
            address: ptr::from_ref(&SECRET).addr(),
            ports: (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()),
            user: 0,
        };
        let (secret, number) = drill.secret();
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&secret).unwrap()).unwrap();
        let shown = UnixListener::bind(dir.path().join("socket")).unwrap();
        let segment = outside::segment(number).unwrap();
        let keys = outside::keys(&secret);
        let command = CellCommand { idle: true, ..CellCommand::new(program) };
        Self { dir, command, image, drill, _listeners: (tcp, udp, hidden, shown), segment, keys }
    }

    /// What became of it: `done`, `killed` by seccomp, the name of an errno, or how the cell died.
    async fn attempt(&self, drill: &Drill) -> String {
        let path = self.dir.path().join(drill.name());
        symlink(&self.command.program, &path).unwrap();
        let command = CellCommand { program: path.clone(), ..self.command.clone() };
        let cell = Cell::spawn(&command, &self.image).await.unwrap();
        let how = match cell.run(programs::job(&[]), &mut NoBroker).await {
            Err(CellError::Died(how)) => how,
            other => format!("unexpected: {other:?}"),
        };
        fs::remove_file(path).unwrap();
        let _ = fs::remove_file(self.dir.path().join("made"));
        let _ = fs::remove_file(self.dir.path().join("written"));
        word(drill.escape, &how)
    }

    /// How a job ends whose cell says this so many times.
    async fn say(&self, times: u32, bytes: &[u8], job: JobSpec) -> Result<Finished, CellError> {
        let name: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let path = self.dir.path().join(format!("eider-drill-says.{times}.{name}"));
        symlink(&self.command.program, &path).unwrap();
        let cell = Cell::spawn(&CellCommand { program: path, ..self.command.clone() }, &self.image).await.unwrap();
        cell.run(job, &mut NoBroker).await
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        outside::remove(self.segment, self.keys);
    }
}

/// From how a cell died and what it said last.
fn word(escape: Escape, how: &str) -> String {
    let said = how.split_once("drill: ").map(|(_, said)| said.trim());
    if let Some(number) = said.and_then(|s| s.strip_prefix("errno ")) {
        return outside::errno(number.parse().unwrap());
    }
    let ended = |status: &str, signal: &str| how.contains(status) || how.contains(signal);
    match (escape, how) {
        _ if said == Some("done") => "done".into(),
        _ if how.contains("ended by its jail") || how.starts_with("signal: 31 ") => "killed".into(),
        _ if ended("ended by signal 25", "signal: 25 ") => "SIGXFSZ".into(),
        _ if ended("ended by signal 11", "signal: 11 ") => "SIGSEGV".into(),
        (Escape::Exec, "exit status: 0") => "done".into(),
        (Escape::ExecMemory, "exit status: 42" | "exit status: 43") => "done".into(),
        (Escape::Regain, "exit status: 42") => "done".into(),
        (Escape::Regain, "exit status: 43") => "EPERM".into(),
        _ => how.into(),
    }
}

mod outside {
    //! What the drill's parent asks of the kernel.
    #![allow(unsafe_code)]

    use std::ffi::CString;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::{io, ptr};

    pub(super) fn segment(number: i32) -> io::Result<i32> {
        // SAFETY: numbers alone.
        let id = unsafe { libc::shmget(number, 4096, libc::IPC_CREAT | 0o600) };
        if id == -1 { Err(io::Error::last_os_error()) } else { Ok(id) }
    }

    pub(super) fn remove(segment: i32, keys: [libc::c_long; 2]) {
        // SAFETY: removing asks for no buffer.
        unsafe {
            libc::shmctl(segment, libc::IPC_RMID, ptr::null_mut());
            for key in keys {
                libc::syscall(libc::SYS_keyctl, libc::KEYCTL_INVALIDATE, key);
            }
        }
    }

    /// One in a session of this thread, which its cells inherit, and one of this user.
    pub(super) fn keys(name: &str) -> [libc::c_long; 2] {
        let name = CString::new(name).unwrap();
        // SAFETY: strings that live on.
        unsafe {
            libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>());
            [libc::KEY_SPEC_SESSION_KEYRING, libc::KEY_SPEC_USER_KEYRING].map(|ring| {
                libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), c"secret".as_ptr(), 6, ring)
            })
        }
    }

    /// The version of the kernel's Landlock.
    pub(super) fn landlock() -> i32 {
        const VERSION: u32 = 1;
        // SAFETY: asking for the version takes no ruleset.
        let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, VERSION) };
        i32::try_from(version).unwrap_or(0)
    }

    /// Gives all children a descriptor.
    pub(super) fn leave_open(file: &std::fs::File) {
        // SAFETY: it is another one, and stays open.
        assert!(unsafe { libc::dup(file.as_raw_fd()) } != -1);
    }

    pub(super) fn seals_memory() -> bool {
        // SAFETY: seals nothing.
        unsafe { libc::syscall(libc::SYS_mseal, 0, 0, 0) == 0 }
    }

    pub(super) fn filtered(command: &mut std::process::Command, filter: seccompiler::BpfProgram) {
        // SAFETY: between fork and exec it makes two system calls, and memory of its own only for an error.
        unsafe {
            command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::Other.into()));
        }
    }

    /// The name of those that the table has.
    pub(super) fn errno(number: i32) -> String {
        let name = match number {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EINVAL => "EINVAL",
            libc::EMFILE => "EMFILE",
            libc::EFBIG => "EFBIG",
            libc::ENOSPC => "ENOSPC",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::ENOKEY => "ENOKEY",
            libc::ENOSYS => "ENOSYS",
            _ => return format!("errno-{number}"),
        };
        name.into()
    }
}

#[tokio::test]
async fn each_way_out_meets_the_walls_that_the_table_says() {
    let (outside, machine) = (Outside::new(), Machine::this());
    let stands = probe_walls(&CellCommand::new(eider())).await.unwrap();
    let expected: HashMap<&str, Vec<&str>> = TABLE
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (words[0], words[1..].to_vec()))
        .collect();
    assert_eq!(expected.len(), Escape::ALL.len());
    let mut table = format!("{:<16}", "");
    for (name, _) in COLUMNS {
        let _ = write!(table, "{name:<13}");
    }
    let (mut notes, mut wrong) = (vec![], vec![]);
    for escape in Escape::ALL.iter().copied() {
        let _ = write!(table, "\n{escape:<16}");
        let bare = outside.attempt(&Drill { escape, without: Wall::ALL.to_vec(), ..outside.drill.clone() }).await;
        let is_tried = bare == "done";
        if !is_tried {
            notes.push(format!("NOT TRIED here, for without walls too it ends as {bare}: {escape}"));
            if machine.must_succeed(escape) {
                wrong.push(format!("{escape} without walls: {bare}"));
            }
        }
        for ((name, up), expected) in COLUMNS.into_iter().zip(&expected[escape.to_string().as_str()]) {
            let left_out = up.left_out();
            let missing = Wall::ALL.into_iter().find(|w| !left_out.contains(w) && !stands.up.contains_key(w));
            if let Some(wall) = missing {
                notes.push(format!("NOT TRIED, for this machine has no {wall}: {escape}, {name}"));
                let _ = write!(table, "{:<13}", "-");
                continue;
            }
            let got = outside.attempt(&Drill { escape, without: left_out, ..outside.drill.clone() }).await;
            let other = machine.otherwise(escape, up);
            if let Some((other, why)) = other {
                notes.push(format!("{other} and not {expected} here, for {why}: {escape}, {name}"));
            }
            let expected = other.map_or(*expected, |(other, _)| other);
            // What cannot be done here at all is not to be done behind walls either.
            if got != expected && (is_tried || got == "done") {
                wrong.push(format!("{escape}, {name}: {got}, expected {expected}"));
            }
            let _ = write!(table, "{:<13}", got.replace(' ', "_"));
        }
    }
    println!("{table}\n{}", notes.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(fs::read_dir(outside.dir.path()).unwrap().count(), 2, "the images and the socket alone");
}

/// Root's processes are not counted; whoever is root becomes somebody else here.
#[tokio::test]
async fn an_ordinary_users_cell_makes_no_process_behind_its_limits_alone() {
    let outside = Outside::new();
    if !rustix::process::geteuid().is_root() {
        return println!("the table has it: this is no root");
    }
    open_to_all(outside.dir.path());
    for escape in [Escape::Fork, Escape::Namespace] {
        for (up, expected) in [(Up::Only(&[Wall::Rlimits]), "EAGAIN"), (Up::Only(&[]), "done")] {
            let drill = Drill { escape, without: up.left_out(), user: 65534, ..outside.drill.clone() };
            assert_eq!(outside.attempt(&drill).await, expected, "{escape}, {up:?}");
        }
    }
}

fn open_to_all(path: &Path) {
    let all = |execute| fs::Permissions::from_mode(if execute { 0o755 } else { 0o644 });
    fs::set_permissions(path, all(path.is_dir())).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|e| !e.path().is_symlink()) {
        open_to_all(&entry.path());
    }
}

/// What the kernel itself says of a process that is to have all walls: no rights, a filter, these limits in bytes, no descriptor
/// but such, and namespaces of its own with a root in which are these files; whether it has namespaces.
fn has_walls(pid: u32, data: u64, file_size: u64, is_its_own: impl Fn(&str) -> bool, files: &[&str]) -> bool {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = file("status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let limits = file("limits");
    for (name, most) in [
        ("Max core file size", 0),
        ("Max file size", file_size),
        ("Max open files", 1),
        ("Max processes", 0),
        ("Max stack size", 8 << 20),
        ("Max data size", data + (272 << 20)),
    ] {
        let words = limits.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        let most = most.to_string();
        assert_eq!(words.split_whitespace().take(2).collect::<Vec<_>>(), [most.as_str(); 2], "{name}");
    }
    for open in process::descriptors(pid) {
        assert!(open.starts_with("socket:") || open.starts_with("pipe:") || is_its_own(&open), "{open}");
    }
    let [own, others] = [pid, std::process::id()].map(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap());
    if own == others {
        return false;
    }
    for kind in ["user", "net", "mnt", "ipc", "pid", "uts", "cgroup"] {
        let [own, others] = [pid, std::process::id()].map(|pid| fs::read_link(format!("/proc/{pid}/ns/{kind}")));
        assert_ne!(own.unwrap(), others.unwrap(), "{kind}");
    }
    let mounts = file("mounts");
    let mounts: Vec<_> = mounts.lines().collect();
    assert!(mounts[0].starts_with("none / tmpfs ro,nosuid,nodev,noexec,"), "{mounts:?}");
    assert_eq!(mounts.len(), 1 + files.len(), "{mounts:?}");
    for (mount, file) in mounts[1..].iter().zip(files) {
        assert!(mount.contains(&format!(" /{file} ")) && mount.contains(" ro,nosuid,nodev"), "{mount}");
    }
    let there: Vec<_> = fs::read_dir(format!("/proc/{pid}/root")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(there, files);
    true
}

#[tokio::test]
async fn a_cell_has_nothing_but_its_socket_its_window_its_words_and_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let command = CellCommand { idle: true, ..CellCommand::new(eider()) };
    let image = programs::image(dir.path(), &command, &programs::text("good"));
    // Whoever starts a worker may leave it more than it asks for.
    outside::leave_open(&fs::File::open("/etc/passwd").unwrap());
    let cell = Cell::spawn(&command, &image).await.unwrap();
    let outer = cell.pid().unwrap();
    let inner = process::descendants(outer).first().copied().unwrap_or(outer);
    for thread in process::threads(inner) {
        let stat = fs::read_to_string(thread.join("stat")).unwrap();
        let words: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!((words[16], words[38]), ("19", "5"), "niceness, and the idle class: {stat}");
    }
    // The image as the parent passed it, and as the cell has opened it in a root of its own.
    let own = |open: &str| open.starts_with("/memfd:eider-window") || open.ends_with(".cwasm") || open == "/image";
    let spaces = has_walls(inner, command.memory, 0, own, &["image"]);
    assert_eq!(spaces, cell.walls().up.contains_key(&Wall::Namespaces), "{:?}", cell.walls());
    if !spaces {
        println!("NOT TRIED: this machine gives no namespaces: {:?}", cell.walls().missing);
    }
}

/// A compiler reads a stranger's bytes, so it is where an engine would be: looked at while it compiles the largest at hand.
#[tokio::test]
async fn a_compiler_has_nothing_but_its_socket_its_words_what_it_reads_and_what_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("the-compiler-that-is-looked-at");
    symlink(eider(), &program).unwrap();
    outside::leave_open(&fs::File::open("/etc/passwd").unwrap());
    let engine = EngineBinary::built_in().unwrap().bytes().unwrap();
    let (cache, command) = (dir.path().join("engines"), CellCommand::new(&program));
    let compiling = std::thread::spawn(move || programs::compile(&cache, &command, &engine, Variant::Plain));
    let sealed = |pid: &u32| {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        file("cmdline").contains("the-compiler-that-is-looked-at") && file("status").contains("Seccomp:\t2")
    };
    let pid = process::eventually(|| {
        let all = process::descendants(std::process::id());
        all.into_iter().find(sealed).ok_or_else(|| "no compiler is behind a filter".into())
    })
    .await;
    let own = |open: &str| open.starts_with("/memfd:eider-component") || open.starts_with("/memfd:eider-image");
    let spaces = has_walls(pid, COMPILE_MEMORY, IMAGE_BYTES, own, &[]);
    if !spaces {
        println!("NOT TRIED: this machine gives no namespaces");
    }
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert!(compiling.join().unwrap().is_err(), "it is killed");
}

/// What a cell says that is no cell any more, in the wire's own form (`host/sandbox/src/wire.rs`).
#[tokio::test]
async fn a_parent_believes_nothing_that_a_cell_should_not_say() {
    const MESSAGE: u8 = 2;
    let outside = Outside::new();
    let frame = |payload: &[u8]| [&[MESSAGE][..], &(payload.len() as u32).to_le_bytes(), payload].concat();
    // In CBOR: a map of one, the variant's name, and a map of its three fields.
    let read = |index: u8, offset: u64, length: u32| {
        let (offset, length) = (offset.to_be_bytes(), length.to_be_bytes());
        let parts: [&[u8]; 6] =
            [b"\xa1\x64Read\xa3\x65index", &[index], b"\x66offset\x1b", &offset, b"\x66length\x1a", &length];
        frame(&parts.concat())
    };
    const SIZE: u64 = 64 << 20;
    let lies = [
        ("a frame of 4 GiB", vec![MESSAGE, 255, 255, 255, 255]),
        ("a frame of no kind", vec![7, 0, 0, 0, 0]),
        ("no CBOR", frame(b"\xff\xff\xff")),
        ("an input that is not granted", read(1, 0, 1)),
        ("bytes past an input's end", read(0, SIZE, 1)),
        ("bytes past all numbers", read(0, u64::MAX, 2)),
        ("more than the window holds", read(0, 0, (16 << 20) + 1)),
        ("that it is ready, again", frame(b"\xa1\x65Ready\xa2\x62up\xa0\x67missing\xa0")),
    ];
    for (what, lie) in lies {
        let ended = outside.say(1, &lie, programs::job(&[SIZE])).await;
        assert!(matches!(ended, Err(CellError::Protocol)), "{what}: {ended:?}");
    }
    // The same frame without a lie, so that it is the lie that was found; and what it said beside is dropped.
    let honest = outside.say(1, &read(0, 0, 1), programs::job(&[SIZE])).await;
    let Err(CellError::Died(how)) = honest else { panic!("it ends by itself: {honest:?}") };
    assert!(how.contains("more words") && how.len() < 2100, "{} bytes: {how}", how.len());
    // What is no lie by itself, until it is more than the job may have.
    const BULK: u8 = 1;
    let (result, reads) = ([BULK, 3, 0, 0, 0, 1, 2, 3], READ_FACTOR as u32);
    let small = || JobSpec { result: 4, ..programs::job(&[1]) };
    for (what, times, said, is_too_much) in [
        ("three bytes of a result", 1, result.to_vec(), false),
        ("six, of four", 1, [result, result].concat(), true),
        ("all reads that an input of one byte may have", reads, read(0, 0, 1), false),
        ("one more", reads + 1, read(0, 0, 1), true),
    ] {
        let ended = outside.say(times, &said, small()).await;
        let as_said = if is_too_much {
            matches!(ended, Err(CellError::Protocol))
        } else {
            matches!(ended, Err(CellError::Died(_)))
        };
        assert!(as_said, "{what}: {ended:?}");
    }
}

/// As containers do it: system calls that a filter refuses.
fn where_refused(calls: &[libc::c_long], args: &[&str]) -> (bool, String) {
    let rules = calls.iter().map(|call| (*call, vec![])).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap().try_into().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(eider());
    command.args(args).env("EIDER_HOME", home.path());
    outside::filtered(&mut command, filter);
    let done = command.output().unwrap();
    (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_machine_with_neither_landlock_nor_namespaces_is_below_the_floor() {
    let (landlock, namespaces) = (libc::SYS_landlock_create_ruleset, libc::SYS_unshare);
    let dir = tempfile::tempdir().unwrap();
    let policy = |require: &str| {
        let file = dir.path().join("worker.toml");
        fs::write(&file, format!("listen = \"127.0.0.1:0\"\nrequire = {require}\n")).unwrap();
        file.to_str().unwrap().to_string()
    };
    for args in [&["doctor"][..], &["worker", "--policy", &policy("[]")], &["run", "SELECT 42"]] {
        let (runs, said) = where_refused(&[landlock, namespaces], args);
        assert!(!runs, "{args:?}: {said}");
        for part in ["landlock and namespaces must stand", "lsm=", "user.max_user_namespaces", "Either will do"] {
            assert!(said.contains(part), "{args:?} does not say {part:?}: {said}");
        }
    }
    let stands = probe_walls(&CellCommand::new(eider())).await.unwrap();
    for (refused, wall) in [(landlock, Wall::Landlock), (namespaces, Wall::Namespaces)] {
        let other = if wall == Wall::Landlock { Wall::Namespaces } else { Wall::Landlock };
        if !stands.up.contains_key(&other) {
            println!("NOT TRIED, for this machine has no {other}: going without {wall}");
            continue;
        }
        let (runs, said) = where_refused(&[refused], &["doctor"]);
        assert!(runs && said.contains("MISSING"), "either is enough: {said}");
        // A policy may want both.
        let wants = policy(&format!("[\"{wall}\"]"));
        let (runs, said) = where_refused(&[refused], &["worker", "--policy", &wants]);
        assert!(!runs && said.contains(&format!("the wall {wall} is required")), "{said}");
    }
    // The rest of the floor no policy can take away.
    let (runs, said) = where_refused(&[libc::SYS_seccomp], &["worker", "--policy", &policy("[]")]);
    assert!(!runs && said.contains("the wall seccomp is required"), "{said}");
}
