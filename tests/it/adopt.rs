//! Listening sockets that another program opened: they work like this crate's own, the capability
//! decides about them, and a socket that is refused comes back as it was.

mod decided;
#[cfg(target_pointer_width = "64")] // they need the supervisor
mod faults;
mod file_systems;
mod paths;
mod refused;
mod renamed;
#[cfg(target_pointer_width = "64")]
mod syscalls;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use netbind::error::SocketOption;
use netbind::{
    BindAddress, CancelFlag, Context, ListenOptions, Listener, MonotonicClock, NetBind, SocketError,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, bind, listen, recvmsg, sendmsg, socket,
};

use crate::listen::talk;
use crate::support::allow_port_0_and_unix;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::kernel::{bound_bytes, fcntl, is_close_on_exec, is_nonblocking};
use crate::support::machine::{directory, openable};
use crate::support::memory::{Arena, global_requests};
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated, isolated_network};

/// Opens a listening socket without this crate. It replaces the socket that an earlier one has left
/// at a Unix path.
fn foreign(address: &str) -> OwnedFd {
    match BindAddress::parse(address).unwrap() {
        BindAddress::Path(path) => {
            let path = OsStr::from_bytes(path.as_bytes());
            let _ = std::fs::remove_file(path);
            UnixListener::bind(path).unwrap().into()
        }
        BindAddress::Abstract(name) => {
            let name = UnixAddr::from_abstract_name(name.as_bytes()).unwrap();
            UnixListener::bind_addr(&name).unwrap().into()
        }
        ip => TcpListener::bind(ip.to_socket_addr().unwrap()).unwrap().into(),
    }
}

/// Opens a TCP listener of IPv6 with `IPV6_V6ONLY` on or off.
fn foreign_ipv6(ip: Ipv6Addr, v6_only: bool) -> OwnedFd {
    let fd = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    set_ipv6_v6only(&fd, v6_only).unwrap();
    bind(&fd, &SocketAddrV6::new(ip, 0, 0, 0)).unwrap();
    listen(&fd, 16).unwrap();
    fd
}

/// Returns the port of an IP socket.
fn port(fd: impl AsFd) -> u16 {
    SocketAddr::try_from(rustix::net::getsockname(fd).unwrap()).unwrap().port()
}

/// Connects a client to the address.
pub(crate) fn client_of(address: &BindAddress) -> File {
    let client: OwnedFd = match address {
        BindAddress::Path(path) => {
            UnixStream::connect(OsStr::from_bytes(path.as_bytes())).unwrap().into()
        }
        BindAddress::Abstract(name) => {
            let name = UnixAddr::from_abstract_name(name.as_bytes()).unwrap();
            UnixStream::connect_addr(&name).unwrap().into()
        }
        ip => TcpStream::connect(ip.to_socket_addr().unwrap()).unwrap().into(),
    };
    client.into()
}

/// Asserts that a client reaches the listener.
fn assert_accepts(listener: &Listener<&Arena>) {
    let mut client = client_of(&listener.local_address().unwrap());
    poll(&mut [PollFd::new(listener, PollFlags::IN)], None).unwrap();
    let (connection, _) = listener.accept().unwrap();
    talk(&mut client, connection);
}

/// Returns the flags of a descriptor: `F_GETFD` and `F_GETFL`.
fn flags(fd: impl AsFd) -> [i32; 2] {
    [fcntl(&fd, libc::F_GETFD), fcntl(&fd, libc::F_GETFL)]
}

fn set_close_on_exec(fd: impl AsFd, on: bool) {
    fcntl_setfd(fd, if on { FdFlags::CLOEXEC } else { FdFlags::empty() }).unwrap();
}

fn set_nonblocking(fd: impl AsFd, on: bool) {
    fcntl_setfl(fd, if on { OFlags::NONBLOCK } else { OFlags::empty() }).unwrap();
}

/// Each combination of close-on-exec and non-blocking.
const FLAGS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// Returns a capability for everything that [`for_each_family`] opens.
fn allow_all<'s>() -> NetBind<'s> {
    let mut capability = NetBind::empty("web").unwrap();
    allow_port_0_and_unix(&mut capability);
    capability.allow("port 0-65535".parse().unwrap()).unwrap();
    capability
}

/// A name that no other run of the tests uses.
fn abstract_name(test: &str) -> String {
    format!("unix:@netbind-adopt-{test}-{}", std::process::id())
}

/// Runs `body` in an empty working directory, for a socket of each family that this machine has.
fn for_each_family(test: &str, body: impl Fn(&str) + Send + Sync) {
    isolated_network(|is_private| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let path = format!("{}/run.sock", directory.path().display());
        let name = abstract_name(test);
        let mut addresses =
            vec!["127.0.0.1:0", ":0", "[::1]:0", "[::]:0", &name, "unix:run.sock", &path];
        if is_private {
            addresses.push("[fe80::1%1]:0");
        }
        for address in openable(&addresses) {
            body(address);
        }
    });
}

/// Returns the address of a socket that was bound to `address`.
fn bound_address(address: &str, fd: impl AsFd) -> BindAddress {
    match BindAddress::parse(address).unwrap() {
        ip if ip.port().is_some() => {
            let address = SocketAddr::try_from(rustix::net::getsockname(fd).unwrap()).unwrap();
            address.to_string().parse().unwrap()
        }
        unix => unix,
    }
}

#[test]
fn an_adopted_socket_accepts_has_its_address_and_is_close_on_exec() {
    for_each_family("accepts", |address| {
        for [close_on_exec, nonblocking] in FLAGS {
            let fd = foreign(address);
            set_close_on_exec(&fd, close_on_exec);
            set_nonblocking(&fd, nonblocking);
            let (bytes, expected) = (bound_bytes(&fd), bound_address(address, &fd));
            let arena = Arena::new();
            let listener = ListenOptions::new().adopt(fd, &arena).unwrap();
            assert_eq!(listener.local_address(), Ok(expected), "{address}");
            assert_eq!(listener.sockaddr(), bytes, "{address}");
            assert!(is_close_on_exec(&listener), "{address}");
            assert_eq!(is_nonblocking(&listener), nonblocking, "{address}");
            assert_accepts(&listener);
            let count = descriptors().len();
            listener.close().unwrap();
            assert_eq!((descriptors().len(), arena.bytes_in_use()), (count - 1, 0), "{address}");
        }
    });
}

#[test]
fn an_adopted_listener_of_std_accepts() {
    isolated(|| {
        let directory = directory();
        let arena = Arena::new();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_accepts(&ListenOptions::new().adopt(tcp, &arena).unwrap());
        let unix = UnixListener::bind(directory.path().join("s")).unwrap();
        assert_accepts(&ListenOptions::new().adopt(unix, &arena).unwrap());
    });
}

/// The kernel gives a socket that listens without a bind a port, or an abstract name.
#[test]
fn an_adopted_socket_without_a_bind_has_the_address_that_the_kernel_chose() {
    isolated(|| {
        let arena = Arena::new();
        let tcp = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        listen(&tcp, 1).unwrap();
        let chosen = port(&tcp);
        let listener = ListenOptions::new().adopt(tcp, &arena).unwrap();
        assert_eq!(listener.local_address().unwrap().to_string(), format!("0.0.0.0:{chosen}"));
        assert_accepts(&listener);

        let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        // SAFETY: the call reads the two bytes of the family only.
        #[allow(unsafe_code)]
        let bound = unsafe {
            let family = (libc::AF_UNIX as u16).to_ne_bytes();
            libc::bind(std::os::fd::AsRawFd::as_raw_fd(&unix), family.as_ptr().cast(), 2)
        };
        assert_eq!(bound, 0);
        listen(&unix, 1).unwrap();
        let listener = ListenOptions::new().adopt(unix, &arena).unwrap();
        assert!(matches!(listener.local_address(), Ok(BindAddress::Abstract(_))));
        assert_accepts(&listener);
    });
}

#[test]
fn only_an_adopted_socket_that_is_non_blocking_waits_under_a_context() {
    for_each_family("context", |address| {
        for was_nonblocking in [false, true] {
            for option in [false, true] {
                let fd = foreign(address);
                set_nonblocking(&fd, was_nonblocking);
                let (arena, clock) = (Arena::new(), MonotonicClock::new());
                let context = Context::new(&clock).with_timeout(std::time::Duration::from_secs(60));
                let options = ListenOptions::new().nonblocking(option);
                let listener = options.adopt(fd, &arena).unwrap();
                let case = format!("{address}: {was_nonblocking}, then {option}");
                assert_eq!(is_nonblocking(&listener), was_nonblocking || option, "{case}");
                let mut client = client_of(&listener.local_address().unwrap());
                let accepted = listener.accept_with_context(&context);
                if was_nonblocking || option {
                    talk(&mut client, accepted.unwrap().0);
                    assert!(listener.accept().unwrap_err().is_would_block(), "{case}");
                } else {
                    let blocking = SocketError::InvalidOption(SocketOption::Nonblocking);
                    assert_eq!(accepted.map(drop), Err(blocking), "{case}");
                }
            }
        }
    });
}

/// Sends a descriptor over a Unix socket, and receives it without close-on-exec.
fn send_over_unix_socket(fd: OwnedFd) -> OwnedFd {
    let (sender, receiver) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    assert!(message.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&sender, &[IoSlice::new(b"x")], &mut message, SendFlags::empty()).unwrap();
    drop(fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&receiver, &mut [IoSliceMut::new(&mut byte)], &mut message, RecvFlags::empty())
        .unwrap();
    let mut fds = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.next().unwrap().next().unwrap()
}

#[test]
fn a_socket_that_was_received_over_a_unix_socket_accepts() {
    for_each_family("received", |address| {
        let fd = send_over_unix_socket(foreign(address));
        assert!(!is_close_on_exec(&fd));
        let (expected, arena) = (bound_address(address, &fd), Arena::new());
        let listener = ListenOptions::new().adopt(fd, &arena).unwrap();
        assert_eq!(listener.local_address(), Ok(expected));
        assert!(is_close_on_exec(&listener));
        assert_accepts(&listener);
    });
}

/// Two programs can have one socket, such as an old and a new version of a service.
#[test]
fn the_end_of_an_adopted_listener_does_not_end_the_socket_of_another_owner() {
    for_each_family("two-owners", |address| {
        let fd = foreign(address);
        let arena = Arena::new();
        let other = ListenOptions::new().adopt(fd.try_clone().unwrap(), &arena).unwrap();
        let listener = ListenOptions::new().adopt(fd, &arena).unwrap();
        drop(other);
        assert_accepts(&listener);
    });
}

#[test]
fn adopt_uses_only_the_callers_allocator() {
    for_each_family("memory", |address| {
        let (fd, arena) = (foreign(address), Arena::new());
        let bytes = bound_bytes(&fd).len();
        let before = global_requests();
        let listener = ListenOptions::new().adopt(fd, &arena).unwrap();
        assert_eq!((global_requests(), arena.bytes_in_use()), (before, bytes), "{address}");
        drop(listener);
        assert_eq!((global_requests(), arena.bytes_in_use()), (before, 0), "{address}");
    });
}

#[test]
fn a_socket_comes_back_if_the_allocator_refuses() {
    for_each_family("no-memory", |address| {
        let (fd, arena) = (foreign(address), Arena::refusing_from(1));
        set_close_on_exec(&fd, false);
        let before = flags(&fd);
        let error = ListenOptions::new().nonblocking(true).adopt(fd, &arena).unwrap_err();
        assert_eq!(error.error(), SocketError::OutOfMemory, "{address}");
        let fd = error.into_fd();
        assert_eq!(flags(&fd), before, "{address}");
        // With memory, it can be adopted after all.
        arena.refuse(false);
        assert_accepts(&ListenOptions::new().adopt(fd, &arena).unwrap());
    });
}

#[test]
fn a_stopped_context_gives_the_socket_back() {
    isolated(|| {
        let fd = foreign("127.0.0.1:0");
        set_close_on_exec(&fd, false);
        let (before, arena, sink) = (flags(&fd), Arena::new(), Lines::default());
        let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
        allow_port_0_and_unix(&mut capability);
        capability.allow_port(port(&fd)).unwrap();
        let options = ListenOptions::new().capability(&capability).nonblocking(true);

        let (clock, stop) = (ScriptedClock::never_expires(), CancelFlag::new());
        stop.cancel();
        let context = Context::new(&clock).with_cancel(&stop);
        let error = options.clone().context(&context).adopt(fd, &arena).unwrap_err();
        assert_eq!(error.error(), SocketError::Timeout);
        assert_eq!(sink.take(), [""; 0], "a context that has stopped asks no capability");

        // The clock reaches the deadline in each of the two checks.
        let mut fd = error.into_fd();
        for (reading, records) in [(1, 0), (2, 1)] {
            let clock = ScriptedClock::expires_at(reading);
            let context = Context::new(&clock).with_deadline(DEADLINE);
            let error = options.clone().context(&context).adopt(fd, &arena).unwrap_err();
            assert_eq!(error.error(), SocketError::Timeout);
            assert_eq!(sink.take().len(), records, "check {reading}");
            fd = error.into_fd();
            assert_eq!((flags(&fd), arena.bytes_in_use()), (before, 0), "check {reading}");
        }
        let clock = ScriptedClock::expires_at(3);
        let context = Context::new(&clock).with_deadline(DEADLINE);
        assert_accepts(&options.context(&context).adopt(fd, &arena).unwrap());
    });
}

#[test]
fn an_error_of_adopt_prints_its_reason_and_as_a_socket_error_closes_the_descriptor() {
    isolated(|| {
        let before = descriptors();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = ListenOptions::new().adopt(udp, &Arena::new()).unwrap_err();
        assert_eq!(error.to_string(), "adopt failed: socket type not supported (ESOCKTNOSUPPORT)");
        assert_eq!(descriptors().len(), before.len() + 1);
        assert!(SocketError::from(error).is_not_supported());
        assert_eq!(descriptors(), before);
    });
}
