//! Threads and rings that exist before a restriction.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, RawDir, accessat, openat, readlinkat_raw};
use rustix::io::{Errno, read};

use super::gaps::Gaps;
use super::sys::{call, number};
use crate::linux::borrow;

/// How the kernel names the file of a ring.
const RING: &[u8] = b"anon_inode:[io_uring]";

/// Returns [`Gaps::IO_URING`] if the process has an `io_uring`, or if `/proc` cannot be read.
///
/// A ring without a polling thread counts too: its pending requests are executed later, and no
/// filter sees them.
pub(super) fn io_uring_gap() -> Gaps {
    let tasks = any_entry(CWD, c"/proc/self/task", has_ring);
    let has_none = tasks == Some(false) && maps_ring() == Some(false);
    if has_none { Gaps::empty() } else { Gaps::IO_URING }
}

/// Returns true if the process has another thread; threads of `io_uring` count.
/// `unshare(CLONE_THREAD)` succeeds, and does nothing, only in a process with one thread.
pub(super) fn has_other_threads() -> bool {
    const CLONE_THREAD: usize = 0x0001_0000;
    // SAFETY: for a single thread the call does nothing, and otherwise it fails.
    #[allow(unsafe_code)]
    let unshared = unsafe { call(number::UNSHARE, [CLONE_THREAD, 0, 0, 0, 0]) };
    unshared.is_err()
}

/// Returns true if `is` returns true for an entry of the directory, and `None` if it cannot be
/// found out.
fn any_entry(
    from: BorrowedFd<'_>,
    path: &CStr,
    is: fn(BorrowedFd<'_>, &CStr) -> Option<bool>,
) -> Option<bool> {
    let directory = open(from, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(borrow(&directory), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let name = entry.file_name();
        if !name.to_bytes().starts_with(b".") && is(borrow(&directory), name)? {
            return Some(true);
        }
    }
    Some(false)
}

/// Returns true if a task has a descriptor of a ring, or is a worker of one.
fn has_ring(tasks: BorrowedFd<'_>, name: &CStr) -> Option<bool> {
    let has_ring = open(tasks, name, OFlags::PATH | OFlags::DIRECTORY).and_then(|task| {
        Some(is_worker(borrow(&task))? || any_entry(borrow(&task), c"fd", is_ring)?)
    });
    // A task that has ended has no files.
    let has_ended = || accessat(tasks, name, Access::EXISTS, AtFlags::empty()) == Err(Errno::NOENT);
    has_ring.or_else(|| has_ended().then_some(false))
}

/// Returns true if a descriptor is that of a ring.
fn is_ring(descriptors: BorrowedFd<'_>, descriptor: &CStr) -> Option<bool> {
    let mut buffer = [MaybeUninit::uninit(); 32];
    match readlinkat_raw(descriptors, descriptor, &mut buffer) {
        Err(Errno::NOENT) => Some(false),
        link => Some(link.ok()?.0.starts_with(RING)),
    }
}

/// Returns true if the kernel made the task for a ring, for example to poll it.
fn is_worker(task: BorrowedFd<'_>) -> Option<bool> {
    const PF_IO_WORKER: u32 = 0x10;
    let stat = open(task, c"stat", OFlags::RDONLY)?;
    let mut bytes = [0; 256];
    let length = read(borrow(&stat), &mut bytes).ok()?;
    // After the name, which is in parentheses and can have any bytes, the flags are the seventh.
    let name_end = bytes.iter().rposition(|byte| *byte == b')')?;
    let fields = core::str::from_utf8(bytes.get(name_end + 1..length)?).ok()?;
    let flags: u32 = fields.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some(flags & PF_IO_WORKER != 0)
}

/// Returns true if the memory of a ring is mapped, which keeps it alive without a descriptor.
fn maps_ring() -> Option<bool> {
    let maps = open(CWD, c"/proc/self/maps", OFlags::RDONLY)?;
    let mut bytes = [0; 1024];
    // How many bytes of the name the last ones are. The first byte of the name is only there.
    let mut matched = 0;
    loop {
        let length = match read(borrow(&maps), &mut bytes) {
            Err(Errno::INTR) => continue,
            length => length.ok()?,
        };
        if length == 0 {
            return Some(false);
        }
        for byte in bytes.get(..length)? {
            let is_next = RING.get(matched) == Some(byte);
            matched = if is_next { matched + 1 } else { usize::from(RING.first() == Some(byte)) };
            if matched == RING.len() {
                return Some(true);
            }
        }
    }
}

#[inline(never)] // so that the one assertion of rustix, see proofs/no-panic, is in one place
fn open(from: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Option<OwnedFd> {
    openat(from, path, flags | OFlags::CLOEXEC, Mode::empty()).ok()
}
