//! The file of a Unix path: which file a bind created, and its removal.
//!
//! A relative path is looked up from an open descriptor of the working directory, so that another
//! thread can call `chdir` at any moment without a foreign socket being taken for ours or removed.

use core::ffi::CStr;
use core::num::NonZeroU64;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, major, minor, openat, statat, unlinkat};
use rustix::io;

use super::descriptor::borrow;
use super::errno::{from_rustix, system_error};
use super::lock::Lock;
use super::unix_diag::{self, BoundFile};
use crate::error::{Errno, SocketError, Step};

/// The identity of a file. While a bound socket is open, no other file gets its inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: NonZeroU64,
}

/// A function that removes a path if it still is that file.
pub(super) type Remove = fn(&CStr, FileId) -> Result<(), SocketError>;

impl FileId {
    #[allow(clippy::cast_possible_truncation)] // the kernel reports the low bits
    fn as_reported_by_diag(self) -> BoundFile {
        let device = major(self.device) << 20 | minor(self.device);
        BoundFile { inode: self.inode.get() as u32, device }
    }
}

/// A Unix path, and the directory from which it is looked up.
pub(super) struct PathLookup<'p> {
    path: &'p CStr,
    /// The working directory, or `None` for an absolute path.
    directory: Option<OwnedFd>,
}

impl<'p> PathLookup<'p> {
    fn open(path: &'p CStr) -> Result<Self, SocketError> {
        let directory = if path.to_bytes().starts_with(b"/") {
            None
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some(
                openat(CWD, c".", flags, Mode::empty())
                    .map_err(system_error(Step::OpenDirectory))?,
            )
        };
        Ok(Self { path, directory })
    }

    /// Prepares a bind of this path.
    ///
    /// A relative path must not exist: `openat(".", O_PATH)`, `lstat`. So the socket that is there
    /// after the bind was made by this bind, or by another writer of this directory.
    ///
    /// An absolute path needs no call.
    pub(super) fn before_bind(path: &'p CStr) -> Result<Self, SocketError> {
        let lookup = Self::open(path)?;
        if lookup.directory.is_none() {
            return Ok(lookup);
        }
        match lookup.socket_id() {
            Err(Errno::NOENT) => Ok(lookup),
            // The bind would fail in the same way, unless the working directory has changed.
            Ok(_) => Err(SocketError::system(Step::Bind, Errno::ADDRINUSE)),
            Err(errno) => Err(SocketError::system(Step::Stat, errno)),
        }
    }

    /// Returns the file that the bind has just created: `lstat`.
    ///
    /// It is `None` if there is a file of another kind, which another process has put there since.
    /// If the `lstat` fails, the file is removed, because the bind has just created it.
    pub(super) fn after_bind(self) -> Result<Option<FileId>, SocketError> {
        self.socket_id().map_err(|errno| {
            if errno != Errno::NOENT {
                let _ = unlinkat(self.directory_fd(), self.path, AtFlags::empty());
            }
            SocketError::system(Step::Stat, errno)
        })
    }

    fn socket_id(&self) -> Result<Option<FileId>, Errno> {
        socket_id(self.directory_fd(), self.path)
    }

    fn directory_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().map_or(CWD, borrow)
    }
}

/// Returns the identity of the socket at a path, or `None` for a file of any other kind: `lstat`.
pub(crate) fn socket_id(directory: BorrowedFd<'_>, path: &CStr) -> Result<Option<FileId>, Errno> {
    let stat = statat(directory, path, AtFlags::SYMLINK_NOFOLLOW).map_err(from_rustix)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Ok(None);
    }
    // The width of the fields differs by processor. No file has the inode number 0.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let (device, inode) = (stat.st_dev as u64, stat.st_ino as u64);
    Ok(NonZeroU64::new(inode).map(|inode| FileId { device, inode }))
}

/// Returns the socket file at `path`, if it is the one that this Unix socket is bound to.
pub(super) fn verify(socket: BorrowedFd<'_>, path: &CStr) -> Result<FileId, SocketError> {
    let bound = unix_diag::bound_file(socket).map_err(system_error(Step::Diag))?;
    let bound = bound.ok_or(SocketError::InvalidAddress)?;
    let stat = |errno| SocketError::system(Step::Stat, errno);
    let file = PathLookup::open(path)?.socket_id().map_err(stat)?;
    file.filter(|file| bound == file.as_reported_by_diag())
        .ok_or(SocketError::system(Step::Adopt, Errno::ADDRNOTAVAIL))
}

/// Removes the file at `path` if it still is `file`: `lstat`, and then `unlink`. For a relative
/// path there is an `openat(".", O_PATH)` before them, and a `close` after them.
///
/// Between the two calls, another writer of the directory can replace the file, which is then
/// removed. Linux has no system call that compares and removes.
pub(super) fn remove(path: &CStr, file: FileId) -> Result<(), SocketError> {
    let lookup = PathLookup::open(path)?;
    remove_at(lookup.directory_fd(), path, file)
}

/// Removes like [`remove`], under the lock of the directory: `openat`, `flock`, `lstat`, `unlink`,
/// `flock(LOCK_UN)`, `close`. A socket that replaced another one can be replaced in the same way.
pub(super) fn remove_locked(path: &CStr, file: FileId) -> Result<(), SocketError> {
    let (parent, name) = split(path);
    let directory = open_directory(parent)?;
    let _lock = Lock::new(&directory, None)?;
    remove_at(borrow(&directory), name, file)
}

pub(crate) fn remove_at(
    directory: BorrowedFd<'_>,
    path: &CStr,
    file: FileId,
) -> Result<(), SocketError> {
    match socket_id(directory, path) {
        Ok(found) if found == Some(file) => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(SocketError::system(Step::Stat, errno)),
    }
    match unlinkat(directory, path, AtFlags::empty()) {
        Ok(()) | Err(io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(system_error(Step::Unlink)(errno)),
    }
}

/// Opens the directory of a path so that it can be locked. It is the working directory if there is
/// no text.
pub(super) fn open_directory(parent: &[u8]) -> Result<OwnedFd, SocketError> {
    let path = TerminatedPath::new(if parent.is_empty() { b"." } else { parent });
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path.as_c_str(), flags, Mode::empty()).map_err(system_error(Step::OpenDirectory))
}

/// A path of at most 107 bytes, with a NUL at the end.
pub(crate) struct TerminatedPath([u8; 108]);

impl TerminatedPath {
    pub(crate) fn new(path: &[u8]) -> Self {
        let mut bytes = [0; 108];
        bytes.iter_mut().zip(path).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"/")
    }
}

/// Returns the directory of a path with its slash, and the last component.
pub(super) fn split(path: &CStr) -> (&[u8], &CStr) {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at_checked(start).unwrap_or((b"", bytes));
    (parent, CStr::from_bytes_until_nul(name).unwrap_or(c""))
}
