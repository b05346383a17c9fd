//! A system call, for those few that rustix cannot make without a panic path: see [`sys`](crate::sys) and
//! [`vdso`](crate::vdso). It knows nothing of sockets.

use core::arch::asm;

use rustix::fd::RawFd;

use crate::error::Errno;

#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const READ: usize = 0;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const MINCORE: usize = 27;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const GETSOCKNAME: usize = 51;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const ACCEPT4: usize = 288;
}

/// The table that new architectures share.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) mod number {
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const READ: usize = 63;
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const GETSOCKNAME: usize = 204;
    pub(crate) const MINCORE: usize = 232;
    pub(crate) const ACCEPT4: usize = 242;
}

/// A number that is not negative, or the errno.
#[inline]
pub(crate) fn result(answer: isize) -> Result<RawFd, Errno> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // descriptors have 31 bits, errnos 12
    match answer as i32 {
        number @ 0.. => Ok(number),
        errno => Err(Errno::answered(errno as u16)),
    }
}

/// # Safety
///
/// The arguments must be what the system call expects, and its effects ones that Rust allows.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(clippy::many_single_char_names)]
pub(crate) unsafe fn syscall(number: usize, [a, b, c, d, e]: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel keeps every register but rax, rcx and r11, and does not use our stack; the rest is the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack, preserves_flags),
        );
    }
    answer
}

/// # Safety
///
/// The arguments must be what the system call expects, and its effects ones that Rust allows.
#[cfg(target_arch = "aarch64")]
#[inline(never)]
#[allow(clippy::many_single_char_names)]
pub(crate) unsafe fn syscall(number: usize, [a, b, c, d, e]: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel keeps every register but x0 and the upper parts of SVE's, which no caller counts on over a call, as
    // this one always is; it does not use our stack; the rest is the caller's.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => answer, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack, preserves_flags),
        );
    }
    answer
}
