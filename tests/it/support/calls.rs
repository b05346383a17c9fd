//! System calls as text, with the names of the man pages, so that a test's table reads like strace.
#![allow(unsafe_code)]

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

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

    /// Returns true for the check that std makes before it closes a descriptor, in debug builds
    /// only.
    pub(crate) const fn is_stds_debug_check(&self) -> bool {
        cfg!(debug_assertions) && self.number == libc::SYS_fcntl && self.int(1) == libc::F_GETFD
    }

    fn socket(&self) -> String {
        let family = name(
            self.int(0),
            &[(libc::AF_INET, "AF_INET"), (libc::AF_INET6, "AF_INET6"), (libc::AF_UNIX, "AF_UNIX")],
        );
        let protocol = name(self.int(2), &[(libc::IPPROTO_TCP, "IPPROTO_TCP")]);
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

    fn bind(&self) -> String {
        let bytes = self.bytes(1, usize::try_from(self.int(2)).unwrap());
        format!("bind({}, {})", self.int(0), socket_address(bytes))
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
    let mut text = name(flags & KIND, &[(libc::SOCK_STREAM, "SOCK_STREAM"), (0, "")]);
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
            libc::SYS_bind => f.write_str(&self.bind()),
            libc::SYS_listen => write!(f, "listen({fd}, {})", self.int(1)),
            libc::SYS_getsockname => write!(f, "getsockname({fd})"),
            libc::SYS_accept4 => write!(f, "accept4({fd}, {})", socket_flags(self.int(3))),
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
