//! The table of options: flag, the addresses to which it applies, system call, and name.

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, fchmod};
use rustix::io;
use rustix::net::sockopt::{
    set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_keepalive,
    set_socket_recv_buffer_size, set_socket_reuseaddr, set_socket_reuseport,
    set_socket_send_buffer_size, set_tcp_nodelay,
};

use super::super::errno::system_error;
use crate::address::{BindAddress, Family};
use crate::error::SocketOption::{
    FreeBind, KeepAlive, NoDelay, ReceiveBuffer, ReuseAddress, ReusePort, SendBuffer, V6Only,
};
use crate::error::{SocketError, SocketOption, Step};

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) struct Flags: u32 {
        const REUSE_ADDRESS = 1;
        const V6_ONLY = 1 << 1;
        const DUAL_STACK = 1 << 2;
        const REUSE_PORT = 1 << 3;
        const FREE_BIND = 1 << 4;
        const KEEP_ALIVE = 1 << 5;
        const NO_DELAY = 1 << 6;
        const RECEIVE_BUFFER = 1 << 7;
        const SEND_BUFFER = 1 << 8;
        const MODE = 1 << 9;
        const NONBLOCKING = 1 << 10;
        const BACKLOG = 1 << 11;
        const BEFORE_BIND = 1 << 12;
        const OWNER = 1 << 13;
        const EXISTING = 1 << 14;
        /// Set without being asked for, so they are skipped if they do not apply to an address.
        const DEFAULTS = Self::REUSE_ADDRESS.bits() | Self::V6_ONLY.bits();
    }
}

/// An option, and the system call between `socket` and `bind` that sets it.
struct Row {
    option: SocketOption,
    flag: Flags,
    applies_to: fn(&BindAddress) -> bool,
    set: Set,
}

type Set = fn(&Values, BorrowedFd<'_>, Family) -> io::Result<()>;

/// The numbers that options set.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) receive_buffer: u32,
    pub(super) send_buffer: u32,
    pub(super) mode: u16,
}

/// Every such option, in the order of the calls. To add one, add a row, its flag, its setter and
/// its [`SocketOption`].
const TABLE: [Row; 14] = [
    row(ReuseAddress, Flags::REUSE_ADDRESS, is_ip, |_, fd, _| set_socket_reuseaddr(fd, true)),
    row(V6Only, Flags::V6_ONLY, is_ipv6, |_, fd, _| set_ipv6_v6only(fd, true)),
    row(V6Only, Flags::DUAL_STACK, is_ipv6, |_, fd, _| set_ipv6_v6only(fd, false)),
    row(ReusePort, Flags::REUSE_PORT, is_ip, |_, fd, _| set_socket_reuseport(fd, true)),
    row(FreeBind, Flags::FREE_BIND, is_ip, |_, fd, family| match family {
        Family::Ipv6 => set_ipv6_freebind(fd, true),
        _ => set_ip_freebind(fd, true),
    }),
    row(KeepAlive, Flags::KEEP_ALIVE, is_ip, |_, fd, _| set_socket_keepalive(fd, true)),
    row(NoDelay, Flags::NO_DELAY, is_ip, |_, fd, _| set_tcp_nodelay(fd, true)),
    row(ReceiveBuffer, Flags::RECEIVE_BUFFER, is_ip, |values, fd, _| {
        set_socket_recv_buffer_size(fd, values.receive_buffer as usize)
    }),
    row(SendBuffer, Flags::SEND_BUFFER, is_ip, |values, fd, _| {
        set_socket_send_buffer_size(fd, values.send_buffer as usize)
    }),
    row(SocketOption::Mode, Flags::MODE, is_path, |values, fd, _| {
        fchmod(fd, Mode::from_raw_mode(values.mode.into()))
    }),
    row(SocketOption::Backlog, Flags::BACKLOG, any, nothing),
    row(SocketOption::BeforeBind, Flags::BEFORE_BIND, any, nothing),
    row(SocketOption::Owner, Flags::OWNER, is_path, nothing),
    row(SocketOption::Existing, Flags::EXISTING, is_path, nothing),
];

const fn row(
    option: SocketOption,
    flag: Flags,
    applies_to: fn(&BindAddress) -> bool,
    set: Set,
) -> Row {
    Row { option, flag, applies_to, set }
}

/// The setter of an option that another step applies.
#[allow(clippy::unnecessary_wraps)] // the type of a setter
fn nothing(_: &Values, _: BorrowedFd<'_>, _: Family) -> io::Result<()> {
    Ok(())
}

fn any(_: &BindAddress) -> bool {
    true
}

fn is_ip(address: &BindAddress) -> bool {
    address.family().is_ip()
}

fn is_ipv6(address: &BindAddress) -> bool {
    address.family() == Family::Ipv6
}

fn is_path(address: &BindAddress) -> bool {
    matches!(address, BindAddress::Path(_))
}

/// Returns an error if an option was asked for that does not apply to the address.
pub(super) fn validate(asked: Flags, address: &BindAddress) -> Result<(), SocketError> {
    for Row { option, flag, applies_to, .. } in &TABLE {
        if asked.contains(*flag) && !applies_to(address) {
            return Err(SocketError::InvalidOption(*option));
        }
    }
    Ok(())
}

/// Returns an error if any option was asked for.
pub(super) fn refuse_all(asked: Flags) -> Result<(), SocketError> {
    match TABLE.iter().find(|row| asked.contains(row.flag)) {
        Some(row) => Err(SocketError::InvalidOption(row.option)),
        None => Ok(()),
    }
}

/// Sets the options that apply to the address.
pub(super) fn apply(
    flags: Flags,
    values: &Values,
    socket: BorrowedFd<'_>,
    address: &BindAddress,
) -> Result<(), SocketError> {
    for Row { option, flag, applies_to, set } in &TABLE {
        if flags.contains(*flag) && applies_to(address) {
            set(values, socket, address.family()).map_err(system_error(Step::Option(*option)))?;
        }
    }
    Ok(())
}
