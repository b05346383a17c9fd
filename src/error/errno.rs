//! The kernel's error numbers: one small value, and the name and meaning of those that a listening socket meets.

use core::fmt;
use core::num::NonZeroU16;

/// An error number of the kernel, such as `EADDRINUSE`.
///
/// The number is the one of the platform that the crate is built for. It prints with its name and meaning where a
/// listening socket is known to meet it: [errno(3)](https://man7.org/linux/man-pages/man3/errno.3.html).
///
/// ```
/// use netbind::Errno;
///
/// let errno = Errno::ADDRINUSE;
/// assert_eq!(errno.to_string(), format!("address in use (EADDRINUSE, errno {})", errno.raw_os_error()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroU16);

impl Errno {
    /// The errno of `number`; `None` outside of the kernel's range, 1 to 4095.
    ///
    /// ```
    /// use netbind::Errno;
    ///
    /// assert_eq!(Errno::from_raw(Errno::ACCESS.raw_os_error()), Some(Errno::ACCESS));
    /// assert_eq!(Errno::from_raw(0), None);
    /// assert_eq!(Errno::from_raw(4096), None);
    /// ```
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked first
    pub const fn from_raw(number: i32) -> Option<Self> {
        if number < 1 || number > 4095 {
            return None;
        }
        match NonZeroU16::new(number as u16) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The errno that a call failed with, from the negated number that it answered. Not inlined, because every call of the
    /// crate can end in it.
    #[cfg(target_os = "linux")]
    #[cold]
    #[inline(never)]
    pub(crate) fn answered(negated: u16) -> Self {
        // The kernel answers 1 to 4095, so the other arm is never taken; it must not panic all the same.
        Self::from_raw(i32::from(negated.wrapping_neg())).unwrap_or(Self::IO)
    }

    /// The number, as C's `errno` has it: 1 to 4095.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(netbind::Errno::NOENT.raw_os_error(), rustix::io::Errno::NOENT.raw_os_error());
    /// assert_eq!(netbind::Errno::from_raw(4095).unwrap().raw_os_error(), 4095);
    /// ```
    #[must_use]
    pub const fn raw_os_error(self) -> i32 {
        self.0.get() as i32
    }

    /// The name, such as `"EADDRINUSE"`, of those that this crate knows.
    ///
    /// ```
    /// assert_eq!(netbind::Errno::MFILE.name(), Some("EMFILE"));
    /// ```
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|(_, name, _)| *name)
    }

    fn known(self) -> Option<&'static (Self, &'static str, &'static str)> {
        KNOWN.iter().find(|(errno, ..)| *errno == self)
    }
}

/// The numbers differ between processors (98 is `EADDRINUSE` on most, 125 on MIPS), so on Linux they are rustix's; where
/// there is no Linux, no call fails with one, and the common numbers stand in.
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

impl Errno {
    /// Evaluated by the compiler alone: a number out of range stops the build, not the program.
    const fn constant(number: i32) -> Self {
        match Self::from_raw(number) {
            Some(errno) => errno,
            None => unreachable!(),
        }
    }
}

errnos! {
    PERM = 1, "EPERM", "operation not permitted";
    NOENT = 2, "ENOENT", "no such file or directory";
    INTR = 4, "EINTR", "interrupted by a signal";
    IO = 5, "EIO", "input/output error";
    BADF = 9, "EBADF", "bad file descriptor";
    AGAIN = 11, "EAGAIN", "nobody is waiting, or a resource is short for now";
    NOMEM = 12, "ENOMEM", "the kernel has no memory for it";
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
    NOSYS = 38, "ENOSYS", "the kernel has no such call";
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
            Some((_, name, meaning)) => write!(f, "{meaning} ({name}, errno {})", self.0),
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

#[cfg(target_os = "linux")]
impl From<rustix::io::Errno> for Errno {
    /// The same number.
    ///
    /// ```
    /// assert_eq!(netbind::Errno::from(rustix::io::Errno::ADDRINUSE), netbind::Errno::ADDRINUSE);
    /// ```
    fn from(errno: rustix::io::Errno) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 4095 at most
        Self::answered(errno.raw_os_error().wrapping_neg() as u16)
    }
}
