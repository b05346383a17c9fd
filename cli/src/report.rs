//! Messages and output. In a text from outside, line breaks and other control characters are
//! escaped.

use std::io::Write;

use crate::failure::Failure;

/// Prints a message to standard error, as one line. A message that cannot be written is lost.
pub(crate) fn report(message: &str) {
    let line = format!("netbind: {}\n", printable(message));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Prints to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout();
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|error| Failure::about("standard output", error))
}

/// Returns the text with control characters and bytes that are not UTF-8 escaped.
pub(crate) fn printable(text: impl AsRef<[u8]>) -> String {
    let mut printable = String::new();
    for chunk in text.as_ref().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                printable.extend(character.escape_default());
            } else {
                printable.push(character);
            }
        }
        printable.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    printable
}

/// Quotes a text for a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
