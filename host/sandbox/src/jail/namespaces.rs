//! Namespaces with nothing in them.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{fstat, stat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{WaitOptions, chdir, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// A folder that every machine has.
const ROOT: &str = "/proc";

/// Enters new namespaces, and in the new PID namespace its first process, which this call returns in: the caller waits for
/// that one and ends as it did.
#[expect(unsafe_code, reason = "unshare and fork")]
pub(super) fn unshare() -> io::Result<String> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // SAFETY: what is unshared is not the descriptor table or the memory, so nothing that Rust holds changes under it.
    unsafe { unshare_unsafe(all) }
        .map_err(|e| io::Error::other(format!("this machine gives no user namespaces to {uid}: {e}")))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    // SAFETY: the process has one thread, so the child has all of it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // In one of its own a process has all rights, over parts of the kernel that few others reach.
            let further = match fs::write("/proc/sys/user/max_user_namespaces", "0") {
                Ok(()) => "none can be made inside",
                Err(_) => "though others can be made inside, for /proc/sys cannot be written here",
            };
            Ok(format!("user, network, mount, IPC, PID, UTS, cgroup; {further}"))
        }
        child => wait(child),
    }
}

/// The outer process: holds nothing, waits, ends as the cell did.
#[expect(unsafe_code, reason = "closing inherited descriptors, and ending without running destructors")]
fn wait(child: libc::pid_t) -> ! {
    let child = rustix::process::Pid::from_raw(child);
    // SAFETY: nothing in this process uses them any more; standard error stays for the words below.
    unsafe {
        libc::close(0);
        libc::close(1);
        libc::close(3);
    }
    let status = loop {
        match rustix::process::waitpid(child, WaitOptions::empty()) {
            Ok(Some((_, status))) => break Some(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break None,
        }
    };
    let ended = status.map_or((Some(1), None), |s| (s.exit_status(), s.terminating_signal()));
    let code = match ended {
        (Some(code), _) => code,
        (None, Some(libc::SIGSYS)) => {
            eprintln!("ended by its jail: a system call that a cell does not need");
            128 + libc::SIGSYS
        }
        (None, signal) => {
            eprintln!("ended by signal {}", signal.unwrap_or(0));
            128 + signal.unwrap_or(0)
        }
    };
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Where a cell's image is once its root is empty.
pub(super) const IMAGE: &str = "/image";

/// Makes a read-only file system the root, in which there is nothing but the image, if there is one: wasmtime opens it by
/// its path. What fails leaves the old root as it was.
pub(super) fn empty_root(image: Option<BorrowedFd<'_>>) -> io::Result<()> {
    // The descriptor's own mount belongs to the parent's namespace, and cannot be bound here.
    let image = image.map(|fd| Ok::<_, io::Error>((fs::read_link(descriptor(fd))?, fstat(fd)?))).transpose()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Any folder will do to mount on: it is gone with the old root. One file for the image to be mounted on.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("none", ROOT, "tmpfs", flags, Some(c"size=4k,nr_inodes=2"))?;
    let filled = || {
        if let Some((path, opened)) = &image {
            let at = format!("{ROOT}{IMAGE}");
            fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&at)?;
            mount_bind(path, &at)?;
            let bound = stat(&at)?;
            if (bound.st_dev, bound.st_ino) != (opened.st_dev, opened.st_ino) {
                let path = path.display();
                return Err(io::Error::other(format!(
                    "{path} was replaced while a worker uses it: start the worker again"
                )));
            }
            mount_remount(&at, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, c"")?;
        }
        mount_remount(ROOT, MountFlags::RDONLY | flags, c"size=4k,nr_inodes=2")?;
        chdir(ROOT)?;
        Ok(pivot_root(".", ".")?)
    };
    filled().inspect_err(|_| {
        let _ = unmount(ROOT, UnmountFlags::DETACH);
    })?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    Ok(())
}

/// The name of an open file, for who may look into the process's folder.
pub(super) fn descriptor(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
