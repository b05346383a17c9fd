//! Sockets that a service manager passes to a program by the protocol of
//! [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html).
//!
//! The descriptors are 3, 4 and so on. `LISTEN_FDS` is their number, `LISTEN_PID` the process that
//! they are for, `LISTEN_PIDFDID` the inode of its pidfd, and `LISTEN_FDNAMES` has a name for each,
//! separated by colons. `take` (with the feature `std`) and [`take_from`] receive them, and
//! [`pass`] passes them on. Then [`ListenOptions::adopt`](crate::ListenOptions::adopt) makes a
//! listener of each.

use core::array::IntoIter;
use core::fmt;
use core::iter::{Flatten, FusedIterator};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{fstat, fstatfs};
use rustix::io::{self, FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::descriptor::{borrow, borrow_raw, own_raw};
use super::errno::from_rustix;
use crate::address::parse_number;
use crate::error::Errno;

/// The first descriptor.
const START: RawFd = 3;

const PID: &str = "LISTEN_PID";
const PIDFD_ID: &str = "LISTEN_PIDFDID";
const FDS: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";

/// The name of sockets if there is no `LISTEN_FDNAMES`.
const UNKNOWN: &str = "unknown";

/// Set when descriptors were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The reason why no descriptor was taken or passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InheritError {
    /// This variable is malformed, or the number of names in `LISTEN_FDNAMES` differs from
    /// `LISTEN_FDS`.
    InvalidVariable(&'static str),
    /// `LISTEN_FDS` counts this descriptor, which is not open.
    NotOpen(RawFd),
    /// The descriptors of this process were taken before.
    AlreadyTaken,
    /// `fcntl`, `dup2` or `pidfd_open` failed.
    System(Errno),
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidVariable(name) => write!(f, "the variable {name} is invalid"),
            Self::NotOpen(fd) => write!(f, "{FDS} counts descriptor {fd}, which is not open"),
            Self::AlreadyTaken => f.write_str("the inherited sockets were taken before"),
            Self::System(errno) => write!(f, "the descriptors cannot be taken or passed: {errno}"),
        }
    }
}

// `main` prints an error that it returns with `Debug`.
impl fmt::Debug for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for InheritError {}

fn system_error(errno: io::Errno) -> InheritError {
    InheritError::System(from_rustix(errno))
}

/// A socket that was passed to this process.
#[non_exhaustive]
pub struct InheritedSocket<'e> {
    /// Its name in `LISTEN_FDNAMES`, or `unknown` if there are no names.
    pub name: &'e str,
    /// The descriptor, which is close-on-exec. It need not be a socket: `adopt` checks that.
    pub fd: OwnedFd,
}

impl fmt::Debug for InheritedSocket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InheritedSocket({}, {})", self.fd.as_raw_fd(), self.name)
    }
}

/// The sockets that were passed to this process, in the order of their descriptors.
///
/// Dropping it closes those that were not returned by `next`.
#[derive(Debug, Default)]
pub struct Inherited<'e> {
    /// The descriptors that are left. This value owns them.
    next: RawFd,
    end: RawFd,
    /// The names that are left, separated by colons. They are UTF-8.
    names: Option<&'e [u8]>,
}

impl<'e> Iterator for Inherited<'e> {
    type Item = InheritedSocket<'e>;

    fn next(&mut self) -> Option<InheritedSocket<'e>> {
        if self.next >= self.end {
            return None;
        }
        // SAFETY: `take_from` found the descriptor open, its caller vouched that nothing else owns
        // it, and it is returned only once.
        #[allow(unsafe_code)]
        let fd = unsafe { own_raw(self.next) };
        self.next += 1;
        let name = self.names.and_then(|names| {
            let end = names.iter().position(|byte| *byte == b':').unwrap_or(names.len());
            self.names = names.get(end + 1..);
            str::from_utf8(names.get(..end)?).ok()
        });
        let name = name.unwrap_or(UNKNOWN);
        Some(InheritedSocket { name, fd })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end - self.next).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Inherited<'_> {}

impl FusedIterator for Inherited<'_> {}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// Takes the sockets that were passed to this process, from the environment of the process.
///
/// It does the same as [`take_from`]. The environment is not changed; a child that inherits the
/// variables sees that `LISTEN_PID` is another process.
///
/// # Errors
///
/// Those of [`take_from`].
///
/// # Safety
///
/// Nothing else in this process may own or have closed the descriptors that `LISTEN_FDS` counts.
/// That is so at the start of `main`.
#[cfg(feature = "std")]
#[allow(unsafe_code)]
pub unsafe fn take() -> Result<Inherited<'static>, InheritError> {
    use std::os::unix::ffi::OsStringExt;

    let read = |name| std::env::var_os(name).map(OsStringExt::into_vec);
    let (pid, pidfd_id, fds) = (read(PID), read(PIDFD_ID), read(FDS));
    let names = read(NAMES);
    let (pid, pidfd_id, fds) = (pid.as_deref(), pidfd_id.as_deref(), fds.as_deref());
    let found = Found { pid, pidfd_id, fds, names: names.as_deref() };
    // SAFETY: the caller's responsibility.
    let taken = ManuallyDrop::new(unsafe { found.take() }?);
    let (next, end) = (taken.next, taken.end);
    // The names must live as long as the value. That happens once in a process.
    let names = names.filter(|_| next < end).map(|names| &*names.leak());
    Ok(Inherited { next, end, names })
}

/// Takes the sockets that were passed to this process, from the entries `NAME=VALUE` of an
/// environment block.
///
/// If the variables are missing, or name another process, there are none. The descriptors are
/// set close-on-exec. They can be taken once in a process.
///
/// System calls: `getpid`, with `LISTEN_PIDFDID` `pidfd_open`, `fstatfs`, `fstat` and `close`, and
/// for each descriptor `fcntl(F_GETFD)`, and then `fcntl(F_SETFD)`.
///
/// # Errors
///
/// [`InheritError`]. Nothing is taken and nothing is closed.
///
/// # Safety
///
/// Nothing else in this process may own or have closed the descriptors that `LISTEN_FDS` counts.
/// That is so at the start of the program.
#[allow(unsafe_code)]
pub unsafe fn take_from<'e>(
    environment: impl IntoIterator<Item = &'e [u8]>,
) -> Result<Inherited<'e>, InheritError> {
    let mut found = Found::default();
    for entry in environment {
        let Some(at) = entry.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = entry.split_at(at);
        let variable = match str::from_utf8(name) {
            Ok(PID) => &mut found.pid,
            Ok(PIDFD_ID) => &mut found.pidfd_id,
            Ok(FDS) => &mut found.fds,
            Ok(NAMES) => &mut found.names,
            _ => continue,
        };
        // As for `getenv`, the first of two entries counts.
        *variable = variable.or(value.get(1..));
    }
    // SAFETY: the caller's responsibility.
    unsafe { found.take() }
}

/// The values of the variables. The names live longer than the call.
#[derive(Default)]
struct Found<'v, 'e> {
    pid: Option<&'v [u8]>,
    pidfd_id: Option<&'v [u8]>,
    fds: Option<&'v [u8]>,
    names: Option<&'e [u8]>,
}

impl<'e> Found<'_, 'e> {
    /// # Safety
    ///
    /// That of [`take_from`].
    #[allow(unsafe_code)]
    unsafe fn take(&self) -> Result<Inherited<'e>, InheritError> {
        let (Some(pid), Some(fds)) = (self.pid, self.fds) else {
            return Ok(Inherited::default());
        };
        if number(PID, pid)? != getpid().as_raw_pid() || !self.is_own_pidfd()? {
            return Ok(Inherited::default());
        }
        if TAKEN.load(Ordering::Acquire) {
            return Err(InheritError::AlreadyTaken);
        }
        let end = START.checked_add(number(FDS, fds)?);
        let end = end.ok_or(InheritError::InvalidVariable(FDS))?;
        let names = self.names(end - START)?;
        // SAFETY: the caller vouches that nothing else closes them.
        let descriptor = |fd| unsafe { borrow_raw(fd) };
        for fd in START..end {
            fcntl_getfd(descriptor(fd)).map_err(|_| InheritError::NotOpen(fd))?;
        }
        if end > START && TAKEN.swap(true, Ordering::AcqRel) {
            return Err(InheritError::AlreadyTaken);
        }
        for fd in START..end {
            fcntl_setfd(descriptor(fd), FdFlags::CLOEXEC).map_err(|errno| {
                // As they were when this program was executed.
                let _ =
                    (START..fd).try_for_each(|fd| fcntl_setfd(descriptor(fd), FdFlags::empty()));
                TAKEN.store(false, Ordering::Release);
                system_error(errno)
            })?;
        }
        Ok(Inherited { next: START, end, names })
    }

    /// Returns false if the sockets are for another process that had the same id.
    fn is_own_pidfd(&self) -> Result<bool, InheritError> {
        let Some(id) = self.pidfd_id else { return Ok(true) };
        let is_number = id.iter().all(u8::is_ascii_digit);
        let id = str::from_utf8(id).ok().filter(|_| is_number).and_then(|id| id.parse().ok());
        let id: u64 = id.ok_or(InheritError::InvalidVariable(PIDFD_ID))?;
        Ok(own_pidfd_id()?.is_none_or(|own| own == id))
    }

    /// Returns the names, if there are any and their number is right.
    fn names(&self, count: RawFd) -> Result<Option<&'e [u8]>, InheritError> {
        let Some(names) = self.names else { return Ok(None) };
        let found = if names.is_empty() { 0 } else { names.split(|byte| *byte == b':').count() };
        if usize::try_from(count) == Ok(found) && str::from_utf8(names).is_ok() {
            Ok(Some(names))
        } else {
            Err(InheritError::InvalidVariable(NAMES))
        }
    }
}

/// Returns the inode of this process's pidfd, if it is unique: `pidfd_open`, `fstatfs`, `fstat` and
/// `close`.
fn own_pidfd_id() -> Result<Option<u64>, InheritError> {
    /// The file system of pidfds since Linux 6.9. Before, their inode numbers are all the same.
    const PID_FS_MAGIC: u64 = 0x5049_4446;
    let pidfd = match pidfd_open(getpid(), PidfdFlags::empty()) {
        Err(io::Errno::NOSYS) => return Ok(None),
        pidfd => pidfd.map_err(system_error)?,
    };
    let file_system = fstatfs(borrow(&pidfd)).map_err(system_error)?;
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)] // differs by processor
    if file_system.f_type as u64 != PID_FS_MAGIC {
        return Ok(None);
    }
    #[allow(clippy::unnecessary_cast)] // differs by processor
    let inode = fstat(borrow(&pidfd)).map_err(system_error)?.st_ino as u64;
    Ok(Some(inode))
}

/// Returns a number of 1 to 10 digits.
fn number(variable: &'static str, text: &[u8]) -> Result<i32, InheritError> {
    let number = parse_number(text, 10, i32::MAX.cast_unsigned());
    number.and_then(|number| number.try_into().ok()).ok_or(InheritError::InvalidVariable(variable))
}

/// A socket to pass, and its name: printable ASCII without a colon.
pub type NamedFd<'s> = (BorrowedFd<'s>, &'s str);

/// Puts the descriptors at 3, 4 and so on, without close-on-exec, and returns the variables for the
/// program that this process is about to execute.
///
/// `LISTEN_PID` is this process. So to start a child, call it between `fork` and `exec`. It does
/// not allocate, and is async-signal-safe.
///
/// System calls: `getpid`, `pidfd_open`, `fstatfs`, `fstat` and `close` for `LISTEN_PIDFDID`, which
/// is left out if the kernel has no unique ids (before Linux 6.9); `fcntl(F_DUPFD_CLOEXEC)` of each
/// descriptor to a higher number, which replaces the one in `sockets`; then for each `dup2` and
/// `close`; and `getpid`.
///
/// `exec` keeps the signal mask. Block signals before this call, and let the new program unblock
/// them when its handlers are set. Call `current_exe` at the start: after an upgrade it can name a
/// deleted file.
///
/// # Errors
///
/// [`InheritError::InvalidVariable`] for a name that is empty or has a byte that is not allowed,
/// and [`InheritError::System`], such as `EMFILE`.
///
/// # Safety
///
/// For each socket, a descriptor from 3 on is replaced, even if something else owns it.
/// Nothing but the executed program may use them, or `sockets`, after this call, even if it fails.
///
/// ```no_run
/// use std::os::unix::process::CommandExt;
/// use netbind::fd::AsFd;
/// use netbind::inherit;
///
/// # let memory = bumpalo::Bump::new();
/// let listener = netbind::listen("127.0.0.1:8080", &memory)?;
/// let mut sockets = [(listener.as_fd(), "web")];
/// // SAFETY: the process executes the program or exits.
/// let variables = unsafe { inherit::pass(&mut sockets) }?;
/// let error = std::process::Command::new("/usr/bin/server")
///     .envs(variables.map(|variable| (variable.name(), variable.value().to_string())))
///     .exec();
/// eprintln!("{error}");
/// std::process::exit(126);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(unsafe_code)]
pub unsafe fn pass<'s>(sockets: &'s mut [NamedFd<'_>]) -> Result<Variables<'s>, InheritError> {
    let is_name_byte = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    if !sockets.iter().all(|(_, name)| !name.is_empty() && name.bytes().all(is_name_byte)) {
        return Err(InheritError::InvalidVariable(NAMES));
    }
    let end = RawFd::try_from(sockets.len()).ok().and_then(|count| START.checked_add(count));
    let end = end.ok_or(InheritError::InvalidVariable(FDS))?;
    let pidfd_id = own_pidfd_id()?;
    // Above all targets, so that no source is replaced before it is duplicated.
    for index in 0..sockets.len() {
        let (above, done) = match sockets.get_mut(index) {
            Some((fd, _)) => (fcntl_dupfd_cloexec(*fd, end), fd),
            None => break,
        };
        match above {
            // SAFETY: the duplicate stays open until it is closed below.
            Ok(above) => *done = unsafe { borrow_raw(above.into_raw_fd()) },
            Err(errno) => {
                sockets.iter().take(index).for_each(|(above, _)| close(*above));
                return Err(system_error(errno));
            }
        }
    }
    let mut result = Ok(());
    for (target, (above, _)) in (START..end).zip(sockets.iter()) {
        // SAFETY: the caller gives this number away, and the value is not dropped.
        let mut target = ManuallyDrop::new(unsafe { own_raw(target) });
        result = result.and(dup2(*above, &mut target));
        close(*above);
    }
    result.map_err(system_error)?;
    let sockets = &*sockets;
    let pid = getpid().as_raw_pid();
    let values = [
        Some(Value::Pid(pid)),
        pidfd_id.map(Value::PidfdId),
        Some(Value::Count(sockets.len())),
        Some(Value::Names(sockets)),
    ];
    Ok(Variables(values.into_iter().flatten()))
}

/// The variables for the program that is about to be executed.
#[derive(Clone, Debug)]
pub struct Variables<'s>(Flatten<IntoIter<Option<Value<'s>>, 4>>);

impl<'s> Iterator for Variables<'s> {
    type Item = Variable<'s>;

    fn next(&mut self) -> Option<Variable<'s>> {
        self.0.next().map(Variable)
    }
}

/// Closes a duplicate that [`pass`] has made.
fn close(fd: BorrowedFd<'_>) {
    // SAFETY: `pass` owns the duplicate, and does not use it any more.
    #[allow(unsafe_code)]
    drop(unsafe { own_raw(fd.as_raw_fd()) });
}

/// A variable of the environment. It prints as `NAME=VALUE`.
#[derive(Clone, Copy)]
pub struct Variable<'s>(Value<'s>);

#[derive(Clone, Copy)]
enum Value<'s> {
    Pid(i32),
    PidfdId(u64),
    Count(usize),
    Names(&'s [NamedFd<'s>]),
}

impl Variable<'_> {
    /// Returns the name, such as `"LISTEN_FDS"`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.0 {
            Value::Pid(_) => PID,
            Value::PidfdId(_) => PIDFD_ID,
            Value::Count(_) => FDS,
            Value::Names(_) => NAMES,
        }
    }

    /// Returns the value, to be printed.
    #[must_use]
    pub fn value(&self) -> impl fmt::Display {
        self.0
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::PidfdId(id) => id.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Names(sockets) => {
                for (index, (_, name)) in sockets.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { ":" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Variable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name(), self.0)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Variable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
