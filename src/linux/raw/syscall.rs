//! A raw system call.

use core::arch::asm;

use rustix::fd::RawFd;

use crate::error::Errno;

/// System call numbers: `arch/x86/entry/syscalls/syscall_64.tbl` in the kernel.
#[cfg(target_arch = "x86_64")]
pub(super) mod number {
    pub(in super::super) const READ: usize = 0;
    pub(in super::super) const CLOSE: usize = 3;
    pub(in super::super) const MINCORE: usize = 27;
    pub(in super::super) const GETSOCKNAME: usize = 51;
    pub(in super::super) const GETSOCKOPT: usize = 55;
    pub(in super::super) const PRCTL: usize = 157;
    pub(in super::super) const CLOCK_GETTIME: usize = 228;
    pub(in super::super) const OPENAT: usize = 257;
    pub(in super::super) const ACCEPT4: usize = 288;
}

/// System call numbers: `include/uapi/asm-generic/unistd.h` in the kernel.
#[cfg(not(target_arch = "x86_64"))]
pub(super) mod number {
    pub(in super::super) const OPENAT: usize = 56;
    pub(in super::super) const CLOSE: usize = 57;
    pub(in super::super) const READ: usize = 63;
    pub(in super::super) const CLOCK_GETTIME: usize = 113;
    pub(in super::super) const PRCTL: usize = 167;
    pub(in super::super) const GETSOCKNAME: usize = 204;
    pub(in super::super) const GETSOCKOPT: usize = 209;
    pub(in super::super) const MINCORE: usize = 232;
    pub(in super::super) const ACCEPT4: usize = 242;
}

/// Returns the answer of a system call if it is not negative, otherwise its errno.
pub(super) fn to_result(answer: isize) -> Result<RawFd, Errno> {
    #[allow(clippy::cast_possible_truncation)] // descriptors have 31 bits, errnos 12
    match answer as i32 {
        number @ 0.. => Ok(number),
        // The kernel's errnos are in range, so the default is never used.
        errno => Err(Errno::from_raw_os_error(errno.wrapping_neg()).unwrap_or(Errno::IO)),
    }
}

/// The instruction, with the arguments that follow the number.
///
/// The kernel keeps every register except rax, rcx and r11, or x0 and the upper parts of SVE
/// registers, and does not use our stack.
#[cfg(target_arch = "x86_64")]
macro_rules! system_call {
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr $(, $f:expr)?) => {{
        let answer;
        asm!(
            "syscall",
            inlateout("rax") $number => answer,
            in("rdi") $a, in("rsi") $b, in("rdx") $c, in("r10") $d, in("r8") $e,
            $(in("r9") $f,)?
            lateout("rcx") _, lateout("r11") _,
            options(nostack, preserves_flags),
        );
        answer
    }};
}
#[cfg(target_arch = "aarch64")]
macro_rules! system_call {
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr $(, $f:expr)?) => {{
        let answer;
        asm!(
            "svc 0",
            in("x8") $number,
            inlateout("x0") $a => answer,
            in("x1") $b, in("x2") $c, in("x3") $d, in("x4") $e,
            $(in("x5") $f,)?
            options(nostack, preserves_flags),
        );
        answer
    }};
}

/// Makes a system call and returns the kernel's answer.
///
/// # Safety
///
/// The arguments must be valid for this system call, and its effects must be sound in Rust.
#[cfg_attr(target_arch = "aarch64", inline(never))] // the callers need not know of SVE registers
#[allow(clippy::many_single_char_names)]
pub(super) unsafe fn syscall(number: usize, [a, b, c, d, e]: [usize; 5]) -> isize {
    // SAFETY: the caller's responsibility.
    unsafe { system_call!(number, a, b, c, d, e) }
}

/// Makes a system call with six arguments, and returns its answer or its errno.
///
/// # Safety
///
/// That of [`syscall`].
#[cfg(feature = "enforce")]
#[cfg_attr(target_arch = "aarch64", inline(never))] // as above
#[allow(clippy::many_single_char_names)]
pub(crate) unsafe fn syscall6(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> Result<i32, Errno> {
    // SAFETY: the caller's responsibility.
    to_result(unsafe { system_call!(number, a, b, c, d, e, f) })
}
