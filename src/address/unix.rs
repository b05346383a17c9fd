//! The two kinds of Unix socket names, checked when they are made.

use core::fmt;

use heapless::Vec;

use super::{BindAddress, ParseError};
use crate::error::SocketError;

/// The bytes that `sun_path` (108) leaves for a path beside its NUL, and for an abstract name behind its own.
pub(super) const CAPACITY: usize = 107;

/// A Unix socket path: 1 to 107 bytes, no NUL byte, not beginning with `@`.
///
/// It need not be UTF-8 and may be relative, to the working directory at the time of each call. A path that begins with
/// `@` is written `./@x`: `unix:@x` is an abstract name, and what is printed must mean what was parsed.
///
/// ```
/// use netbind::UnixPath;
///
/// assert_eq!(UnixPath::new("/run/janus.sock")?.as_bytes(), b"/run/janus.sock");
/// assert!(UnixPath::new("").is_err());
/// assert!(UnixPath::new("a\0b").is_err());
/// assert!(UnixPath::new("@x").is_err());
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixPath(pub(super) Vec<u8, CAPACITY, u8>);

/// A name in Linux's abstract namespace: 1 to 107 bytes, no NUL byte, counted and not terminated.
///
/// Abstract names belong to the network namespace and to nobody in it: there is no file, no permission and no owner. They
/// are gone when the socket is closed.
///
/// ```
/// use netbind::AbstractName;
///
/// assert_eq!(AbstractName::new("janus")?.as_bytes(), b"janus");
/// assert!(AbstractName::new("").is_err());
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbstractName(pub(super) Vec<u8, CAPACITY, u8>);

impl UnixPath {
    /// A path of these bytes.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] when it is empty, over 107 bytes, holds a NUL byte or begins with `@`.
    ///
    /// ```
    /// use netbind::{SocketError, UnixPath};
    ///
    /// assert!(UnixPath::new([b'x'; 107]).is_ok());
    /// assert_eq!(UnixPath::new([b'x'; 108]), Err(SocketError::InvalidAddress));
    /// assert!(UnixPath::new("./@x").is_ok());
    /// ```
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, SocketError> {
        let path = path.as_ref();
        if path.first() == Some(&b'@') {
            return Err(SocketError::InvalidAddress);
        }
        Ok(Self(name(path, 0)?))
    }

    /// The bytes of the path, without the NUL that ends it for the kernel.
    ///
    /// ```
    /// assert_eq!(netbind::UnixPath::new(b"run/\xff.sock")?.as_bytes(), b"run/\xff.sock");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AbstractName {
    /// A name of these bytes, without the NUL that begins it for the kernel.
    ///
    /// # Errors
    ///
    /// [`SocketError::InvalidAddress`] when it is empty, over 107 bytes or holds a NUL byte.
    ///
    /// ```
    /// use netbind::{AbstractName, SocketError};
    ///
    /// assert!(AbstractName::new("@janus").is_ok()); // here an `@` is a byte like any other
    /// assert_eq!(AbstractName::new("a\0b"), Err(SocketError::InvalidAddress));
    /// ```
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, SocketError> {
        Ok(Self(self::name(name.as_ref(), 0)?))
    }

    /// The bytes of the name, without the NUL that begins it for the kernel.
    ///
    /// ```
    /// assert_eq!(netbind::AbstractName::new("janus")?.as_bytes(), b"janus");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl BindAddress {
    /// `path` or `name`, from `start` to the end of the input; that a path does not begin with `@` is the caller's.
    pub(crate) fn unix(is_abstract: bool, input: &[u8], start: usize) -> Result<Self, ParseError> {
        match name(input, start) {
            Ok(name) if is_abstract => Ok(Self::Abstract(AbstractName(name))),
            Ok(name) => Ok(Self::Path(UnixPath(name))),
            Err(error) => Err(error),
        }
    }
}

/// `path` or `name`, from `start` to the end of the input. The offset of an error is the first NUL, the end of what fits, or
/// the end of the text.
fn name(input: &[u8], start: usize) -> Result<Vec<u8, CAPACITY, u8>, ParseError> {
    let bytes = input.get(start..).unwrap_or_default();
    let fits = bytes.get(..CAPACITY).unwrap_or(bytes);
    if let Some(nul) = fits.iter().position(|byte| *byte == 0) {
        return Err(ParseError::address(start + nul));
    }
    if bytes.is_empty() {
        return Err(ParseError::address(start));
    }
    Vec::from_slice(bytes).map_err(|_| ParseError::address(start + CAPACITY))
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
