//! The system calls of a decoder: it reads frames, writes pictures, manages memory, starts threads
//! and exits. The kernel kills a decoder that makes any other.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// The rules of each system call; any of them permits it, and so does an empty list.
pub(super) type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Restricts this thread, and all threads that it starts, to the system calls of a decoder.
pub(super) fn restrict() -> Result<(), Error> {
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filters = [
        program(missing_calls(), SeccompAction::Allow, missing)?,
        program(
            permitted_calls()?,
            SeccompAction::KillProcess,
            SeccompAction::Allow,
        )?,
    ];
    // The kernel applies the strictest answer of all filters.
    filters.iter().try_for_each(|filter| apply_filter(filter))
}

/// A filter that answers the system calls of `rules` with `listed`, and others with `unlisted`.
pub(super) fn program(
    rules: Rules,
    unlisted: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, unlisted, listed, processor)?.try_into()
}

/// System calls without which glibc manages, as on a kernel that does not have them.
const MISSING: [c_long; 2] = [
    // Its flags are in memory, where no filter sees them. glibc uses `clone` instead.
    libc::SYS_clone3,
    // malloc reads a setting of the kernel when it shrinks the heap of a thread.
    libc::SYS_openat,
];

/// System calls that are harmless with any arguments.
const HARMLESS: [c_long; 18] = [
    // Memory
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_getrandom,
    // Threads: the JPEG decoder starts one for each component
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // The end, also that of a process which aborts
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
];

fn missing_calls() -> Rules {
    MISSING.map(|call| (call, Vec::new())).into()
}

fn permitted_calls() -> Result<Rules, BackendError> {
    let mut rules: Rules = HARMLESS.map(|call| (call, Vec::new())).into();
    rules.extend(missing_calls());
    let mut permit = |call, alternatives: Vec<SeccompRule>| rules.insert(call, alternatives);
    permit(libc::SYS_read, vec![all([is(0, libc::STDIN_FILENO)])?]);
    permit(
        libc::SYS_write,
        vec![
            all([is(0, libc::STDOUT_FILENO)])?,
            all([is(0, libc::STDERR_FILENO)])?,
        ],
    );
    // Memory, but neither files nor new code.
    let anonymous = bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS);
    let no_code = || bits(2, libc::PROT_EXEC, 0);
    permit(libc::SYS_mmap, vec![all([anonymous, no_code()])?]);
    permit(libc::SYS_mprotect, vec![all([no_code()])?]);
    // Threads, but no processes; a new thread has a name.
    let thread = bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD);
    permit(libc::SYS_clone, vec![all([thread])?]);
    permit(libc::SYS_prctl, vec![all([is(0, libc::PR_SET_NAME)])?]);
    // A process aborts by a signal to itself.
    let own = std::process::id().cast_signed();
    permit(libc::SYS_tgkill, vec![all([is(0, own)])?]);
    Ok(rules)
}

/// A condition on the lower half of an argument; all arguments that are tested are `int`, or flags
/// that fit into one.
type Condition = Result<SeccompCondition, BackendError>;

fn all<const N: usize>(conditions: [Condition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

fn is(argument: u8, value: i32) -> Condition {
    let (length, value) = (SeccompCmpArgLen::Dword, value.cast_unsigned().into());
    SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)
}

/// The bits of `mask` are those of `value`.
fn bits(argument: u8, mask: i32, value: i32) -> Condition {
    let (mask, value) = (mask.cast_unsigned().into(), value.cast_unsigned().into());
    let (length, operator) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask));
    SeccompCondition::new(argument, length, operator, value)
}
