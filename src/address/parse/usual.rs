//! The shape that nearly every IPv4 address has, read in one go: each octet up to its separator, the port up to the end.
//!
//! Whatever is declined here is read again by the grammar. So this may decline anything, and must never accept what the
//! grammar refuses, nor read it as something else; the tests compare the two.

use core::net::Ipv4Addr;

/// `ipv4 ":" port / ":" port`
#[inline]
pub(super) fn ipv4_and_port(input: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let (ip, rest) = match input {
        [b':', rest @ ..] => (Ipv4Addr::UNSPECIFIED, rest),
        _ => ipv4_before_port(input)?,
    };
    Some((ip, port(rest)?))
}

/// `ipv4 ":"`
#[inline]
fn ipv4_before_port(input: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let mut rest = input;
    let mut bits = 0;
    for end in *b"...:" {
        bits = bits << 8 | octet_before(end, &mut rest)?;
    }
    Some((Ipv4Addr::from_bits(bits), rest))
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

/// `octet end`, where four bytes are left at least.
#[inline]
fn octet_before(end: u8, input: &mut &[u8]) -> Option<u32> {
    let (text, rest) = input.split_first_chunk::<4>()?;
    let (octet, rest) = if text[1] == end {
        (digit(text[0])?, input.get(2..)?)
    } else {
        // The digits of a word, the first in the lowest byte. Nothing is left of the end.
        let digits = u32::from_le_bytes(*text) ^ u32::from_le_bytes([b'0', b'0', b'0', end]);
        if (digits | digits.wrapping_add(0x0006_0606)) & 0xfff0_f0f0 == 0 {
            (three_digits(digits)?, rest)
        } else {
            (two_digits(digits, end)?, input.get(3..)?)
        }
    };
    *input = rest;
    Some(octet)
}

/// 100 to 255
#[inline]
fn three_digits(digits: u32) -> Option<u32> {
    // Numbers of as many digits are in the order of their texts: this is 100 to 255.
    if digits.swap_bytes().wrapping_sub(0x0100_0000) > 0x0105_0500 {
        return None;
    }
    // 100 times the first, 10 times the second, and the third meet in the last byte.
    Some(digits.wrapping_mul(100 << 24 | 10 << 16 | 1 << 8) >> 24)
}

/// 10 to 99
#[inline]
fn two_digits(digits: u32, end: u8) -> Option<u32> {
    let [first, second, third, _] = digits.to_le_bytes();
    if third != end ^ b'0' || first.wrapping_sub(1) >= 9 || second >= 10 {
        return None;
    }
    Some(u32::from(first * 10 + second))
}

#[inline]
fn digit(byte: u8) -> Option<u32> {
    let digit = u32::from(byte).wrapping_sub(u32::from(b'0'));
    (digit < 10).then_some(digit)
}
