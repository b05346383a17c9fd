//! The calls of `raw`, made through rustix on every other processor.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

use super::errno::from_rustix;
use super::timespec::{ClockId as Id, to_nanos};
use crate::address::BindAddress;
use crate::error::Errno;
use crate::sockaddr;

pub(super) fn getsockname(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
    match rustix::net::getsockname(socket) {
        Ok(address) => Ok(decode(&address)),
        Err(errno) => Err(from_rustix(errno)),
    }
}

pub(super) fn accept4(
    socket: BorrowedFd<'_>,
    flags: SocketFlags,
) -> Result<(OwnedFd, Option<BindAddress>), Errno> {
    match acceptfrom_with(socket, flags) {
        Ok((connection, peer)) => Ok((connection, peer.as_ref().and_then(decode))),
        Err(errno) => Err(from_rustix(errno)),
    }
}

fn decode(address: &SocketAddrAny) -> Option<BindAddress> {
    let length = address.addr_len() as usize;
    // SAFETY: a `SocketAddrAny` has that many initialised bytes, and it outlives the slice.
    #[allow(unsafe_code)]
    let bytes = unsafe { core::slice::from_raw_parts(address.as_ptr().cast(), length) };
    sockaddr::decode(bytes)
}

/// rustix's clock, which it looks up once for the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockSource(());

impl ClockSource {
    pub(super) fn find() -> Self {
        let source = Self(());
        let _ = source.read(Id::Monotonic);
        source
    }

    /// Returns the nanoseconds, or `None` if the kernel refuses the clock.
    pub(super) fn read(self, id: Id) -> Option<u64> {
        let id = match id {
            Id::Monotonic => ClockId::Monotonic,
            Id::Coarse => ClockId::MonotonicCoarse,
        };
        let time = clock_gettime_dynamic(DynamicClockId::Known(id)).ok()?;
        #[allow(clippy::useless_conversion)] // the width of the fields differs by processor
        to_nanos(time.tv_sec.into(), time.tv_nsec.into())
    }
}
