//! The expected result for every text, found without the parser's code.
//!
//! `core::net` decides what an IP address is. The rules that it lacks are checked on the text: the
//! wildcard `:PORT`, at most 5 digits of a port and at most 10 of a scope id. The offset of an
//! error is checked by completion: a text is the beginning of an address if one of a few endings
//! makes it an address.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::str::from_utf8;

use netbind::address::{ParseError, Reason};
use netbind::{BindAddress, SocketError};

/// The maximum length of a path or name.
const NAME: usize = 107;
/// The length of the longest address: `unix:@` and a name.
const LONGEST: usize = 6 + NAME;

/// The value of an address text.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'t> {
    Ip(SocketAddr),
    Path(&'t [u8]),
    Abstract(&'t [u8]),
}

impl<'t> Meaning<'t> {
    /// Returns the value of a parsed address.
    pub fn of(address: &'t BindAddress) -> Self {
        match (address, address.to_socket_addr()) {
            (BindAddress::Path(path), None) => Self::Path(path.as_bytes()),
            (BindAddress::Abstract(name), None) => Self::Abstract(name.as_bytes()),
            (_, Some(ip)) => Self::Ip(ip),
            _ => panic!("an IP address without a socket address: {address:?}"),
        }
    }
}

/// Panics unless this is the right result for `text`: the value, or the error with its offset and
/// reason.
pub fn assert_parsed(text: &[u8], parsed: &Result<BindAddress, ParseError>) {
    match (parsed, meaning(text)) {
        (Ok(address), Some(meaning)) => assert_eq!(Meaning::of(address), meaning),
        (Err(error), None) => {
            let offset = error.offset();
            assert_eq!(error.error(), error_of(text));
            assert!(is_start(&text[..offset]), "{error:?}: an earlier byte cannot be there");
            assert!(
                offset == text.len() || !is_start(&text[..=offset]),
                "{error:?}: this byte can be there"
            );
            assert_eq!(error.reason(), reason(text, offset));
        }
        (_, meaning) => panic!("{parsed:?}, but the oracle has {meaning:?}"),
    }
}

/// Returns the value of `text`, or `None` if it is not an address.
pub fn meaning(text: &[u8]) -> Option<Meaning<'_>> {
    match text {
        [b'u', b'n', b'i', b'x', b':', b'@', name @ ..] => {
            is_name(name).then_some(Meaning::Abstract(name))
        }
        [b'u', b'n', b'i', b'x', b':', path @ ..] => is_name(path).then_some(Meaning::Path(path)),
        [b'/', ..] => is_name(text).then_some(Meaning::Path(text)),
        _ => ip(from_utf8(text).ok()?).map(Meaning::Ip),
    }
}

fn is_name(name: &[u8]) -> bool {
    (1..=NAME).contains(&name.len()) && !name.contains(&0)
}

/// `IPV4:PORT`, `[IPV6]:PORT`, `[IPV6%SCOPE]:PORT` and `:PORT`
fn ip(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = is_port.then(|| port.parse().ok())??;
        return Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into());
    }
    // `core::net` allows any number of leading zeros in a port and a scope id.
    let address = text.parse().ok()?;
    let (host, port) = text.rsplit_once(':')?;
    let scope = host.split_once('%').map_or("", |(_, scope)| scope.trim_end_matches(']'));
    (port.len() <= 5 && scope.len() <= 10).then_some(address)
}

/// Returns the error of a malformed text: an invalid port if it begins with a host and `:`.
fn error_of(text: &[u8]) -> SocketError {
    let mut starts = (1..=text.len().min(LONGEST)).map(|length| &text[..length]);
    if starts.any(ends_host) { SocketError::InvalidPort } else { SocketError::InvalidAddress }
}

/// Returns true if `start` is a well-formed host and the `:` after it.
pub fn ends_host(start: &[u8]) -> bool {
    let is_ip = !matches!(start, [b'u' | b'/', ..]);
    is_ip && start.ends_with(b":") && is_address(start, b"0")
}

/// Returns the reason of the error at `offset`.
pub fn reason(text: &[u8], offset: usize) -> Reason {
    let Some(byte) = text.get(offset) else { return Reason::TooShort };
    match meaning(&text[..offset]) {
        Some(Meaning::Path(name) | Meaning::Abstract(name)) if name.len() == NAME => {
            Reason::TooLong(text.len() - (offset - NAME))
        }
        _ => Reason::UnexpectedByte(*byte),
    }
}

/// Returns true if some address begins with `start`.
///
/// One of these endings completes every start of an address: the end of `0.0.0.0:0` for IPv4, the
/// end of `unix:x` for Unix, and those of [`ipv6_endings`].
pub fn is_start(start: &[u8]) -> bool {
    let completes = |ending: &[u8]| is_address(start, ending);
    match start {
        [] => true,
        [b'u' | b'/', ..] => ends_of("unix:x").any(completes),
        [b'[', ..] => ipv6_endings().any(completes),
        _ => ends_of("0.0.0.0:0").any(completes),
    }
}

/// Returns the endings of an IPv6 address: the missing groups, the rest of a `::` or of an embedded
/// IPv4 address, a digit of a group, scope id or port, and the end of `]:0`.
fn ipv6_endings() -> impl Iterator<Item = &'static [u8]> {
    ends_of(":0:0:0:0:0:0:0]:0")
        .chain([&b":]:0"[..]])
        .chain(ends_of("0:0:0:0:0:0:0:0]:0"))
        .chain(ends_of("0.0.0.0]:0"))
}

/// Returns every end of `text`, from the whole to the empty one.
fn ends_of(text: &'static str) -> impl Iterator<Item = &'static [u8]> {
    (0..=text.len()).map(move |at| &text.as_bytes()[at..])
}

/// Returns true if `start` and `ending` together are an address.
fn is_address(start: &[u8], ending: &[u8]) -> bool {
    let mut text = [0; LONGEST];
    let length = start.len() + ending.len();
    let Some(text) = text.get_mut(..length) else { return false };
    text[..start.len()].copy_from_slice(start);
    text[start.len()..].copy_from_slice(ending);
    meaning(text).is_some()
}
