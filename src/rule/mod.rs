//! Rules: which addresses a capability may open.

mod parse;
mod print;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use crate::error::rule::{RuleError, RuleReason};

/// The maximum length of a path or name, as in [`BindAddress`](crate::BindAddress).
const CAPACITY: usize = 107;

/// A rule of a [`NetBind`](crate::NetBind): a set of addresses that it allows.
///
/// | text | constructor | allows |
/// |---|---|---|
/// | `port 443`, `port 8000-8999` | [`port`](Self::port), [`ports`](Self::ports) | these ports on every IP address |
/// | `host 127.0.0.0/8 port 8080`, `host ::1 port 0-65535` | [`host`](Self::host) | these ports on the addresses of a network |
/// | `path /run/app.sock` | [`path`](Self::path) | exactly this absolute Unix path |
/// | `beneath /run/app` | [`beneath`](Self::beneath) | every absolute path below this directory |
/// | `any-path` | [`any_path`](Self::any_path) | every Unix path |
/// | `abstract app` | [`abstract_name`](Self::abstract_name) | exactly this abstract name |
/// | `abstract-prefix app.` | [`abstract_prefix`](Self::abstract_prefix) | every abstract name that starts with these bytes |
/// | `any-abstract` | [`any_abstract`](Self::any_abstract) | every abstract name |
///
/// A rule parses from its text ([`FromStr`](core::str::FromStr), [`parse`](Self::parse)). It prints
/// as a text that parses to the same rule, unless a path or name is not UTF-8. Words are separated
/// by one space. A path or name is the rest of the text.
///
/// - A wildcard address (`0.0.0.0`, `::`) is allowed only by a `port` rule, by a network with the
///   prefix length 0, and by a rule for exactly this address.
/// - IPv4-mapped IPv6 addresses are judged as IPv4 addresses, so `host ::/0` does not allow them.
/// - Paths are compared as bytes. The kernel follows links in directories. So a rule about a
///   directory protects only if untrusted code cannot write to it.
///
/// ```
/// use netbind::Rule;
///
/// let rule: Rule = "host 127.0.0.0/8 port 8000-8999".parse()?;
/// assert_eq!(rule, Rule::host([127, 0, 0, 0].into(), 8, 8000..=8999)?);
/// assert_eq!(rule.to_string(), "host 127.0.0.0/8 port 8000-8999");
/// # Ok::<(), netbind::capability::RuleError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule(Parts<RuleBytes>);

// A policy is a table of rules, often a static one.
const _: () = assert!(size_of::<Rule>() <= 128);

/// The form of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Ports,
    Host,
    Path,
    Beneath,
    AnyPath,
    Abstract,
    AbstractPrefix,
    AnyAbstract,
}

/// The parts of a rule. `N` holds bytes: owned in a [`Rule`], a place in the pool of a capability,
/// or borrowed from either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Parts<N> {
    pub(crate) form: Form,
    /// The ports of `Ports` and `Host`, otherwise [`Ports::NONE`].
    pub(crate) ports: Ports,
    /// The prefix length of `Host`, in bits of the IPv6 address below.
    pub(crate) prefix: u8,
    /// The path or name, or the network of `Host` as an IPv6 address. An IPv4 network is stored as
    /// the IPv4-mapped one.
    pub(crate) bytes: N,
}

/// A range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// Bytes of a [`Rule`], at most 107, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct RuleBytes {
    bytes: [u8; CAPACITY],
    length: u8,
}

/// The bits before an IPv4 address in its IPv4-mapped IPv6 address.
const MAPPED_PREFIX: u8 = 96;

/// Returns the bits of an address. Those of an IPv4 address are the IPv4-mapped ones.
const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

const fn is_mapped(bits: u128) -> bool {
    bits >> 32 == 0xffff
}

/// Returns the mask of a prefix of 0 to 128 bits.
const fn mask(prefix: u8) -> u128 {
    match u128::MAX.checked_shl(128 - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

/// Returns the network and its prefix length in bits of an IPv6 address.
const fn network(ip: IpAddr, prefix: u8) -> Result<(u128, u8), RuleReason> {
    let bits = bits(ip);
    let (max, before) = if ip.is_ipv4() { (32, MAPPED_PREFIX) } else { (128, 0) };
    if prefix > max {
        return Err(RuleReason::InvalidPrefix(max));
    }
    let prefix = prefix + before;
    if is_mapped(bits) && prefix < MAPPED_PREFIX {
        return Err(RuleReason::MappedPrefix);
    }
    let network = bits & mask(prefix);
    if network != bits {
        let (network, prefix) = display_form(network, prefix);
        return Err(RuleReason::HostBits(network, prefix));
    }
    Ok((network, prefix))
}

/// Returns a network as it is printed: an IPv4-mapped one as the IPv4 network.
const fn display_form(network: u128, prefix: u8) -> (IpAddr, u8) {
    if is_mapped(network) {
        #[allow(clippy::cast_possible_truncation)] // the IPv4 address
        let ip = Ipv4Addr::from_bits(network as u32);
        (IpAddr::V4(ip), prefix.saturating_sub(MAPPED_PREFIX))
    } else {
        (IpAddr::V6(Ipv6Addr::from_bits(network)), prefix)
    }
}

/// Returns true if a network allows an address; both are bits of IPv6 addresses.
fn network_allows(network: u128, prefix: u8, ip: u128) -> bool {
    let contains =
        (ip ^ network).leading_zeros() >= u32::from(prefix) && is_mapped(ip) == is_mapped(network);
    let (wildcard, whole) = if is_mapped(ip) { (0xffff << 32, MAPPED_PREFIX) } else { (0, 0) };
    contains && (ip != wildcard || prefix == whole || prefix == 128)
}

impl RuleBytes {
    const EMPTY: Self = Self { bytes: [0; CAPACITY], length: 0 };

    /// Makes a path or name of a rule.
    const fn new(name: &[u8]) -> Result<Self, RuleError> {
        if name.is_empty() {
            return Err(RuleError::new(RuleReason::EmptyName, 0));
        }
        let mut rest = name;
        while let [byte, after @ ..] = rest {
            let offset = name.len() - rest.len();
            if offset == CAPACITY {
                return Err(RuleError::new(RuleReason::TooLong(name.len()), CAPACITY));
            }
            if *byte < 0x20 || *byte == 0x7f {
                return Err(RuleError::new(RuleReason::ControlByte(*byte), offset));
            }
            rest = after;
        }
        Ok(Self::copy(name))
    }

    /// Copies at most 107 bytes.
    const fn copy(name: &[u8]) -> Self {
        let mut copy = Self::EMPTY;
        let (mut from, mut to): (&[u8], &mut [u8]) = (name, &mut copy.bytes);
        while let ([byte, from_rest @ ..], [place, to_rest @ ..]) = (from, to) {
            *place = *byte;
            copy.length += 1;
            (from, to) = (from_rest, to_rest);
        }
        copy
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

/// Returns an error unless the path is absolute and every component is a name.
const fn check_path(path: &[u8]) -> Result<(), RuleError> {
    let [b'/', rest @ ..] = path else {
        return Err(RuleError::new(RuleReason::RelativePath, 0));
    };
    let (mut rest, mut start) = (rest, 1);
    // A component of zero, one or two dots and nothing else is not a name.
    let (mut length, mut dots) = (0, 0);
    loop {
        let next = rest.split_first();
        match next {
            None | Some((b'/', _)) if length == dots && length < 3 => {
                return Err(RuleError::new(RuleReason::UnnormalizedPath, start));
            }
            None => return Ok(()),
            Some((b'/', after)) => {
                start = path.len() - after.len();
                (length, dots) = (0, 0);
                rest = after;
            }
            Some((byte, after)) => {
                length += 1;
                dots += (*byte == b'.') as usize;
                rest = after;
            }
        }
    }
}

impl Rule {
    const fn new(form: Form, ports: Ports, prefix: u8, bytes: RuleBytes) -> Self {
        Self(Parts { form, ports, prefix, bytes })
    }

    const fn without_bytes(form: Form, ports: Ports) -> Self {
        Self::new(form, ports, 0, RuleBytes::EMPTY)
    }

    /// Makes a rule with a path or name.
    const fn named(form: Form, name: &[u8]) -> Result<Self, RuleError> {
        match RuleBytes::new(name) {
            Ok(name) => Ok(Self::new(form, Ports::NONE, 0, name)),
            Err(error) => Err(error),
        }
    }

    /// Allows one port on every IP address.
    #[must_use]
    pub const fn port(port: u16) -> Self {
        Self::without_bytes(Form::Ports, Ports { first: port, last: port })
    }

    /// Allows a range of ports on every IP address.
    ///
    /// # Errors
    ///
    /// [`RuleReason::EmptyRange`].
    pub const fn ports(ports: RangeInclusive<u16>) -> Result<Self, RuleError> {
        match Ports::new(&ports) {
            Ok(ports) => Ok(Self::without_bytes(Form::Ports, ports)),
            Err(error) => Err(error),
        }
    }

    /// Allows a range of ports on the addresses of a network: those with the same first
    /// `prefix_length` bits as `ip`. The length 32 (IPv4) or 128 (IPv6) means a single address.
    ///
    /// # Errors
    ///
    /// [`RuleReason::InvalidPrefix`], [`RuleReason::HostBits`], [`RuleReason::MappedPrefix`] or
    /// [`RuleReason::EmptyRange`].
    pub const fn host(
        ip: IpAddr,
        prefix_length: u8,
        ports: RangeInclusive<u16>,
    ) -> Result<Self, RuleError> {
        match (Ports::new(&ports), network(ip, prefix_length)) {
            (Ok(ports), Ok((network, prefix))) => {
                let bytes = RuleBytes::copy(&network.to_be_bytes());
                Ok(Self::new(Form::Host, ports, prefix, bytes))
            }
            (Err(error), _) => Err(error),
            (_, Err(reason)) => Err(RuleError::new(reason, 0)),
        }
    }

    /// Allows exactly this absolute Unix path.
    ///
    /// # Errors
    ///
    /// [`RuleReason::RelativePath`], [`RuleReason::UnnormalizedPath`], [`RuleReason::EmptyName`],
    /// [`RuleReason::TooLong`] or [`RuleReason::ControlByte`].
    pub const fn path(path: &[u8]) -> Result<Self, RuleError> {
        match (Self::named(Form::Path, path), check_path(path)) {
            (Ok(_), Err(error)) => Err(error),
            (made, _) => made,
        }
    }

    /// Allows every absolute Unix path below this directory, at any depth. The directory can be
    /// `/`.
    ///
    /// It never allows a path with an empty, `.` or `..` component.
    ///
    /// # Errors
    ///
    /// Those of [`path`](Self::path).
    pub const fn beneath(directory: &[u8]) -> Result<Self, RuleError> {
        let checked = if let [b'/'] = directory { Ok(()) } else { check_path(directory) };
        match (Self::named(Form::Beneath, directory), checked) {
            (Ok(_), Err(error)) => Err(error),
            (made, _) => made,
        }
    }

    /// Allows every Unix path.
    #[must_use]
    pub const fn any_path() -> Self {
        Self::without_bytes(Form::AnyPath, Ports::NONE)
    }

    /// Allows exactly this abstract name.
    ///
    /// # Errors
    ///
    /// [`RuleReason::EmptyName`], [`RuleReason::TooLong`] or [`RuleReason::ControlByte`].
    pub const fn abstract_name(name: &[u8]) -> Result<Self, RuleError> {
        Self::named(Form::Abstract, name)
    }

    /// Allows every abstract name that starts with these bytes.
    ///
    /// # Errors
    ///
    /// Those of [`abstract_name`](Self::abstract_name).
    pub const fn abstract_prefix(prefix: &[u8]) -> Result<Self, RuleError> {
        Self::named(Form::AbstractPrefix, prefix)
    }

    /// Allows every abstract name.
    #[must_use]
    pub const fn any_abstract() -> Self {
        Self::without_bytes(Form::AnyAbstract, Ports::NONE)
    }

    /// Returns true if this rule allows the address.
    pub(crate) fn allows(&self, subject: Subject<'_>) -> bool {
        self.parts().allows(subject)
    }

    /// Returns the parts, with borrowed bytes.
    pub(crate) fn parts(&self) -> Parts<&[u8]> {
        self.0.with_bytes(self.0.bytes.as_bytes())
    }

    /// Makes a rule from the parts of an existing rule.
    pub(crate) fn from_parts(parts: Parts<&[u8]>) -> Self {
        Self(parts.with_bytes(RuleBytes::copy(parts.bytes)))
    }
}

/// An address as rules see it.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The bits of the address, see [`Subject::ip`], and the port.
    Ip(u128, u16),
    Path(&'a [u8]),
    Abstract(&'a [u8]),
}

impl Subject<'_> {
    /// Makes a subject of an IP address. An IPv4-mapped address is the same as the IPv4 address.
    pub(crate) const fn ip(ip: IpAddr, port: u16) -> Self {
        Self::Ip(bits(ip), port)
    }
}

impl<N> Parts<N> {
    /// Returns the same parts with other bytes.
    pub(crate) const fn with_bytes<M: Copy>(&self, bytes: M) -> Parts<M> {
        Parts { form: self.form, ports: self.ports, prefix: self.prefix, bytes }
    }
}

impl Parts<&[u8]> {
    /// Returns true if a rule of these parts allows the address.
    pub(crate) fn allows(&self, subject: Subject<'_>) -> bool {
        match (self.form, subject) {
            (Form::Ports, Subject::Ip(_, port)) => self.ports.contains(port),
            (Form::Host, Subject::Ip(ip, port)) => {
                self.ports.contains(port) && network_allows(self.network(), self.prefix, ip)
            }
            (Form::Path, Subject::Path(path)) => path == self.bytes,
            (Form::Beneath, Subject::Path(path)) => is_beneath(self.bytes, path),
            (Form::Abstract, Subject::Abstract(name)) => name == self.bytes,
            (Form::AbstractPrefix, Subject::Abstract(name)) => name.starts_with(self.bytes),
            (Form::AnyPath, Subject::Path(_)) | (Form::AnyAbstract, Subject::Abstract(_)) => true,
            _ => false,
        }
    }

    /// Returns the network of a `Host`.
    fn network(&self) -> u128 {
        self.bytes.first_chunk().copied().map_or(0, u128::from_be_bytes)
    }
}

impl Ports {
    pub(crate) const NONE: Self = Self { first: 1, last: 0 };

    /// Makes a range of at least one port.
    const fn new(ports: &RangeInclusive<u16>) -> Result<Self, RuleError> {
        let (first, last) = (*ports.start(), *ports.end());
        if first > last {
            return Err(RuleError::new(RuleReason::EmptyRange, 0));
        }
        Ok(Self { first, last })
    }

    pub(crate) const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Returns true if the path is below the directory, and every component of it is a name.
fn is_beneath(directory: &[u8], path: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let below = path.strip_prefix(directory).is_some_and(|below| below.starts_with(b"/"));
    below && check_path(path).is_ok()
}
