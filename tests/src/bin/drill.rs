//! A cell whose first wall is open: the engine's progress reports are system calls on the host. What still holds is the
//! second wall. Never shipped. Named `eider-drill-no-seccomp` or `eider-drill-no-walls`, it leaves these layers out; named
//! `eider-drill-no-walls-closed`, it leaves the first wall as it is: what the second one costs is measured against that.
#![allow(unsafe_code, clippy::cast_possible_wrap, clippy::cast_possible_truncation)]

use std::io;
use std::process::ExitCode;
use std::ptr;

use eider_sandbox::{CellOptions, Host, Wall, run_cell_opened};
use eider_tests::Escape;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let without: &[Wall] = match name.as_str() {
        n if n.ends_with("no-walls") || n.ends_with("no-walls-closed") => &Wall::ALL,
        n if n.ends_with("no-seccomp") => &[Wall::Seccomp],
        _ => &[],
    };
    let Ok(options) = CellOptions::from_args(std::env::args().skip(2)) else { return ExitCode::FAILURE };
    let is_open = !name.ends_with("-closed");
    match run_cell_opened(&options, without, move |linker| if is_open { open_wall(linker) } else { Ok(()) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn open_wall(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut progress = linker.instance("eider:engine/progress@1.0.0")?;
    progress.func_wrap("report", |_: StoreContextMut<'_, Host>, (asked,): (u32,)| -> wasmtime::Result<()> {
        let said = match escape(asked) {
            Ok(()) => "escaped".to_string(),
            Err(e) => format!("errno {}", e.raw_os_error().unwrap_or(0)),
        };
        Err(wasmtime::Error::msg(said))
    })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The step is in the lowest byte, a port or process in the rest.
fn escape(asked: u32) -> io::Result<()> {
    let (step, about) = (asked as u8, asked >> 8);
    let step = Escape::ALL.into_iter().find(|s| *s as u8 == step).ok_or(io::ErrorKind::InvalidInput)?;
    let pid = about as libc::c_long;
    // SAFETY: system calls on valid or null arguments; whatever they do is what is being tried.
    unsafe {
        match step {
            Escape::Open => {
                check(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), libc::O_RDONLY))
            }
            Escape::Write => {
                let flags = libc::O_WRONLY | libc::O_CREAT;
                check(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/tmp/eider-drill".as_ptr(), flags, 0o600))
            }
            Escape::Connect => {
                let socket = libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0);
                check(socket)?;
                let to = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: (about as u16).to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
                    sin_zero: [0; 8],
                };
                check(libc::syscall(libc::SYS_connect, socket, &raw const to, size_of_val(&to)))
            }
            Escape::Exec => {
                let args = [c"true".as_ptr(), ptr::null()];
                check(libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), args.as_ptr(), ptr::null::<u8>()))
            }
            Escape::Fork => {
                let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
                if child == 0 {
                    libc::_exit(0);
                }
                check(child)
            }
            Escape::Trace => check(libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0)),
            Escape::Kill => check(libc::syscall(libc::SYS_kill, pid, 0)),
            Escape::ReadParent => {
                let mut byte = 0u8;
                let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                let there = libc::iovec { iov_base: ptr::null_mut(), iov_len: 1 };
                let read = libc::syscall(libc::SYS_process_vm_readv, pid, &raw const here, 1, &raw const there, 1, 0);
                // A bad address is an answer that only who may read gets.
                check(read).or_else(|e| if e.raw_os_error() == Some(libc::EFAULT) { Ok(()) } else { Err(e) })
            }
            Escape::IoUring => {
                let mut parameters = [0u8; 120];
                check(libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()))
            }
            Escape::WriteCode => {
                let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                check(libc::syscall(libc::SYS_mmap, 0, 4096, access, flags, -1, 0))
            }
        }
    }
}
