//! The shapes that nearly every IP address has, read in one go: octets and groups up to their separators, the port up to
//! the end.
//!
//! Whatever is declined here is read again by the grammar. So this may decline anything, and must never accept what the
//! grammar refuses, nor read it as something else; the tests compare the two.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Groups;

/// `ipv4 ":" port / ":" port`
#[inline]
pub(super) fn ipv4_and_port(input: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let (ip, rest) = match input {
        [b':', rest @ ..] => (Ipv4Addr::UNSPECIFIED, rest),
        _ => ipv4_before_colon(input)?,
    };
    Some((ip, port(rest)?))
}

/// `ipv6 "]" ":" port`, without an ipv4 among the groups.
#[inline]
pub(super) fn ipv6_and_port(input: &[u8]) -> Option<(Ipv6Addr, u16)> {
    let (ip, rest) = ipv6_before_bracket(input)?;
    let [b':', rest @ ..] = rest else { return None };
    Some((ip, port(rest)?))
}

/// `port`
#[inline]
pub(super) fn port(input: &[u8]) -> Option<u16> {
    let Some((four, rest)) = input.split_first_chunk() else { return short_port(input) };
    let four = four_digits(*four)?;
    match *rest {
        [] => u16::try_from(four).ok(),
        [fifth] => u16::try_from(four * 10 + digit(fifth)?).ok(),
        _ => None,
    }
}

/// `port`, of 1 to 3 digits.
#[inline]
fn short_port(input: &[u8]) -> Option<u16> {
    let padded = match *input {
        [a, b, c] => [b'0', a, b, c],
        [a, b] => [b'0', b'0', a, b],
        [a] => [b'0', b'0', b'0', a],
        _ => return None,
    };
    u16::try_from(four_digits(padded)?).ok()
}

/// The number of four digits, all at once: they are the bytes of one word, the first in the lowest.
#[inline]
fn four_digits(text: [u8; 4]) -> Option<u32> {
    // '0' to '9' are 0x30 to 0x39. What is left of a digit is 0 to 9, and 6 more does not reach the upper half of its byte.
    let digits = u32::from_le_bytes(text) ^ 0x3030_3030;
    if (digits | digits.wrapping_add(0x0606_0606)) & 0xf0f0_f0f0 != 0 {
        return None;
    }
    // Each byte times 10 and its neighbour: the two pairs are in the bytes 0 and 2.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff;
    // 100 times the first and the second meet in the upper half.
    Some(pairs.wrapping_mul(100 << 16 | 1) >> 16)
}

/// `ipv4 ":"`
#[inline]
fn ipv4_before_colon(input: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let mut rest = input;
    let mut bits = 0;
    for end in *b"...:" {
        bits = bits << 8 | octet_before(end, &mut rest)?;
    }
    Some((Ipv4Addr::from_bits(bits), rest))
}

/// `octet end`, where four bytes are left at least.
#[inline]
fn octet_before(end: u8, input: &mut &[u8]) -> Option<u32> {
    let (text, rest) = input.split_first_chunk::<4>()?;
    let [first, second, _, _] = text;
    let (octet, rest) = if *second == end {
        (digit(*first)?, input.get(2..)?)
    } else {
        // As in `four_digits`; of the end nothing is left.
        let digits = u32::from_le_bytes(*text) ^ u32::from_le_bytes([b'0', b'0', b'0', end]);
        if (digits | digits.wrapping_add(0x0006_0606)) & 0xfff0_f0f0 == 0 {
            (three_digits(digits)?, rest)
        } else {
            (two_digits_before(end ^ b'0', digits)?, input.get(3..)?)
        }
    };
    *input = rest;
    Some(octet)
}

/// 100 to 255, of the digits in the three lower bytes; the fourth is 0.
#[inline]
fn three_digits(digits: u32) -> Option<u32> {
    // Numbers of as many digits are in the order of their texts.
    if digits.swap_bytes().wrapping_sub(0x0100_0000) > 0x0105_0500 {
        return None;
    }
    // 100 times the first, 10 times the second, and the third meet in the last byte.
    Some(digits.wrapping_mul(100 << 24 | 10 << 16 | 1 << 8) >> 24)
}

/// 10 to 99, of the digits in the two lower bytes.
#[inline]
fn two_digits_before(end: u8, digits: u32) -> Option<u32> {
    match digits.to_le_bytes() {
        [first @ 1..=9, second @ 0..=9, third, _] if third == end => Some(u32::from(first * 10 + second)),
        _ => None,
    }
}

#[inline]
fn digit(byte: u8) -> Option<u32> {
    let digit = u32::from(byte).wrapping_sub(u32::from(b'0'));
    (digit < 10).then_some(digit)
}

/// `ipv6 "]"`
#[inline]
fn ipv6_before_bracket(input: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let mut groups = Groups::default();
    let mut rest = input;
    if let [b':', b':', behind @ ..] = rest {
        groups.open_gap();
        rest = behind;
    }
    while let Some((group, behind)) = group(rest) {
        // However long the text is, it is not read beyond its first groups.
        if groups.count == 8 {
            return None;
        }
        groups.push(16, group);
        rest = match behind {
            [b':', behind @ ..] => behind,
            [b']', behind @ ..] => return groups.are_whole().then_some((groups.address(), behind)),
            _ => return None,
        };
        if let [b':', behind @ ..] = rest {
            if groups.gap.is_some() {
                return None;
            }
            groups.open_gap();
            rest = behind;
        }
    }
    // No group stands between `::` and the end.
    let [b']', behind @ ..] = rest else { return None };
    (groups.are_whole() && groups.gap == Some(groups.count)).then_some((groups.address(), behind))
}

/// `group`, where five bytes are left at least.
#[inline]
fn group(input: &[u8]) -> Option<(u32, &[u8])> {
    let [first, more @ .., _] = input.first_chunk::<5>()?;
    let mut value = hex_digit(*first)?;
    let mut length = 1;
    for byte in more {
        let Some(digit) = hex_digit(*byte) else { break };
        value = value << 4 | digit;
        length += 1;
    }
    Some((value, input.get(length..)?))
}

#[inline]
fn hex_digit(byte: u8) -> Option<u32> {
    let value = HEX_DIGITS.get(usize::from(byte))?;
    (*value < 16).then_some(u32::from(*value))
}

/// The value of each byte as a `HEXDIG`, and more than 15 where it is none.
#[allow(clippy::indexing_slicing)] // the compiler does it
static HEX_DIGITS: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};
