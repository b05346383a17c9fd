//! The program as the first process of a virtual machine, `/init` of `proofs/vm`.
//!
//! No file system is mounted there, not even /proc, and the loopback interface is down. The program
//! sends a request to itself on every address, prints the results, and switches the machine off.

use netbind::{BindAddress, MonotonicClock};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use rustix::system::{RebootCommand, reboot};

use crate::MEMORY;
use crate::connections::ANSWER;
use crate::print::{self, Line};
use crate::runtime::Arguments;
use crate::server::{Failure, Server};

/// Runs the self-test. Returns only if the machine cannot be switched off.
pub fn run(arguments: Arguments) -> i32 {
    let proc_is_mounted = exists(b"/proc/self/auxv");
    Line::out().bytes(if proc_is_mounted { b"there is a /proc" } else { b"there is no /proc" });
    match test(arguments) {
        Ok(()) => drop(Line::out().bytes(b"the self-test passed")),
        Err(failure) => print::failure(&failure),
    }
    let _ = reboot(RebootCommand::PowerOff);
    1
}

fn test(arguments: Arguments) -> Result<(), Failure> {
    let clock = MonotonicClock::new();
    let mut server = Server::new(&clock)?;
    set_loopback_up()?;
    server.open(arguments, &MEMORY)?;
    for argument in arguments {
        let answered = ask(&mut server, argument)?;
        Line::out().bytes(if answered { b"answered on " } else { b"silent on " }).bytes(argument);
    }
    drop(server);
    for argument in arguments {
        if let Ok(BindAddress::Path(path)) = BindAddress::parse(argument) {
            let left = exists(path.as_bytes());
            Line::out().bytes(if left { b"left " } else { b"removed " }).bytes(path.as_bytes());
        }
    }
    Ok(())
}

fn exists(path: &[u8]) -> bool {
    access(path, Access::EXISTS).is_ok()
}

/// Sends a request to the server on this address. Returns true if the answer is the expected one.
///
/// Client and server are one thread: the kernel keeps the request until the server reads it.
fn ask(server: &mut Server<'_>, address: &'static [u8]) -> Result<bool, Failure> {
    let client = connect_to(address)?;
    send(&client, b"GET / HTTP/1.0\r\n\r\n", SendFlags::NOSIGNAL)?;
    server.serve_once(); // accepts
    server.serve_once(); // answers
    let mut answer = [0; 64];
    let (_, length) = recv(&client, &mut answer, RecvFlags::empty())?;
    Ok(answer.get(..length) == Some(ANSWER))
}

fn connect_to(address: &'static [u8]) -> Result<OwnedFd, Failure> {
    let parsed = BindAddress::parse(address).map_err(|_| Errno::INVAL)?;
    if let BindAddress::Path(path) = &parsed {
        let client = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        connect(&client, &SocketAddrUnix::new(path.as_bytes())?)?;
        return Ok(client);
    }
    let sockaddr = parsed.to_socket_addr().ok_or(Errno::AFNOSUPPORT)?;
    let family = if sockaddr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let client = socket(family, SocketType::STREAM, None)?;
    connect(&client, &sockaddr)?;
    Ok(client)
}

/// Does the same as `ip link set lo up`.
fn set_loopback_up() -> rustix::io::Result<()> {
    const SIOCSIFFLAGS: rustix::ioctl::Opcode = 0x8914;
    /// `IFF_UP | IFF_RUNNING`
    const UP: i16 = 0x41;
    /// `struct ifreq`
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        unused: [u8; 22],
    }
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut request = Request { name: [0; 16], flags: UP, unused: [0; 22] };
    [request.name[0], request.name[1]] = *b"lo";
    // SAFETY: SIOCSIFFLAGS reads a `struct ifreq`.
    let set_flags = unsafe { Setter::<SIOCSIFFLAGS, Request>::new(request) };
    // SAFETY: it changes a network interface, and no memory.
    unsafe { ioctl(socket, set_flags) }
}
