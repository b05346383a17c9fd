//! The offset of a parse error is the length of the longest start that a valid address can have.
//!
//! The tests check the definition on every address of the tables, also with one wrong byte: some
//! end completes the start up to the offset, and no end completes one byte more.

use netbind::BindAddress;

use super::{INVALID, valid};

/// Returns ends. If a start can be completed, one of them completes it.
fn ends() -> Vec<String> {
    let mut ends: Vec<String> =
        ["", "0", ":0", "unix:a", "nix:a", "ix:a", "x:a", ":a", "a"].map(String::from).into();
    let groups = (0..=7).map(|count| ":0".repeat(count));
    let octets = (1..=3).map(|count| ".0".repeat(count));
    for middle in groups.chain(octets) {
        for start in ["", "0", ":", "::"] {
            for end in ["]:0", ":0"] {
                ends.push(format!("{start}{middle}{end}"));
            }
        }
    }
    ends
}

fn can_be_completed(start: &[u8], ends: &[String]) -> bool {
    ends.iter().any(|end| BindAddress::parse([start, end.as_bytes()].concat()).is_ok())
}

fn check(text: &[u8], ends: &[String]) {
    let Err(error) = BindAddress::parse(text) else { return };
    let shown = text.escape_ascii();
    assert!(
        can_be_completed(&text[..error.offset()], ends),
        "{shown}: no address begins with {} bytes",
        error.offset()
    );
    if error.offset() < text.len() {
        let longer = &text[..=error.offset()];
        assert!(
            !can_be_completed(longer, ends),
            "{shown}: an address begins with more than {} bytes",
            error.offset()
        );
    }
}

/// Returns every text with one byte of `text` replaced, added or removed.
fn one_byte_off(text: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for at in 0..=text.len() {
        let (front, back) = text.split_at(at);
        let rest = back.get(1..).unwrap_or_default();
        texts.push([front, rest].concat());
        for byte in *b"06:.]%\0x" {
            texts.push([front, &[byte], back].concat());
            texts.push([front, &[byte], rest].concat());
        }
    }
    texts
}

#[test]
fn the_offset_is_the_first_byte_that_no_valid_address_has() {
    let ends = ends();
    for (text, ..) in INVALID {
        check(text.as_bytes(), &ends);
    }
    for (text, ..) in valid() {
        for wrong in one_byte_off(text.as_bytes()) {
            check(&wrong, &ends);
        }
    }
}
