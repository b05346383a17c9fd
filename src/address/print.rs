use core::fmt::{self, Write};
use core::ops::Deref;

use heapless::Vec;

use super::{BindAddress, MAX_TEXT};

/// The canonical text of an address, made by [`BindAddress::to_bytes`]: at most 113 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AddressBytes(Vec<u8, MAX_TEXT, u8>);

impl Deref for AddressBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for AddressBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AddressBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl BindAddress {
    /// Returns the canonical text as bytes: `0.0.0.0:80`, `[::1]:443`, `unix:/run/x`, `unix:@x`.
    ///
    /// It parses to the same value. [`Display`](fmt::Display) prints the same, except for bytes of
    /// a path or name that are not UTF-8, which it prints as U+FFFD.
    ///
    /// ```
    /// use netbind::BindAddress;
    ///
    /// let address = BindAddress::parse(b"/tmp/\xff")?;
    /// assert_eq!(*address.to_bytes(), *b"unix:/tmp/\xff");
    /// assert_eq!(address.to_string(), "unix:/tmp/\u{fffd}");
    /// assert_eq!(BindAddress::parse(address.to_bytes())?, address);
    /// # Ok::<(), netbind::address::ParseError>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> AddressBytes {
        let mut text = Vec::new();
        // `MAX_TEXT` is the longest text, so no write fails.
        let written = match self {
            Self::Ipv4 { ip, port } => write!(text, "{ip}:{port}"),
            Self::Ipv6 { ip, port, scope_id: 0 } => write!(text, "[{ip}]:{port}"),
            Self::Ipv6 { ip, port, scope_id } => write!(text, "[{ip}%{scope_id}]:{port}"),
            Self::Path(path) => append(&mut text, b"unix:", path.as_bytes()),
            Self::Abstract(name) => append(&mut text, b"unix:@", name.as_bytes()),
        };
        debug_assert!(written.is_ok(), "MAX_TEXT is too small");
        AddressBytes(text)
    }
}

fn append(text: &mut Vec<u8, MAX_TEXT, u8>, prefix: &[u8], name: &[u8]) -> fmt::Result {
    text.extend_from_slice(prefix).map_err(|_| fmt::Error)?;
    text.extend_from_slice(name).map_err(|_| fmt::Error)
}

impl fmt::Display for BindAddress {
    /// Prints the canonical text, padded as the format asks for.
    ///
    /// Bytes of a path or name that are not UTF-8 print as U+FFFD; such a text is not padded.
    /// Control characters print as they are.
    ///
    /// ```
    /// use netbind::BindAddress;
    ///
    /// let address = BindAddress::parse("[0:0::1%0]:0443")?;
    /// assert_eq!(address.to_string(), "[::1]:443");
    /// assert_eq!(format!("{address:>12}"), "   [::1]:443");
    /// # Ok::<(), netbind::address::ParseError>(())
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        match core::str::from_utf8(&bytes) {
            Ok(text) => f.pad(text),
            Err(_) => bytes.utf8_chunks().try_for_each(|chunk| {
                f.write_str(chunk.valid())?;
                f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })
            }),
        }
    }
}
