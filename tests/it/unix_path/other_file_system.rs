//! A foreign socket with the same path and the same inode number, on another file system.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::listen;

use super::{ENDS, in_directory};
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::mounts::{mount_tmpfs, private_mounts, unmount};

/// Binds sockets at `path` until one has this inode number. A new tmpfs numbers its files from 2.
fn socket_with_inode(path: &Path, inode: u64) -> Option<UnixListener> {
    for _ in 0..1_000 {
        let socket = UnixListener::bind(path).unwrap();
        let found = fs::symlink_metadata(path).unwrap().ino();
        if found == inode {
            return Some(socket);
        }
        fs::remove_file(path).unwrap();
        if found > inode {
            return None;
        }
    }
    None
}

#[test]
fn a_foreign_socket_with_the_same_inode_number_is_not_removed() {
    for is_absolute in [true, false] {
        for (end, ended) in ENDS {
            in_directory(|directory| {
                let (mounted, path) = (directory.join("d"), directory.join("d/s"));
                fs::create_dir(&mounted).unwrap();
                if let Err(error) = private_mounts().and_then(|()| mount_tmpfs(&mounted)) {
                    return skip(&format!("two file systems, which cannot be mounted: {error}"));
                }
                let address = if is_absolute { path.to_str().unwrap() } else { "unix:d/s" };
                let arena = Arena::new();
                let listener = listen(address, &arena).unwrap();
                let ours = fs::symlink_metadata(&path).unwrap();

                mount_tmpfs(&mounted).unwrap();
                if let Some(_foreign) = socket_with_inode(&path, ours.ino()) {
                    assert_ne!(fs::symlink_metadata(&path).unwrap().dev(), ours.dev());
                    ended(listener).unwrap();
                    assert!(path.exists(), "{end} of {address} removed a foreign socket");
                } else {
                    skip("the foreign socket, because inode numbers do not repeat here");
                }
                unmount(&mounted);
                unmount(&mounted);
            });
        }
    }
}
