//! The file that a Unix socket is bound to, from
//! [sock_diag(7)](https://man7.org/linux/man-pages/man7/sock_diag.7.html).
//!
//! `getsockname` returns the text that was bound, and `fstat` of the socket an inode of sockfs.
//! Only this shows the file itself, also after it was renamed.

use heapless::Vec;
use rustix::fd::BorrowedFd;
use rustix::fs::fstat;
use rustix::io;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
};

use super::calls::create;
use super::descriptor::borrow;

const AF_UNIX: u8 = 1;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The length of `struct nlmsghdr` and `struct unix_diag_req`.
const REQUEST: usize = HEADER + 24;
/// The length of `struct nlmsghdr` and `struct unix_diag_msg`, which the attributes follow.
const ANSWER: usize = HEADER + 16;

/// A file as the kernel reports it here: the low 32 bits of its inode number, and its device as the
/// kernel stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundFile {
    pub(super) inode: u32,
    pub(super) device: u32,
}

/// Returns the file that a Unix socket is bound to, or `None` if it has no file: `fstat`, `socket`
/// of netlink, `sendto`, `recvfrom`, `close`.
///
/// # Errors
///
/// `ENOENT` if the socket is in another network namespace, or not a Unix socket.
/// `EPROTONOSUPPORT` or `ENOENT` if the kernel lacks `CONFIG_UNIX_DIAG`.
pub(super) fn bound_file(socket: BorrowedFd<'_>) -> io::Result<Option<BoundFile>> {
    #[allow(clippy::cast_possible_truncation)] // inodes of sockfs have 32 bits
    let inode = fstat(socket)?.st_ino as u32;
    let protocol = Some(netlink::SOCK_DIAG);
    let netlink =
        create(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
    send(borrow(&netlink), &request(inode), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(borrow(&netlink), &mut answer, RecvFlags::empty())?;
    decode(answer.get(..length).ok_or(io::Errno::MSGSIZE)?)
}

fn request(inode: u32) -> Vec<u8, REQUEST> {
    #[allow(clippy::cast_possible_truncation)] // 40
    let parts: [&[u8]; 9] = [
        &(REQUEST as u32).to_ne_bytes(),
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &NLM_F_REQUEST.to_ne_bytes(),
        &[0; 8],                 // the sequence number and the port, which the kernel returns
        &[AF_UNIX, 0, 0, 0],     // the family, the protocol and padding
        &u32::MAX.to_ne_bytes(), // sockets in every state
        &inode.to_ne_bytes(),
        &UDIAG_SHOW_VFS.to_ne_bytes(),
        &[0xff; 8], // any cookie
    ];
    let mut request = Vec::new();
    for part in parts {
        let _ = request.extend_from_slice(part); // 40 bytes fit
    }
    request
}

/// Returns the attribute `UNIX_DIAG_VFS` of an answer, if it has one.
fn decode(answer: &[u8]) -> io::Result<Option<BoundFile>> {
    let word = |at: usize| answer.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
    let half = |at: usize| answer.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes);
    match half(4) {
        Some(SOCK_DIAG_BY_FAMILY) => {}
        Some(NLMSG_ERROR) => {
            let errno = word(HEADER).map_or(0, |errno| errno.cast_signed().wrapping_neg());
            return Err(io::Errno::from_raw_os_error(errno.clamp(1, 4095)));
        }
        _ => return Err(io::Errno::BADMSG),
    }
    let mut attribute = ANSWER;
    while let (Some(length), Some(kind)) = (half(attribute), half(attribute + 2)) {
        if kind == UNIX_DIAG_VFS {
            let file = word(attribute + 4).zip(word(attribute + 8));
            return Ok(file.map(|(inode, device)| BoundFile { inode, device }));
        }
        attribute += usize::from(length).max(4).next_multiple_of(4);
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)] // a panic is a failed test
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const FILE: BoundFile = BoundFile { inode: 7, device: 9 << 20 | 1 };

    /// Returns a message of this type.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        #[allow(clippy::cast_possible_truncation)] // short messages
        let length = (HEADER + body.len()) as u32;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    /// Returns an answer with these attributes, which follow `struct unix_diag_msg`.
    fn answer(attributes: &[Vec<u8>]) -> Vec<u8> {
        message(SOCK_DIAG_BY_FAMILY, &[[0xff; 16].as_slice(), &attributes.concat()].concat())
    }

    /// Returns an attribute with padding. The kernel sets `length` to that of the value plus 4.
    fn attribute(length: u16, kind: u16, value: &[u8]) -> Vec<u8> {
        let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        attribute.extend(value);
        attribute.resize(attribute.len().next_multiple_of(4), 0xff);
        attribute
    }

    fn vfs() -> Vec<u8> {
        attribute(
            12,
            UNIX_DIAG_VFS,
            &[FILE.inode.to_ne_bytes(), FILE.device.to_ne_bytes()].concat(),
        )
    }

    #[test]
    fn the_file_is_found_among_other_attributes() {
        let (name, shutdown) = (attribute(9, 0, b"/run\0"), attribute(5, 6, &[0]));
        for attributes in [
            std::vec![vfs()],
            std::vec![name.clone(), vfs()],
            std::vec![name.clone(), shutdown.clone(), vfs(), shutdown.clone()],
        ] {
            assert_eq!(decode(&answer(&attributes)), Ok(Some(FILE)));
        }
        for attributes in [std::vec![], std::vec![name], std::vec![shutdown]] {
            assert_eq!(decode(&answer(&attributes)), Ok(None));
        }
    }

    #[test]
    fn an_error_answer_has_its_errno() {
        let error = |number: i32| decode(&message(NLMSG_ERROR, &number.to_ne_bytes()));
        assert_eq!(error(-2), Err(io::Errno::NOENT));
        assert_eq!(error(-93), Err(io::Errno::PROTONOSUPPORT));
        assert_eq!(error(-4095).unwrap_err().raw_os_error(), 4095);
        // The kernel sends none of these.
        for number in [0, 1, i32::MAX, -4096, i32::MIN] {
            assert!((1..=4095).contains(&error(number).unwrap_err().raw_os_error()), "{number}");
        }
        assert!(decode(&message(NLMSG_ERROR, &[])).is_err());
    }

    #[test]
    fn an_answer_of_another_type_is_an_error() {
        for kind in [0, 1, 3, 4, 19, 21, u16::MAX] {
            let answer = message(kind, &[[0; 16].as_slice(), &vfs()].concat());
            assert_eq!(decode(&answer), Err(io::Errno::BADMSG), "{kind}");
        }
    }

    #[test]
    fn an_answer_that_ends_anywhere_has_no_file() {
        let whole = answer(&[attribute(9, 0, b"/run\0"), vfs()]);
        for length in 0..whole.len() {
            let expected = if length < 6 { Err(io::Errno::BADMSG) } else { Ok(None) };
            assert_eq!(decode(&whole[..length]), expected, "{length}");
        }
        assert_eq!(decode(&whole), Ok(Some(FILE)));
    }

    #[test]
    fn an_attribute_of_any_length_ends() {
        // A length of 0 is taken for one of 4, so what follows is an attribute.
        for length in 0..=4 {
            assert_eq!(decode(&answer(&[attribute(length, 0, &[]), vfs()])), Ok(Some(FILE)));
            assert_eq!(decode(&answer(&[attribute(length, 0, &[0; 200])])), Ok(None), "{length}");
        }
        for length in [12, 13, 0x7fff, u16::MAX - 3, u16::MAX] {
            assert_eq!(decode(&answer(&[attribute(length, 0, &[]), vfs()])), Ok(None), "{length}");
        }
    }

    #[test]
    fn the_request_has_the_layout_of_the_kernel() {
        let request = request(0x0102_0304);
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_ne_bytes(request[at..at + 2].try_into().unwrap());
        assert_eq!((word(0), half(4), half(6)), (40, 20, 1));
        assert_eq!(request[8..20], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!([20, 24, 28, 32, 36].map(word), [u32::MAX, 0x0102_0304, 2, u32::MAX, u32::MAX]);
    }
}
