use core::fmt::{self, Write};

use super::{BindAddress, CAPACITY, MAX_TEXT};
use crate::error::SocketError;

/// The reason why a text is not an address, and the byte offset.
///
/// The offset is that of the first byte that cannot be there: the text before it is the beginning
/// of some valid address. If the text ends too early, it is the length of the text.
///
/// ```
/// use netbind::BindAddress;
///
/// let error = BindAddress::parse("127.0.0.256:80").unwrap_err();
/// assert_eq!(error.offset(), 10);
/// assert_eq!(error.to_string(), "not an address: unexpected '6' at byte 10");
///
/// let error = BindAddress::parse(format!("/tmp/{}", "x".repeat(120))).unwrap_err();
/// assert_eq!(error.to_string(), "not an address: path or name of 125 bytes, at most 107 fit");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    error: SocketError,
    offset: usize,
    reason: Reason,
}

/// The reason of a [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The text ends too early, or the text, path or name is empty.
    TooShort,
    /// The path or name has this many bytes, and at most 107 fit.
    TooLong(usize),
    /// This byte is not allowed here. In a path or name it is a NUL byte, or a `@` at the start of
    /// a path.
    UnexpectedByte(u8),
}

impl ParseError {
    /// Returns an error in the host, path or name part, at `offset`.
    pub(super) fn address(text: &[u8], offset: usize) -> Self {
        Self { error: SocketError::InvalidAddress, offset, reason: Reason::at(text, offset) }
    }

    /// Returns an error in the port, at `offset`.
    pub(super) fn port(text: &[u8], offset: usize) -> Self {
        Self { error: SocketError::InvalidPort, offset, reason: Reason::at(text, offset) }
    }

    /// Returns the error of a path or name of `length` bytes; `offset` is the first byte that does
    /// not fit.
    pub(super) const fn too_long(length: usize, offset: usize) -> Self {
        Self { error: SocketError::InvalidAddress, offset, reason: Reason::TooLong(length) }
    }

    /// Returns [`SocketError::InvalidAddress`] or [`SocketError::InvalidPort`].
    #[must_use]
    pub const fn error(self) -> SocketError {
        self.error
    }

    /// Returns the offset of the first byte that cannot be there, counted from 0.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// Returns what is wrong at the offset.
    #[must_use]
    pub const fn reason(self) -> Reason {
        self.reason
    }
}

impl Reason {
    fn at(text: &[u8], offset: usize) -> Self {
        text.get(offset).map_or(Self::TooShort, |byte| Self::UnexpectedByte(*byte))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_port = self.error == SocketError::InvalidPort;
        f.write_str(if in_port { "not a port: " } else { "not an address: " })?;
        match self.reason {
            Reason::TooLong(length) => {
                return write!(f, "path or name of {length} bytes, at most {CAPACITY} fit");
            }
            Reason::TooShort if self.offset == 0 => f.write_str("the text is empty")?,
            Reason::TooShort => write!(f, "the text ends too early, at byte {}", self.offset)?,
            Reason::UnexpectedByte(0) => write!(f, "NUL byte at byte {}", self.offset)?,
            Reason::UnexpectedByte(byte) => {
                write!(f, "unexpected '{}' at byte {}", byte.escape_ascii(), self.offset)?;
            }
        }
        f.write_str(match self.offset {
            _ if in_port => ", expected 0 to 65535 in 1 to 5 digits",
            0 => ", expected :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or /PATH",
            _ => "",
        })
    }
}

impl core::error::Error for ParseError {}

impl From<ParseError> for SocketError {
    /// Returns [`ParseError::error`], without the reason and the offset.
    fn from(error: ParseError) -> Self {
        error.error
    }
}

impl SocketError {
    /// Adds the address to the error, for a message that a person can act on.
    ///
    /// `address` is a [`BindAddress`] or a text. If the text does not parse, the message contains
    /// the reason and the byte offset.
    ///
    /// ```
    /// use netbind::SocketError;
    ///
    /// let error = SocketError::InvalidPort.at("127.0.0.1:http");
    /// let message = error.to_string();
    /// assert!(message.starts_with("127.0.0.1:http: not a port: unexpected 'h' at byte 10"));
    /// ```
    #[must_use]
    pub fn at(self, address: impl fmt::Display) -> AddressedError {
        let mut text = TextBuffer { bytes: [0; MAX_TEXT + 1], length: 0 };
        // `TextBuffer::write_str` never fails, so only the address's own `Display` could fail. The
        // message then has the part that was written.
        let _ = write!(text, "{address}");
        AddressedError { error: self, text }
    }
}

/// A [`SocketError`] and the address that it is about, made by [`SocketError::at`].
///
/// It owns a copy of the address without allocating, so that it can be returned. It converts into
/// `Box<dyn Error>` and into the error types of crates such as `anyhow`.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use netbind::alloc::Global;
///
/// fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
///     let listener = netbind::listen(address, Global).map_err(|error| error.at(address))?;
///     # drop(listener);
///     Ok(())
/// }
///
/// let message = serve("192.0.2.1:80").unwrap_err().to_string();
/// assert!(message.starts_with("192.0.2.1:80: bind failed: address not available"));
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressedError {
    error: SocketError,
    text: TextBuffer,
}

/// The printed address. `bytes` keeps its first `MAX_TEXT + 1` bytes, so that a text that is longer
/// than every address does not parse; `length` is the length of the whole text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TextBuffer {
    bytes: [u8; MAX_TEXT + 1],
    length: u32,
}

impl TextBuffer {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length as usize).unwrap_or(&self.bytes)
    }
}

impl Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.length as usize..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        let added = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.length = self.length.saturating_add(added);
        Ok(())
    }
}

impl AddressedError {
    /// Returns the error without the address.
    #[must_use]
    pub const fn error(&self) -> SocketError {
        self.error
    }

    /// Returns the parser's reason if the error is that of a malformed text.
    fn parse_error(&self) -> Option<ParseError> {
        if !matches!(self.error, SocketError::InvalidAddress | SocketError::InvalidPort) {
            return None;
        }
        let mut error = BindAddress::parse(self.text.as_bytes()).err()?;
        if let Reason::TooLong(length) = &mut error.reason {
            *length += self.text.length as usize - self.text.as_bytes().len();
        }
        Some(error)
    }
}

impl fmt::Display for AddressedError {
    /// Prints the address and the error. Control characters and bytes that are not UTF-8 are
    /// escaped, so that the message is one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.text.as_bytes();
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_unicode())?;
                } else {
                    f.write_char(character)?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_str(if self.text.length as usize > bytes.len() { "...: " } else { ": " })?;
        match self.parse_error() {
            Some(error) => error.fmt(f),
            None => self.error.fmt(f),
        }
    }
}

// If `main` returns this error, Rust prints it with `Debug`; make that readable too.
impl fmt::Debug for AddressedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for AddressedError {}
