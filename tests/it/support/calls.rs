//! System calls as text, with the names of the man pages, so that a test's table reads like strace.
#![allow(unsafe_code)]

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// One system call. Its thread waits in it, so the memory that it points to can be read.
pub(crate) struct Call {
    pub(crate) number: libc::c_long,
    arguments: [u64; 6],
}

impl Call {
    pub(crate) const fn new(number: libc::c_long, arguments: [u64; 6]) -> Self {
        Self { number, arguments }
    }

    /// Returns an argument of 32 bits, such as a descriptor or flags.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    const fn int(&self, index: usize) -> i32 {
        self.arguments[index] as i32
    }

    /// Returns the bytes that an argument points to.
    fn bytes(&self, index: usize, length: usize) -> &[u8] {
        let pointer =
            std::ptr::with_exposed_provenance(usize::try_from(self.arguments[index]).unwrap());
        // SAFETY: the call reads this number of bytes there, and its thread waits.
        unsafe { std::slice::from_raw_parts(pointer, length) }
    }

    /// Returns the path that an argument points to.
    fn path(&self, index: usize) -> String {
        let pointer =
            std::ptr::with_exposed_provenance(usize::try_from(self.arguments[index]).unwrap());
        // SAFETY: the call takes a path there, and its thread waits.
        unsafe { std::ffi::CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
    }

    /// Returns true for a call of std or of libc: the check before a descriptor is closed, in debug
    /// builds only, and the wait of `malloc`, which the sinks of the tests use, for another thread.
    pub(crate) const fn is_of_std(&self) -> bool {
        let is_check = self.number == libc::SYS_fcntl && self.int(1) == libc::F_GETFD;
        (cfg!(debug_assertions) && is_check) || self.number == libc::SYS_futex
    }

    fn socket(&self) -> String {
        let family = name(
            self.int(0),
            &[
                (libc::AF_INET, "AF_INET"),
                (libc::AF_INET6, "AF_INET6"),
                (libc::AF_UNIX, "AF_UNIX"),
                (libc::AF_NETLINK, "AF_NETLINK"),
            ],
        );
        let protocols: &[_] = match self.int(0) {
            libc::AF_NETLINK => &[(libc::NETLINK_SOCK_DIAG, "NETLINK_SOCK_DIAG")],
            _ => &[(libc::IPPROTO_TCP, "IPPROTO_TCP")],
        };
        let protocol = name(self.int(2), protocols);
        format!("socket({family}, {}, {protocol})", socket_flags(self.int(1)))
    }

    fn set_option(&self) -> String {
        const OPTIONS: &[(i32, i32, &str)] = &[
            (libc::SOL_SOCKET, libc::SO_REUSEADDR, "SO_REUSEADDR"),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT, "SO_REUSEPORT"),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, "SO_KEEPALIVE"),
            (libc::SOL_SOCKET, libc::SO_RCVBUF, "SO_RCVBUF"),
            (libc::SOL_SOCKET, libc::SO_SNDBUF, "SO_SNDBUF"),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, "IPV6_V6ONLY"),
            (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, "IPV6_FREEBIND"),
            (libc::IPPROTO_IP, libc::IP_FREEBIND, "IP_FREEBIND"),
            (libc::IPPROTO_IP, libc::IP_TOS, "IP_TOS"),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY, "TCP_NODELAY"),
        ];
        let (level, option) = (self.int(1), self.int(2));
        let known = OPTIONS.iter().find(|known| (known.0, known.1) == (level, option));
        let option =
            known.map_or_else(|| format!("{level}/{option}"), |(_, _, name)| (*name).into());
        let value = i32::from_ne_bytes(self.bytes(3, 4).try_into().unwrap());
        assert_eq!(self.int(4), 4, "the length of {option}");
        format!("setsockopt({}, {option}, {value})", self.int(0))
    }

    fn get_option(&self) -> String {
        const OPTIONS: &[(i32, i32, &str)] = &[
            (libc::SOL_SOCKET, libc::SO_DOMAIN, "SO_DOMAIN"),
            (libc::SOL_SOCKET, libc::SO_TYPE, "SO_TYPE"),
            (libc::SOL_SOCKET, libc::SO_PROTOCOL, "SO_PROTOCOL"),
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN, "SO_ACCEPTCONN"),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, "IPV6_V6ONLY"),
        ];
        let (level, option) = (self.int(1), self.int(2));
        let known = OPTIONS.iter().find(|known| (known.0, known.1) == (level, option));
        let option =
            known.map_or_else(|| format!("{level}/{option}"), |(_, _, name)| (*name).into());
        assert_eq!(self.bytes(4, 4), 4_u32.to_ne_bytes(), "the length of {option}");
        format!("getsockopt({}, {option})", self.int(0))
    }

    fn fcntl(&self) -> String {
        /// The flags that `F_SETFL` changes. It ignores the others.
        const CHANGED: i32 =
            libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;
        let (fd, argument) = (self.int(0), self.int(2));
        match self.int(1) {
            libc::F_GETFL => format!("fcntl({fd}, F_GETFL)"),
            libc::F_SETFL => {
                let flag = name(argument & CHANGED, &[(libc::O_NONBLOCK, "O_NONBLOCK")]);
                format!("fcntl({fd}, F_SETFL, {flag})")
            }
            libc::F_GETFD => format!("fcntl({fd}, F_GETFD)"),
            libc::F_SETFD => {
                let flag = name(argument, &[(libc::FD_CLOEXEC, "FD_CLOEXEC")]);
                format!("fcntl({fd}, F_SETFD, {flag})")
            }
            libc::F_DUPFD_CLOEXEC => format!("fcntl({fd}, F_DUPFD_CLOEXEC, {argument})"),
            command => format!("fcntl({fd}, {command}, {argument})"),
        }
    }

    fn bind(&self) -> String {
        let bytes = self.bytes(1, usize::try_from(self.int(2)).unwrap());
        format!("bind({}, {})", self.int(0), socket_address(bytes))
    }

    fn connect(&self) -> String {
        let bytes = self.bytes(1, usize::try_from(self.int(2)).unwrap());
        format!("connect({}, {})", self.int(0), socket_address(bytes))
    }

    fn rename(&self) -> String {
        let flags = name(
            self.int(4),
            &[(RENAME_NOREPLACE, "RENAME_NOREPLACE"), (RENAME_EXCHANGE, "RENAME_EXCHANGE")],
        );
        let (from, to) = (self.path(1), self.path(3));
        format!("renameat2({}, {from}, {}, {to}, {flags})", self.int(0), self.int(2))
    }

    /// Returns the descriptors and the timeout. Each must be polled for `POLLIN`, without a signal
    /// mask.
    fn poll(&self) -> String {
        let length = usize::try_from(self.int(1)).unwrap();
        let fds: Vec<_> = self
            .bytes(0, length * size_of::<libc::pollfd>())
            .chunks_exact(size_of::<libc::pollfd>())
            .map(|entry| {
                let (fd, events) = entry.split_first_chunk().unwrap();
                let events = i16::from_ne_bytes(events[..2].try_into().unwrap());
                assert_eq!(events & !libc::POLLRDHUP, libc::POLLIN, "the awaited events");
                i32::from_ne_bytes(*fd)
            })
            .collect();
        assert_eq!(self.arguments[3], 0, "the signal mask");
        if self.arguments[2] == 0 {
            return format!("ppoll({fds:?}, NULL)");
        }
        let (seconds, nanos) = self.bytes(2, 16).split_first_chunk().unwrap();
        let seconds = u64::from_ne_bytes(*seconds);
        let nanos = u64::from_ne_bytes(nanos.try_into().unwrap()).try_into().unwrap();
        format!("ppoll({fds:?}, {:?})", Duration::new(seconds, nanos))
    }
}

/// Returns a socket address as text. The parts that it does not show must be zero.
pub(crate) fn socket_address(bytes: &[u8]) -> String {
    let (family, rest) = bytes.split_first_chunk().unwrap();
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            assert_eq!((bytes.len(), &bytes[8..]), (16, [0; 8].as_slice()));
            let ip: [u8; 4] = rest[2..6].try_into().unwrap();
            format!("{}:{}", Ipv4Addr::from(ip), u16::from_be_bytes([rest[0], rest[1]]))
        }
        libc::AF_INET6 => {
            assert_eq!((bytes.len(), &bytes[4..8]), (28, [0; 4].as_slice()));
            let ip: [u8; 16] = rest[6..22].try_into().unwrap();
            let scope = u32::from_ne_bytes(rest[22..].try_into().unwrap());
            format!("[{}%{scope}]:{}", Ipv6Addr::from(ip), u16::from_be_bytes([rest[0], rest[1]]))
        }
        libc::AF_UNIX => format!("unix \"{}\"", rest.escape_ascii()),
        family => format!("family {family}"),
    }
}

fn socket_flags(flags: i32) -> String {
    const KIND: i32 = 0xf;
    let mut text = name(
        flags & KIND,
        &[(libc::SOCK_STREAM, "SOCK_STREAM"), (libc::SOCK_DGRAM, "SOCK_DGRAM"), (0, "")],
    );
    for (flag, name) in
        [(libc::SOCK_CLOEXEC, "SOCK_CLOEXEC"), (libc::SOCK_NONBLOCK, "SOCK_NONBLOCK")]
    {
        if flags & flag != 0 {
            text = if text.is_empty() { name.into() } else { format!("{text}|{name}") };
        }
    }
    let unknown = flags & !(KIND | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    if unknown == 0 { text } else { format!("{text}|{unknown:#x}") }
}

fn eventfd_flags(flags: i32) -> String {
    name(flags, &[(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK, "EFD_CLOEXEC|EFD_NONBLOCK")])
}

fn lock_operation(operation: i32) -> String {
    const LOCK: i32 = libc::LOCK_EX | libc::LOCK_NB;
    name(operation, &[(LOCK, "LOCK_EX|LOCK_NB"), (libc::LOCK_UN, "LOCK_UN")])
}

// The libc crate has them as `c_uint`.
const RENAME_NOREPLACE: i32 = libc::RENAME_NOREPLACE.cast_signed();
const RENAME_EXCHANGE: i32 = libc::RENAME_EXCHANGE.cast_signed();

/// The libc crate does not define it.
pub(crate) const PR_GET_AUXV: i32 = 0x4155_5856;

fn clock(id: i32) -> String {
    name(
        id,
        &[
            (libc::CLOCK_MONOTONIC, "CLOCK_MONOTONIC"),
            (libc::CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"),
        ],
    )
}

fn name(number: i32, names: &[(i32, &str)]) -> String {
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).into())
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.int(0);
        match self.number {
            libc::SYS_socket => f.write_str(&self.socket()),
            libc::SYS_setsockopt => f.write_str(&self.set_option()),
            libc::SYS_getsockopt => f.write_str(&self.get_option()),
            libc::SYS_fcntl => f.write_str(&self.fcntl()),
            libc::SYS_fstat => write!(f, "fstat({fd})"),
            libc::SYS_fstatfs => write!(f, "fstatfs({fd})"),
            libc::SYS_sendto => write!(f, "sendto({fd}, {} bytes)", self.int(2)),
            libc::SYS_recvfrom => write!(f, "recvfrom({fd})"),
            libc::SYS_getpid => f.write_str("getpid()"),
            libc::SYS_pidfd_open => f.write_str("pidfd_open()"),
            libc::SYS_dup3 => write!(f, "dup2({fd}, {})", self.int(1)),
            #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
            libc::SYS_dup2 => write!(f, "dup2({fd}, {})", self.int(1)),
            libc::SYS_bind => f.write_str(&self.bind()),
            libc::SYS_listen => write!(f, "listen({fd}, {})", self.int(1)),
            libc::SYS_connect => f.write_str(&self.connect()),
            libc::SYS_flock => write!(f, "flock({fd}, {})", lock_operation(self.int(1))),
            libc::SYS_renameat2 => f.write_str(&self.rename()),
            libc::SYS_fchownat if self.int(4) == libc::AT_SYMLINK_NOFOLLOW => {
                let (owner, group) = (self.int(2), self.int(3));
                write!(f, "fchownat({fd}, {}, {owner}, {group})", self.path(1))
            }
            libc::SYS_getsockname => write!(f, "getsockname({fd})"),
            libc::SYS_accept4 => write!(f, "accept4({fd}, {})", socket_flags(self.int(3))),
            libc::SYS_ppoll => f.write_str(&self.poll()),
            libc::SYS_eventfd2 => write!(f, "eventfd2({fd}, {})", eventfd_flags(self.int(1))),
            libc::SYS_write if self.int(2) == 8 => {
                let number = self.bytes(1, 8).try_into().unwrap();
                write!(f, "write({fd}, {})", u64::from_ne_bytes(number))
            }
            libc::SYS_fchmod => write!(f, "fchmod({fd}, {:#o})", self.int(1)),
            libc::SYS_close => write!(f, "close({fd})"),
            libc::SYS_newfstatat
                if fd == libc::AT_FDCWD && self.int(3) == libc::AT_SYMLINK_NOFOLLOW =>
            {
                write!(f, "lstat({})", self.path(1))
            }
            libc::SYS_openat => write!(f, "openat({})", self.path(1)),
            libc::SYS_newfstatat if self.int(3) == libc::AT_SYMLINK_NOFOLLOW => {
                write!(f, "fstatat({fd}, {})", self.path(1))
            }
            libc::SYS_unlinkat if fd != libc::AT_FDCWD && self.int(2) == 0 => {
                write!(f, "unlinkat({fd}, {})", self.path(1))
            }
            libc::SYS_unlinkat if fd == libc::AT_FDCWD && self.int(2) == 0 => {
                write!(f, "unlink({})", self.path(1))
            }
            libc::SYS_prctl if fd == PR_GET_AUXV => f.write_str("prctl(PR_GET_AUXV)"),
            libc::SYS_mincore => write!(f, "mincore({})", self.arguments[1]),
            libc::SYS_read => write!(f, "read({fd})"),
            libc::SYS_clock_gettime => write!(f, "clock_gettime({})", clock(fd)),
            number => write!(f, "call {number}{:x?}", self.arguments),
        }
    }
}
