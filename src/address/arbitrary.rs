//! Addresses out of a fuzzer's bytes, for the harnesses of whoever listens on them.
//!
//! Every value that there is can come out, and no draw is refused: what bytes a name may not hold are put right.

use core::net::{Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Error, Result, Unstructured, size_hint};
use heapless::Vec;

use super::unix::CAPACITY;
use super::{AbstractName, BindAddress, UnixPath};

/// 1 to 107 bytes, none of them a NUL. `arbitrary` hands out zeros where its data ends: they become letters.
fn name(u: &mut Unstructured<'_>) -> Result<Vec<u8, CAPACITY>> {
    let length = u.int_in_range(1..=CAPACITY)?;
    let mut name = Vec::new();
    name.resize_default(length).map_err(|_| Error::IncorrectFormat)?;
    u.fill_buffer(&mut name)?;
    for byte in name.iter_mut().filter(|byte| **byte == 0) {
        *byte = b'x';
    }
    Ok(name)
}

impl<'a> Arbitrary<'a> for UnixPath {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut path = name(u)?;
        // With an `@` it would be an abstract name.
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
        Self::new(name(u)?).map_err(|_| Error::IncorrectFormat)
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
            2 => Self::Ipv6 { ip: Ipv6Addr::arbitrary(u)?, port: u.arbitrary()?, scope_id: u.arbitrary()? },
            3 => Self::Path(u.arbitrary()?),
            _ => Self::Abstract(u.arbitrary()?),
        })
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        size_hint::and((1, Some(1)), (1, Some(1 + CAPACITY)))
    }
}
