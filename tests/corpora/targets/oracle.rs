//! What an address is, told a second time: by `core::net` for the IP forms, and by trying completions for the offsets.
//!
//! Nothing here is shared with the parser. Where the parser walks a grammar, this asks `core::net` about the whole text, cuts
//! what `core::net` takes too generously (digits beyond counting), and answers "could this be the start of an address?" by
//! gluing every ending of a small set to it and asking again. Slow, and simple enough to be believed.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::str::from_utf8;

use netbind::{BindAddress, SocketError};

/// What a text means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'t> {
    Ip(SocketAddr),
    Path(&'t [u8]),
    Abstract(&'t [u8]),
}

impl<'t> Meaning<'t> {
    /// The address that the parser made, in the same terms.
    pub fn of(address: &'t BindAddress) -> Self {
        match (address, address.to_socket_addr()) {
            (BindAddress::Path(path), None) => Self::Path(path.as_bytes()),
            (BindAddress::Abstract(name), None) => Self::Abstract(name.as_bytes()),
            (_, Some(ip)) => Self::Ip(ip),
            _ => panic!("an IP address without a socket address: {address:?}"),
        }
    }
}

/// The address that `text` is, or `None`.
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
    (1..=107).contains(&name.len()) && !name.contains(&0)
}

/// `IPV4:PORT`, `[IPV6]:PORT` and `[IPV6%SCOPE]:PORT`; and `:PORT`, which `core::net` does not have.
fn ip(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        // The port rule alone is asked for; `core::net` has no other way to it.
        let port = (port.len() <= 5 && is_digits(port)).then(|| port.parse().ok())??;
        return Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into());
    }
    // It is asked first: what it refuses is no address. A port of more than 5 digits or a scope of more than 10 is none either.
    let address = text.parse().ok()?;
    let (host, port) = text.rsplit_once(':')?;
    let scope = host.split_once('%').map_or("", |(_, scope)| scope.trim_end_matches(']'));
    (port.len() <= 5 && scope.len() <= 10).then_some(address)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The error that a malformed text deserves: `InvalidPort` where a well-formed host and its `:` stand at its start.
pub fn error_of(text: &[u8]) -> SocketError {
    let colons = (0..text.len()).filter(|at| text[*at] == b':');
    let has_host = colons.map(|at| &text[..=at]).any(|start| {
        let with_port = [start, b"0"].concat();
        matches!(meaning(&with_port), Some(Meaning::Ip(_)))
    });
    if has_host { SocketError::InvalidPort } else { SocketError::InvalidAddress }
}

/// Whether some address begins with `start`.
///
/// Every start of an address becomes a whole one by one of these endings. IPv4: the end of `0.0.0.0:0`. IPv6: a digit or
/// none, then what groups are still missing (or the rest of a `::`, or of an IPv4 inside), then the end of `]:0`. A port or a
/// scope: a digit or none. Unix: the end of `unix:x`.
pub fn is_start(start: &[u8]) -> bool {
    let is_whole = |ending: &[u8]| {
        let mut whole = [0; 160];
        let length = start.len() + ending.len();
        let Some(place) = whole.get_mut(..length) else { return false };
        place[..start.len()].copy_from_slice(start);
        place[start.len()..].copy_from_slice(ending);
        meaning(place).is_some()
    };
    let tails = |text: &'static str| (0..=text.len()).map(move |at| &text.as_bytes()[at..]);
    match start.first() {
        None => true,
        Some(b'u' | b'/') => tails("unix:x").any(is_whole),
        Some(b'[') => ipv6_endings().any(is_whole),
        Some(_) => tails("0.0.0.0:0").any(is_whole),
    }
}

/// The endings of an IPv6 address that was begun with `[`.
fn ipv6_endings() -> impl Iterator<Item = &'static [u8]> {
    const GROUPS: &str = ":0:0:0:0:0:0:0]:0";
    const FIRST_GROUP: &str = "0:0:0:0:0:0:0:0]:0";
    const IPV4: &str = "0.0.0.0]:0";
    let tails = |text: &'static str| (0..=text.len()).map(move |at| &text.as_bytes()[at..]);
    tails(GROUPS).chain([&b":]:0"[..]]).chain(tails(FIRST_GROUP)).chain(tails(IPV4))
}

/// Whether `offset` is how long a start `text` shares with some address: that much is one, and a byte more is none.
pub fn is_offset(text: &[u8], offset: usize) -> bool {
    let longer = text.get(..=offset);
    text.get(..offset).is_some_and(is_start) && !longer.is_some_and(is_start)
}
