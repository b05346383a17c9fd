//! Unix paths that appear when the socket is ready, and that can replace another socket.
//!
//! `renameat2` moves the finished socket from a temporary name to its path: with `RENAME_NOREPLACE`
//! to an empty place, and otherwise with `RENAME_EXCHANGE`. After an exchange, the former entry has
//! the temporary name. So it can be compared with the one that was found before, and put back.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

use allocator_api2::alloc::Allocator;
use heapless::Vec;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, RenameFlags, Uid, chownat, renameat_with, unlinkat};
use rustix::io;
use rustix::process::getpid;

use super::calls;
use super::descriptor::borrow;
use super::errno::{from_rustix, system_error};
use super::existing::Existing;
use super::listener::Listener;
use super::lock::Lock;
use super::options::{Flags, ListenOptions};
use super::unix_file::{FileId, Remove, open_directory, remove_locked, socket_id, split};
use crate::capability::Permit;
use crate::error::{Errno, SocketError, SocketOption, Step};
use crate::sockaddr::{AF_UNIX, MAX_LENGTH};

type Result<T> = core::result::Result<T, SocketError>;

/// How often a step is repeated if another process interferes.
const ATTEMPTS: usize = 16;

/// Distinguishes the temporary names of this process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

impl ListenOptions<'_> {
    /// Does the steps bind and listen under a temporary name, and then moves the socket to its
    /// path.
    #[inline(never)] // so that other calls do not reserve stack for its buffers
    pub(super) fn open_staged<A: Allocator>(
        &self,
        mut listener: Listener<A>,
        permit: Permit<'_>,
    ) -> Result<Listener<A>> {
        let in_use = SocketError::system(Step::Bind, Errno::ADDRINUSE);
        let (socket, sockaddr, path) = listener.bound_path().ok_or(SocketError::InvalidAddress)?;
        let staged = Staged::bind(socket, sockaddr, path)?;
        if self.flags.contains(Flags::OWNER) {
            staged.set_owner(self.owner)?;
        }
        self.check_context()?;
        listener.listen(self.backlog)?;
        self.check_context()?;
        let (is_published, remove): (bool, Option<Remove>) = match self.existing {
            Existing::Refuse => (staged.move_to_empty_place()?, None),
            existing => {
                let _lock = Lock::new(&staged.directory, self.context)?;
                (staged.replace(existing)?, Some(remove_locked))
            }
        };
        if !is_published {
            return Err(in_use);
        }
        let file = staged.file;
        drop(staged);
        let address = permit.address();
        permit.record_bind(address);
        listener.set_file(file, remove);
        Ok(listener)
    }
}

/// A bound socket under a temporary name. Dropping it removes that name if it still is this socket.
struct Staged<'p> {
    directory: OwnedFd,
    /// The last component of the path.
    name: &'p CStr,
    /// The socket address of the path.
    sockaddr: &'p [u8],
    temporary: Temporary,
    file: FileId,
}

impl<'p> Staged<'p> {
    /// Binds the socket to a temporary name in the directory of `path`: `openat`, `bind`, `lstat`.
    fn bind(socket: BorrowedFd<'_>, sockaddr: &'p [u8], path: &'p CStr) -> Result<Self> {
        let (parent, name) = split(path);
        if matches!(name.to_bytes(), b"" | b"." | b"..") {
            return Err(SocketError::system(Step::Bind, Errno::ADDRINUSE)); // a directory
        }
        let directory = open_directory(parent)?;
        for _ in 0..ATTEMPTS {
            let temporary = Temporary::new(parent)?;
            match calls::bind(socket, temporary.sockaddr()) {
                Err(error) if error.is_address_in_use() => continue,
                bound => bound?,
            }
            return match socket_id(borrow(&directory), temporary.name()) {
                Ok(Some(file)) => Ok(Self { directory, name, sockaddr, temporary, file }),
                // Another process has put a file of another kind there since.
                Ok(None) => Err(SocketError::system(Step::Stat, Errno::NOENT)),
                Err(errno) => {
                    // The directory was renamed since `openat`, or another thread called `chdir`.
                    let _ = unlinkat(CWD, temporary.path(), AtFlags::empty());
                    Err(SocketError::system(Step::Stat, errno))
                }
            };
        }
        Err(SocketError::system(Step::Bind, Errno::ADDRINUSE))
    }

    /// Sets the owner: `fchownat`. [`ListenOptions::owner`] explains `u32::MAX`.
    fn set_owner(&self, (user, group): (u32, u32)) -> Result<()> {
        let user = (user != u32::MAX).then(|| Uid::from_raw(user));
        let group = (group != u32::MAX).then(|| Gid::from_raw(group));
        chownat(self.directory(), self.temporary(), user, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(system_error(Step::Option(SocketOption::Owner)))
    }

    /// Moves the socket to its path. Returns false if there is an entry.
    fn move_to_empty_place(&self) -> Result<bool> {
        match self.rename(RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(system_error(Step::Rename)(errno)),
        }
    }

    /// Moves the socket to its path, and removes the socket that was there. Returns false if there
    /// is an entry that must stay. The directory is locked.
    fn replace(&self, existing: Existing) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            if self.move_to_empty_place()? {
                return Ok(true);
            }
            let found = match socket_id(self.directory(), self.name) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(false),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(SocketError::system(Step::Stat, errno)),
            };
            if existing == Existing::ReplaceStale {
                match refuses_connections(self.sockaddr) {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(probe_error(errno)),
                }
            }
            match self.rename(RenameFlags::EXCHANGE) {
                Ok(()) => {}
                Err(io::Errno::NOENT) => continue,
                Err(errno) => return Err(system_error(Step::Rename)(errno)),
            }
            let removed = self.remove_replaced(existing, found);
            if removed != Ok(true) {
                // A second attempt, because the first one can only fail by chance.
                let exchange = || self.rename(RenameFlags::EXCHANGE);
                exchange().or_else(|_| exchange()).map_err(system_error(Step::Rename))?;
            }
            return removed;
        }
        Ok(false)
    }

    /// Removes the former entry of the path, which now has the temporary name. Returns false if it
    /// is not one that may be replaced.
    fn remove_replaced(&self, existing: Existing, expected: FileId) -> Result<bool> {
        let found = socket_id(self.directory(), self.temporary());
        let found = found.map_err(|errno| SocketError::system(Step::Stat, errno))?;
        let is_replaceable = match existing {
            Existing::ReplaceStale => {
                // It can have started to listen since it was probed.
                found == Some(expected)
                    && match refuses_connections(self.temporary.sockaddr()) {
                        Err(Errno::NOENT) => false,
                        refuses => refuses.map_err(probe_error)?,
                    }
            }
            _ => found.is_some(),
        };
        if is_replaceable {
            unlinkat(self.directory(), self.temporary(), AtFlags::empty())
                .map_err(system_error(Step::Unlink))?;
        }
        Ok(is_replaceable)
    }

    fn rename(&self, flags: RenameFlags) -> io::Result<()> {
        renameat_with(self.directory(), self.temporary(), self.directory(), self.name, flags)
    }

    fn directory(&self) -> BorrowedFd<'_> {
        borrow(&self.directory)
    }

    fn temporary(&self) -> &CStr {
        self.temporary.name()
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if socket_id(self.directory(), self.temporary()) == Ok(Some(self.file)) {
            let _ = unlinkat(self.directory(), self.temporary(), AtFlags::empty());
        }
    }
}

/// Returns true if no process listens at the address: `socket`, `connect`, `close`.
fn refuses_connections(sockaddr: &[u8]) -> core::result::Result<bool, Errno> {
    match calls::probe(sockaddr) {
        // `EAGAIN`: the queue is full. `EPROTOTYPE`: a socket of another type.
        Ok(()) | Err(io::Errno::AGAIN | io::Errno::PROTOTYPE) => Ok(false),
        Err(io::Errno::CONNREFUSED) => Ok(true),
        Err(errno) => Err(from_rustix(errno)),
    }
}

const fn probe_error(errno: Errno) -> SocketError {
    SocketError::system(Step::Probe, errno)
}

/// The socket address of a temporary path.
struct Temporary {
    sockaddr: Bytes,
    /// The offset of the last component.
    name: usize,
}

impl Temporary {
    /// Makes a path in `parent` that no other process and no other call uses. Its name is
    /// `.netbind-`, six digits of the process and four of a counter.
    fn new(parent: &[u8]) -> Result<Self> {
        let family = AF_UNIX.to_ne_bytes();
        let process = hexadecimal::<6>(getpid().as_raw_pid().cast_unsigned());
        let count = hexadecimal::<4>(COUNTER.fetch_add(1, Ordering::Relaxed));
        let sockaddr = Bytes::new(&[&family, parent, b".netbind-", &process, &count])?;
        Ok(Self { sockaddr, name: family.len() + parent.len() })
    }

    fn sockaddr(&self) -> &[u8] {
        &self.sockaddr.0
    }

    fn path(&self) -> &CStr {
        self.sockaddr.c_str_at(AF_UNIX.to_ne_bytes().len())
    }

    fn name(&self) -> &CStr {
        self.sockaddr.c_str_at(self.name)
    }
}

/// Bytes with a NUL at the end.
struct Bytes(Vec<u8, { MAX_LENGTH }, u8>);

impl Bytes {
    fn new(parts: &[&[u8]]) -> Result<Self> {
        let mut bytes = Vec::new();
        let too_long = SocketError::system(Step::Bind, Errno::NAMETOOLONG);
        for part in parts.iter().chain([&b"\0".as_slice()]) {
            bytes.extend_from_slice(part).map_err(|_| too_long)?;
        }
        Ok(Self(bytes))
    }

    fn c_str_at(&self, start: usize) -> &CStr {
        let bytes = self.0.get(start..).unwrap_or_default();
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }
}

/// Returns the last `N` hexadecimal digits of a number.
pub(crate) fn hexadecimal<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(number & 15, 16).unwrap_or_default() as u8;
        number >>= 4;
    }
    digits
}
