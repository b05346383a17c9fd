//! The `arbitrary` feature: what it hands to other people's harnesses.

use arbitrary::{Arbitrary, Unstructured};
use netbind::BindAddress;

use crate::targets::round_trip;

/// Numbers without a pattern, and the same ones every time (xorshift).
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
fn every_draw_is_an_address_that_prints_and_parses_back_and_every_form_comes() {
    let mut forms = [0_u32; 5];
    for seed in 0..20_000 {
        // Short ones too: where the bytes end, the address may not.
        let bytes = noise(seed, usize::try_from(seed % 130).unwrap());
        let address = BindAddress::arbitrary(&mut Unstructured::new(&bytes)).expect("a draw");
        round_trip(&address);
        forms[match address {
            BindAddress::Ipv4 { .. } => 0,
            BindAddress::Ipv6 { scope_id: 0, .. } => 1,
            BindAddress::Ipv6 { .. } => 2,
            BindAddress::Path(_) => 3,
            BindAddress::Abstract(_) => 4,
            _ => panic!("an unknown form"),
        }] += 1;
    }
    assert!(forms.iter().all(|draws| *draws > 1_000), "{forms:?}");
}

#[test]
fn a_path_that_would_print_as_an_abstract_name_never_comes() {
    let path = |bytes: &[u8]| {
        netbind::address::UnixPath::arbitrary(&mut Unstructured::new(bytes)).expect("a draw")
    };
    assert_eq!(path(b"\x02@\0b").as_bytes(), b"/xb");
    assert_eq!(path(b"").as_bytes(), b"x");
}

/// A harness asks for so many bytes: too few, and its draws end in zeros.
#[test]
fn a_draw_takes_no_more_bytes_than_its_size_hint_says() {
    fn assert_kept<T: for<'a> Arbitrary<'a>>() {
        let (_, most) = T::size_hint(0);
        for seed in 0..500 {
            let bytes = noise(seed, 400);
            let mut source = Unstructured::new(&bytes);
            T::arbitrary(&mut source).expect("a draw");
            assert!(bytes.len() - source.len() <= most.expect("a bound"), "seed {seed}");
        }
    }
    assert_kept::<BindAddress>();
    assert_kept::<netbind::address::UnixPath>();
    assert_kept::<netbind::address::AbstractName>();
}
