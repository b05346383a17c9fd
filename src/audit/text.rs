//! The values of a record, escaped for logfmt and JSON.

use core::fmt::{self, Write};

/// A value of logfmt: in quotes and escaped if it needs that.
pub(super) struct Value<'v>(pub(super) &'v [u8]);

/// Printable ASCII inside the quotes of logfmt or JSON.
pub(super) struct Escaped<'v>(pub(super) &'v [u8]);

/// The inside of a JSON string: the text as escaped for logfmt, escaped once more.
pub(super) struct Json<'v>(pub(super) &'v [u8]);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        let escaped = Escaped(self.0);
        if self.0.iter().all(is_plain) { escaped.fmt(f) } else { write!(f, "\"{escaped}\"") }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, |character| f.write_char(character))
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, |character| match character {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            character => f.write_char(character),
        })
    }
}

/// Writes the bytes as printable ASCII: `"` and `\` after a backslash, and every other byte outside
/// of 0x20 to 0x7e as `\n`, `\r`, `\t` or `\xNN`.
fn escape(bytes: &[u8], mut write: impl FnMut(char) -> fmt::Result) -> fmt::Result {
    for byte in bytes {
        let escaped = match byte {
            b'\n' => 'n',
            b'\r' => 'r',
            b'\t' => 't',
            b'"' | b'\\' => char::from(*byte),
            b' '..=b'~' => {
                write(char::from(*byte))?;
                continue;
            }
            _ => 'x',
        };
        write('\\')?;
        write(escaped)?;
        if escaped == 'x' {
            for digit in [byte >> 4, byte & 15] {
                write(char::from_digit(digit.into(), 16).unwrap_or_default())?;
            }
        }
    }
    Ok(())
}
