//! A supervised thread that waits for an answer: its descriptors and its memory.

use rustix::fd::{AsRawFd, OwnedFd};

use super::notify::Call;
use crate::enforce::sys::{self, call, call6, number};
use crate::error::Errno;
use crate::linux::own_raw;

/// The size of `struct sockaddr_storage`, the longest address that `bind` takes.
const LONGEST: usize = 128;

/// A copy of a socket address.
pub(super) struct CopiedAddress {
    bytes: [u8; LONGEST],
    length: usize,
}

impl CopiedAddress {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Duplicates the descriptor that is the first argument of the call: `pidfd_open`, `pidfd_getfd`,
/// `close`.
///
/// A thread can have a descriptor table of its own. Before Linux 6.9, the table of the whole
/// process is used.
pub(super) fn duplicate(thread: u32, descriptor: u64) -> Result<OwnedFd, Errno> {
    const PIDFD_THREAD: usize = 0o200; // `O_EXCL`
    let pidfd = match pidfd_open(thread, PIDFD_THREAD) {
        Err(Errno::INVAL) => pidfd_open(super::identity::process_of(thread)?, 0),
        pidfd => pidfd,
    }?;
    #[allow(clippy::cast_possible_truncation)] // the kernel too looks at the lower half
    let descriptor = descriptor as u32;
    #[allow(clippy::cast_sign_loss)] // a descriptor is not negative
    let arguments = [pidfd.as_raw_fd() as usize, descriptor as usize, 0, 0, 0];
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let duplicate = unsafe { call(sys::PIDFD_GETFD, arguments) }?;
    // SAFETY: the kernel has just made this descriptor, which is close-on-exec.
    #[allow(unsafe_code)]
    Ok(unsafe { own_raw(duplicate) })
}

fn pidfd_open(process: u32, flags: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let pidfd = unsafe { call(sys::PIDFD_OPEN, [process as usize, flags, 0, 0, 0]) }?;
    // SAFETY: the kernel has just made this descriptor, which is close-on-exec.
    #[allow(unsafe_code)]
    Ok(unsafe { own_raw(pidfd) })
}

/// Copies the socket address of a `bind`, once: `process_vm_readv`.
pub(super) fn copy_address(call: &Call) -> Result<CopiedAddress, Errno> {
    let [_, address, length, ..] = call.arguments;
    // The kernel too looks at the lower half of the length.
    #[allow(clippy::cast_possible_truncation)]
    let length = length as u32 as usize;
    if length > LONGEST {
        return Err(Errno::INVAL);
    }
    let mut copied = CopiedAddress { bytes: [0; LONGEST], length };
    if length > 0 {
        #[allow(clippy::cast_possible_truncation)] // both processors have 64 bits
        read_memory(call.thread, address as usize, &mut copied.bytes, length)?;
    }
    Ok(copied)
}

/// `struct iovec`
#[repr(C)]
struct Span {
    start: usize,
    length: usize,
}

fn read_memory(
    thread: u32,
    from: usize,
    to: &mut [u8; LONGEST],
    length: usize,
) -> Result<(), Errno> {
    let length = length.min(LONGEST);
    let local = Span { start: to.as_mut_ptr() as usize, length };
    let remote = Span { start: from, length };
    let (local, remote) = (&raw const local as usize, &raw const remote as usize);
    let arguments = [thread as usize, local, 1, remote, 1, 0];
    // SAFETY: the kernel writes at most `length` bytes to the buffer, which has `LONGEST`.
    #[allow(unsafe_code)]
    let read = unsafe { call6(number::PROCESS_VM_READV, arguments) }?;
    if usize::try_from(read) == Ok(length) { Ok(()) } else { Err(Errno::FAULT) }
}
