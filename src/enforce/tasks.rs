//! The other threads of the process.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::{Errno, read};

use super::gaps::Gaps;
use super::sys::{call, number};

/// Returns [`Gaps::IO_URING`] if the process has an `io_uring`, or if `/proc` does not tell.
///
/// A ring without a polling thread is one too: requests that wait in it are made later, and no
/// filter sees them.
pub(super) fn io_uring_gap() -> Gaps {
    let has_none = any_entry(c"/proc/self/fd", is_ring) == Some(false)
        && any_entry(c"/proc/self/task", polls_ring) == Some(false);
    if has_none { Gaps::empty() } else { Gaps::IO_URING }
}

/// Returns true if the process has another thread, or one of `io_uring`: `unshare(CLONE_THREAD)`,
/// which changes nothing.
pub(super) fn has_other_threads() -> bool {
    const CLONE_THREAD: usize = 0x0001_0000;
    // SAFETY: for a single thread the call does nothing, and otherwise it fails.
    #[allow(unsafe_code)]
    let unshared = unsafe { call(number::UNSHARE, [CLONE_THREAD, 0, 0, 0, 0]) };
    unshared.is_err()
}

/// Returns true if `is` returns true for an entry of the directory, and `None` if it cannot be
/// found out.
fn any_entry(path: &CStr, is: fn(&OwnedFd, &CStr) -> Option<bool>) -> Option<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty()).ok()?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut found = 0;
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        found += 1;
        if is(&directory, name)? {
            return Some(true);
        }
    }
    (found > 0).then_some(false)
}

/// Returns true if a descriptor is that of a ring.
fn is_ring(descriptors: &OwnedFd, descriptor: &CStr) -> Option<bool> {
    let mut buffer = [MaybeUninit::uninit(); 32];
    match readlinkat_raw(descriptors, descriptor, &mut buffer) {
        Err(Errno::NOENT) => Some(false),
        link => Some(link.ok()?.0.starts_with(b"anon_inode:[io_uring]")),
    }
}

/// Returns true if a task polls a ring whose descriptor was closed. One that has ended meanwhile
/// has no name.
fn polls_ring(tasks: &OwnedFd, task: &CStr) -> Option<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = match openat(tasks, task, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH) => return Some(false),
        directory => directory.ok()?,
    };
    let name = openat(&directory, c"comm", flags, Mode::empty()).ok()?;
    let mut bytes = [0; 16];
    match read(&name, &mut bytes) {
        Err(Errno::SRCH) => Some(false),
        length => Some(bytes.get(..length.ok()?)?.starts_with(b"iou-sqp-")),
    }
}
