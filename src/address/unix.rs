//! The two kinds of Unix socket names, checked when they are made.

use core::fmt;

use heapless::Vec;

use super::{BindAddress, ParseError};
use crate::error::SocketError;

/// The bytes that `sun_path` (108) leaves for a path beside its NUL, and for an abstract name behind its own.
pub(super) const CAPACITY: usize = 107;

type Name = Vec<u8, CAPACITY, u8>;

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
pub struct UnixPath(pub(super) Name);

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
pub struct AbstractName(pub(super) Name);

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
    #[inline(never)]
    pub(crate) fn unix(is_abstract: bool, text: &[u8], start: usize) -> Result<Self, ParseError> {
        // Each range is a function of its own, where the compiler knows how much is copied; the most usual one comes first.
        // With `--cfg netbind_small` there is only the one for any length.
        match text.len() {
            _ if cfg!(netbind_small) => Self::any_unix(is_abstract, text, start),
            17..=32 => Self::usual_unix::<16, 16>(is_abstract, text, start),
            5..=8 => Self::usual_unix::<4, 4>(is_abstract, text, start),
            9..=16 => Self::usual_unix::<8, 8>(is_abstract, text, start),
            33..=48 => Self::usual_unix::<32, 16>(is_abstract, text, start),
            49..=64 => Self::usual_unix::<48, 16>(is_abstract, text, start),
            65..=80 => Self::usual_unix::<64, 16>(is_abstract, text, start),
            81..=96 => Self::usual_unix::<80, 16>(is_abstract, text, start),
            97..=CAPACITY => Self::usual_unix::<96, 16>(is_abstract, text, start),
            _ => Self::any_unix(is_abstract, text, start),
        }
    }

    /// The same for `HEAD` + 1 to `HEAD` + `TAIL` bytes; what is wrong with them is left to the one for any length.
    #[inline(never)]
    fn usual_unix<const HEAD: usize, const TAIL: usize>(
        is_abstract: bool,
        text: &[u8],
        start: usize,
    ) -> Result<Self, ParseError> {
        match usual_name::<HEAD, TAIL>(text) {
            Some(name) => Ok(Self::named(is_abstract, name)),
            None => Self::any_unix(is_abstract, text, start),
        }
    }

    /// The same for any length.
    #[inline(never)]
    fn any_unix(is_abstract: bool, text: &[u8], start: usize) -> Result<Self, ParseError> {
        name(text).map(|name| Self::named(is_abstract, name)).ok_or_else(|| {
            let good = text.iter().take(CAPACITY).take_while(|byte| **byte != 0).count();
            ParseError::address(start + good)
        })
    }

    #[inline]
    fn named(is_abstract: bool, name: Name) -> Self {
        if is_abstract { Self::Abstract(AbstractName(name)) } else { Self::Path(UnixPath(name)) }
    }
}

/// A copy of these bytes, which are 1 to 107 without a NUL.
#[inline]
fn name(bytes: &[u8]) -> Option<Name> {
    // What is too long is not looked through to its end.
    let is_name = matches!(bytes.len(), 1..=CAPACITY) && !has_nul(bytes);
    if is_name { Vec::from_slice(bytes).ok() } else { None }
}

/// The same where there are `HEAD` + 1 to `HEAD` + `TAIL` bytes, and `TAIL` is at most 16: the first `HEAD` as they are, and out
/// of the last `TAIL` those behind them. No length is left for the compiler to ask about, so all of it goes through registers.
#[inline]
fn usual_name<const HEAD: usize, const TAIL: usize>(bytes: &[u8]) -> Option<Name> {
    let (head, tail) = (bytes.first_chunk::<HEAD>()?, bytes.last_chunk::<TAIL>()?);
    if has_nul(head) | has_nul(tail) {
        return None;
    }
    let mut name: Name = Vec::from_slice(head).ok()?;
    // The bytes that head and tail share come first in the tail, and so they are the lowest of a little-endian number.
    let mut behind = [0; 16];
    *behind.first_chunk_mut()? = *tail;
    let shared = HEAD + TAIL - bytes.len();
    let behind = (u128::from_le_bytes(behind) >> (8 * shared)).to_le_bytes();
    name.extend_from_slice(behind.get(..TAIL.min(CAPACITY - HEAD))?).ok()?;
    name.truncate(bytes.len());
    Some(name)
}

/// Without a way out of the loop the compiler makes it a handful of vector instructions.
#[inline]
fn has_nul(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |found, byte| found | u8::from(*byte == 0)) != 0
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
