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
        let path = if path.first() == Some(&b'@') { None } else { name(path) };
        path.map(Self).ok_or(SocketError::InvalidAddress)
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
        self::name(name.as_ref()).map(Self).ok_or(SocketError::InvalidAddress)
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
    /// `path` or `name`, which begins at `start`; that a path does not begin with `@` is the caller's. The offset of an error
    /// is that of the first NUL, or of the end of what fits.
    #[inline]
    pub(crate) fn unix(is_abstract: bool, text: &[u8], start: usize) -> Result<Self, ParseError> {
        match name(text) {
            Some(name) if is_abstract => Ok(Self::Abstract(AbstractName(name))),
            Some(path) => Ok(Self::Path(UnixPath(path))),
            None => {
                let good = text.iter().take(CAPACITY).take_while(|byte| **byte != 0).count();
                Err(ParseError::address(start + good))
            }
        }
    }
}

/// A copy of these bytes, which are 1 to 107 without a NUL.
#[inline]
fn name(bytes: &[u8]) -> Option<Vec<u8, CAPACITY, u8>> {
    let is_name = matches!(bytes.len(), 1..=CAPACITY) && !has_nul(bytes);
    if is_name { Vec::from_slice(bytes).ok() } else { None }
}

/// Whether one of up to 107 bytes is NUL.
#[inline]
fn has_nul(bytes: &[u8]) -> bool {
    nul_in_ends::<64>(bytes)
        .or_else(|| nul_in_ends::<32>(bytes))
        .or_else(|| nul_in_ends::<16>(bytes))
        .or_else(|| nul_in_ends::<8>(bytes))
        .unwrap_or_else(|| bytes.contains(&0))
}

/// Whether one of the first or the last `N` bytes is NUL, where there are as many: that is all of them, up to twice as many.
/// With `--cfg netbind_small` there never are.
#[inline]
fn nul_in_ends<const N: usize>(bytes: &[u8]) -> Option<bool> {
    let first = bytes.first_chunk::<N>().filter(|_| !cfg!(netbind_small))?;
    let ends = first.iter().zip(bytes.last_chunk::<N>()?);
    // Without a way out of the loop the compiler makes it a handful of vector instructions.
    Some(ends.fold(false, |found, (a, b)| found | (*a.min(b) == 0)))
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
