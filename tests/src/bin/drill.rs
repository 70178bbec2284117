//! A cell whose first wall is open: the engine's progress report is what its program's name says (`Drill`), tried on the host
//! by system calls; or, named `eider-drill-says.`, a number and bytes in hexadecimal, it says these bytes so many times to its parent, and no more. What
//! still holds is the second wall. Never shipped. Named `eider-drill-other-floats`, it
//! rounds otherwise than others, and sees small numbers as zero, as a library can make of a process. Named `eider-drill-no-walls-closed`, it leaves the first wall as it is: what
//! the second one costs is measured against that.
#![allow(unsafe_code, clippy::cast_possible_wrap, clippy::cast_possible_truncation)]

use std::ffi::{CString, c_long, c_void};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::ptr;

use eider_sandbox::{CellOptions, Host, Wall, run_cell_opened};
use eider_tests::{Drill, Escape};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// More than any job of the drill may have, bytes.
const TOO_MUCH: usize = 8 << 30;

fn main() -> ExitCode {
    let program = PathBuf::from(std::env::args().next().unwrap_or_default());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with("other-floats") {
        other_floats();
    }
    let drill = Drill::parse(&name);
    let Ok(options) = CellOptions::from_args(std::env::args().skip(2)) else { return ExitCode::FAILURE };
    let without = match &drill {
        Some(drill) => drill.without.clone(),
        None if name.ends_with("no-walls-closed") => Wall::ALL.to_vec(),
        None => vec![],
    };
    let attempt = match drill.map(|drill| Attempt::prepare(drill, &program)).transpose() {
        Ok(attempt) => attempt,
        Err(e) => {
            eprintln!("not prepared: {e}");
            return ExitCode::FAILURE;
        }
    };
    let lie = name.strip_prefix("eider-drill-says.").and_then(|said| {
        let (times, lie) = said.split_once('.')?;
        Some((times.parse().ok()?, hex::decode(lie).ok()?))
    });
    let open = move |linker: &mut Linker<Host>| match (attempt, lie) {
        (Some(attempt), _) => on_report(linker, move || attempt.report()),
        (None, Some((times, lie))) => on_report(linker, move || say(times, &lie)),
        (None, _) => Ok(()),
    };
    match run_cell_opened(&options, &without, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Towards zero, and no number below the least that is normal.
fn other_floats() {
    // SAFETY: a register of the processor; what is computed from here on is the test's.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &0xffc0_u32);
    }
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) 0x1c0_0000_u64);
    }
}

/// What there is to know before the walls go up.
struct Attempt {
    drill: Drill,
    folder: PathBuf,
    /// The lowest page of the stack that the process was given.
    stack: usize,
}

impl Attempt {
    fn prepare(drill: Drill, program: &Path) -> io::Result<Self> {
        if drill.user != 0 {
            // SAFETY: numbers alone. Who changes user is not to be looked at, which a cell must be able to, by itself.
            unsafe {
                check(libc::setresgid(drill.user, drill.user, drill.user).into())?;
                check(libc::setresuid(drill.user, drill.user, drill.user).into())?;
                check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into())?;
            }
        }
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let stack = maps.lines().find(|l| l.ends_with("[stack]")).and_then(|l| l.split('-').next());
        let stack = usize::from_str_radix(stack.unwrap_or_default(), 16).map_err(io::Error::other)?;
        Ok(Self { drill, folder: program.parent().unwrap_or(Path::new("/")).into(), stack })
    }

    fn report(&self) {
        match self.escape() {
            Ok(()) => eprintln!("drill: done"),
            Err(e) => eprintln!("drill: errno {}", e.raw_os_error().unwrap_or(0)),
        }
    }

    fn path(&self, name: &str) -> CString {
        CString::new(self.folder.join(name).into_os_string().into_encoded_bytes()).unwrap_or_default()
    }

    fn escape(&self) -> io::Result<()> {
        let (secret, segment) = self.drill.secret();
        let secret_key = CString::new(secret.clone())?;
        let parent = c_long::from(self.drill.parent);
        // SAFETY: system calls on valid or null arguments; whatever they do is what is being tried.
        unsafe {
            if self.drill.escape == Escape::Descriptor {
                return check(libc::syscall(libc::SYS_dup, 2));
            }
            // Limits of descriptors are not to hide what is behind them: the cell's socket has another one.
            check(libc::syscall(libc::SYS_close, 0))?;
            match self.drill.escape {
                Escape::Descriptor => Ok(()),
                Escape::Pipe => {
                    let mut ends = [0i32; 2];
                    check(libc::syscall(libc::SYS_pipe2, ends.as_mut_ptr(), 0))
                }
                Escape::Open => open(c"/etc/passwd", libc::O_RDONLY).map(drop),
                Escape::Create => open(&self.path("made"), libc::O_WRONLY | libc::O_CREAT).map(drop),
                Escape::Write => {
                    let file = open(&self.path("written"), libc::O_WRONLY | libc::O_CREAT)?;
                    check(libc::syscall(libc::SYS_write, file, c"out".as_ptr(), 3))
                }
                Escape::Image => open(c"/proc/self/fd/3", libc::O_RDWR).map(drop),
                Escape::ImageAgain => open(c"/proc/self/fd/3", libc::O_RDONLY).map(drop),
                Escape::Connect => {
                    let to = internet(self.drill.ports.0);
                    let socket = socket(libc::AF_INET, libc::SOCK_STREAM)?;
                    check(libc::syscall(libc::SYS_connect, socket, &raw const to, size_of_val(&to)))
                }
                Escape::Listen => {
                    let at = internet(0);
                    let socket = socket(libc::AF_INET, libc::SOCK_STREAM)?;
                    check(libc::syscall(libc::SYS_bind, socket, &raw const at, size_of_val(&at)))?;
                    check(libc::syscall(libc::SYS_listen, socket, 1))
                }
                Escape::Datagram => {
                    let to = internet(self.drill.ports.1);
                    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
                    let size = size_of_val(&to);
                    check(libc::syscall(libc::SYS_sendto, socket, c"out".as_ptr(), 3, 0, &raw const to, size))
                }
                Escape::Abstract => connect_local(&[b"\0", secret.as_bytes()].concat()),
                Escape::SocketFile => connect_local(self.path("socket").as_bytes()),
                Escape::Exec => {
                    let args = [c"true".as_ptr(), ptr::null()];
                    check(libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), args.as_ptr(), ptr::null::<u8>()))
                }
                Escape::ExecMemory | Escape::Regain => code::exec_memory(),
                Escape::Fork => fork(0),
                Escape::Namespace => fork(libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
                Escape::Trace => check(libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, parent, 0, 0)),
                Escape::Signal => check(libc::syscall(libc::SYS_kill, parent, 0)),
                Escape::ReadParent => {
                    let mut byte = 0u8;
                    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                    let there = libc::iovec { iov_base: ptr::without_provenance_mut(self.drill.address), iov_len: 1 };
                    let call = libc::SYS_process_vm_readv;
                    check(libc::syscall(call, parent, &raw const here, 1, &raw const there, 1, 0))
                }
                Escape::TakeDescriptor => {
                    let process = libc::syscall(libc::SYS_pidfd_open, parent, 0);
                    check(process)?;
                    check(libc::syscall(libc::SYS_pidfd_getfd, process, 2, 0))
                }
                Escape::LimitParent => {
                    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
                    let null = ptr::null::<c_void>();
                    let (call, what) = (libc::SYS_prlimit64, libc::RLIMIT_MSGQUEUE);
                    check(libc::syscall(call, parent, what, null, &raw mut now))?;
                    check(libc::syscall(call, parent, what, &raw const now, null))
                }
                Escape::Segment => check(libc::syscall(libc::SYS_shmget, segment, 0, 0)),
                Escape::SessionKey => read_key(libc::KEY_SPEC_SESSION_KEYRING, &secret_key),
                Escape::UserKey => read_key(libc::KEY_SPEC_USER_KEYRING, &secret_key),
                Escape::IoUring => {
                    let mut parameters = [0u8; 120];
                    check(libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()))
                }
                Escape::UserFault => check(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC)),
                Escape::Rights => check(libc::syscall(libc::SYS_chroot, c"/".as_ptr())),
                Escape::Priority => {
                    let usual = libc::sched_param { sched_priority: 0 };
                    let call = libc::SYS_sched_setscheduler;
                    check(libc::syscall(call, 0, libc::SCHED_OTHER, &raw const usual))?;
                    check(libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 0))
                }
                Escape::Setting => check(libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)),
                Escape::WriteCode => {
                    let page = map(4096, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE)?;
                    code::run_code(page, || Ok(()))
                }
                Escape::ProtectCode => {
                    let page = map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)?;
                    let access = libc::PROT_READ | libc::PROT_EXEC;
                    code::run_code(page, || check(libc::syscall(libc::SYS_mprotect, page, 4096, access)))
                }
                Escape::OtherAbi => code::other_abi(),
                Escape::Memory => too_much(libc::MAP_PRIVATE),
                Escape::SharedMemory => too_much(libc::MAP_SHARED),
                Escape::StackMemory => too_much(libc::MAP_PRIVATE | libc::MAP_GROWSDOWN),
                Escape::StretchStack => {
                    let call = libc::SYS_mremap;
                    check(libc::syscall(call, self.stack, 4096, TOO_MUCH, libc::MREMAP_MAYMOVE, 0))
                }
            }
        }
    }
}

/// Opens the first wall: the engine's report does this on the host, and what became of it is the last word of the process.
fn on_report(linker: &mut Linker<Host>, act: impl Fn() + Send + Sync + 'static) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut progress = linker.instance("eider:engine/progress@1.0.0")?;
    progress.func_wrap("report", move |_: StoreContextMut<'_, Host>, _: (u32,)| -> wasmtime::Result<()> {
        act();
        std::process::exit(0)
    })
}

/// Says this to the parent so many times, each time but the first after an answer; then more to standard error than it reads.
fn say(times: u32, lie: &[u8]) {
    let mut answer = [0u8; 64];
    for n in 0..times {
        // SAFETY: descriptor 0 is the cell's socket; the bytes live on.
        unsafe {
            if n > 0 {
                libc::read(0, answer.as_mut_ptr().cast(), answer.len());
            }
            libc::write(0, lie.as_ptr().cast(), lie.len());
        }
    }
    eprint!("{}", "more words. ".repeat(4000));
}

fn check(result: c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn internet(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

unsafe fn open(path: &std::ffi::CStr, flags: i32) -> io::Result<c_long> {
    // SAFETY: the path is a C string.
    let file = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
    check(file).map(|()| file)
}

unsafe fn socket(family: i32, kind: i32) -> io::Result<c_long> {
    // SAFETY: numbers alone.
    let socket = unsafe { libc::syscall(libc::SYS_socket, family, kind, 0) };
    check(socket).map(|()| socket)
}

unsafe fn connect_local(name: &[u8]) -> io::Result<()> {
    let mut to = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    for (to, byte) in to.sun_path.iter_mut().zip(name) {
        *to = *byte as libc::c_char;
    }
    // SAFETY: the address is valid for its size.
    unsafe {
        let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        check(libc::syscall(libc::SYS_connect, socket, &raw const to, 2 + name.len()))
    }
}

unsafe fn fork(namespaces: i32) -> io::Result<()> {
    // SAFETY: the child does nothing but end.
    unsafe {
        let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD | namespaces, 0, 0, 0, 0);
        if child == 0 {
            libc::syscall(libc::SYS_exit_group, 0);
        }
        check(child)
    }
}

unsafe fn read_key(ring: i32, name: &CString) -> io::Result<()> {
    let mut payload = [0u8; 16];
    let null = ptr::null::<c_void>();
    // SAFETY: strings and a buffer that live on. The user's keys are had by who links their ring to one of its own.
    unsafe {
        let own = libc::KEY_SPEC_PROCESS_KEYRING;
        check(libc::syscall(libc::SYS_keyctl, libc::KEYCTL_LINK, ring, own, 0, 0))?;
        let search = libc::KEYCTL_SEARCH;
        let key = libc::syscall(libc::SYS_keyctl, search, ring, c"user".as_ptr(), name.as_ptr(), null);
        check(key)?;
        check(libc::syscall(libc::SYS_keyctl, libc::KEYCTL_READ, key, payload.as_mut_ptr(), payload.len(), 0))
    }
}

unsafe fn map(size: usize, access: i32, flags: i32) -> io::Result<*mut c_void> {
    let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: anonymous memory where the kernel likes.
    let at = unsafe { libc::syscall(libc::SYS_mmap, 0, size, access, flags, -1, 0) };
    check(at).map(|()| ptr::with_exposed_provenance_mut(at as usize))
}

/// Memory that can be used, at its end too.
unsafe fn too_much(flags: i32) -> io::Result<()> {
    // SAFETY: what is written was mapped.
    unsafe {
        let memory = map(TOO_MUCH, libc::PROT_READ | libc::PROT_WRITE, flags)?;
        memory.cast::<u8>().add(TOO_MUCH - 1).write_volatile(1);
    }
    Ok(())
}

/// Machine code, which the drill has for one kind of processor.
#[cfg(target_arch = "x86_64")]
mod code {
    use std::ffi::c_void;
    use std::{io, ptr};

    use super::check;

    /// Writes a function to a page, and runs it after `then`.
    pub(super) unsafe fn run_code(page: *mut c_void, then: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        // mov eax, 42; ret
        const CODE: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
        // SAFETY: the page is writable, and what is in it is a function.
        unsafe {
            page.cast::<[u8; 6]>().write(CODE);
            then()?;
            let function: extern "C" fn() -> i32 = std::mem::transmute(page);
            if function() == 42 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        }
    }

    /// 32-bit `getpid`. Kernels may be built without: then it is a fault.
    pub(super) unsafe fn other_abi() -> io::Result<()> {
        let result: i32;
        // SAFETY: no memory is involved; the call may change these registers.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") 20 => result, lateout("r8") _, lateout("r9") _, lateout("r10") _,
                lateout("r11") _);
        }
        if result > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-result)) }
    }

    /// A program that does what only root may do, and ends with 42 if it could, 43 if not.
    pub(super) unsafe fn exec_memory() -> io::Result<()> {
        #[rustfmt::skip]
        const CODE: &[u8] = &[
            0xb8, 161, 0, 0, 0,                // mov eax, SYS_chroot
            0x48, 0x8d, 0x3d, 16, 0, 0, 0,     // lea rdi, [rip + 16]
            0x0f, 0x05,                        // syscall
            0xbf, 42, 0, 0, 0,                 // mov edi, 42
            0x29, 0xc7,                        // sub edi, eax
            0xb8, 60, 0, 0, 0,                 // mov eax, SYS_exit
            0x0f, 0x05,                        // syscall
            b'/', 0,
        ];
        const AT: u64 = 0x40_0000;
        let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        let whole = (64 + 56 + CODE.len()) as u64;
        [AT + 120, 64, 0].iter().for_each(|n| program.extend(n.to_le_bytes()));
        program.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0");
        [0, AT, AT, whole, whole, 4096].iter().for_each(|n| program.extend(n.to_le_bytes()));
        program.extend(CODE);
        // SAFETY: buffers that live on.
        unsafe {
            let file = libc::syscall(libc::SYS_memfd_create, c"drill".as_ptr(), 0);
            check(file)?;
            check(libc::syscall(libc::SYS_write, file, program.as_ptr(), program.len()))?;
            let args = [c"drill".as_ptr(), ptr::null()];
            let (call, empty) = (libc::SYS_execveat, c"".as_ptr());
            check(libc::syscall(call, file, empty, args.as_ptr(), ptr::null::<u8>(), libc::AT_EMPTY_PATH))
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod code {
    use std::ffi::c_void;
    use std::io;

    pub(super) unsafe fn run_code(_: *mut c_void, _: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) unsafe fn other_abi() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) unsafe fn exec_memory() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
