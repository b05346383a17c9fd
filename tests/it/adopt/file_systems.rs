//! Renamed sockets on file systems of every kind that this machine has or can mount.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use netbind::ListenOptions;

use super::renamed::{ANOTHER_FILE, address, adopt_as, in_directory, refuse, renamed};
use super::{assert_accepts, foreign};
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::mounts::{mount_overlay, mount_tmpfs, private_mounts, unmount};
use crate::support::process::{command, complete_stage, in_user_namespace, run, stage};
use crate::support::thread::descriptors;

/// Asserts that the renamed socket in the working directory can be adopted, used and removed.
fn assert_adopts_renamed(directory: &Path) {
    let absolute = format!("{}/b", directory.display());
    for text in ["unix:b", &absolute] {
        for removed in [false, true] {
            let (arena, before) = (Arena::new(), descriptors());
            let mut listener = adopt_as(renamed(), text, &arena);
            assert_eq!(listener.local_address(), Ok(address(text)));
            assert_eq!(descriptors().len(), before.len() + 1, "{text}");
            assert_accepts(&listener);
            listener.remove_path(removed).unwrap();
            listener.close().unwrap();
            assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{text}");
            assert_eq!(fs::exists("b").unwrap(), !removed, "{text}");
            let _ = fs::remove_file("b");
        }
        let arena = Arena::new();
        let mut listener = ListenOptions::new().adopt(foreign("unix:a"), &arena).unwrap();
        listener.remove_path(true).unwrap();
        drop(listener);
        assert!(!fs::exists("a").unwrap());
    }
}

#[test]
fn a_renamed_socket_is_adopted_on_every_file_system() {
    in_directory(assert_adopts_renamed);
    for place in ["/tmp", "/dev/shm", "/run", "/var/tmp"] {
        in_directory(|_| match tempfile::tempdir_in(place) {
            Ok(directory) => {
                std::env::set_current_dir(directory.path()).unwrap();
                assert_adopts_renamed(directory.path());
            }
            Err(error) => skip(&format!("{place}: {error}")),
        });
    }
}

/// Runs `body` in a directory of a new file system. `mount` gets an empty tmpfs and returns it.
///
/// If this user cannot mount, the test is run again in a user namespace.
fn on_mounted<T: Copy + Send + Sync>(
    test: T,
    mount: fn(&Path) -> io::Result<PathBuf>,
    body: fn(&Path),
) {
    let skip_mount = |error| skip(&format!("a file system, which cannot be mounted: {error}"));
    in_directory(|directory| {
        let tmpfs = directory.join("d");
        fs::create_dir(&tmpfs).unwrap();
        match private_mounts().and_then(|()| mount_tmpfs(&tmpfs)) {
            Err(_) if stage().is_none() => {
                return run(in_user_namespace(command(test, 1))).unwrap_or_else(skip_mount);
            }
            Err(error) => return skip_mount(error),
            Ok(()) => {}
        }
        let mounted = Mounted(tmpfs);
        match mount(&mounted.0) {
            Ok(directory) => {
                std::env::set_current_dir(&directory).unwrap();
                body(&directory);
            }
            Err(error) => skip_mount(error),
        }
    });
    if stage().is_some() {
        complete_stage();
    }
}

/// A mounted file system. Dropping it detaches it, and what is mounted below.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir("/");
        unmount(&self.0);
    }
}

#[test]
fn a_renamed_socket_on_a_new_tmpfs_is_adopted() {
    on_mounted(
        a_renamed_socket_on_a_new_tmpfs_is_adopted,
        |tmpfs| Ok(tmpfs.into()),
        assert_adopts_renamed,
    );
}

/// Mounts an overlay on a directory of the tmpfs, which has its layers.
fn overlay(tmpfs: &Path) -> io::Result<PathBuf> {
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| tmpfs.join(name));
    for directory in [&lower, &upper, &work, &merged] {
        let _ = fs::create_dir(directory);
    }
    mount_overlay(&merged, [&lower, &upper, &work])?;
    Ok(merged)
}

#[test]
fn a_renamed_socket_on_an_overlay_is_adopted() {
    on_mounted(a_renamed_socket_on_an_overlay_is_adopted, overlay, assert_adopts_renamed);
}

/// There, `lstat` reports another device than `sock_diag`, that of the layer. So the file could be
/// another one, and is not removed.
#[test]
fn a_renamed_socket_on_an_overlay_of_two_file_systems_is_refused() {
    let with_other_lower = |tmpfs: &Path| {
        let lower = tmpfs.join("lower");
        fs::create_dir(&lower)?;
        mount_tmpfs(&lower)?;
        overlay(tmpfs)
    };
    on_mounted(
        a_renamed_socket_on_an_overlay_of_two_file_systems_is_refused,
        with_other_lower,
        |_| {
            let fd = renamed();
            assert_eq!(refuse(fd.try_clone().unwrap(), &address("unix:b")), ANOTHER_FILE);
            let arena = Arena::new();
            let mut listener = ListenOptions::new().adopt(foreign("unix:a"), &arena).unwrap();
            assert_eq!(listener.remove_path(true), Err(ANOTHER_FILE));
            assert_accepts(&listener);
            drop(listener);
            assert!(fs::exists("a").unwrap() && fs::exists("b").unwrap());
        },
    );
}

/// Two new file systems give their files the same inode numbers.
#[test]
fn a_socket_with_the_same_inode_number_on_another_file_system_is_refused() {
    on_mounted(
        a_socket_with_the_same_inode_number_on_another_file_system_is_refused,
        |tmpfs| {
            for name in ["1", "2"] {
                fs::create_dir(tmpfs.join(name))?;
                mount_tmpfs(&tmpfs.join(name))?;
            }
            Ok(tmpfs.into())
        },
        |_| {
            let [fd, _other] = ["unix:1/s", "unix:2/s"].map(foreign);
            let inode = |path| fs::symlink_metadata(path).unwrap().ino();
            if inode("1/s") != inode("2/s") {
                return skip("two sockets with one inode number");
            }
            let error = refuse(fd, &address("unix:2/s"));
            assert_eq!(error, ANOTHER_FILE);
            assert!(fs::exists("2/s").unwrap());
        },
    );
}
