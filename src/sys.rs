//! The two system calls that answer with a socket address: `getsockname` and `accept4`.
//!
//! rustix has both, but it asserts that the length which the kernel answers is in range, and so leaves a panic in every
//! program that calls them. This crate promises that there is none. So on `x86_64`, `aarch64` and `riscv64` the two are
//! made here; everywhere else they are rustix's. All other calls of the crate are rustix's everywhere.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::SocketFlags;

use crate::address::BindAddress;
use crate::error::Errno;

/// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html); `None` for an address that
/// [`BindAddress`] has no form for.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
    imp::local_address(socket)
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html): the connection, and the address of the peer where
/// [`BindAddress`] has a form for it.
pub(crate) fn accept(socket: BorrowedFd<'_>, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
    imp::accept(socket, flags)
}

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
))]
#[allow(unsafe_code)]
mod imp {
    use core::arch::asm;

    use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use rustix::net::SocketFlags;

    use crate::address::BindAddress;
    use crate::error::Errno;
    use crate::sockaddr::decode;

    /// `__NR_getsockname` and `__NR_accept4`.
    #[cfg(target_arch = "x86_64")]
    const NUMBERS: (usize, usize) = (51, 288);
    #[cfg(not(target_arch = "x86_64"))]
    const NUMBERS: (usize, usize) = (204, 242);

    /// Room for every socket address: `struct sockaddr_storage`.
    #[repr(C, align(8))]
    struct Storage([u8; 128]);

    pub(super) fn local_address(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
        let (_, address) = call(NUMBERS.0, socket, 0)?;
        Ok(address)
    }

    pub(super) fn accept(socket: BorrowedFd<'_>, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
        let (fd, peer) = call(NUMBERS.1, socket, flags.bits() as usize)?;
        // SAFETY: the kernel has just made this descriptor for this call, and nobody else knows its number.
        let connection = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok((connection, peer))
    }

    /// One call of the shape `(fd, address, length, flags)`. A length beyond the storage, which no kernel answers, would
    /// be a truncated address: none.
    fn call(number: usize, socket: BorrowedFd<'_>, flags: usize) -> Result<(RawFd, Option<BindAddress>), Errno> {
        let mut storage = Storage([0; 128]);
        let mut length: u32 = 128;
        #[allow(clippy::cast_sign_loss)] // a borrowed descriptor is not negative
        let fd = socket.as_raw_fd() as usize;
        // SAFETY: both calls write at most `length` bytes to `storage`, which has that many, and the length they would have
        // liked to write to `length`; both outlive the call. The descriptor is open, as it is borrowed. `getsockname`
        // ignores the fourth argument.
        let answer = unsafe { syscall4(number, fd, &raw mut storage as usize, &raw mut length as usize, flags) };
        #[allow(clippy::cast_possible_truncation)] // descriptors and errnos have 32 bits
        let answer = answer as i32;
        if answer < 0 {
            return Err(Errno::from_raw(answer.wrapping_neg()).unwrap_or(Errno::IO));
        }
        let address = storage.0.get(..length as usize).and_then(decode);
        Ok((answer, address))
    }

    /// # Safety
    ///
    /// The arguments must be what the system call expects, and its effects ones that Rust allows.
    #[cfg(target_arch = "x86_64")]
    unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let answer;
        // SAFETY: the kernel keeps every register but rax, rcx and r11, and does not use our stack; the rest is the caller's.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number => answer,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
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
    unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let answer;
        // SAFETY: the kernel keeps every register but x0, and does not use our stack; the rest is the caller's.
        unsafe {
            asm!(
                "svc 0",
                in("x8") number,
                inlateout("x0") a => answer, in("x1") b, in("x2") c, in("x3") d,
                options(nostack, preserves_flags),
            );
        }
        answer
    }

    /// # Safety
    ///
    /// The arguments must be what the system call expects, and its effects ones that Rust allows.
    #[cfg(target_arch = "riscv64")]
    unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let answer;
        // SAFETY: the kernel keeps every register but a0, and does not use our stack; the rest is the caller's.
        unsafe {
            asm!(
                "ecall",
                in("a7") number,
                inlateout("a0") a => answer, in("a1") b, in("a2") c, in("a3") d,
                options(nostack, preserves_flags),
            );
        }
        answer
    }
}

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
)))]
#[allow(unsafe_code)]
mod imp {
    use rustix::fd::{BorrowedFd, OwnedFd};
    use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, getsockname};

    use crate::address::BindAddress;
    use crate::error::Errno;
    use crate::sockaddr;

    pub(super) fn local_address(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
        Ok(decode(&getsockname(socket)?))
    }

    pub(super) fn accept(socket: BorrowedFd<'_>, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
        let (connection, peer) = acceptfrom_with(socket, flags)?;
        Ok((connection, peer.as_ref().and_then(decode)))
    }

    fn decode(address: &SocketAddrAny) -> Option<BindAddress> {
        // SAFETY: a `SocketAddrAny` holds that many initialised bytes there, and it outlives the slice.
        let bytes = unsafe { core::slice::from_raw_parts(address.as_ptr().cast(), address.addr_len() as usize) };
        sockaddr::decode(bytes)
    }
}
