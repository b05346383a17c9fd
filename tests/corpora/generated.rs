//! The feature `arbitrary`: the values that it generates for other fuzz harnesses.

use arbitrary::{Arbitrary, Unstructured};
use netbind::BindAddress;
use netbind::address::{AbstractName, UnixPath};

use crate::targets;

/// Returns `length` pseudo-random bytes (xorshift), the same ones for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

#[test]
fn every_form_is_generated_and_every_address_prints_and_parses_back() {
    let mut forms = [0_u32; 5];
    for seed in 0..20_000 {
        // Too few bytes for an address are an input, too.
        let bytes = noise(seed, usize::try_from(seed % 130).unwrap());
        let address = BindAddress::arbitrary(&mut Unstructured::new(&bytes)).expect("an address");
        targets::parse(&address.to_bytes());
        targets::round_trip(&address);
        forms[match address {
            BindAddress::Ipv4 { .. } => 0,
            BindAddress::Ipv6 { scope_id: 0, .. } => 1,
            BindAddress::Ipv6 { .. } => 2,
            BindAddress::Path(_) => 3,
            BindAddress::Abstract(_) => 4,
            _ => panic!("an unknown form"),
        }] += 1;
    }
    assert!(forms.iter().all(|generated| *generated > 1_000), "{forms:?}");
}

#[test]
fn no_generated_path_prints_as_an_abstract_name() {
    let path = |bytes: &[u8]| UnixPath::arbitrary(&mut Unstructured::new(bytes)).expect("a path");
    assert_eq!(path(b"\x02@\0b").as_bytes(), b"/xb");
    assert_eq!(path(b"").as_bytes(), b"x");
}

/// A harness provides as many bytes as the hint says. With too few, values would end in zeros.
#[test]
fn no_value_uses_more_bytes_than_its_size_hint() {
    fn check<T: for<'a> Arbitrary<'a>>() {
        let (_, most) = T::size_hint(0);
        for seed in 0..500 {
            let bytes = noise(seed, 400);
            let mut source = Unstructured::new(&bytes);
            T::arbitrary(&mut source).expect("a value");
            assert!(bytes.len() - source.len() <= most.expect("a bound"), "seed {seed}");
        }
    }
    check::<BindAddress>();
    check::<UnixPath>();
    check::<AbstractName>();
}
