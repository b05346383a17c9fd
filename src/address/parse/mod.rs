//! The grammar of a bind address, and the parser that follows it rule by rule, on bytes and without a panic path.
//!
//! ```text
//! address = ":" port / ipv4 ":" port / "[" ipv6 [ "%" scope ] "]" ":" port
//!         / "unix:" path / "unix:@" name / "/" path
//! port    = 1*5DIGIT                           ; 0 to 65535
//! scope   = 1*10DIGIT                          ; 0 to 4294967295
//! ipv4    = octet "." octet "." octet "." octet
//! octet   = "0" / %x31-39 *2DIGIT              ; 0 to 255, no leading zero
//! ipv6    = 8 groups / [ groups ] "::" [ groups ] ; at most 7 groups beside "::"
//! group   = 1*4HEXDIG / ipv4                   ; an ipv4 counts twice, comes last, and never before "::"
//! path    = 1*107(any byte but NUL)
//! name    = 1*107(any byte but NUL)
//! ```
//!
//! A rule moves the cursor behind the longest start of the rest that can stand there, whether it finds what it wants or not.
//! So where a rule fails, the cursor is behind the longest start of the input that some valid address shares: that is the
//! offset of the error.

mod usual;

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{BindAddress, ParseError};

/// `address`: the first byte tells the form.
///
/// What has a port is tried in its usual shape first; what is declined there is read by the grammar, which alone knows where
/// an error is.
#[inline]
pub(super) fn parse(input: &[u8]) -> Result<BindAddress, ParseError> {
    match input {
        [b'0'..=b'9' | b':', ..] => match usually(|| usual::ipv4_and_port(input)) {
            Some((ip, port)) => Ok(BindAddress::Ipv4 { ip, port }),
            None => ip(input),
        },
        [b'[', host @ ..] => ipv6(input, host),
        _ => unix(input),
    }
}

/// What reads a usual shape. Where size counts, `--cfg netbind_small` leaves it to the grammar.
#[inline]
fn usually<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    if cfg!(netbind_small) { None } else { read() }
}

/// `"/" path / "unix:" path / "unix:@" name`
#[inline(never)]
fn unix(input: &[u8]) -> Result<BindAddress, ParseError> {
    let (is_abstract, name) = match input {
        [b'/', ..] => (false, input),
        [b'u', b'n', b'i', b'x', b':', b'@', name @ ..] => (true, name),
        [b'u', b'n', b'i', b'x', b':', path @ ..] => (false, path),
        _ => {
            let shared = input.iter().zip(b"unix:").take_while(|(byte, wanted)| byte == wanted).count();
            return Err(ParseError::address(shared));
        }
    };
    BindAddress::unix(is_abstract, name, input.len() - name.len())
}

/// `"[" ipv6 [ "%" scope ] "]" ":" port`, and what stands behind its first byte.
#[inline(never)]
fn ipv6(input: &[u8], host: &[u8]) -> Result<BindAddress, ParseError> {
    match usually(|| usual::ipv6_and_port(host)) {
        Some((ip, port)) => Ok(BindAddress::Ipv6 { ip, port, scope_id: 0 }),
        None => ip(input),
    }
}

/// The three forms with a port.
#[inline(never)]
fn ip(input: &[u8]) -> Result<BindAddress, ParseError> {
    let mut cursor = Cursor { rest: input, in_port: false };
    match cursor.ip_and_port() {
        Some(address) => Ok(address),
        None if cursor.in_port => Err(ParseError::port(input.len() - cursor.rest.len())),
        None => Err(ParseError::address(input.len() - cursor.rest.len())),
    }
}

/// What is still to be read; it only ever gets shorter.
struct Cursor<'a> {
    rest: &'a [u8],
    /// The host and its `:` are read: what is wrong now is the port.
    in_port: bool,
}

impl<'a> Cursor<'a> {
    /// `":" port / ipv4 ":" port / "[" ipv6 [ "%" scope ] "]" ":" port`
    #[inline]
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

    /// `":" port`, to the end of the input.
    fn port(&mut self) -> Option<u16> {
        self.expect(b':')?;
        self.in_port = true;
        if let Some(port) = usually(|| usual::port(self.rest)) {
            return Some(port);
        }
        let port = self.number(5, u32::from(u16::MAX))?;
        if self.rest.is_empty() { u16::try_from(port).ok() } else { None }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// `1*digitsDIGIT`: as many digits as stay within `digits` and `most`, and one at least.
    fn number(&mut self, digits: usize, most: u32) -> Option<u32> {
        let start = self.rest.len();
        let mut value = 0;
        while let [byte @ b'0'..=b'9', rest @ ..] = self.rest
            && start - self.rest.len() < digits
        {
            let longer = u64::from(value) * 10 + u64::from(byte - b'0');
            match u32::try_from(longer) {
                Ok(longer) if longer <= most => value = longer,
                _ => break,
            }
            self.rest = rest;
        }
        (self.rest.len() < start).then_some(value)
    }

    /// `octet`: behind a zero no digit is taken, and none that would lead beyond 255.
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

    /// `ipv6`: one group after the other, and where `::` stands among them.
    #[inline]
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
    #[inline]
    fn group(&mut self) -> Option<u32> {
        let mut value = None;
        for _ in 0..4 {
            let [byte, rest @ ..] = self.rest else { break };
            let Some(digit) = hexadecimal(*byte) else { break };
            value = Some(value.unwrap_or(0) << 4 | digit);
            self.rest = rest;
        }
        value
    }

    /// The ipv4 of a group that began at `start`, and turned out to be none at the dot where the cursor is.
    #[cold]
    fn embedded_ipv4(&mut self, start: &'a [u8]) -> Option<Ipv4Addr> {
        let dot = self.rest;
        self.rest = start;
        let ip = self.ipv4();
        if self.rest.len() >= dot.len() {
            // The digits before the dot are a group, but no octet: it is the dot that cannot stand there.
            self.rest = dot;
            return None;
        }
        ip
    }
}

/// The 16-bit groups of an IPv6 address, as the number that they make.
#[derive(Default)]
struct Groups {
    /// Those behind the gap, or all where there is none.
    bits: u128,
    count: u32,
    /// Those before the gap, where it leaves them.
    front: u128,
    /// How many of them stand before `::`.
    gap: Option<u32>,
}

impl Groups {
    /// Eight groups, or seven and a `::`, which stands for one at least.
    #[inline]
    fn is_full(&self) -> bool {
        self.count + u32::from(self.gap.is_some()) == 8
    }

    /// As many as make an address, with the `::` where there is one.
    #[inline]
    fn are_whole(&self) -> bool {
        if self.gap.is_some() { self.count <= 7 } else { self.count == 8 }
    }

    /// Without a `::` before it an ipv4 must be the end of the eight groups; behind one, it only has to fit.
    #[inline]
    fn has_room_for_ipv4(&self) -> bool {
        if self.gap.is_some() { self.count <= 5 } else { self.count == 6 }
    }

    #[inline]
    fn push(&mut self, width: u32, value: u32) {
        self.bits = self.bits << width | u128::from(value);
        self.count += width / 16;
    }

    /// The groups so far move to the front, and zeros take the place behind them.
    #[inline]
    fn open_gap(&mut self) {
        // There are 7 at most. One group first: a shift by 128 is none.
        self.front = self.bits << 16 << (112 - 16 * self.count.min(7));
        self.bits = 0;
        self.gap = Some(self.count);
    }

    #[inline]
    fn address(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.front | self.bits)
    }
}

/// The value of a `HEXDIG`.
#[inline]
fn hexadecimal(byte: u8) -> Option<u32> {
    let digit = u32::from(byte).wrapping_sub(u32::from(b'0'));
    if digit < 10 {
        return Some(digit);
    }
    // Letters are one case apart.
    let letter = u32::from(byte | 0x20).wrapping_sub(u32::from(b'a'));
    (letter < 6).then(|| letter + 10)
}
