use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::net::SocketFlags;

use super::super::descriptor::own_raw;
use super::super::query::Query;
use super::syscall::{number, syscall, to_result};
use crate::address::BindAddress;
use crate::error::Errno;
use crate::sockaddr::decode;

/// `struct sockaddr_storage`, which has room for every socket address.
#[repr(C, align(8))]
struct Storage([u8; 128]);

pub(crate) fn getsockname(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
    let (_, address) = call_with_address(number::GETSOCKNAME, socket, 0)?;
    Ok(address)
}

pub(in super::super) fn accept4(
    socket: BorrowedFd<'_>,
    flags: SocketFlags,
) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
    let (fd, peer) = call_with_address(number::ACCEPT4, socket, flags.bits() as usize)?;
    // SAFETY: the kernel has just made this descriptor, so nothing else owns it.
    Ok((unsafe { own_raw(fd) }, peer))
}

/// [getsockopt(2)](https://man7.org/linux/man-pages/man2/getsockopt.2.html) of an `int`.
pub(crate) fn getsockopt(socket: BorrowedFd<'_>, query: Query) -> Result<i32, Errno> {
    const SOL_SOCKET: usize = 1;
    const IPPROTO_IPV6: usize = 41;
    let (level, name) = match query {
        Query::Type => (SOL_SOCKET, 3),
        Query::Listening => (SOL_SOCKET, 30),
        Query::Protocol => (SOL_SOCKET, 38),
        Query::Domain => (SOL_SOCKET, 39),
        Query::V6Only => (IPPROTO_IPV6, 26),
    };
    let mut value = 0_i32;
    let mut length: u32 = 4;
    #[allow(clippy::cast_sign_loss)] // a borrowed descriptor is not negative
    let fd = socket.as_raw_fd() as usize;
    let arguments = [fd, level, name, &raw mut value as usize, &raw mut length as usize];
    // SAFETY: the call writes at most `length` bytes to `value`, which has that many, and the
    // length to `length`. Both outlive the call. The descriptor is open, because it is borrowed.
    to_result(unsafe { syscall(number::GETSOCKOPT, arguments) })?;
    Ok(value)
}

/// Makes a call with the arguments (fd, address, length, flags).
///
/// The address is `None` if the kernel's address does not fit into the storage.
fn call_with_address(
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
    let answer = to_result(unsafe { syscall(number, arguments) })?;
    let address = storage.0.get(..length as usize).and_then(decode);
    Ok((answer, address))
}
