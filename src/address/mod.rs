//! The bind address: a value of fixed size that was checked once and is never checked again.

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod parse;
mod print;
mod unix;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::FromStr;

use crate::error::SocketError;

pub use unix::{AbstractName, UnixPath};

/// Where a listening socket is to be bound: the parsed form of an address string.
///
/// | form | example | value |
/// |---|---|---|
/// | `:PORT` | `:8080` | `Ipv4` with the wildcard `0.0.0.0` |
/// | `IPV4:PORT` | `127.0.0.1:9000` | `Ipv4` |
/// | `[IPV6]:PORT`, `[IPV6%SCOPE]:PORT` | `[::1]:443`, `[fe80::1%2]:443` | `Ipv6` |
/// | `unix:PATH` | `unix:/tmp/janus.sock`, `unix:run.sock` | `Path` |
/// | `/PATH` | `/tmp/janus.sock` | `Path` |
/// | `unix:@NAME` | `unix:@janus` | `Abstract`, exactly the bytes behind the `@` |
///
/// It lives in fixed-capacity buffers and allocates nothing. Every value that can be made is a valid address, prints in one
/// canonical form ([`Display`](fmt::Display), [`to_bytes`](Self::to_bytes)), and parses back from it to the same value.
///
/// ```
/// use netbind::BindAddress;
///
/// let address: BindAddress = ":8080".parse()?;
/// assert_eq!(address.to_string(), "0.0.0.0:8080");
/// assert_eq!(address.port(), Some(8080));
///
/// let path = BindAddress::parse("/tmp/janus.sock")?;
/// assert_eq!(path.to_string(), "unix:/tmp/janus.sock");
/// assert_eq!(path.port(), None);
/// # Ok::<(), netbind::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindAddress {
    /// An IPv4 address and a port: [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html).
    Ipv4 {
        /// The host; `0.0.0.0` is every address of this machine.
        ip: Ipv4Addr,
        /// The port, 0 to 65535; 0 lets the kernel choose.
        port: u16,
    },
    /// An IPv6 address and a port: [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html).
    Ipv6 {
        /// The host; `::` is every address of this machine.
        ip: Ipv6Addr,
        /// The port, 0 to 65535; 0 lets the kernel choose.
        port: u16,
        /// The interface's index, which a link-local address (`fe80::/10`) needs; 0 for none.
        scope_id: u32,
    },
    /// A Unix socket path: [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
    Path(UnixPath),
    /// A Linux abstract name: [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
    Abstract(AbstractName),
}

impl BindAddress {
    /// Parses an address from text or bytes. Nothing is trimmed, resolved or defaulted.
    ///
    /// - A port is 1 to 5 ASCII digits, 0 to 65535; leading zeros within the five digits are allowed.
    /// - IPv4 and IPv6 text is exactly what [`Ipv4Addr`] and [`Ipv6Addr`] accept
    ///   ([RFC 4291, section 2.2](https://www.rfc-editor.org/rfc/rfc4291#section-2.2)); an octet has no leading zero.
    /// - A scope id is 1 to 10 ASCII digits, 0 to 4294967295; `%0` is the same as none.
    /// - A path or name is 1 to 107 bytes without a NUL byte, and need not be UTF-8.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the byte offset. It is [`SocketError::InvalidPort`] where a well-formed host and its `:` stand
    /// before something that is no port, and [`SocketError::InvalidAddress`] for everything else. So an IPv6 address without
    /// brackets (`::1:443`) is a wildcard without a port.
    ///
    /// ```
    /// use netbind::{BindAddress, SocketError};
    ///
    /// let error = BindAddress::parse("127.0.0.1:70000").unwrap_err();
    /// assert_eq!(error.error(), SocketError::InvalidPort);
    /// assert_eq!(error.offset(), 14); // 7000 is a port, and no fifth digit can follow it
    ///
    /// assert_eq!(BindAddress::parse("localhost:80").unwrap_err().error(), SocketError::InvalidAddress);
    /// assert!(BindAddress::parse(b"unix:/tmp/\xff.sock").is_ok());
    /// ```
    #[inline]
    pub fn parse(address: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        parse::parse(address.as_ref())
    }

    /// The port, or `None` for a Unix socket.
    ///
    /// ```
    /// # use netbind::BindAddress;
    /// assert_eq!(BindAddress::parse("[::1]:00443")?.port(), Some(443));
    /// assert_eq!(BindAddress::parse("unix:@janus")?.port(), None);
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ipv4 { port, .. } | Self::Ipv6 { port, .. } => Some(*port),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }

    /// The IP address as it was written, or `None` for a Unix socket.
    ///
    /// ```
    /// # use netbind::BindAddress;
    /// assert_eq!(BindAddress::parse(":8080")?.ip(), Some([0, 0, 0, 0].into()));
    /// assert_eq!(BindAddress::parse("/run/janus.sock")?.ip(), None);
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4 { ip, .. } => Some(IpAddr::V4(*ip)),
            Self::Ipv6 { ip, .. } => Some(IpAddr::V6(*ip)),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }

    /// The address as `core::net` has it, or `None` for a Unix socket.
    ///
    /// ```
    /// let address = netbind::BindAddress::parse("[fe80::1%2]:443")?;
    /// assert_eq!(address.to_socket_addr(), Some("[fe80::1%2]:443".parse().unwrap()));
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    #[must_use]
    pub const fn to_socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ipv4 { ip, port } => Some(SocketAddr::V4(SocketAddrV4::new(*ip, *port))),
            Self::Ipv6 { ip, port, scope_id } => Some(SocketAddr::V6(SocketAddrV6::new(*ip, *port, 0, *scope_id))),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }
}

impl FromStr for BindAddress {
    type Err = ParseError;

    /// The same as [`BindAddress::parse`].
    ///
    /// ```
    /// let address: netbind::BindAddress = "[::1]:443".parse()?;
    /// assert_eq!(address.port(), Some(443));
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<&[u8]> for BindAddress {
    type Error = ParseError;

    /// The same as [`BindAddress::parse`].
    ///
    /// ```
    /// let address = netbind::BindAddress::try_from(&b"unix:@\xff"[..])?;
    /// assert_eq!(address.to_bytes(), b"unix:@\xff");
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::parse(bytes)
    }
}

impl From<SocketAddrV4> for BindAddress {
    /// The address as it is; every value has a form.
    ///
    /// ```
    /// use core::net::{Ipv4Addr, SocketAddrV4};
    ///
    /// let address = netbind::BindAddress::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
    /// assert_eq!(address.to_string(), "127.0.0.1:80");
    /// ```
    fn from(address: SocketAddrV4) -> Self {
        Self::Ipv4 { ip: *address.ip(), port: address.port() }
    }
}

impl TryFrom<SocketAddrV6> for BindAddress {
    type Error = SocketError;

    /// The address, its port and its scope id.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] for a flow label: no form can print it, and bind makes no use of it.
    ///
    /// ```
    /// use core::net::{Ipv6Addr, SocketAddrV6};
    /// use netbind::{BindAddress, SocketError};
    ///
    /// let address = BindAddress::try_from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0, 2))?;
    /// assert_eq!(address.to_string(), "[::1%2]:443");
    /// let labelled = BindAddress::try_from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 1, 0));
    /// assert_eq!(labelled, Err(SocketError::InvalidAddress));
    /// # Ok::<(), SocketError>(())
    /// ```
    fn try_from(address: SocketAddrV6) -> Result<Self, SocketError> {
        if address.flowinfo() != 0 {
            return Err(SocketError::InvalidAddress);
        }
        Ok(Self::Ipv6 { ip: *address.ip(), port: address.port(), scope_id: address.scope_id() })
    }
}

impl TryFrom<SocketAddr> for BindAddress {
    type Error = SocketError;

    /// The address as it is, of either kind.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] for an IPv6 flow label.
    ///
    /// ```
    /// use core::net::SocketAddr;
    ///
    /// let address = netbind::BindAddress::try_from(SocketAddr::from(([127, 0, 0, 1], 80)))?;
    /// assert_eq!(address.to_string(), "127.0.0.1:80");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn try_from(address: SocketAddr) -> Result<Self, SocketError> {
        match address {
            SocketAddr::V4(address) => Ok(address.into()),
            SocketAddr::V6(address) => address.try_into(),
        }
    }
}

/// Where a text stopped being an address, and what was missing there.
///
/// The offset is the length of the longest start of the text that some valid address also starts with: the byte at it is
/// the first that cannot stand there. It is the text's length where the text ends too early.
///
/// ```
/// use netbind::BindAddress;
///
/// let error = BindAddress::parse("127.0.0.256:80").unwrap_err();
/// assert_eq!(error.offset(), 10);
/// assert!(error.to_string().ends_with("at byte 10"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    error: SocketError,
    offset: usize,
}

impl ParseError {
    pub(crate) const fn address(offset: usize) -> Self {
        Self { error: SocketError::InvalidAddress, offset }
    }

    pub(crate) const fn port(offset: usize) -> Self {
        Self { error: SocketError::InvalidPort, offset }
    }

    /// [`SocketError::InvalidAddress`] or [`SocketError::InvalidPort`].
    ///
    /// ```
    /// use netbind::{BindAddress, SocketError};
    ///
    /// assert_eq!(BindAddress::parse(":http").unwrap_err().error(), SocketError::InvalidPort);
    /// assert_eq!(BindAddress::parse("http:80").unwrap_err().error(), SocketError::InvalidAddress);
    /// ```
    #[must_use]
    pub const fn error(self) -> SocketError {
        self.error
    }

    /// The first byte that cannot stand there, counted from 0.
    ///
    /// ```
    /// use netbind::BindAddress;
    ///
    /// assert_eq!(BindAddress::parse("127.0.0.1:8O80").unwrap_err().offset(), 11); // a letter O
    /// assert_eq!(BindAddress::parse("127.0.0.1").unwrap_err().offset(), 9); // it ends too early
    /// ```
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.error, self.offset)
    }
}

impl core::error::Error for ParseError {}

impl From<ParseError> for SocketError {
    /// What was wrong, without where.
    ///
    /// ```
    /// use netbind::{BindAddress, SocketError};
    ///
    /// let error = BindAddress::parse(":").unwrap_err();
    /// assert_eq!(SocketError::from(error), SocketError::InvalidPort);
    /// ```
    fn from(error: ParseError) -> Self {
        error.error
    }
}
