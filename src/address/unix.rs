use core::fmt;

use heapless::Vec;

use super::error::ParseError;
use crate::error::SocketError;

/// The capacity of `sun_path`, 108 bytes, less the NUL that ends a path or begins a name.
pub(super) const CAPACITY: usize = 107;

type Name = Vec<u8, CAPACITY, u8>;

/// A Unix socket path: 1 to 107 bytes, without a NUL byte, not beginning with `@`.
///
/// It need not be UTF-8. A relative path is looked up from the working directory at the time of
/// each call. A path that begins with `@` is written `./@x`, because `unix:@x` is an abstract name.
///
/// ```
/// use netbind::address::UnixPath;
///
/// assert_eq!(UnixPath::new("/run/janus.sock")?.as_bytes(), b"/run/janus.sock");
/// assert!(UnixPath::new("").is_err());
/// assert!(UnixPath::new("a\0b").is_err());
/// assert!(UnixPath::new("@x").is_err());
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixPath(Name);

/// A name in Linux's abstract namespace: 1 to 107 bytes, without a NUL byte.
///
/// Abstract names belong to the network namespace. They have no file, no permissions and no owner,
/// and disappear when the socket is closed:
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
///
/// ```
/// use netbind::address::AbstractName;
///
/// assert_eq!(AbstractName::new("janus")?.as_bytes(), b"janus");
/// assert!(AbstractName::new("@janus").is_ok()); // `@` is a byte like any other here
/// assert!(AbstractName::new("").is_err());
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbstractName(Name);

impl UnixPath {
    /// Makes a path from these bytes.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] if it is empty, longer than 107 bytes, contains a NUL byte
    /// or begins with `@`.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, SocketError> {
        Ok(Self::parse(path.as_ref(), 0)?)
    }

    /// Makes a path from the end of `text`, from `start` on.
    pub(super) fn parse(text: &[u8], start: usize) -> Result<Self, ParseError> {
        if text.get(start) == Some(&b'@') {
            return Err(ParseError::address(text, start));
        }
        Ok(Self(parse_name(text, start)?))
    }

    /// Returns the bytes of the path, without a NUL at the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AbstractName {
    /// Makes a name from these bytes, which do not include the leading NUL of the kernel's form.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] if it is empty, longer than 107 bytes or contains a NUL
    /// byte.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, SocketError> {
        Ok(Self::parse(name.as_ref(), 0)?)
    }

    /// Makes a name from the end of `text`, from `start` on.
    pub(super) fn parse(text: &[u8], start: usize) -> Result<Self, ParseError> {
        Ok(Self(parse_name(text, start)?))
    }

    /// Returns the bytes of the name, without the leading NUL of the kernel's form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Copies the end of `text`, from `start` on: 1 to 107 bytes without a NUL.
fn parse_name(text: &[u8], start: usize) -> Result<Name, ParseError> {
    let name = text.get(start..).unwrap_or_default();
    let head = name.get(..CAPACITY).unwrap_or(name);
    if let Some(nul) = head.iter().position(|byte| *byte == 0) {
        return Err(ParseError::address(text, start + nul));
    }
    match Vec::from_slice(name) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) => Err(ParseError::address(text, start)),
        Err(_) => Err(ParseError::too_long(name.len(), start + CAPACITY)),
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixPath(\"{}\")", self.0.escape_ascii())
    }
}

impl fmt::Debug for AbstractName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbstractName(\"{}\")", self.0.escape_ascii())
    }
}
