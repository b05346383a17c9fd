//! The other threads of the process.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::read;

use super::gaps::Gaps;
use super::sys::{call, number};

/// Returns [`Gaps::IO_URING`] if a thread of the kernel polls an `io_uring` of this process, or if
/// `/proc` does not tell.
pub(super) fn io_uring_gap() -> Gaps {
    match polls_io_uring() {
        Some(false) => Gaps::empty(),
        _ => Gaps::IO_URING,
    }
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

/// Returns true if the name of a task begins with `iou-sqp-`, and `None` if it cannot be found out.
fn polls_io_uring() -> Option<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let tasks = openat(CWD, c"/proc/self/task", flags, Mode::empty()).ok()?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&tasks, &mut buffer);
    let mut found = 0;
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let task = entry.file_name();
        if task.to_bytes().starts_with(b".") {
            continue;
        }
        found += 1;
        if name_begins_with(&tasks, task, b"iou-sqp-")? {
            return Some(true);
        }
    }
    (found > 0).then_some(false)
}

/// Reads the name of a task. One that has ended meanwhile has no name.
fn name_begins_with(tasks: &rustix::fd::OwnedFd, task: &CStr, begin: &[u8]) -> Option<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = match openat(tasks, task, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => return Some(false),
        directory => directory.ok()?,
    };
    let name = openat(&directory, c"comm", flags, Mode::empty()).ok()?;
    let mut bytes = [0; 16];
    match read(&name, &mut bytes) {
        Err(rustix::io::Errno::SRCH) => Some(false),
        length => Some(bytes.get(..length.ok()?)?.starts_with(begin)),
    }
}
