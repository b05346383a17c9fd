//! The kind of a socket, and the address in a `bind` of it.

use rustix::fd::OwnedFd;

use crate::address::BindAddress;
use crate::error::Errno;
use crate::linux::{Query, borrow, getsockopt};
use crate::sockaddr;

const AF_UNIX: i32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const AF_NETLINK: i32 = 16;
const SOCK_STREAM: i32 = 1;
const SOCK_DGRAM: i32 = 2;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const NETLINK_ROUTE: i32 = 0;

/// The kinds of sockets that can be bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp(Ip),
    Udp(Ip),
    /// A stream or packet socket, which can listen.
    Unix,
    UnixDatagram,
    RouteNetlink,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ip {
    V4,
    V6,
}

impl Kind {
    /// Asks the kernel: `getsockopt` of `SO_DOMAIN`, `SO_TYPE` and `SO_PROTOCOL`. It is `None` for
    /// other kinds, such as MPTCP.
    pub(super) fn of(socket: &OwnedFd) -> Result<Option<Self>, Errno> {
        let query = |query| getsockopt(borrow(socket), query);
        let (domain, kind) = (query(Query::Domain)?, query(Query::Type)?);
        Ok(Some(match (domain, kind, query(Query::Protocol)?) {
            (AF_UNIX, SOCK_DGRAM, _) => Self::UnixDatagram,
            (AF_UNIX, _, _) => Self::Unix,
            (AF_INET, SOCK_STREAM, IPPROTO_TCP) => Self::Tcp(Ip::V4),
            (AF_INET6, SOCK_STREAM, IPPROTO_TCP) => Self::Tcp(Ip::V6),
            (AF_INET, SOCK_DGRAM, IPPROTO_UDP) => Self::Udp(Ip::V4),
            (AF_INET6, SOCK_DGRAM, IPPROTO_UDP) => Self::Udp(Ip::V6),
            (AF_NETLINK, _, NETLINK_ROUTE) => Self::RouteNetlink,
            _ => return Ok(None),
        }))
    }
}

/// Returns true if the socket takes IPv4 connections too.
pub(super) fn is_dual_stack(socket: &OwnedFd) -> Result<bool, Errno> {
    Ok(getsockopt(borrow(socket), Query::V6Only)? == 0)
}

/// Returns the address in a `bind` of an IP socket, or the errno of the kernel's `bind`.
pub(super) fn ip_address(ip: Ip, bytes: &[u8]) -> Result<BindAddress, Errno> {
    // An old form of `sockaddr_in6` ends before the scope id.
    let (expected, shortest) = match ip {
        Ip::V4 => (sockaddr::AF_INET, 16),
        Ip::V6 => (sockaddr::AF_INET6, 24),
    };
    if bytes.len() < shortest {
        return Err(Errno::INVAL);
    }
    let mut padded = [0; 28];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let [f0, f1, _, _, a, b, c, d, ..] = padded;
    // For the IPv4 wildcard, the kernel reads `AF_UNSPEC` as `AF_INET`.
    let is_unspecified = ip == Ip::V4 && [f0, f1, a, b, c, d] == [0; 6];
    if is_unspecified {
        [padded[0], padded[1]] = expected.to_ne_bytes();
    } else if u16::from_ne_bytes([f0, f1]) != expected {
        return Err(Errno::AFNOSUPPORT);
    }
    sockaddr::decode(&padded).ok_or(Errno::INVAL)
}
