//! The three system calls that answer with a descriptor or a socket address: `socket`, `accept4` and `getsockname`.
//!
//! rustix has them, but it asserts that the descriptor or the length which the kernel answers is in range, and so leaves a
//! panic in every program that calls them. This crate promises that there is none. So on `x86_64` and `aarch64` the three
//! are made here, and elsewhere they are rustix's. The calls that find the clock are in [`vdso`](crate::vdso); all others of
//! the crate are rustix's everywhere.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, Protocol, SocketFlags};

use crate::address::BindAddress;
use crate::error::Errno;

/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html), of the type `SOCK_STREAM`.
#[inline]
pub(crate) fn socket(family: AddressFamily, flags: SocketFlags, protocol: Option<Protocol>) -> Result<OwnedFd, Errno> {
    imp::socket(family, flags, protocol)
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html): the connection, and the address of the peer where
/// [`BindAddress`] has a form for it.
pub(crate) fn accept(socket: BorrowedFd<'_>, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
    imp::accept(socket, flags)
}

/// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html); `None` for an address that
/// [`BindAddress`] has no form for.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
    imp::local_address(socket)
}

/// `as_fd` without the assertion that rustix's own type makes in it where there is no std.
#[inline]
pub(crate) fn borrow(socket: &OwnedFd) -> BorrowedFd<'_> {
    let is_descriptor = socket.as_raw_fd() != -1;
    // SAFETY: an `OwnedFd` is never -1; it says so itself when it is made.
    #[allow(unsafe_code)]
    unsafe {
        core::hint::assert_unchecked(is_descriptor);
    };
    socket.as_fd()
}

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
))]
#[allow(unsafe_code)]
mod imp {
    use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

    use crate::address::BindAddress;
    use crate::error::Errno;
    use crate::sockaddr::decode;
    use crate::syscall::{number, result, syscall};

    /// Room for every socket address: `struct sockaddr_storage`.
    #[repr(C, align(8))]
    struct Storage([u8; 128]);

    #[inline]
    pub(super) fn socket(
        family: AddressFamily,
        flags: SocketFlags,
        protocol: Option<Protocol>,
    ) -> Result<OwnedFd, Errno> {
        let kind = SocketType::STREAM.as_raw() | flags.bits();
        let protocol = protocol.map_or(0, |protocol| protocol.as_raw().get());
        let family = usize::from(family.as_raw());
        // SAFETY: `socket` takes three numbers, whatever they are, and ignores the rest.
        let answer = unsafe { syscall(number::SOCKET, [family, kind as usize, protocol as usize, 0, 0]) };
        // SAFETY: the kernel has just made this descriptor for this call, and nobody else knows its number.
        Ok(unsafe { own(result(answer)?) })
    }

    pub(super) fn local_address(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
        let (_, address) = call(number::GETSOCKNAME, socket, 0)?;
        Ok(address)
    }

    pub(super) fn accept(socket: BorrowedFd<'_>, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
        let (fd, peer) = call(number::ACCEPT4, socket, flags.bits() as usize)?;
        // SAFETY: as in `socket`.
        Ok((unsafe { own(fd) }, peer))
    }

    /// # Safety
    ///
    /// `fd` must be a descriptor, as [`result`] gives it, and nobody else's.
    #[inline]
    unsafe fn own(fd: RawFd) -> OwnedFd {
        // SAFETY: `result` gives no negative number, but the compiler may have lost sight of it. rustix asserts it.
        unsafe { core::hint::assert_unchecked(fd >= 0) };
        // SAFETY: the caller's.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// One call of the shape `(fd, address, length, flags)`, which `getsockname` and `accept4` have. A length beyond the
    /// storage, which no kernel answers, would be a truncated address: none.
    fn call(number: usize, socket: BorrowedFd<'_>, flags: usize) -> Result<(RawFd, Option<BindAddress>), Errno> {
        let mut storage = Storage([0; 128]);
        let mut length: u32 = 128;
        #[allow(clippy::cast_sign_loss)] // a borrowed descriptor is not negative
        let fd = socket.as_raw_fd() as usize;
        // SAFETY: both calls write at most `length` bytes to `storage`, which has that many, and the length they would have
        // liked to write to `length`; both outlive the call. The descriptor is open, as it is borrowed. `getsockname`
        // ignores the fourth argument.
        let answer = unsafe { syscall(number, [fd, &raw mut storage as usize, &raw mut length as usize, flags, 0]) };
        let answer = result(answer)?;
        let address = storage.0.get(..length as usize).and_then(decode);
        Ok((answer, address))
    }
}

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
)))]
#[allow(unsafe_code)]
mod imp {
    use rustix::fd::{BorrowedFd, OwnedFd};
    use rustix::net::{
        AddressFamily, Protocol, SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, getsockname, socket_with,
    };

    use crate::address::BindAddress;
    use crate::error::Errno;
    use crate::sockaddr;

    pub(super) fn socket(
        family: AddressFamily,
        flags: SocketFlags,
        protocol: Option<Protocol>,
    ) -> Result<OwnedFd, Errno> {
        Ok(socket_with(family, SocketType::STREAM, flags, protocol)?)
    }

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
