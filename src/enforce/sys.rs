//! The system calls that rustix does not have.

use super::error::EnforceError;
use crate::error::Errno;

/// The numbers of the calls that differ between the two processors.
#[cfg(target_arch = "x86_64")]
pub(super) mod number {
    pub(in super::super) const RT_SIGPROCMASK: u32 = 14;
    pub(in super::super) const IOCTL: u32 = 16;
    pub(in super::super) const SOCKET: u32 = 41;
    pub(in super::super) const BIND: u32 = 49;
    pub(in super::super) const LISTEN: u32 = 50;
    pub(in super::super) const SOCKETPAIR: u32 = 53;
    pub(in super::super) const CLONE: u32 = 56;
    pub(in super::super) const WAIT4: u32 = 61;
    pub(in super::super) const SETFSUID: u32 = 122;
    pub(in super::super) const SETFSGID: u32 = 123;
    pub(in super::super) const PRCTL: u32 = 157;
    pub(in super::super) const EXIT_GROUP: u32 = 231;
    pub(in super::super) const UNSHARE: u32 = 272;
    pub(in super::super) const PROCESS_VM_READV: u32 = 310;
    pub(in super::super) const SECCOMP: u32 = 317;
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) mod number {
    pub(in super::super) const IOCTL: u32 = 29;
    pub(in super::super) const EXIT_GROUP: u32 = 94;
    pub(in super::super) const UNSHARE: u32 = 97;
    pub(in super::super) const SETFSUID: u32 = 151;
    pub(in super::super) const SETFSGID: u32 = 152;
    pub(in super::super) const RT_SIGPROCMASK: u32 = 135;
    pub(in super::super) const PRCTL: u32 = 167;
    pub(in super::super) const SOCKET: u32 = 198;
    pub(in super::super) const SOCKETPAIR: u32 = 199;
    pub(in super::super) const BIND: u32 = 200;
    pub(in super::super) const LISTEN: u32 = 201;
    pub(in super::super) const CLONE: u32 = 220;
    pub(in super::super) const WAIT4: u32 = 260;
    pub(in super::super) const PROCESS_VM_READV: u32 = 270;
    pub(in super::super) const SECCOMP: u32 = 277;
}

/// The numbers that are the same on every processor.
pub(super) const IO_URING_SETUP: u32 = 425;
pub(super) const IO_URING_ENTER: u32 = 426;
pub(super) const IO_URING_REGISTER: u32 = 427;
pub(super) const PIDFD_OPEN: u32 = 434;
pub(super) const PIDFD_GETFD: u32 = 438;
pub(super) const LANDLOCK_CREATE_RULESET: u32 = 444;
pub(super) const LANDLOCK_ADD_RULE: u32 = 445;
pub(super) const LANDLOCK_RESTRICT_SELF: u32 = 446;

/// Makes a system call.
///
/// # Errors
///
/// The errno, and `ENOSYS` on processors for which the crate makes no system calls itself.
///
/// # Safety
///
/// The arguments must be valid for this system call, and its effects must be sound in Rust.
#[allow(unsafe_code, clippy::many_single_char_names)]
pub(super) unsafe fn call(number: u32, [a, b, c, d, e]: [usize; 5]) -> Result<i32, Errno> {
    // SAFETY: the caller's responsibility. A call with five arguments does not look at the sixth.
    unsafe { call6(number, [a, b, c, d, e, 0]) }
}

/// Makes a system call with six arguments, like [`call`].
///
/// # Safety
///
/// That of [`call`].
#[allow(unsafe_code)]
pub(super) unsafe fn call6(number: u32, arguments: [usize; 6]) -> Result<i32, Errno> {
    #[cfg(raw_syscalls)]
    {
        // SAFETY: the caller's responsibility.
        unsafe { crate::linux::syscall6(number as usize, arguments) }
    }
    #[cfg(not(raw_syscalls))]
    {
        let _ = (number, arguments);
        Err(Errno::NOSYS)
    }
}

/// Returns the function that makes an error of an errno.
pub(super) fn system(call: &'static str) -> impl Fn(Errno) -> EnforceError {
    move |errno| EnforceError::System { call, errno }
}

/// Sets `no_new_privs`, without which neither mechanism can be used.
pub(super) fn set_no_new_privs() -> Result<(), EnforceError> {
    const PR_SET_NO_NEW_PRIVS: usize = 38;
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let set = unsafe { call(number::PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]) };
    set.map(drop).map_err(system("prctl(PR_SET_NO_NEW_PRIVS)"))
}
