//! The calls of `raw`, made through rustix on every other processor.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, sockopt};
use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

use super::errno::from_rustix;
use super::query::Query;
use super::timespec::{ClockId as Id, to_nanos};
use crate::address::BindAddress;
use crate::error::Errno;
use crate::sockaddr;

pub(crate) fn getsockname(socket: BorrowedFd<'_>) -> Result<Option<BindAddress>, Errno> {
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

pub(crate) fn getsockopt(socket: BorrowedFd<'_>, query: Query) -> Result<i32, Errno> {
    match query {
        Query::Type => sockopt::socket_type(socket).map(|kind| kind.as_raw().cast_signed()),
        Query::Listening => sockopt::socket_acceptconn(socket).map(i32::from),
        Query::Protocol => sockopt::socket_protocol(socket)
            .map(|protocol| protocol.map_or(0, |protocol| protocol.as_raw().get().cast_signed())),
        Query::Domain => sockopt::socket_domain(socket).map(|family| family.as_raw().into()),
        Query::V6Only => sockopt::ipv6_v6only(socket).map(i32::from),
    }
    .map_err(from_rustix)
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
