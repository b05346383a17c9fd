//! The canonical form: what is printed parses back to the same value.

use core::fmt::{self, Write};

use heapless::Vec;

use super::BindAddress;

/// The longest canonical form: `unix:@` and 107 bytes.
const LONGEST: usize = 113;

impl BindAddress {
    /// The canonical form as bytes, exact for every value: `0.0.0.0:80`, `[::1]:443`, `unix:/run/x`, `unix:@x`.
    ///
    /// This is what [`Display`](fmt::Display) prints, but for the bytes of a path or name that are not UTF-8, which
    /// `Display` can only show as U+FFFD.
    ///
    /// ```
    /// use netbind::BindAddress;
    ///
    /// let address = BindAddress::parse(b"/tmp/\xff")?;
    /// assert_eq!(address.to_bytes(), b"unix:/tmp/\xff");
    /// assert_eq!(address.to_string(), "unix:/tmp/\u{fffd}");
    /// assert_eq!(BindAddress::parse(address.to_bytes())?, address);
    /// # Ok::<(), netbind::ParseError>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8, LONGEST> {
        let mut out = Vec::new();
        // Nothing is longer than LONGEST, so no write can fail; the round-trip tests would show what was cut.
        let written = match self {
            Self::Ipv4 { ip, port } => write!(out, "{ip}:{port}"),
            Self::Ipv6 { ip, port, scope_id: 0 } => write!(out, "[{ip}]:{port}"),
            Self::Ipv6 { ip, port, scope_id } => write!(out, "[{ip}%{scope_id}]:{port}"),
            Self::Path(path) => unix(&mut out, b"unix:", path.as_bytes()),
            Self::Abstract(name) => unix(&mut out, b"unix:@", name.as_bytes()),
        };
        debug_assert!(written.is_ok(), "LONGEST is too short");
        out
    }
}

fn unix(out: &mut Vec<u8, LONGEST>, prefix: &[u8], name: &[u8]) -> fmt::Result {
    out.extend_from_slice(prefix).and_then(|()| out.extend_from_slice(name)).map_err(|_| fmt::Error)
}

impl fmt::Display for BindAddress {
    /// The canonical form, padded as the format asks for it. Bytes of a path or name that are not UTF-8 print as U+FFFD,
    /// unpadded: [`to_bytes`](BindAddress::to_bytes) is exact for them. Control characters print as they are.
    ///
    /// ```
    /// use netbind::BindAddress;
    ///
    /// let address = BindAddress::parse("[0:0::1%0]:0443")?;
    /// assert_eq!(address.to_string(), "[::1]:443");
    /// assert_eq!(format!("{address:>12}"), "   [::1]:443");
    /// # Ok::<(), netbind::ParseError>(())
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
