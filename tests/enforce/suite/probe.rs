//! System calls without the crate, as hostile code would make them.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libc::c_long;
use netbind::error::Errno;
use netbind::{NetBind, Rights};
use tempfile::TempDir;

pub(crate) type Outcome<T = ()> = Result<T, Errno>;

/// Returns the value of a C function, or errno if it is -1.
pub(crate) fn check(value: c_long) -> Outcome<c_long> {
    if value == -1 { Err(last_errno()) } else { Ok(value) }
}

pub(crate) fn last_errno() -> Errno {
    errno(io::Error::last_os_error().raw_os_error().unwrap())
}

pub(crate) fn errno(number: i32) -> Errno {
    Errno::from_raw_os_error(number).unwrap()
}

/// Takes a descriptor that a call has just made.
pub(crate) fn own(value: c_long) -> Outcome<OwnedFd> {
    // SAFETY: the kernel has just made this descriptor.
    check(value).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A system call with numbers as arguments.
pub(crate) fn call(number: c_long, [a, b, c, d]: [usize; 4]) -> Outcome<c_long> {
    // SAFETY: the callers pass numbers, or pointers that outlive the call.
    check(unsafe { libc::syscall(number, a, b, c, d) })
}

pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> Outcome<OwnedFd> {
    // SAFETY: the call takes only numbers.
    own(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }.into())
}

/// A socket address in the kernel's form.
#[derive(Clone)]
pub(crate) struct Address {
    bytes: Vec<u8>,
}

impl Address {
    /// Makes an address of a family and the bytes after it.
    pub(crate) fn new(family: i32, rest: &[u8]) -> Self {
        let family = libc::sa_family_t::try_from(family).unwrap();
        Self { bytes: [&family.to_ne_bytes(), rest].concat() }
    }

    /// Makes an IP address of a text such as `127.0.0.1:80`.
    pub(crate) fn ip(text: &str) -> Self {
        match text.parse().unwrap() {
            SocketAddr::V4(address) => {
                let (port, ip) = (address.port().to_be_bytes(), address.ip().octets());
                Self::new(libc::AF_INET, &[&port[..], &ip, &[0; 8]].concat())
            }
            SocketAddr::V6(address) => {
                let (port, ip) = (address.port().to_be_bytes(), address.ip().octets());
                Self::new(libc::AF_INET6, &[&port[..], &[0; 4], &ip, &[0; 4]].concat())
            }
        }
    }

    pub(crate) fn path(path: &Path) -> Self {
        Self::new(libc::AF_UNIX, &[path.as_os_str().as_bytes(), &[0]].concat())
    }

    pub(crate) fn abstract_name(name: &str) -> Self {
        Self::new(libc::AF_UNIX, &[&[0], name.as_bytes()].concat())
    }

    /// Makes the same address with another family.
    pub(crate) fn with_family(&self, family: i32) -> Self {
        Self::new(family, &self.bytes[2..])
    }

    pub(crate) fn family(&self) -> i32 {
        u16::from_ne_bytes([self.bytes[0], self.bytes[1]]).into()
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.bytes.len() as libc::socklen_t
    }
}

/// Binds a socket. A port that is in use counts as bound: the kernel asks its security modules
/// first.
pub(crate) fn bind(socket: &OwnedFd, address: &Address) -> Outcome {
    // SAFETY: the address has this length and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr(), address.len()) };
    match check(bound.into()) {
        Err(Errno::ADDRINUSE) if address.family() != libc::AF_UNIX => Ok(()),
        bound => bound.map(drop),
    }
}

pub(crate) fn listen(socket: &OwnedFd) -> Outcome {
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), 1) }.into()).map(drop)
}

pub(crate) fn connect(socket: &OwnedFd, address: &Address) -> Outcome {
    // SAFETY: the address has this length and outlives the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len()) };
    check(done.into()).map(drop)
}

pub(crate) fn send_to(socket: &OwnedFd, address: &Address) -> Outcome {
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    // SAFETY: the bytes and the address have these lengths and outlive the call.
    let sent = unsafe {
        libc::sendto(fd, b"x".as_ptr().cast(), 1, flags, address.as_ptr(), address.len())
    };
    check(sent as c_long).map(drop)
}

pub(crate) fn accept(socket: &OwnedFd) -> Outcome<OwnedFd> {
    let none = std::ptr::null_mut();
    // SAFETY: no address is written.
    own(unsafe { libc::accept4(socket.as_raw_fd(), none, none.cast(), libc::SOCK_CLOEXEC) }.into())
}

pub(crate) fn option(socket: impl AsFd, level: i32, name: i32) -> Outcome<i32> {
    let (fd, mut value, mut length) = (socket.as_fd().as_raw_fd(), 0_i32, 4);
    let pointer = (&raw mut value).cast();
    // SAFETY: the value has this length, and both outlive the call.
    check(unsafe { libc::getsockopt(fd, level, name, pointer, &raw mut length) }.into())?;
    Ok(value)
}

pub(crate) fn set_option(socket: &OwnedFd, level: i32, name: i32, value: i32) -> Outcome {
    let pointer = (&raw const value).cast();
    // SAFETY: the value has this length and outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, 4) };
    check(set.into()).map(drop)
}

pub(crate) fn is_listening(socket: &OwnedFd) -> bool {
    option(socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Ok(1)
}

/// Returns the address of a socket.
pub(crate) fn name_of(socket: &OwnedFd) -> SocketAddr {
    let listener = std::net::TcpListener::from(socket.try_clone().unwrap());
    listener.local_addr().unwrap()
}

/// Opens, binds and closes a TCP socket.
pub(crate) fn bind_tcp(address: &str) -> Outcome {
    let address = Address::ip(address);
    bind(&socket(address.family(), libc::SOCK_STREAM, 0)?, &address)
}

/// Opens, binds and closes a UDP socket.
pub(crate) fn bind_udp(address: &str) -> Outcome {
    let address = Address::ip(address);
    bind(&socket(address.family(), libc::SOCK_DGRAM, 0)?, &address)
}

/// Listens on a TCP socket that is not bound. Returns it.
pub(crate) fn listen_unbound(family: i32, protocol: i32) -> Outcome<OwnedFd> {
    let socket = socket(family, libc::SOCK_STREAM, protocol)?;
    listen(&socket)?;
    Ok(socket)
}

/// Binds a Unix socket to a path, and removes the path.
pub(crate) fn bind_path(path: impl AsRef<Path>) -> Outcome {
    let path = path.as_ref();
    bind(&socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &Address::path(path))?;
    std::fs::remove_file(path).unwrap();
    Ok(())
}

pub(crate) fn bind_abstract(name: &str) -> Outcome {
    bind(&socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &Address::abstract_name(name))
}

/// Returns the kernel's Landlock ABI, or 0.
pub(crate) fn landlock_abi() -> c_long {
    call(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0]).unwrap_or(0)
}

pub(crate) fn has_no_new_privs() -> bool {
    // SAFETY: the call takes only numbers.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Returns true if this thread has a seccomp filter. A process that may not ask has one.
pub(crate) fn has_seccomp_filter() -> bool {
    // SAFETY: the call takes only numbers.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 }
}

/// Gives this process a network of its own, in which everyone may bind every port, if it is root.
pub(crate) fn private_network() {
    // SAFETY: the call takes only a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == -1 {
        return;
    }
    // SAFETY: a structure of numbers and characters can be zero.
    let mut flags: libc::ifreq = unsafe { std::mem::zeroed() };
    flags.ifr_name[..2].copy_from_slice(&b"lo".map(|byte| libc::c_char::from_ne_bytes([byte])));
    flags.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
    // SAFETY: this request reads this structure, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const flags) };
    check(done.into()).expect("the loopback of a new network");
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

/// Returns the first port that this process may bind.
pub(crate) fn first_port() -> u16 {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if super::harness::is_root() { 0 } else { text.trim().parse().unwrap_or(1024) }
}

/// Makes an empty directory with a short name that belongs to the user of the case.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in("/tmp").expect("a directory in /tmp")
}

/// Makes a capability with every right and these rules.
pub(crate) fn capability(rules: &[&str]) -> NetBind<'static> {
    let mut capability = NetBind::empty("test").unwrap();
    grant(&mut capability, rules);
    capability
}

pub(crate) fn grant(capability: &mut NetBind<'_>, rules: &[&str]) {
    capability.grant(Rights::all());
    for rule in rules {
        capability.allow(rule.parse().unwrap()).unwrap();
    }
}

/// Closes what this program has inherited.
pub(crate) fn close_from_3() {
    let _ = call(libc::SYS_close_range, [3, u32::MAX as usize, 0, 0]);
}

/// Returns the open descriptors.
pub(crate) fn descriptors() -> Vec<i32> {
    // SAFETY: `F_GETFD` takes no pointer and accepts any number.
    (0..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1).collect()
}

/// Asserts that neither Landlock nor seccomp restricts this process. The last argument says if it
/// had `no_new_privs` before.
#[track_caller]
pub(crate) fn assert_unrestricted(what: &str, had_no_new_privs: bool) {
    let directory = directory();
    assert_eq!(bind_tcp("127.0.0.1:4999"), Ok(()), "{what}: TCP");
    assert_eq!(bind_tcp("127.0.0.1:0"), Ok(()), "{what}: port 0");
    assert_eq!(listen_unbound(libc::AF_INET, 0).map(drop), Ok(()), "{what}: listen");
    assert_eq!(bind_udp("127.0.0.1:0"), Ok(()), "{what}: UDP");
    assert_eq!(bind_path(directory.path().join("s")), Ok(()), "{what}: a path");
    assert_eq!(has_no_new_privs(), had_no_new_privs, "{what}: no_new_privs");
}
