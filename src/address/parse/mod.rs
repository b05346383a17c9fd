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
//! A rule takes the longest start of its input that can stand there, and answers with the value and what is left. Where no
//! valid address goes on, it answers with what is left from there on: that is the offset of the error.

mod usual;

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{AbstractName, BindAddress, ParseError, UnixPath};

/// The value of a rule and what is left behind it, or what is left where no valid address goes on.
type Parsed<'a, T> = Result<(T, &'a [u8]), &'a [u8]>;

/// `address`: the first byte tells the form.
///
/// IPv4 addresses and ports are tried in their usual shape first; what is declined there is read again by the grammar, which
/// alone knows where an error is.
#[inline]
pub(super) fn parse(input: &[u8]) -> Result<BindAddress, ParseError> {
    match input {
        [b':', ..] => wildcard(input),
        [b'0'..=b'9', ..] => match usual::ipv4_and_port(input) {
            Some((ip, port)) => Ok(BindAddress::Ipv4 { ip, port }),
            None => ipv4_and_port(input),
        },
        [b'[', ..] => ipv6_and_port(input),
        _ => unix(input),
    }
}

/// `"/" path / "unix:" path / "unix:@" name`
#[inline(never)]
fn unix(input: &[u8]) -> Result<BindAddress, ParseError> {
    match input {
        [b'/', ..] => UnixPath::parse(input, 0).map(BindAddress::Path),
        [b'u', b'n', b'i', b'x', b':', b'@', ..] => AbstractName::parse(input, 6).map(BindAddress::Abstract),
        [b'u', b'n', b'i', b'x', b':', ..] => UnixPath::parse(input, 5).map(BindAddress::Path),
        _ => {
            let shared = input.iter().zip(b"unix:").take_while(|(byte, wanted)| byte == wanted).count();
            Err(ParseError::address(shared))
        }
    }
}

/// `":" port`
#[inline]
fn wildcard(input: &[u8]) -> Result<BindAddress, ParseError> {
    let port = colon_and_port(input, input)?;
    Ok(BindAddress::Ipv4 { ip: Ipv4Addr::UNSPECIFIED, port })
}

/// `ipv4 ":" port`
#[cold]
#[inline(never)]
fn ipv4_and_port(input: &[u8]) -> Result<BindAddress, ParseError> {
    let (ip, rest) = ipv4(input).map_err(|left| ParseError::address(input.len() - left.len()))?;
    let port = colon_and_port(input, rest)?;
    Ok(BindAddress::Ipv4 { ip, port })
}

/// `"[" ipv6 [ "%" scope ] "]" ":" port`
#[inline(never)]
fn ipv6_and_port(input: &[u8]) -> Result<BindAddress, ParseError> {
    let ((ip, scope_id), rest) = bracketed(input).map_err(|left| ParseError::address(input.len() - left.len()))?;
    let port = colon_and_port(input, rest)?;
    Ok(BindAddress::Ipv6 { ip, port, scope_id })
}

/// `":" port`, the end of every IP form. From behind the `:` on, what is wrong is the port.
#[inline]
fn colon_and_port(input: &[u8], rest: &[u8]) -> Result<u16, ParseError> {
    let rest = expect(b':', rest).map_err(|left| ParseError::address(input.len() - left.len()))?;
    port(rest).map_err(|left| ParseError::port(input.len() - left.len()))
}

/// One byte.
#[inline]
fn expect(byte: u8, input: &[u8]) -> Result<&[u8], &[u8]> {
    match input {
        [first, rest @ ..] if *first == byte => Ok(rest),
        _ => Err(input),
    }
}

/// `port`, to the end of the input.
#[inline]
fn port(input: &[u8]) -> Result<u16, &[u8]> {
    usual::port(input).ok_or(input).or_else(exact_port)
}

#[cold]
#[inline(never)]
fn exact_port(input: &[u8]) -> Result<u16, &[u8]> {
    #[allow(clippy::cast_possible_truncation)] // 65535 at most
    match number(input, 5, u64::from(u16::MAX))? {
        (port, []) => Ok(port as u16),
        (_, rest) => Err(rest),
    }
}

/// `1*digitsDIGIT`: as many digits as stay within `digits` and `most`, and one at least.
#[inline]
fn number(input: &[u8], digits: usize, most: u64) -> Parsed<'_, u64> {
    let mut value = 0;
    let mut rest = input;
    while let [byte @ b'0'..=b'9', behind @ ..] = rest
        && input.len() - rest.len() < digits
    {
        let longer = value * 10 + u64::from(byte - b'0');
        if longer > most {
            break;
        }
        value = longer;
        rest = behind;
    }
    if rest.len() == input.len() { Err(input) } else { Ok((value, rest)) }
}

/// `octet`
#[inline]
fn octet(input: &[u8]) -> Parsed<'_, u32> {
    let number = |a: u8, b: u8, c: u8| u32::from(a & 15) * 100 + u32::from(b & 15) * 10 + u32::from(c & 15);
    match input {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] if number(*a, *b, *c) <= 255 => {
            Ok((number(*a, *b, *c), rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', rest @ ..] => Ok((number(0, *a, *b), rest)),
        [a @ b'0'..=b'9', rest @ ..] => Ok((number(0, 0, *a), rest)),
        _ => Err(input),
    }
}

/// `ipv4`
#[inline]
fn ipv4(input: &[u8]) -> Parsed<'_, Ipv4Addr> {
    let (a, rest) = octet(input)?;
    let (b, rest) = octet(expect(b'.', rest)?)?;
    let (c, rest) = octet(expect(b'.', rest)?)?;
    let (d, rest) = octet(expect(b'.', rest)?)?;
    Ok((Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d), rest))
}

/// `"[" ipv6 [ "%" scope ] "]"`
#[inline]
fn bracketed(input: &[u8]) -> Parsed<'_, (Ipv6Addr, u32)> {
    let (ip, rest) = ipv6(expect(b'[', input)?)?;
    let (scope_id, rest) = match rest {
        [b'%', rest @ ..] => number(rest, 10, u64::from(u32::MAX))?,
        _ => (0, rest),
    };
    let rest = expect(b']', rest)?;
    #[allow(clippy::cast_possible_truncation)] // 4294967295 at most
    Ok(((ip, scope_id as u32), rest))
}

/// `ipv6`: the groups before `::` and those behind it are two numbers, which meet in the end.
#[inline]
fn ipv6(input: &[u8]) -> Parsed<'_, Ipv6Addr> {
    let mut rest = input;
    let mut front = Groups { bits: 0, count: 0 };
    if let [b':', behind @ ..] = rest {
        rest = behind;
    } else {
        while !matches!(rest, [b':', ..]) {
            let room_for_ipv4 = front.count == 6;
            rest = front.group(rest, room_for_ipv4)?.1;
            if front.count == 8 {
                return Ok((Ipv6Addr::from_bits(front.bits), rest));
            }
            rest = expect(b':', rest)?;
        }
    }
    rest = expect(b':', rest)?;

    let most = 7 - front.count;
    let mut back = Groups { bits: 0, count: 0 };
    let mut more = most > 0 && matches!(rest, [b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
    while more {
        let room_for_ipv4 = back.count + 2 <= most;
        let (is_ipv4, behind) = back.group(rest, room_for_ipv4)?;
        rest = behind;
        more = false;
        if let [b':', behind @ ..] = rest
            && !is_ipv4
            && back.count < most
        {
            rest = behind;
            more = true;
        }
    }
    Ok((Ipv6Addr::from_bits(front.bits.unbounded_shl(16 * (8 - front.count)) | back.bits), rest))
}

/// The groups on one side of `::`, as the number that they make.
struct Groups {
    bits: u128,
    count: u32,
}

impl Groups {
    /// `group`: whether it was an ipv4, behind which there can be no other.
    #[inline]
    fn group<'a>(&mut self, input: &'a [u8], room_for_ipv4: bool) -> Parsed<'a, bool> {
        let mut value = 0;
        let mut rest = input;
        while let [byte, behind @ ..] = rest
            && input.len() - rest.len() < 4
            && let Some(digit) = hexadecimal(*byte)
        {
            value = value << 4 | digit;
            rest = behind;
        }
        if rest.len() == input.len() {
            return Err(input);
        }
        if let [b'.', ..] = rest
            && room_for_ipv4
        {
            let (ip, rest) = embedded_ipv4(input, rest)?;
            self.bits = self.bits << 32 | u128::from(ip.to_bits());
            self.count += 2;
            return Ok((true, rest));
        }
        self.bits = self.bits << 16 | value;
        self.count += 1;
        Ok((false, rest))
    }
}

/// The `ipv4` that begins at `input`, where a group was read up to `dot`. If its digits are no octet, it is the dot that
/// cannot stand there.
fn embedded_ipv4<'a>(input: &'a [u8], dot: &'a [u8]) -> Parsed<'a, Ipv4Addr> {
    ipv4(input).map_err(|left| if left.len() >= dot.len() { dot } else { left })
}

/// The value of a `HEXDIG`.
#[inline]
fn hexadecimal(byte: u8) -> Option<u128> {
    let digit = HEXADECIMAL.get(usize::from(byte)).copied()?;
    (digit < 16).then_some(u128::from(digit))
}

/// For each byte the value of it as a `HEXDIG`, and 16 where it is none. A table, because half of an IPv6 address is
/// looked up in it.
const HEXADECIMAL: [u8; 256] = {
    let mut table = [16; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // evaluated by the compiler alone
        if let Some(digit) = (byte as u8 as char).to_digit(16) {
            table[byte] = digit as u8;
        }
        byte += 1;
    }
    table
};
