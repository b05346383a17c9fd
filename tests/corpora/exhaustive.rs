//! Every short text and every port: the parser against the oracle.
//!
//! The texts are walked as a tree, and each node is one byte longer than its parent. At each node
//! the oracle decides once whether an address can begin with the text. If not, no longer text is an
//! address either, and every error has the offset of this node. So the parser gets every text, and
//! the slow oracle gets only those that can still become an address.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use netbind::{BindAddress, SocketError};

use crate::targets::oracle::{Meaning, ends_host, is_start, meaning, reason};
use crate::targets::round_trip;

/// Digits at the limits, every byte of the grammar, hex digits in both cases and a letter that is
/// not one, NUL, and a byte that is not UTF-8.
const ALPHABET: &[u8] = b"012569:.[]%/@unixafFG\0\xff";

/// The prefixes of the second walk. The first walk does not reach texts of this length.
const PREFIXES: &[&str] = &[
    "[",
    "[::",
    "[1:2:3:4:5:6:",
    "[1:2:3:4:5:6:7",
    "[1:2:3:4:5:6:7:8",
    "[1:2:3:4:5:6:127.0.0.",
    "[1::2:3:4:5:6:",
    "[::1:2:3:4:5:",
    "[::ffff:127.0.0.",
    "[::1%",
    "[::1%429496729",
    "[::1]:",
    "[::1%2]:655",
    "127.0.0.",
    "25",
    "127.0.0.1:",
    ":655",
    "unix:",
    "unix:@",
];

/// The oracle's answers for a text.
#[derive(Clone, Copy)]
struct Node {
    /// Some address begins with the text.
    is_start: bool,
    /// The length of the longest prefix of the text that some address begins with.
    shared: usize,
    /// The text begins with a well-formed host and `:`.
    has_host: bool,
}

impl Node {
    const ROOT: Self = Self { is_start: true, shared: 0, has_host: false };

    /// Returns the node of `text`, which is one byte longer than the text of this node.
    fn child(self, text: &[u8]) -> Self {
        if !self.is_start || !is_start(text) {
            return Self { is_start: false, ..self };
        }
        Self { is_start: true, shared: text.len(), has_host: self.has_host || ends_host(text) }
    }

    fn of(text: &[u8]) -> Self {
        (1..=text.len()).fold(Self::ROOT, |node, length| node.child(&text[..length]))
    }
}

fn check(text: &[u8], node: Node) {
    let parsed = BindAddress::parse(text);
    let expected = if node.is_start { meaning(text) } else { None };
    let is_right = match (&parsed, &expected) {
        (Ok(address), Some(expected)) => {
            round_trip(address);
            Meaning::of(address) == *expected
        }
        (Err(error), None) => {
            let class =
                if node.has_host { SocketError::InvalidPort } else { SocketError::InvalidAddress };
            error.error() == class
                && error.offset() == node.shared
                && error.reason() == reason(text, node.shared)
        }
        _ => false,
    };
    assert!(is_right, "\"{}\" is {expected:?}, parsed to {parsed:?}", text.escape_ascii());
}

/// Checks `text` and every text that is up to `more` bytes longer. Returns the number of texts.
fn walk(text: &mut Vec<u8>, node: Node, more: usize) -> u64 {
    check(text, node);
    let mut tried = 1;
    if more > 0 {
        for byte in ALPHABET {
            text.push(*byte);
            let child = node.child(text);
            tried += walk(text, child, more - 1);
            text.pop();
        }
    }
    tried
}

/// Walks from `prefix` on every processor. Each thread takes one pair of next bytes at a time.
fn walk_all(prefix: &[u8], more: usize) -> u64 {
    let symbols = ALPHABET.len();
    let (next, tried) = (AtomicUsize::new(0), Mutex::new(0_u64));
    let work = || {
        loop {
            let pair = next.fetch_add(1, Ordering::Relaxed);
            if pair >= symbols * symbols {
                break;
            }
            let bytes = [ALPHABET[pair / symbols], ALPHABET[pair % symbols]];
            let mut text = [prefix, &bytes].concat();
            let node = Node::of(&text);
            let walked = walk(&mut text, node, more - 2);
            *tried.lock().unwrap() += walked;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    tried.into_inner().unwrap() + walk(&mut prefix.to_vec(), Node::of(prefix), 1)
}

fn every_text(length: usize) {
    let tried = walk_all(b"", length);
    println!("every text up to {length} bytes of {}: {tried} inputs tried", ALPHABET.len());
}

fn every_text_after_a_prefix(length: usize) {
    let tried: u64 = PREFIXES.iter().map(|prefix| walk_all(prefix.as_bytes(), length)).sum();
    println!(
        "every text up to {length} bytes after {} prefixes: {tried} inputs tried",
        PREFIXES.len()
    );
}

#[test]
fn no_text_up_to_4_bytes_is_misread() {
    every_text(4);
}

#[test]
fn no_text_up_to_3_bytes_after_a_prefix_is_misread() {
    every_text_after_a_prefix(3);
}

#[test]
#[ignore = "3.5 billion inputs; use a release build"]
fn no_text_up_to_7_bytes_is_misread() {
    every_text(7);
}

#[test]
#[ignore = "130 million inputs; use a release build"]
fn no_text_up_to_5_bytes_after_a_prefix_is_misread() {
    every_text_after_a_prefix(5);
}

#[test]
fn every_port_parses_in_every_form_and_no_other_number_does() {
    let mut tried = 0_u64;
    for host in ["", "127.0.0.1", "[::1]", "[fe80::1%2]"] {
        for number in 0..100_000_u32 {
            for width in 1..=6 {
                let digits = format!("{number:0width$}");
                if digits.len() == width {
                    check_port(host, number, &digits);
                    tried += 1;
                }
            }
        }
    }
    println!(
        "every number of up to 6 digits below 100000 as a port in 4 forms: {tried} inputs tried"
    );
}

fn check_port(host: &str, number: u32, digits: &str) {
    let port = u16::try_from(number).ok().filter(|_| digits.len() <= 5);
    // Every number of four digits is a port, so the last digit is the wrong one.
    let offset = host.len() + digits.len();
    let parsed = BindAddress::parse(format!("{host}:{digits}"));
    let result = parsed.map(|address| address.port());
    let result = result.map_err(|error| (error.error(), error.offset()));
    let expected = match port {
        Some(port) => Ok(Some(port)),
        None => Err((SocketError::InvalidPort, offset)),
    };
    assert_eq!(result, expected, "{host}:{digits}");
}
