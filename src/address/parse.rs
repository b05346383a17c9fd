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
//! Every rule takes the longest start of the input that can stand there and leaves the cursor behind it. So the cursor is
//! always the length of the longest start that some valid address shares: the offset of the error.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{AbstractName, BindAddress, ParseError, UnixPath};

/// `address`: the first byte tells the form.
pub(super) fn parse(input: &[u8]) -> Result<BindAddress, ParseError> {
    let mut cursor = Cursor { input, at: 0 };
    match cursor.peek() {
        Some(b':') => {
            let port = cursor.port()?;
            Ok(BindAddress::Ipv4 { ip: Ipv4Addr::UNSPECIFIED, port })
        }
        Some(b'0'..=b'9') => {
            let ip = cursor.ipv4()?;
            let port = cursor.port()?;
            Ok(BindAddress::Ipv4 { ip, port })
        }
        Some(b'[') => {
            cursor.at += 1;
            let ip = cursor.ipv6()?;
            let scope_id = if cursor.eat(b'%') { cursor.number(10, u32::MAX)? } else { 0 };
            cursor.expect(b']')?;
            let port = cursor.port()?;
            Ok(BindAddress::Ipv6 { ip, port, scope_id })
        }
        Some(b'/') => UnixPath::parse(input, 0).map(BindAddress::Path),
        _ => {
            b"unix:".iter().try_for_each(|byte| cursor.expect(*byte))?;
            if cursor.eat(b'@') {
                AbstractName::parse(input, cursor.at).map(BindAddress::Abstract)
            } else {
                UnixPath::parse(input, cursor.at).map(BindAddress::Path)
            }
        }
    }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.eat(byte) { Ok(()) } else { Err(self.stop()) }
    }

    /// No valid address goes on from here.
    fn stop(&self) -> ParseError {
        ParseError::address(self.at)
    }

    /// `":" port`, to the end of the input. From behind the `:` on, what is wrong is the port.
    fn port(&mut self) -> Result<u16, ParseError> {
        self.expect(b':')?;
        let port = self.number(5, u32::from(u16::MAX)).ok();
        match port.and_then(|port| u16::try_from(port).ok()) {
            Some(port) if self.at == self.input.len() => Ok(port),
            _ => Err(ParseError::port(self.at)),
        }
    }

    /// `1*digitsDIGIT`: as many digits as stay within `digits` and `most`, and one at least.
    fn number(&mut self, digits: usize, most: u32) -> Result<u32, ParseError> {
        let start = self.at;
        let mut value = 0;
        while self.at - start < digits
            && let Some(digit) = self.peek().and_then(decimal)
        {
            let longer = u64::from(value) * 10 + u64::from(digit);
            match u32::try_from(longer) {
                Ok(longer) if longer <= most => value = longer,
                _ => break,
            }
            self.at += 1;
        }
        if self.at == start { Err(self.stop()) } else { Ok(value) }
    }

    /// `octet`: behind a zero no digit is taken, and none that would lead beyond 255.
    fn octet(&mut self) -> Result<u8, ParseError> {
        let mut value = self.peek().and_then(decimal).ok_or(self.stop())?;
        self.at += 1;
        while value != 0
            && let Some(longer) =
                self.peek().and_then(decimal).and_then(|digit| value.checked_mul(10)?.checked_add(digit))
        {
            value = longer;
            self.at += 1;
        }
        Ok(value)
    }

    /// `ipv4`
    fn ipv4(&mut self) -> Result<Ipv4Addr, ParseError> {
        let a = self.octet()?;
        self.expect(b'.')?;
        let b = self.octet()?;
        self.expect(b'.')?;
        let c = self.octet()?;
        self.expect(b'.')?;
        let d = self.octet()?;
        Ok(Ipv4Addr::new(a, b, c, d))
    }

    /// `ipv6`: the groups before `::` and those behind it are two numbers, which meet in the end.
    fn ipv6(&mut self) -> Result<Ipv6Addr, ParseError> {
        let mut front = Groups { bits: 0, count: 0, most: 8 };
        if self.peek() == Some(b':') {
            self.at += 1;
        } else {
            loop {
                self.group(&mut front)?;
                if front.count == front.most {
                    return Ok(Ipv6Addr::from_bits(front.bits));
                }
                self.expect(b':')?;
                if self.peek() == Some(b':') {
                    break;
                }
            }
        }
        self.expect(b':')?;
        let mut back = Groups { bits: 0, count: 0, most: 7 - front.count };
        if back.most > 0 && self.peek().and_then(hexadecimal).is_some() {
            while self.group(&mut back)? && back.count < back.most && self.eat(b':') {}
        }
        Ok(Ipv6Addr::from_bits(front.bits.unbounded_shl(16 * (8 - front.count)) | back.bits))
    }

    /// `group`: whether another one may follow.
    fn group(&mut self, groups: &mut Groups) -> Result<bool, ParseError> {
        let start = self.at;
        let mut value = 0;
        while self.at - start < 4
            && let Some(digit) = self.peek().and_then(hexadecimal)
        {
            value = value << 4 | u128::from(digit);
            self.at += 1;
        }
        if self.at == start {
            return Err(self.stop());
        }
        if self.peek() == Some(b'.') && groups.has_room_for_ipv4() {
            self.embedded_ipv4(start, groups)?;
            return Ok(false);
        }
        groups.bits = groups.bits << 16 | value;
        groups.count += 1;
        Ok(true)
    }

    /// The `ipv4` of a group that began at `start` and turned out to be none at the dot that the cursor stands on.
    fn embedded_ipv4(&mut self, start: usize, groups: &mut Groups) -> Result<(), ParseError> {
        let dot = self.at;
        self.at = start;
        let ip = self.ipv4();
        if self.at <= dot {
            // The digits before the dot are a group, but no octet: it is the dot that cannot stand there.
            return Err(ParseError::address(dot));
        }
        groups.bits = groups.bits << 32 | u128::from(ip?.to_bits());
        groups.count += 2;
        Ok(())
    }
}

/// The groups on one side of `::`, as the number that they make.
struct Groups {
    bits: u128,
    count: u32,
    most: u32,
}

impl Groups {
    /// Before `::` an ipv4 must be the end of the whole address; behind it, it only has to fit.
    fn has_room_for_ipv4(&self) -> bool {
        if self.most == 8 { self.count == 6 } else { self.count + 2 <= self.most }
    }
}

fn decimal(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
