//! What ours is measured against: the same system calls with nothing around them, std, socket2, and a ring under a mutex.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::{Mutex, PoisonError};

use netbind::audit::{AuditSink, Record};
use netbind::time::Instant;
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, getsockname, ipproto, socket_with, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

/// The bytes of a path into a buffer of the same capacity: what `UnixPath` is without its checks.
pub(crate) type Copied = Result<heapless::Vec<u8, 107, u8>, heapless::CapacityError>;

pub(crate) fn bounded_copy(path: &str) -> Copied {
    heapless::Vec::from_slice(path.as_bytes())
}

/// The four calls of an IPv4 listener.
pub(crate) fn bare(port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

/// The same on any free port, and the `getsockname` that tells it.
pub(crate) fn bare_on_any_port() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    std::hint::black_box(getsockname(&socket)?);
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

pub(crate) fn std_listener(address: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// The same four calls; socket2 knows close-on-exec, and no port's name.
pub(crate) fn socket2_listener(address: &str) -> std::io::Result<Socket> {
    let address: SocketAddrV4 = address.parse().map_err(std::io::Error::other)?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::MAX)?;
    Ok(socket)
}

/// What one would write in an afternoon: the newest records and their numbers, under a lock.
pub(crate) struct LockedRing {
    inside: Mutex<Inside>,
}

struct Inside {
    entries: VecDeque<(u64, Option<Instant>, Record)>,
    capacity: usize,
    written: u64,
}

impl LockedRing {
    pub(crate) fn new(capacity: usize) -> Self {
        let entries = VecDeque::with_capacity(capacity);
        Self { inside: Mutex::new(Inside { entries, capacity, written: 0 }) }
    }

    /// The oldest entry that is there.
    pub(crate) fn take(&self) -> Option<(u64, Option<Instant>, Record)> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).entries.pop_front()
    }
}

impl AuditSink for LockedRing {
    fn record(&self, record: &Record) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.entries.len() == inside.capacity {
            inside.entries.pop_front();
        }
        let sequence = inside.written;
        inside.written += 1;
        inside.entries.push_back((sequence, None, *record));
    }
}
