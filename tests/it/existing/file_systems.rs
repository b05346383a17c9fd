//! Replacement on several file systems, and on one that cannot exchange two files.
#![allow(unsafe_code)]

mod fuse;

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{Existing, ListenOptions};
use rustix::process::{getegid, geteuid};

use super::process::Child;
use super::{
    IN_USE, assert_serves, identity, in_directory, leave_stale, names, system_error, with,
};
use crate::support::kernel::check_return;
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

/// Asserts that sockets are replaced in this directory, which must be empty.
fn assert_replaces_in(directory: &Path) {
    let path = directory.join("s");
    let address = path.to_str().unwrap();
    let (arena, before) = (Arena::new(), descriptors());
    for existing in [Existing::ReplaceStale, Existing::Replace] {
        let first = with(existing).mode(0o600).listen(address, &arena).unwrap();
        assert_serves(&first, &path);
        let stale = with(Existing::ReplaceStale).listen(address, &arena);
        assert_eq!(stale.map(drop), Err(IN_USE));
        assert_serves(&first, &path);
        let second = with(Existing::Replace).listen(address, &arena).unwrap();
        assert_serves(&second, &path);
        first.close().unwrap();
        assert_serves(&second, &path);
        assert_eq!(names(directory), ["s"]);
        second.close().unwrap();
        assert_eq!(names(directory), [""; 0]);

        leave_stale(&path);
        let listener = with(existing).owner(u32::MAX, u32::MAX).listen(address, &arena).unwrap();
        assert_serves(&listener, &path);
        listener.close().unwrap();
        fs::write(&path, "kept").unwrap();
        assert_eq!(with(existing).listen(address, &arena).map(drop), Err(IN_USE));
        assert_eq!(
            (fs::read(&path).unwrap(), names(directory)),
            (b"kept".into(), vec!["s".into()])
        );
        fs::remove_file(&path).unwrap();
    }
    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
}

#[test]
fn sockets_are_replaced_on_the_file_systems_of_this_machine() {
    in_directory(assert_replaces_in);
    isolated(|| match tempfile::tempdir_in("/dev/shm") {
        Ok(directory) => assert_replaces_in(directory.path()),
        Err(error) => skip(&format!("/dev/shm: {error}")),
    });
}

fn mount(kind: &CStr, target: &Path, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let target = CString::new(target.to_str().unwrap())?;
    let data = CString::new(data)?;
    // SAFETY: the strings end with a NUL and outlive the call.
    let mounted = unsafe {
        libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    };
    check_return(mounted.into()).map(drop)
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes only a number.
    check_return(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Gives this process its own mounts. An ordinary user becomes root of a new user namespace.
fn private_mounts() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() {
        unshare(libc::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))?;
    }
    unshare(libc::CLONE_NEWNS)?;
    mount(c"none", Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, "")
}

/// Runs `body` in a process that can mount. Its mounts end with it.
fn with_mounts(what: &str, body: impl FnOnce(&Path) -> io::Result<()> + Send) {
    in_directory(|directory| {
        let process = Child::new(|| {
            if let Err(error) = private_mounts().and_then(|()| body(directory)) {
                skip(&format!("{what}, which cannot be mounted: {error}"));
            }
        });
        process.join();
    });
}

#[test]
fn sockets_are_replaced_on_tmpfs_ramfs_and_overlayfs() {
    for kind in [c"tmpfs", c"ramfs"] {
        with_mounts(kind.to_str().unwrap(), |directory| {
            mount(kind, directory, 0, "")?;
            assert_replaces_in(directory);
            Ok(())
        });
    }
    with_mounts("overlayfs", |directory| {
        mount(c"tmpfs", directory, 0, "")?;
        let [lower, upper, work, merged] =
            ["lower", "upper", "work", "merged"].map(|name| directory.join(name));
        for made in [&lower, &upper, &work, &merged] {
            fs::create_dir(made)?;
        }
        let (lower_path, upper, work) = (lower.display(), upper.display(), work.display());
        let data = format!("lowerdir={lower_path},upperdir={upper},workdir={work}");
        fs::create_dir(lower.join("d"))?;
        leave_stale(lower.join("d/s"));
        mount(c"overlay", &merged, 0, &data)?;
        // The stale socket is in the lower layer, which cannot be written.
        let (path, arena) = (merged.join("d/s"), Arena::new());
        let options = with(Existing::ReplaceStale);
        let listener = options.listen(path.to_str().unwrap(), &arena).unwrap();
        assert_serves(&listener, &path);
        listener.close().unwrap();
        assert_eq!(names(merged.join("d")), [""; 0]);
        assert_replaces_in(&merged.join("d"));
        Ok(())
    });
}

/// The file system is in user space and has no `renameat2`. Such are some network file systems too.
#[test]
fn a_file_system_that_cannot_exchange_is_an_error_and_nothing_changes() {
    with_mounts("FUSE", |directory| {
        fuse::serve(directory, || {
            let path = directory.join("s");
            let address = path.to_str().unwrap();
            let (arena, before) = (Arena::new(), descriptors());
            let cannot = system_error(Step::Rename, Errno::INVAL);
            for existing in [Existing::ReplaceStale, Existing::Replace] {
                let opened = with(existing).listen(address, &arena).map(drop);
                assert_eq!((opened, names(directory)), (Err(cannot), vec![]));
                leave_stale(&path);
                let stale = identity(&path);
                let opened = with(existing).listen(address, &arena).map(drop);
                assert_eq!((opened, names(directory)), (Err(cannot), vec!["s".into()]));
                assert_eq!(identity(&path), stale);
                fs::remove_file(&path).unwrap();

                let live = UnixListener::bind(&path).unwrap();
                let is_probed = existing == Existing::ReplaceStale;
                let expected = if is_probed { IN_USE } else { cannot };
                let opened = with(existing).listen(address, &arena).map(drop);
                assert_eq!((opened, names(directory)), (Err(expected), vec!["s".into()]));
                assert_serves(&live, &path);
                fs::remove_file(&path).unwrap();
            }
            assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
            // Without a replacement, sockets work there.
            let listener = ListenOptions::new().listen(address, &arena).unwrap();
            assert_serves(&listener, &path);
            listener.close().unwrap();
            assert_eq!(names(directory), [""; 0]);
        })
    });
}
