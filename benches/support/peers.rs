//! The peers: the same system calls without netbind, std, socket2, and a queue with a mutex.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::{Mutex, PoisonError};

use netbind::BindAddress;
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::time::Instant;
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, getsockname, ipproto, socket_with, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

/// A copy of a path in a buffer of the same capacity: a `UnixPath` without its checks.
pub(crate) type Copied = Result<heapless::Vec<u8, 107, u8>, heapless::CapacityError>;

pub(crate) fn bounded_copy(path: &str) -> Copied {
    heapless::Vec::from_slice(path.as_bytes())
}

fn bound_socket(port: u16) -> rustix::io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(socket)
}

/// Makes the four calls of an IPv4 listener.
pub(crate) fn bare(port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = bound_socket(port)?;
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

/// Makes the same calls for port 0, and `getsockname` for the port that the kernel chose.
pub(crate) fn bare_on_any_port() -> rustix::io::Result<OwnedFd> {
    let socket = bound_socket(0)?;
    std::hint::black_box(getsockname(&socket)?);
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

pub(crate) fn std_listener(address: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Makes the same four calls with socket2.
pub(crate) fn socket2_listener(address: &str) -> std::io::Result<Socket> {
    let address: SocketAddrV4 = address.parse().map_err(std::io::Error::other)?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::MAX)?;
    Ok(socket)
}

/// A sink that keeps the newest records and their numbers in a queue with a mutex.
pub(crate) struct LockedRing {
    queue: Mutex<Queue>,
}

/// A record that owns its address, its number and its time.
pub(crate) struct OwnedEntry {
    pub(crate) sequence: u64,
    pub(crate) time: Option<Instant>,
    pub(crate) capability: CapabilityId,
    pub(crate) operation: Operation,
    pub(crate) address: BindAddress,
    pub(crate) result: AuditResult,
}

struct Queue {
    entries: VecDeque<OwnedEntry>,
    capacity: usize,
    written: u64,
}

impl LockedRing {
    pub(crate) fn new(capacity: usize) -> Self {
        let entries = VecDeque::with_capacity(capacity);
        Self { queue: Mutex::new(Queue { entries, capacity, written: 0 }) }
    }

    /// Removes the oldest entry.
    pub(crate) fn take(&self) -> Option<OwnedEntry> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).entries.pop_front()
    }
}

impl AuditSink for LockedRing {
    fn record(&self, record: &Record<'_>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.entries.len() == queue.capacity {
            queue.entries.pop_front();
        }
        let sequence = queue.written;
        queue.written += 1;
        let Record { capability, operation, address, result, .. } = *record;
        let address = address.clone();
        let time = None;
        let entry = OwnedEntry { sequence, time, capability, operation, address, result };
        queue.entries.push_back(entry);
    }
}
