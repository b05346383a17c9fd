//! File systems of one thread. Mounts of other threads do not change.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::kernel::check_return;

/// Gives this thread its own mounts. It must be [`isolated`](super::thread::isolated).
pub(crate) fn private_mounts() -> io::Result<()> {
    // SAFETY: the call takes only a number.
    check_return(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    mount(c"none", Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, c"")
}

/// Mounts an empty file system on a directory.
pub(crate) fn mount_tmpfs(directory: &Path) -> io::Result<()> {
    mount(c"tmpfs", directory, 0, c"")
}

/// Mounts an overlay of `lower` and `upper` on a directory. `work` must be empty, on the file system
/// of `upper`.
pub(crate) fn mount_overlay(directory: &Path, [lower, upper, work]: [&Path; 3]) -> io::Result<()> {
    let data = format!(
        "lowerdir={},upperdir={},workdir={},xino=off",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount(c"overlay", directory, 0, &CString::new(data)?)
}

fn mount(kind: &CStr, target: &Path, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: the strings end with a NUL and outlive the call.
    let mounted = unsafe {
        libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    };
    check_return(mounted.into()).map(drop)
}

/// Detaches the file system that was mounted last on a directory.
pub(crate) fn unmount(directory: &Path) {
    let directory = CString::new(directory.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a NUL and outlives the call.
    let unmounted = unsafe { libc::umount2(directory.as_ptr(), libc::MNT_DETACH) };
    check_return(unmounted.into()).expect("umount2");
}
