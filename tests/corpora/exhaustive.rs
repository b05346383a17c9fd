//! Every short string, and every port: the parser against the oracle until no input is left to try.
//!
//! The strings are walked as a tree. The oracle answers once for each node whether an address can still begin so. Below a
//! node where none can, it need not be asked again: nothing there is an address, and every error has the node's offset. So
//! all strings up to the bound are given to the parser, and the slow oracle sees only those that are alive.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use netbind::{BindAddress, SocketError};

use crate::targets::grammar::read;
use crate::targets::oracle::{Meaning, is_start, meaning};
use crate::targets::round_trip;

/// Digits at the edges, every byte that the grammar names, hex digits in both cases and a letter that is none, a NUL, and a
/// byte that is no UTF-8.
const ALPHABET: &[u8] = b"012569:.[]%/@unixafFG\0\xff";

/// Where the second walk begins: what is too long to be reached from nothing.
const STARTS: &[&str] = &[
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

#[derive(Clone, Copy)]
struct Node {
    /// Some address begins with the text so far.
    alive: bool,
    /// How much of the text some address begins with.
    shared: usize,
    /// A well-formed host and its `:` were seen.
    host: bool,
}

impl Node {
    const ROOT: Self = Self { alive: true, shared: 0, host: false };

    /// The node of `text`, whose parent this is.
    fn child(self, text: &mut Vec<u8>) -> Self {
        if !self.alive || !is_start(text) {
            return Self { alive: false, ..self };
        }
        let host = self.host || (text.last() == Some(&b':') && is_host(text));
        Self { alive: true, shared: text.len(), host }
    }
}

/// Whether a port makes an IP address of `text`.
fn is_host(text: &mut Vec<u8>) -> bool {
    text.push(b'0');
    let is_host = matches!(meaning(text), Some(Meaning::Ip(_)));
    text.pop();
    is_host
}

fn check(text: &[u8], node: Node) {
    let parsed = BindAddress::parse(text);
    let meant = if node.alive { meaning(text) } else { None };
    let read = read(text);
    let right = match (&parsed, &meant) {
        (Ok(address), Some(meant)) => {
            round_trip(address);
            Meaning::of(address) == *meant && read == Ok(())
        }
        (Err(error), None) => {
            let kind =
                if node.host { SocketError::InvalidPort } else { SocketError::InvalidAddress };
            error.error() == kind
                && error.offset() == node.shared
                && read == Err((kind, node.shared))
        }
        _ => false,
    };
    assert!(
        right,
        "\"{}\" parsed to {parsed:?}, means {meant:?}, and reads {read:?}",
        text.escape_ascii()
    );
}

/// Checks `text` and all that `more` bytes can make of it; tells how many texts that were.
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

/// The node of a text, by way of all its starts.
fn node_of(text: &[u8]) -> Node {
    let starts = (1..=text.len()).map(|length| text[..length].to_vec());
    starts.fold(Node::ROOT, |node, mut start| node.child(&mut start))
}

/// All texts that are `start` and up to `more` bytes, on all processors: each takes the next two bytes that nobody has.
fn walk_all(start: &[u8], more: usize) -> u64 {
    let symbols = ALPHABET.len();
    let (next, tried) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let pair = next.fetch_add(1, Ordering::Relaxed);
                    if pair >= symbols * symbols {
                        break;
                    }
                    let mut text =
                        [start, &[ALPHABET[pair / symbols], ALPHABET[pair % symbols]]].concat();
                    let node = node_of(&text);
                    tried.fetch_add(walk(&mut text, node, more - 2), Ordering::Relaxed);
                }
            });
        }
    });
    tried.into_inner() + walk(&mut start.to_vec(), node_of(start), 1)
}

fn every_string(most: usize) {
    let tried = walk_all(b"", most);
    println!("every string up to {most} bytes of {}: {tried} inputs tried", ALPHABET.len());
}

fn every_string_behind_a_start(most: usize) {
    let tried: u64 = STARTS.iter().map(|start| walk_all(start.as_bytes(), most)).sum();
    println!(
        "every string up to {most} bytes behind {} starts: {tried} inputs tried",
        STARTS.len()
    );
}

#[test]
fn no_string_up_to_4_bytes_is_taken_for_something_else() {
    every_string(4);
}

#[test]
fn no_string_up_to_3_bytes_behind_a_start_is_taken_for_something_else() {
    every_string_behind_a_start(3);
}

#[test]
#[ignore = "billions of inputs: for a release build"]
fn no_string_up_to_7_bytes_is_taken_for_something_else() {
    every_string(7);
}

#[test]
#[ignore = "a billion of inputs: for a release build"]
fn no_string_up_to_5_bytes_behind_a_start_is_taken_for_something_else() {
    every_string_behind_a_start(5);
}

#[test]
fn every_port_is_taken_in_every_form_and_no_other_number_is() {
    let mut tried = 0_u64;
    for host in ["", "127.0.0.1", "[::1]", "[fe80::1%2]"] {
        let at = host.len() + 1;
        for number in 0..100_000_u32 {
            let port = u16::try_from(number).ok();
            for width in 1..=6 {
                let digits = format!("{number:0width$}");
                if digits.len() > width {
                    continue;
                }
                let parsed = BindAddress::parse(format!("{host}:{digits}"));
                tried += 1;
                match (parsed, port) {
                    (Ok(address), Some(_)) if width < 6 => {
                        assert_eq!(address.port(), port, "{host}:{digits}")
                    }
                    (Err(error), None) if width == 5 => {
                        // Four digits are a port, and the fifth leads beyond the last one.
                        assert_eq!(
                            (error.error(), error.offset()),
                            (SocketError::InvalidPort, at + 4)
                        );
                    }
                    (Err(error), _) if width == 6 => {
                        assert_eq!(
                            (error.error(), error.offset()),
                            (SocketError::InvalidPort, at + 5)
                        );
                    }
                    (parsed, _) => panic!("{host}:{digits} parsed to {parsed:?}"),
                }
            }
        }
    }
    println!(
        "every number of up to 6 digits below 100000 as a port in 4 forms: {tried} inputs tried"
    );
}
