//! What the server does as the first process of a machine, `/init` of `proofs/vm`: there is no /proc, nothing is mounted,
//! and not even the loopback is up. It asks itself on every address, says what it saw, and switches the machine off.

use netbind::{BindAddress, MonotonicClock, SockAddr, SocketError};
use rustix::fs::{Access, access};
use rustix::ioctl::{Setter, ioctl};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, send, socket};
use rustix::system::{RebootCommand, reboot};

use crate::connections::ANSWER;
use crate::print::Line;
use crate::runtime::Arguments;
use crate::server::{Failure, Server, waiting};
use crate::{MEMORY, explain};

pub fn run(arguments: Arguments) -> i32 {
    let without_proc = access("/proc/self/auxv", Access::EXISTS).is_err();
    Line::out().bytes(if without_proc { b"there is no /proc" } else { b"there is a /proc" });
    match test(arguments) {
        Ok(()) => drop(Line::out().bytes(b"the self-test passed")),
        Err(failure) => explain(&failure),
    }
    let _ = reboot(RebootCommand::PowerOff);
    1
}

fn test(arguments: Arguments) -> Result<(), Failure> {
    raise_loopback().map_err(|_| Failure::Usage)?;
    let clock = MonotonicClock::new();
    let mut server = Server::new(waiting().map_err(|_| Failure::Usage)?);
    server.open(arguments, &clock, &MEMORY)?;
    for address in arguments {
        let answered = ask(&mut server, &BindAddress::parse(address).map_err(SocketError::from)?)?;
        Line::out().bytes(if answered { b"answered on " } else { b"silent on " }).bytes(address);
    }
    drop(server);
    for address in arguments {
        if let BindAddress::Path(path) = BindAddress::parse(address).map_err(SocketError::from)? {
            let is_gone = access(path.as_bytes(), Access::EXISTS).is_err();
            Line::out().bytes(if is_gone { b"removed " } else { b"left " }).bytes(path.as_bytes());
        }
    }
    Ok(())
}

/// Connects to the server, whose only process this is: what is sent waits in the kernel until the server's turn.
fn ask(server: &mut Server, address: &BindAddress) -> Result<bool, Failure> {
    let system = |_| Failure::Usage;
    let sockaddr = SockAddr::new_in(address, &MEMORY)?;
    let family = match address {
        BindAddress::Ipv4 { .. } => AddressFamily::INET,
        BindAddress::Ipv6 { .. } => AddressFamily::INET6,
        BindAddress::Path(_) | BindAddress::Abstract(_) => AddressFamily::UNIX,
    };
    let client = socket(family, SocketType::STREAM, None).map_err(system)?;
    connect(&client, &sockaddr).map_err(system)?;
    send(&client, b"GET / HTTP/1.0\r\n\r\n", SendFlags::NOSIGNAL).map_err(system)?;
    server.turn(); // accepts
    server.turn(); // answers
    let mut answer = [0; 64];
    let (_, length) = recv(&client, &mut answer, RecvFlags::empty()).map_err(system)?;
    Ok(answer.get(..length) == Some(ANSWER))
}

/// `SIOCSIFFLAGS` with `IFF_UP | IFF_RUNNING`: what `ip link set lo up` does.
fn raise_loopback() -> rustix::io::Result<()> {
    /// `struct ifreq`
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        unused: [u8; 22],
    }
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut request = Request { name: [0; 16], flags: 0x41, unused: [0; 22] };
    [request.name[0], request.name[1]] = *b"lo";
    // SAFETY: the opcode is SIOCSIFFLAGS, which reads a `struct ifreq`.
    let up = unsafe { Setter::<0x8914, Request>::new(request) };
    // SAFETY: it changes a network interface and no memory.
    unsafe { ioctl(socket, up) }
}
