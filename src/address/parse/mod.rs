//! The grammar of an address, and a parser that follows it rule by rule, without a panic path.
//!
//! ```text
//! address = ":" port / ipv4 ":" port / "[" ipv6 [ "%" scope ] "]" ":" port
//!         / "unix:" path / "unix:@" name / absolute-path
//! port    = 1*5DIGIT                           ; 0 to 65535
//! scope   = 1*10DIGIT                          ; 0 to 4294967295
//! ipv4    = octet "." octet "." octet "." octet
//! octet   = "0" / %x31-39 *2DIGIT              ; 0 to 255, no leading zero
//! ipv6    = 8 groups / [ groups ] "::" [ groups ] ; at most 7 groups besides "::"
//! group   = 1*4HEXDIG / ipv4                   ; an ipv4 counts twice, only at the end
//! path    = 1*107(any byte but NUL)            ; does not begin with "@"
//! absolute-path = path                         ; begins with "/"
//! name    = 1*107(any byte but NUL)
//! ```
//!
//! A rule consumes the longest prefix of the rest that fits it, even if it fails. After a failure
//! the cursor is therefore at the first byte that cannot be there: the offset of the error.

mod fast;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AbstractName, BindAddress, ParseError, UnixPath};

/// Parses an `address`. Its first byte determines the form.
pub(super) fn parse(input: &[u8]) -> Result<BindAddress, ParseError> {
    match input {
        [b'0'..=b'9' | b':', ..] => match fast::ipv4_and_port(input) {
            Some((ip, port)) => Ok(BindAddress::Ipv4 { ip, port }),
            None => ip(input),
        },
        [b'[', ..] => ip(input),
        _ => unix(input),
    }
}

/// Returns the IP address that is the whole text.
pub(crate) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let mut cursor = Cursor { rest: text, in_port: false };
    let ip =
        if text.contains(&b':') { IpAddr::V6(cursor.ipv6()?) } else { IpAddr::V4(cursor.ipv4()?) };
    cursor.rest.is_empty().then_some(ip)
}

/// Returns the number of 1 to `digits` digits that is the whole text, if it is at most `max`.
pub(crate) fn parse_number(text: &[u8], digits: usize, max: u32) -> Option<u32> {
    let mut cursor = Cursor { rest: text, in_port: false };
    let number = cursor.number(digits, max)?;
    cursor.rest.is_empty().then_some(number)
}

/// `"unix:" path / "unix:@" name / absolute-path`
#[inline(never)] // so that calls for IP addresses do not reserve stack for a path
fn unix(input: &[u8]) -> Result<BindAddress, ParseError> {
    if input.starts_with(b"/") {
        UnixPath::parse(input, 0).map(BindAddress::Path)
    } else if input.starts_with(b"unix:@") {
        AbstractName::parse(input, 6).map(BindAddress::Abstract)
    } else if input.starts_with(b"unix:") {
        UnixPath::parse(input, 5).map(BindAddress::Path)
    } else {
        let shared = input.iter().zip(b"unix:").take_while(|(byte, want)| byte == want).count();
        Err(ParseError::address(input, shared))
    }
}

/// The three forms with a port.
#[inline(never)] // keeps the code of IPv6 and of errors out of the IPv4 path
fn ip(input: &[u8]) -> Result<BindAddress, ParseError> {
    let mut cursor = Cursor { rest: input, in_port: false };
    cursor.ip_and_port().ok_or_else(|| {
        let offset = input.len() - cursor.rest.len();
        if cursor.in_port {
            ParseError::port(input, offset)
        } else {
            ParseError::address(input, offset)
        }
    })
}

/// The input that is still to be read. It only ever gets shorter.
struct Cursor<'a> {
    rest: &'a [u8],
    /// The host and its `:` are read: an error from here on is an invalid port.
    in_port: bool,
}

impl<'a> Cursor<'a> {
    /// `":" port / ipv4 ":" port / "[" ipv6 [ "%" scope ] "]" ":" port`
    fn ip_and_port(&mut self) -> Option<BindAddress> {
        if self.eat(b'[') {
            let ip = self.ipv6()?;
            let scope_id = if self.eat(b'%') { self.number(10, u32::MAX)? } else { 0 };
            self.expect(b']')?;
            return Some(BindAddress::Ipv6 { ip, port: self.port()?, scope_id });
        }
        let ip = if let [b':', ..] = self.rest { Ipv4Addr::UNSPECIFIED } else { self.ipv4()? };
        Some(BindAddress::Ipv4 { ip, port: self.port()? })
    }

    /// `":" port`, up to the end of the input
    fn port(&mut self) -> Option<u16> {
        self.expect(b':')?;
        self.in_port = true;
        let port = self.number(5, u32::from(u16::MAX))?;
        if self.rest.is_empty() { u16::try_from(port).ok() } else { None }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// `1*digitsDIGIT`: at least one digit, at most `digits`, and as many as stay within `max`
    fn number(&mut self, digits: usize, max: u32) -> Option<u32> {
        let start = self.rest.len();
        let mut value = 0;
        while let [byte @ b'0'..=b'9', rest @ ..] = self.rest
            && start - self.rest.len() < digits
        {
            let longer = u64::from(value) * 10 + u64::from(byte - b'0');
            match u32::try_from(longer) {
                Ok(longer) if longer <= max => value = longer,
                _ => break,
            }
            self.rest = rest;
        }
        (self.rest.len() < start).then_some(value)
    }

    /// `octet`
    fn octet(&mut self) -> Option<u8> {
        let digits = if let [b'0', ..] = self.rest { 1 } else { 3 };
        self.number(digits, u32::from(u8::MAX)).and_then(|value| u8::try_from(value).ok())
    }

    /// `ipv4`
    fn ipv4(&mut self) -> Option<Ipv4Addr> {
        let mut octets = [0; 4];
        for (place, octet) in octets.iter_mut().enumerate() {
            if place > 0 {
                self.expect(b'.')?;
            }
            *octet = self.octet()?;
        }
        Some(Ipv4Addr::from(octets))
    }

    /// `ipv6`: one group after the other, with at most one `::` among them
    fn ipv6(&mut self) -> Option<Ipv6Addr> {
        let mut groups = Groups::default();
        if self.eat(b':') {
            self.expect(b':')?;
            groups.open_gap();
        }
        loop {
            let start = self.rest;
            if let Some(group) = self.group() {
                if groups.has_room_for_ipv4()
                    && let [b'.', ..] = self.rest
                {
                    groups.push(32, self.embedded_ipv4(start)?.to_bits());
                    break;
                }
                groups.push(16, group);
            } else if groups.gap != Some(groups.count) {
                return None;
            } else {
                break;
            }
            if groups.is_full() {
                break;
            }
            match self.rest {
                [b':', b':', rest @ ..] if groups.gap.is_none() => {
                    self.rest = rest;
                    groups.open_gap();
                    if groups.is_full() {
                        break;
                    }
                }
                [b':', rest @ ..] => self.rest = rest,
                _ if groups.gap.is_some() => break,
                _ => return None,
            }
        }
        Some(groups.address())
    }

    /// `1*4HEXDIG`
    fn group(&mut self) -> Option<u32> {
        let mut value = None;
        for _ in 0..4 {
            let [byte, rest @ ..] = self.rest else { break };
            let Some(digit) = char::from(*byte).to_digit(16) else { break };
            value = Some(value.unwrap_or(0) << 4 | digit);
            self.rest = rest;
        }
        value
    }

    /// The `ipv4` that begins at `start`. It was read as a group up to the dot at the cursor.
    fn embedded_ipv4(&mut self, start: &'a [u8]) -> Option<Ipv4Addr> {
        let dot = self.rest;
        self.rest = start;
        let ip = self.ipv4();
        if self.rest.len() >= dot.len() {
            // The digits before the dot are a group but not an octet: the dot is the wrong byte.
            self.rest = dot;
            return None;
        }
        ip
    }
}

/// The 16-bit groups of an IPv6 address that were read so far, as one number.
#[derive(Default)]
struct Groups {
    /// The groups after `::`, or all of them if there is none.
    bits: u128,
    count: u32,
    /// The groups before `::`, shifted to the front of the address.
    front: u128,
    /// The number of groups before `::`.
    gap: Option<u32>,
}

impl Groups {
    /// Returns true after eight groups, or seven and a `::`, which replaces at least one.
    #[inline]
    fn is_full(&self) -> bool {
        self.count + u32::from(self.gap.is_some()) == 8
    }

    /// Returns true if an ipv4 can be next: after `::` if it fits, otherwise only as the end of the
    /// eight groups.
    #[inline]
    fn has_room_for_ipv4(&self) -> bool {
        if self.gap.is_some() { self.count <= 5 } else { self.count == 6 }
    }

    #[inline]
    fn push(&mut self, width: u32, value: u32) {
        self.bits = self.bits << width | u128::from(value);
        self.count += width / 16;
    }

    /// Moves the groups so far to the front of the address.
    #[inline]
    fn open_gap(&mut self) {
        // Without groups the shift would be by 128 bits, and there is nothing to shift.
        self.front = self.bits.checked_shl(128 - 16 * self.count).unwrap_or(0);
        self.bits = 0;
        self.gap = Some(self.count);
    }

    #[inline]
    fn address(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.front | self.bits)
    }
}
