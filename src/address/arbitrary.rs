//! `Arbitrary` values for the fuzz harnesses of other programs. Every value can occur, and no input
//! is rejected: bytes that a name cannot contain are replaced.

use core::net::{Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Error, Result, Unstructured, size_hint};

use super::unix::CAPACITY;
use super::{AbstractName, BindAddress, UnixPath};

/// Fills `buffer` from the input, without NUL bytes, and returns 1 to 107 bytes of it.
fn name<'b>(u: &mut Unstructured<'_>, buffer: &'b mut [u8; CAPACITY]) -> Result<&'b mut [u8]> {
    let length = u.int_in_range(1..=CAPACITY)?;
    let name = buffer.get_mut(..length).unwrap_or_default();
    u.fill_buffer(name)?;
    for byte in name.iter_mut().filter(|byte| **byte == 0) {
        *byte = b'x';
    }
    Ok(name)
}

impl<'a> Arbitrary<'a> for UnixPath {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut buffer = [0; CAPACITY];
        let path = name(u, &mut buffer)?;
        // A path does not begin with `@`.
        if let Some(first @ b'@') = path.first_mut() {
            *first = b'/';
        }
        Self::new(path).map_err(|_| Error::IncorrectFormat)
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, Some(1 + CAPACITY))
    }
}

impl<'a> Arbitrary<'a> for AbstractName {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Self::new(name(u, &mut [0; CAPACITY])?).map_err(|_| Error::IncorrectFormat)
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, Some(1 + CAPACITY))
    }
}

impl<'a> Arbitrary<'a> for BindAddress {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=4)? {
            0 => Self::Ipv4 { ip: Ipv4Addr::arbitrary(u)?, port: u.arbitrary()? },
            1 => Self::Ipv6 { ip: Ipv6Addr::arbitrary(u)?, port: u.arbitrary()?, scope_id: 0 },
            2 => Self::Ipv6 {
                ip: Ipv6Addr::arbitrary(u)?,
                port: u.arbitrary()?,
                scope_id: u.arbitrary()?,
            },
            3 => Self::Path(u.arbitrary()?),
            _ => Self::Abstract(u.arbitrary()?),
        })
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        size_hint::and((1, Some(1)), (1, Some(1 + CAPACITY)))
    }
}
