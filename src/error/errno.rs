use core::fmt;
use core::num::NonZeroU16;

/// An error number of the kernel, such as `EADDRINUSE`.
///
/// The number is the one of the platform that the crate is built for. It prints with its name and
/// meaning if a call on a listening socket can return it, and otherwise as a number:
/// [errno(3)](https://man7.org/linux/man-pages/man3/errno.3.html).
///
/// ```
/// use netbind::error::Errno;
///
/// assert_eq!(Errno::ACCESS.to_string(), "permission denied (EACCES)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroU16);

impl Errno {
    /// Returns the errno of `number`, or `None` outside of the kernel's range, 1 to 4095.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked first
    pub const fn from_raw_os_error(number: i32) -> Option<Self> {
        if number < 1 || number > 4095 {
            return None;
        }
        match NonZeroU16::new(number as u16) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number, as in C's `errno`: 1 to 4095.
    #[must_use]
    pub const fn raw_os_error(self) -> i32 {
        self.0.get() as i32
    }

    /// Returns the name, such as `"EADDRINUSE"`, if this crate knows it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|(_, name, _)| *name)
    }

    fn known(self) -> Option<&'static (Self, &'static str, &'static str)> {
        KNOWN.iter().find(|(errno, ..)| *errno == self)
    }

    /// Evaluated at compile time only: a number out of range stops the build.
    const fn constant(number: i32) -> Self {
        match Self::from_raw_os_error(number) {
            Some(errno) => errno,
            None => unreachable!(),
        }
    }
}

// The numbers differ between processors (`EADDRINUSE` is 98 on most and 125 on MIPS), so on Linux
// they are rustix's. Elsewhere no call returns one, and the most common numbers are used.
macro_rules! errnos {
    ($($name:ident = $generic:literal, $c_name:literal, $meaning:literal;)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", $c_name, "`: ", $meaning, ".")]
                pub const $name: Self = Self::constant({
                    #[cfg(target_os = "linux")]
                    { rustix::io::Errno::$name.raw_os_error() }
                    #[cfg(not(target_os = "linux"))]
                    { $generic }
                });
            )*
        }

        const KNOWN: &[(Errno, &str, &str)] = &[
            $((Errno::$name, $c_name, $meaning),)*
        ];
    };
}

errnos! {
    PERM = 1, "EPERM", "operation not permitted";
    NOENT = 2, "ENOENT", "no such file or directory";
    INTR = 4, "EINTR", "interrupted by a signal";
    IO = 5, "EIO", "input/output error";
    BADF = 9, "EBADF", "bad file descriptor";
    AGAIN = 11, "EAGAIN", "no client is waiting, or a resource is temporarily unavailable";
    NOMEM = 12, "ENOMEM", "out of kernel memory";
    ACCESS = 13, "EACCES", "permission denied";
    FAULT = 14, "EFAULT", "bad memory address";
    EXIST = 17, "EEXIST", "file exists";
    NODEV = 19, "ENODEV", "no such network interface";
    NOTDIR = 20, "ENOTDIR", "not a directory";
    INVAL = 22, "EINVAL", "invalid argument";
    NFILE = 23, "ENFILE", "too many open files in the system";
    MFILE = 24, "EMFILE", "too many open files in the process";
    NOSPC = 28, "ENOSPC", "no space left";
    ROFS = 30, "EROFS", "read-only file system";
    NAMETOOLONG = 36, "ENAMETOOLONG", "file name too long";
    NOSYS = 38, "ENOSYS", "the kernel lacks this system call";
    LOOP = 40, "ELOOP", "too many symbolic links";
    NONET = 64, "ENONET", "the machine is not on the network";
    PROTO = 71, "EPROTO", "protocol error";
    NOTSOCK = 88, "ENOTSOCK", "not a socket";
    NOPROTOOPT = 92, "ENOPROTOOPT", "no such socket option";
    PROTONOSUPPORT = 93, "EPROTONOSUPPORT", "protocol not supported";
    SOCKTNOSUPPORT = 94, "ESOCKTNOSUPPORT", "socket type not supported";
    OPNOTSUPP = 95, "EOPNOTSUPP", "operation not supported";
    AFNOSUPPORT = 97, "EAFNOSUPPORT", "address family not supported";
    ADDRINUSE = 98, "EADDRINUSE", "address in use";
    ADDRNOTAVAIL = 99, "EADDRNOTAVAIL", "address not available on this machine";
    NETDOWN = 100, "ENETDOWN", "the network is down";
    NETUNREACH = 101, "ENETUNREACH", "the network is unreachable";
    CONNABORTED = 103, "ECONNABORTED", "the connection was aborted";
    NOBUFS = 105, "ENOBUFS", "no buffer space";
    TIMEDOUT = 110, "ETIMEDOUT", "the connection timed out";
    HOSTDOWN = 112, "EHOSTDOWN", "the host is down";
    HOSTUNREACH = 113, "EHOSTUNREACH", "the host is unreachable";
    DQUOT = 122, "EDQUOT", "disk quota exceeded";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, name, meaning)) => write!(f, "{meaning} ({name})"),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}
