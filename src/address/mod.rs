//! Bind addresses: parsing, printing and conversions.

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod error;
mod parse;
mod print;
mod unix;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::FromStr;

use crate::error::SocketError;

pub use error::{AddressedError, ParseError, Reason};
pub(crate) use parse::{parse_ip, parse_number};
pub use print::AddressBytes;
use unix::CAPACITY;
pub use unix::{AbstractName, UnixPath};

/// The length of the longest canonical text: `unix:@` and a name.
const MAX_TEXT: usize = 6 + CAPACITY;

/// An address to bind a listening socket to: the parsed form of an address text.
///
/// | form | example | value |
/// |---|---|---|
/// | `:PORT` | `:8080` | `Ipv4` with the wildcard `0.0.0.0` |
/// | `IPV4:PORT` | `127.0.0.1:9000` | `Ipv4` |
/// | `[IPV6]:PORT`, `[IPV6%SCOPE]:PORT` | `[::1]:443`, `[fe80::1%2]:443` | `Ipv6` |
/// | `unix:PATH` | `unix:/tmp/janus.sock`, `unix:run.sock` | `Path` |
/// | `/PATH` | `/tmp/janus.sock` | `Path` |
/// | `unix:@NAME` | `unix:@janus` | `Abstract`, exactly the bytes after the `@` |
///
/// The value has a fixed capacity and allocates nothing. Every value is a valid address and prints
/// in a canonical form ([`Display`](core::fmt::Display), [`to_bytes`](Self::to_bytes)), which
/// parses to the same value.
///
/// `unix:` is not a URL scheme: `unix://x/y` is the path `//x/y`. The kernel binds multicast and
/// broadcast IPv4 addresses, but a TCP listener there never receives a connection.
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
/// # Ok::<(), netbind::address::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BindAddress {
    /// An IPv4 address and a port: [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html).
    Ipv4 {
        /// The host; `0.0.0.0` is every IPv4 address of this machine.
        ip: Ipv4Addr,
        /// The port, 0 to 65535; for 0 the kernel chooses one.
        port: u16,
    },
    /// An IPv6 address and a port: [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html).
    Ipv6 {
        /// The host; `::` is every IPv6 address of this machine, and with dual stack every IPv4
        /// address.
        ip: Ipv6Addr,
        /// The port, 0 to 65535; for 0 the kernel chooses one.
        port: u16,
        /// The index of the interface of a link-local address (`fe80::/10`), or 0. The kernel
        /// ignores it for other addresses.
        scope_id: u32,
    },
    /// A Unix socket path: [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
    Path(UnixPath),
    /// A Linux abstract name: [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
    Abstract(AbstractName),
}

/// The address family of a [`BindAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
    Unix,
}

impl Family {
    pub(crate) const fn is_ip(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

impl BindAddress {
    /// Parses an address from text or bytes. Nothing is trimmed, resolved or truncated, and only
    /// `:PORT` has a default host.
    ///
    /// - A port is 1 to 5 ASCII digits, 0 to 65535; leading zeros within the five digits are
    ///   allowed.
    /// - IPv4 and IPv6 text is exactly what [`Ipv4Addr`] and [`Ipv6Addr`] accept
    ///   ([RFC 4291, section 2.2](https://www.rfc-editor.org/rfc/rfc4291#section-2.2)); an octet
    ///   has no leading zero.
    /// - A scope id is 1 to 10 ASCII digits, 0 to 4294967295; `%0` is the same as none.
    /// - A path or name is 1 to 107 bytes without a NUL byte, and need not be UTF-8.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the reason and the byte offset. It is [`SocketError::InvalidPort`] if a
    /// well-formed host and `:` are followed by something that is not a port, otherwise
    /// [`SocketError::InvalidAddress`]. `::1:443`, an IPv6 address without brackets, is the
    /// wildcard `:` with an invalid port.
    ///
    /// ```
    /// use netbind::{BindAddress, SocketError};
    ///
    /// let error = BindAddress::parse("127.0.0.1:70000").unwrap_err();
    /// assert_eq!(error.error(), SocketError::InvalidPort);
    /// assert_eq!(error.offset(), 14); // 7000 is a port; no fifth digit can follow it
    ///
    /// let error = BindAddress::parse("localhost:80").unwrap_err();
    /// assert_eq!(error.error(), SocketError::InvalidAddress);
    /// assert!(BindAddress::parse(b"unix:/tmp/\xff.sock").is_ok());
    /// ```
    pub fn parse(address: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        parse::parse(address.as_ref())
    }

    pub(crate) const fn family(&self) -> Family {
        match self {
            Self::Ipv4 { .. } => Family::Ipv4,
            Self::Ipv6 { .. } => Family::Ipv6,
            Self::Path(_) | Self::Abstract(_) => Family::Unix,
        }
    }

    /// Returns the port, or `None` for a Unix socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ipv4 { port, .. } | Self::Ipv6 { port, .. } => Some(*port),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }

    /// Returns the IP address, or `None` for a Unix socket.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4 { ip, .. } => Some(IpAddr::V4(*ip)),
            Self::Ipv6 { ip, .. } => Some(IpAddr::V6(*ip)),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }

    /// Returns the address as `core::net` has it, or `None` for a Unix socket.
    #[must_use]
    pub const fn to_socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ipv4 { ip, port } => Some(SocketAddr::V4(SocketAddrV4::new(*ip, *port))),
            Self::Ipv6 { ip, port, scope_id } => {
                Some(SocketAddr::V6(SocketAddrV6::new(*ip, *port, 0, *scope_id)))
            }
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }
}

impl FromStr for BindAddress {
    type Err = ParseError;

    /// Does the same as [`BindAddress::parse`], with the same errors.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<&[u8]> for BindAddress {
    type Error = ParseError;

    /// Does the same as [`BindAddress::parse`], with the same errors.
    fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::parse(bytes)
    }
}

impl From<SocketAddrV4> for BindAddress {
    fn from(address: SocketAddrV4) -> Self {
        Self::Ipv4 { ip: *address.ip(), port: address.port() }
    }
}

impl TryFrom<SocketAddrV6> for BindAddress {
    type Error = SocketError;

    /// Converts the address, its port and its scope id.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] for a flow label other than 0: no address form has it, and
    /// bind ignores it.
    fn try_from(address: SocketAddrV6) -> Result<Self, SocketError> {
        if address.flowinfo() != 0 {
            return Err(SocketError::InvalidAddress);
        }
        Ok(Self::Ipv6 { ip: *address.ip(), port: address.port(), scope_id: address.scope_id() })
    }
}

impl TryFrom<SocketAddr> for BindAddress {
    type Error = SocketError;

    /// Converts an address of either family.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] for an IPv6 flow label other than 0.
    fn try_from(address: SocketAddr) -> Result<Self, SocketError> {
        match address {
            SocketAddr::V4(address) => Ok(address.into()),
            SocketAddr::V6(address) => address.try_into(),
        }
    }
}
