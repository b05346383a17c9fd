use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::net::SocketFlags;

use super::syscall::{number, result, syscall};
use crate::address::BindAddress;
use crate::error::Errno;
use crate::sockaddr::decode;

/// `struct sockaddr_storage`, which has room for every socket address.
#[repr(C, align(8))]
struct Storage([u8; 128]);

pub(in super::super) fn getsockname(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
    let (_, address) = call(number::GETSOCKNAME, socket, 0)?;
    Ok(address)
}

pub(in super::super) fn accept4(
    socket: BorrowedFd<'_>,
    flags: SocketFlags,
) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
    let (fd, peer) = call(number::ACCEPT4, socket, flags.bits() as usize)?;
    // SAFETY: `result` returns no negative number. This spares the assertion in `from_raw_fd`.
    unsafe { core::hint::assert_unchecked(fd >= 0) };
    // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer))
}

/// Makes a call with the arguments (fd, address, length, flags).
///
/// The address is `None` if the kernel's is longer than the storage, which would cut it.
fn call(
    number: usize,
    socket: BorrowedFd<'_>,
    flags: usize,
) -> Result<(RawFd, Option<BindAddress>), Errno> {
    let mut storage = Storage([0; 128]);
    let mut length: u32 = 128;
    #[allow(clippy::cast_sign_loss)] // a borrowed descriptor is not negative
    let fd = socket.as_raw_fd() as usize;
    let arguments = [fd, &raw mut storage as usize, &raw mut length as usize, flags, 0];
    // SAFETY: both calls write at most `length` bytes to `storage`, which has that many, and the
    // length of the whole address to `length`. Both outlive the call. The descriptor is open,
    // because it is borrowed. `getsockname` ignores the fourth argument.
    let answer = result(unsafe { syscall(number, arguments) })?;
    let address = storage.0.get(..length as usize).and_then(decode);
    Ok((answer, address))
}
