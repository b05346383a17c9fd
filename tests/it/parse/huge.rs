//! An address with more than 2^32 groups. Its 8 GiB are one piece of a file, mapped many times.

#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::ptr;

use netbind::{BindAddress, SocketError};

const PIECE: usize = 2 << 20;
/// 2^32 groups, and room for the few that remain after a 32-bit count wraps around.
const LENGTH: usize = (2 << 32) + 64;
const PIECES: usize = LENGTH.div_ceil(PIECE);

/// The file, mapped `PIECES` times in a row. A write changes only this mapping.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(file: &std::fs::File) -> Self {
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses the place, so no mapping is replaced.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), PIECES * PIECE, libc::PROT_NONE, reserve, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let (rights, again) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
        );
        for piece in 0..PIECES {
            let place = start.wrapping_byte_add(piece * PIECE);
            // SAFETY: the place is within the reservation, and the file is as long as a piece.
            let mapped = unsafe { libc::mmap(place, PIECE, rights, again, file.as_raw_fd(), 0) };
            assert_eq!(mapped, place);
        }
        Self(start)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the whole range is mapped, initialised by the file, and private to this value.
        unsafe { std::slice::from_raw_parts_mut(self.0.cast(), PIECES * PIECE) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the reservation has this length, and no slice of it outlives the value.
        unsafe { libc::munmap(self.0, PIECES * PIECE) };
    }
}

#[test]
fn a_count_of_groups_never_wraps_around() {
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &b"1:".repeat(PIECE / 2), 0).unwrap();
    let mut mapped = Mapped::new(&file);
    let bytes = mapped.bytes();
    // `[1:1: … :1:1]:80` with 2^32 groups and `more`.
    for more in [0, 4, 7, 8, 9] {
        let end = 2 + 2 * ((1 << 32) + more);
        bytes[1] = b'[';
        bytes[end - 1..end + 3].copy_from_slice(b"]:80");
        let found = BindAddress::parse(&bytes[1..end + 3]).unwrap_err();
        assert_eq!((found.error(), found.offset()), (SocketError::InvalidAddress, 16), "{more}");
        bytes[end - 1..end + 3].copy_from_slice(b":1:1");
    }
}
