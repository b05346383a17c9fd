//! The kind of a socket, and the address in a `bind` of it.

use core::net::{Ipv4Addr, Ipv6Addr};

use rustix::fd::OwnedFd;

use crate::address::BindAddress;
use crate::error::Errno;
use crate::linux::{Query, borrow, getsockopt};

const AF_UNSPEC: u16 = 0;
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
    let (family, rest) = bytes.split_first_chunk().ok_or(Errno::INVAL)?;
    let family = u16::from_ne_bytes(*family);
    match ip {
        Ip::V4 => {
            let [p0, p1, a, b, c, d, _, _, _, _, _, _, _, _] =
                *rest.first_chunk().ok_or(Errno::INVAL)?;
            let (ip, port) = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p0, p1]));
            // For the wildcard, the kernel reads `AF_UNSPEC` as `AF_INET`.
            let is_known = i32::from(family) == AF_INET
                || (family == AF_UNSPEC && ip == Ipv4Addr::UNSPECIFIED);
            if is_known { Ok(BindAddress::Ipv4 { ip, port }) } else { Err(Errno::AFNOSUPPORT) }
        }
        Ip::V6 => {
            let [p0, p1, _, _, _, _, ip @ ..] = *rest.first_chunk::<22>().ok_or(Errno::INVAL)?;
            if i32::from(family) != AF_INET6 {
                return Err(Errno::AFNOSUPPORT);
            }
            // An old form of the structure ends before the scope id.
            let scope_id = rest.get(22..26).and_then(<[u8]>::first_chunk);
            let scope_id = scope_id.map_or(0, |scope_id| u32::from_ne_bytes(*scope_id));
            let port = u16::from_be_bytes([p0, p1]);
            Ok(BindAddress::Ipv6 { ip: Ipv6Addr::from(ip), port, scope_id })
        }
    }
}
