//! The file of a Unix path: which one is ours, and its removal while it still is.

use core::ffi::CStr;

use allocator_api2::alloc::Allocator;
use rustix::fs::{FileType, lstat, unlink};

use crate::error::{Errno, SocketError, Step};
use crate::sockaddr::{FileId, SockAddr};

/// The name that a socket is bound to. Where that is a path, dropping it removes the file that the bind created.
///
/// It has to be dropped before the descriptor is closed: the open socket keeps the inode number from being used again, so
/// equal numbers mean the same file.
pub(crate) struct BoundName<A: Allocator> {
    pub(crate) sockaddr: SockAddr<A>,
}

impl<A: Allocator> BoundName<A> {
    /// `lstat` of a path, directly behind the bind that created it.
    ///
    /// When it fails, the bind's file is still the one that this very call made, so it is removed on that ground; where it
    /// is gone already (`ENOENT`), nothing is. A file of another kind that somebody has put there meanwhile is seen and let
    /// be; another socket would be taken for ours.
    #[inline]
    pub(crate) fn learn_file(&mut self) -> Result<(), Errno> {
        let Some(path) = self.sockaddr.path() else { return Ok(()) };
        match identify(path) {
            Ok(file) => {
                self.sockaddr.set_file(file);
                Ok(())
            }
            Err(errno) => {
                if errno != Errno::NOENT {
                    let _ = unlink(path);
                }
                Err(errno)
            }
        }
    }

    /// Removes the file if it is still ours: one `lstat`, and one `unlink` when it is. Between the two somebody who may
    /// write the directory can put another file there; no system call closes that gap.
    pub(crate) fn remove(&mut self) -> Result<(), SocketError> {
        let (Some(ours), Some(path)) = (self.sockaddr.file(), self.sockaddr.path()) else { return Ok(()) };
        let removed = match identify(path) {
            Ok(there) if there == Some(ours) => unlink(path).map_err(|errno| (Step::Unlink, errno.into())),
            Ok(_) => Ok(()),
            Err(errno) => Err((Step::Stat, errno)),
        };
        self.forget();
        match removed {
            Ok(()) | Err((_, Errno::NOENT)) => Ok(()),
            Err((step, errno)) => Err(SocketError::system(step, errno)),
        }
    }

    /// Leaves the file to whoever has the descriptor now.
    pub(crate) fn forget(&mut self) {
        self.sockaddr.set_file(None);
    }
}

/// The socket that stands at `path`; `None` for a file of any other kind, a link included.
fn identify(path: &CStr) -> Result<Option<FileId>, Errno> {
    let stat = lstat(path)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // the fields' widths are the processor's
    Ok(is_socket.then_some(FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 }))
}

impl<A: Allocator> Drop for BoundName<A> {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}
