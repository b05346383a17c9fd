//! Descriptors that cannot be adopted, and options that cannot be set on an adopted socket.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};

use netbind::error::{AdoptError, Errno, SocketOption, Step};
use netbind::{Existing, ListenOptions, NetBind, SocketError};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{
    AddressFamily, Protocol, SocketAddrUnix, SocketType, bind, ipproto, listen, socket,
};

use super::{FLAGS, assert_accepts, flags, foreign, set_close_on_exec};
use crate::support::machine::{directory, skip};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated};

const LOCALHOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

fn system(step: Step, errno: Errno) -> SocketError {
    SocketError::System { step, errno }
}

/// Opens a socket that this kernel may not have.
fn open(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> Option<OwnedFd> {
    let opened = socket(family, kind, protocol);
    if let Err(error) = opened {
        skip(&format!("a socket of {family:?}, {kind:?}, {protocol:?}: {error}"));
    }
    opened.ok()
}

/// Makes a listener on an IP address.
fn listener_of(kind: SocketType, protocol: Protocol) -> Option<OwnedFd> {
    let fd = open(AddressFamily::INET, kind, Some(protocol))?;
    bind(&fd, &LOCALHOST).unwrap();
    listen(&fd, 1).unwrap();
    Some(fd)
}

fn listener_at(address: &SocketAddrUnix, kind: SocketType) -> OwnedFd {
    let fd = socket(AddressFamily::UNIX, kind, None).unwrap();
    bind(&fd, address).unwrap();
    listen(&fd, 1).unwrap();
    fd
}

/// Returns the address of a path in the working directory.
fn path(name: &str) -> SocketAddrUnix {
    SocketAddrUnix::new(name).unwrap()
}

/// Makes a listener at a path of 108 bytes, which leaves no room for the NUL in `sockaddr_un`.
fn at_longest_path() -> OwnedFd {
    let mut longest = b"/proc/thread-self/cwd/".to_vec();
    longest.resize(108, b'x');
    listener_at(&SocketAddrUnix::new(OsStr::from_bytes(&longest)).unwrap(), SocketType::STREAM)
}

/// Makes two connected TCP sockets: of the client, and of the server.
fn connected() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind(LOCALHOST).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

fn bound(family: AddressFamily) -> OwnedFd {
    let fd = socket(family, SocketType::STREAM, None).unwrap();
    match family {
        AddressFamily::UNIX => bind(&fd, &path("bound")).unwrap(),
        _ => bind(&fd, &LOCALHOST).unwrap(),
    }
    fd
}

fn no_listener(family: AddressFamily) -> OwnedFd {
    socket(family, SocketType::STREAM, None).unwrap()
}

/// The kind of descriptor, a function that makes one, and the error.
type Row = (&'static str, fn() -> Option<OwnedFd>, Step, Errno);

const ROWS: &[Row] = &[
    ("a file", || Some(tempfile::tempfile().unwrap().into()), Step::Adopt, Errno::NOTSOCK),
    ("a directory", || Some(std::fs::File::open(".").unwrap().into()), Step::Adopt, Errno::NOTSOCK),
    ("a pipe to read", || Some(std::io::pipe().unwrap().0.into()), Step::Adopt, Errno::NOTSOCK),
    ("a pipe to write", || Some(std::io::pipe().unwrap().1.into()), Step::Adopt, Errno::NOTSOCK),
    ("a path only", || Some(path_only()), Step::Adopt, Errno::BADF),
    (
        "a UDP socket",
        || Some(UdpSocket::bind(LOCALHOST).unwrap().into()),
        Step::Adopt,
        Errno::SOCKTNOSUPPORT,
    ),
    (
        "a Unix datagram socket",
        || Some(UnixDatagram::bind("datagram").unwrap().into()),
        Step::Adopt,
        Errno::SOCKTNOSUPPORT,
    ),
    (
        "a Unix SEQPACKET listener",
        || Some(listener_at(&path("seqpacket"), SocketType::SEQPACKET)),
        Step::Adopt,
        Errno::SOCKTNOSUPPORT,
    ),
    ("a TCP client", || Some(connected().0), Step::Adopt, Errno::INVAL),
    ("a TCP connection", || Some(connected().1), Step::Adopt, Errno::INVAL),
    ("a new IPv4 socket", || Some(no_listener(AddressFamily::INET)), Step::Adopt, Errno::INVAL),
    ("a new Unix socket", || Some(no_listener(AddressFamily::UNIX)), Step::Adopt, Errno::INVAL),
    ("a bound IPv4 socket", || Some(bound(AddressFamily::INET)), Step::Adopt, Errno::INVAL),
    ("a bound Unix socket", || Some(bound(AddressFamily::UNIX)), Step::Adopt, Errno::INVAL),
    ("a Unix connection", || Some(UnixStream::pair().unwrap().0.into()), Step::Adopt, Errno::INVAL),
    (
        "an MPTCP listener",
        || listener_of(SocketType::STREAM, ipproto::MPTCP),
        Step::Adopt,
        Errno::PROTONOSUPPORT,
    ),
    (
        "an SCTP listener",
        || listener_of(SocketType::STREAM, ipproto::SCTP),
        Step::Adopt,
        Errno::PROTONOSUPPORT,
    ),
    (
        "a vsock socket",
        || open(AddressFamily::VSOCK, SocketType::STREAM, None),
        Step::Adopt,
        Errno::AFNOSUPPORT,
    ),
    (
        "a netlink socket",
        || open(AddressFamily::NETLINK, SocketType::RAW, None),
        Step::Adopt,
        Errno::AFNOSUPPORT,
    ),
    ("a path of 108 bytes", || Some(at_longest_path()), Step::LocalAddress, Errno::INVAL),
    (
        "a path that begins with @",
        || Some(listener_at(&path("@"), SocketType::STREAM)),
        Step::LocalAddress,
        Errno::INVAL,
    ),
    (
        "an abstract name with a NUL",
        || Some(listener_at(&with_nul(), SocketType::STREAM)),
        Step::LocalAddress,
        Errno::INVAL,
    ),
];

fn path_only() -> OwnedFd {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open(".", flags, rustix::fs::Mode::empty()).unwrap()
}

/// Returns a name that no other run of the tests uses.
fn with_nul() -> SocketAddrUnix {
    let name = format!("netbind\0adopt-{}-{}", std::process::id(), rustix::thread::gettid());
    SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()
}

#[test]
fn a_descriptor_that_cannot_be_adopted_comes_back_as_it_was() {
    for (kind, make, step, errno) in ROWS {
        for [close_on_exec, nonblocking] in FLAGS {
            for option in [false, true] {
                assert_comes_back(kind, *make, system(*step, *errno), |fd, arena| {
                    set_close_on_exec(&fd, close_on_exec);
                    // It fails for a descriptor of a path only.
                    let mode = if nonblocking { OFlags::NONBLOCK } else { OFlags::empty() };
                    let _ = fcntl_setfl(&fd, mode);
                    let before = flags(&fd);
                    let error = ListenOptions::new().nonblocking(option).adopt(fd, arena);
                    (error.map(drop).unwrap_err(), before)
                });
            }
        }
    }
}

/// Without the address: `adopt_as` does not read it.
#[test]
fn a_descriptor_that_cannot_be_adopted_by_another_name_comes_back_as_it_was() {
    let address = "unix:other".parse().unwrap();
    for (kind, make, step, errno) in ROWS.iter().filter(|row| row.2 == Step::Adopt) {
        assert_comes_back(kind, *make, system(*step, *errno), |fd, arena| {
            set_close_on_exec(&fd, false);
            let before = flags(&fd);
            let error = ListenOptions::new().nonblocking(true).adopt_as(fd, &address, arena);
            (error.map(drop).unwrap_err(), before)
        });
    }
}

/// Makes a descriptor in an empty working directory, and checks the error of its adoption and the
/// flags that it had before.
fn assert_comes_back(
    kind: &str,
    make: fn() -> Option<OwnedFd>,
    expected: SocketError,
    adopt: impl FnOnce(OwnedFd, &Arena) -> (AdoptError, [i32; 2]) + Send,
) {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let Some(fd) = make() else { return };
        let (number, arena, open) = (fd.as_raw_fd(), Arena::new(), descriptors());
        let (error, before) = adopt(fd, &arena);
        assert_eq!(error.error(), expected, "{kind}");
        let fd = error.into_fd();
        assert_eq!((fd.as_raw_fd(), flags(&fd)), (number, before), "{kind}");
        assert_eq!((descriptors(), arena.bytes_in_use()), (open, 0), "{kind}");
    });
}

/// A number that is not open in an isolated thread.
const CLOSED: RawFd = 60;

/// Adopts a descriptor that is not open. Its number comes back, and nothing is closed.
fn adopt_closed(options: &ListenOptions<'_>) -> SocketError {
    // SAFETY: the descriptor is not open, and `into_raw_fd` gives it up without a close.
    let fd = unsafe { OwnedFd::from_raw_fd(CLOSED) };
    let error = options.adopt(fd, &Arena::new()).map(drop).unwrap_err();
    let reason = error.error();
    assert_eq!(error.into_fd().into_raw_fd(), CLOSED);
    reason
}

#[test]
fn a_closed_descriptor_is_an_error() {
    isolated(|| {
        for nonblocking in [false, true] {
            let options = ListenOptions::new().nonblocking(nonblocking);
            assert_eq!(adopt_closed(&options), system(Step::Adopt, Errno::BADF));
        }
    });
}

type Change = for<'o> fn(ListenOptions<'o>) -> ListenOptions<'o>;

#[test]
fn every_option_except_non_blocking_is_refused_before_the_socket_is_looked_at() {
    const OPTIONS: &[(SocketOption, Change)] = &[
        (SocketOption::ReuseAddress, |o| o.reuse_address(false)),
        (SocketOption::V6Only, |o| o.dual_stack(true)),
        (SocketOption::ReusePort, |o| o.reuse_port(true)),
        (SocketOption::FreeBind, |o| o.free_bind(true)),
        (SocketOption::KeepAlive, |o| o.keep_alive(true)),
        (SocketOption::NoDelay, |o| o.no_delay(true)),
        (SocketOption::ReceiveBuffer, |o| o.receive_buffer(4096)),
        (SocketOption::SendBuffer, |o| o.send_buffer(0)),
        (SocketOption::Mode, |o| o.mode(0)),
        (SocketOption::Backlog, |o| o.backlog(u32::MAX)),
        (SocketOption::BeforeBind, |o| o.before_bind(&|_| panic!("it was called"))),
        (SocketOption::Owner, |o| o.owner(u32::MAX, u32::MAX)),
        (SocketOption::Existing, |o| o.existing(Existing::ReplaceStale)),
        (SocketOption::Existing, |o| o.existing(Existing::Replace)),
    ];
    isolated(|| {
        let sink = Lines::default();
        let capability = NetBind::empty("web").unwrap().with_sink(&sink);
        for (option, change) in OPTIONS {
            for nonblocking in [false, true] {
                let options =
                    change(ListenOptions::new().nonblocking(nonblocking).capability(&capability));
                let refused = SocketError::InvalidOption(*option);
                assert_eq!(adopt_closed(&options), refused);
                let (arena, fd) = (Arena::new(), foreign("127.0.0.1:0"));
                set_close_on_exec(&fd, false);
                let before = flags(&fd);
                let error = options.adopt(fd, &arena).unwrap_err();
                assert_eq!(error.error(), refused);
                let fd = error.into_fd();
                assert_eq!((flags(&fd), sink.take().len()), (before, 0), "{option}");
                assert_accepts(&ListenOptions::new().adopt(fd, &arena).unwrap());
            }
        }
    });
}

#[test]
fn an_option_with_its_default_value_is_not_refused() {
    const OPTIONS: &[Change] = &[
        |o| o.reuse_address(false).reuse_address(true),
        |o| o.dual_stack(true).dual_stack(false),
        |o| o.reuse_port(false).free_bind(false).keep_alive(false).no_delay(false),
        |o| o.existing(Existing::Replace).existing(Existing::Refuse),
        |o| o.nonblocking(false),
    ];
    isolated(|| {
        for change in OPTIONS {
            let (fd, arena) = (foreign("127.0.0.1:0"), Arena::new());
            assert_accepts(&change(ListenOptions::new()).adopt(fd, &arena).unwrap());
        }
    });
}
