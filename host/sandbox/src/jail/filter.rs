//! The system calls of a cell: an allow-list. Anything else kills the process.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Allowed whatever the arguments: talking over descriptors that are open, memory, threads that exist, ending.
const PLAIN: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const PR_SET_VMA: u64 = 0x5356_4d41;
/// From <linux/mman.h>: the bits that say whether a mapping is shared.
const MAP_TYPE: i32 = 0x0f;

/// Installs the filter in all threads.
pub(super) fn install() -> io::Result<String> {
    let program = program().map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)?;
    Ok(format!("{} system calls, none that opens, runs or connects", PLAIN.len() + 3))
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = PLAIN.iter().map(|call| (*call, vec![])).collect();
    let masked = |argument, mask: i32, is: i32| {
        let mask = SeccompCmpOp::MaskedEq(u64::from(mask.unsigned_abs()));
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, u64::from(is.unsigned_abs()))
    };
    // Memory never becomes code any more: the image was mapped before.
    let not_exec = || masked(2, libc::PROT_EXEC, 0);
    // The limit of private memory counts neither what is shared nor what may grow down as a stack.
    let is_counted = masked(3, MAP_TYPE | libc::MAP_GROWSDOWN, libc::MAP_PRIVATE)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![not_exec()?, is_counted])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![not_exec()?])?]);
    // The allocator gives its mappings names.
    let name = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PR_SET_VMA)?;
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![name])?]);
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}
