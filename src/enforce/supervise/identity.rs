//! The identity with which a thread makes files: its users, groups, Linux capabilities, directories
//! and umask.
//!
//! The supervisor binds a Unix path as the supervised thread would have: it assumes this identity,
//! binds, and restores its own. Its thread shares no part of it with other threads.

use core::cell::Cell;
use core::ffi::CStr;
use core::fmt::Write;

use heapless::{String, Vec};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, StatxFlags, openat, stat, statx};
use rustix::io::{Errno as Io, read};
use rustix::process::{chroot, fchdir, umask};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups};

use crate::enforce::error::EnforceError;
use crate::enforce::sys::{call, number, system};
use crate::error::Errno;
use crate::linux::{borrow, from_rustix};

/// The most supplementary groups of a thread.
const GROUPS: usize = 64;

/// The effective Linux capabilities of the supervisor's thread between the calls that it makes. It
/// may look at other processes, and do nothing else that needs a capability.
const BASE: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// The identity of a thread.
pub(super) struct Identity {
    user: u32,
    group: u32,
    groups: Vec<Gid, GROUPS>,
    mask: u32,
    /// The effective capabilities, in the user namespace of the thread.
    capabilities: CapabilitySet,
    user_namespace: (u64, u64),
    root: OwnedFd,
    root_id: (u64, u64, u64),
    working_directory: OwnedFd,
}

/// The lines of `/proc/TID/status` that are read here.
#[derive(Default)]
struct Status {
    process: Option<u32>,
    mask: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    groups: Option<Vec<Gid, GROUPS>>,
    capabilities: Option<u64>,
}

impl Identity {
    /// Reads the identity of a thread from `/proc`: `openat` of its root, working directory and
    /// status, `read` of the status, `stat` of its user namespace, and `statx` of its root.
    pub(super) fn of(thread: Thread) -> Result<Self, Errno> {
        let open = |name, flags| thread.open(name, flags);
        let directory = OFlags::PATH | OFlags::DIRECTORY;
        let (root, working_directory) = (open("root", directory)?, open("cwd", directory)?);
        let status = Status::of(thread)?;
        let missing = Errno::ACCESS;
        Ok(Self {
            user: status.user.ok_or(missing)?,
            group: status.group.ok_or(missing)?,
            groups: status.groups.ok_or(missing)?,
            mask: status.mask.ok_or(missing)?,
            capabilities: CapabilitySet::from_bits_retain(status.capabilities.ok_or(missing)?),
            user_namespace: thread.user_namespace()?,
            root_id: root_id(&root)?,
            root,
            working_directory,
        })
    }

    /// Returns true if absolute paths mean the same for both.
    pub(super) fn has_root_of(&self, other: &Self) -> bool {
        self.root_id == other.root_id
    }

    pub(super) fn working_directory(&self) -> BorrowedFd<'_> {
        borrow(&self.working_directory)
    }

    /// Returns the Linux capabilities, or none if the other one is in another user namespace.
    fn capabilities_in_namespace_of(&self, other: &Self) -> CapabilitySet {
        if self.user_namespace == other.user_namespace {
            self.capabilities
        } else {
            CapabilitySet::empty()
        }
    }
}

/// A thread in `/proc`.
#[derive(Clone, Copy)]
pub(super) enum Thread {
    Own,
    Other(u32),
}

impl Thread {
    fn open(self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = self.path(name).ok_or(Errno::NAMETOOLONG)?;
        let path = CStr::from_bytes_until_nul(path.as_bytes()).unwrap_or(c"");
        openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(from_rustix)
    }

    /// Returns the identity of the user namespace: `stat`.
    fn user_namespace(self) -> Result<(u64, u64), Errno> {
        let path = self.path("ns/user").ok_or(Errno::NAMETOOLONG)?;
        let path = CStr::from_bytes_until_nul(path.as_bytes()).unwrap_or(c"");
        let stat = stat(path).map_err(from_rustix)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Returns the path of a file, with a NUL at the end.
    fn path(self, name: &str) -> Option<String<40>> {
        let mut path = String::new();
        match self {
            Self::Own => write!(path, "/proc/thread-self/{name}\0").ok()?,
            Self::Other(thread) => write!(path, "/proc/{thread}/{name}\0").ok()?,
        }
        Some(path)
    }
}

/// Returns an error unless the own identity can be read.
pub(super) fn check_support() -> Result<(), EnforceError> {
    let unsupported = EnforceError::Unsupported {
        needs: "/proc, and at most 64 groups of the supervisor",
        found: 0,
    };
    Identity::of(Thread::Own).map(drop).map_err(|_| unsupported)
}

/// Returns the process of a thread.
pub(super) fn process_of(thread: u32) -> Result<u32, Errno> {
    Status::of(Thread::Other(thread))?.process.ok_or(Errno::ACCESS)
}

/// Returns the effective capabilities of a thread, if its user namespace is that of `other`.
pub(super) fn capabilities_of(thread: u32, other: &Identity) -> Result<CapabilitySet, Errno> {
    let thread = Thread::Other(thread);
    let capabilities = Status::of(thread)?.capabilities.ok_or(Errno::ACCESS)?;
    if thread.user_namespace()? == other.user_namespace {
        Ok(CapabilitySet::from_bits_retain(capabilities))
    } else {
        Ok(CapabilitySet::empty())
    }
}

impl Status {
    fn of(thread: Thread) -> Result<Self, Errno> {
        let file = thread.open("status", OFlags::RDONLY)?;
        let mut text = [0; 4096];
        let mut length = 0;
        // One read returns the whole file, if the buffer is large enough.
        while let Some(room) = text.get_mut(length..)
            && !room.is_empty()
        {
            match read(borrow(&file), room) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Io::INTR) => {}
                Err(errno) => return Err(from_rustix(errno)),
            }
        }
        Ok(Self::parse(text.get(..length).unwrap_or_default()))
    }

    /// Reads the complete lines. A line that is malformed or missing leaves `None`.
    fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let Some((key, values)) =
                core::str::from_utf8(line).ok().and_then(|l| l.split_once(':'))
            else {
                continue;
            };
            let mut values = values.split_ascii_whitespace();
            // The fourth id is the one for files.
            let mut id_for_files = || values.nth(3)?.parse().ok();
            match key {
                "Tgid" => status.process = values.next().and_then(|value| value.parse().ok()),
                "Uid" => status.user = id_for_files(),
                "Gid" => status.group = id_for_files(),
                "Umask" => {
                    let value = values.next();
                    status.mask = value.and_then(|value| u32::from_str_radix(value, 8).ok());
                }
                "CapEff" => {
                    let value = values.next();
                    status.capabilities =
                        value.and_then(|value| u64::from_str_radix(value, 16).ok());
                }
                "Groups" => {
                    let mut groups = Vec::new();
                    let complete = values
                        .try_for_each(|value| groups.push(Gid::from_raw(value.parse().ok()?)).ok());
                    status.groups = complete.map(|()| groups);
                }
                _ => {}
            }
        }
        status
    }
}

/// Returns device, inode and mount id of a root directory. The same directory can be mounted twice.
fn root_id(root: &OwnedFd) -> Result<(u64, u64, u64), Errno> {
    let flags = StatxFlags::INO | StatxFlags::MNT_ID;
    let stat = statx(borrow(root), c"", AtFlags::EMPTY_PATH, flags).map_err(from_rustix)?;
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    Ok((device, stat.stx_ino, stat.stx_mnt_id))
}

/// The supervisor's own identity, and the way to another one and back.
pub(super) struct Own {
    pub(super) identity: Identity,
    sets: CapabilitySets,
    /// Set while the thread has another identity, and if it could not restore its own.
    is_lost: Cell<bool>,
}

impl Own {
    /// Separates the thread from the working directory, root and umask of the others, and gives up
    /// its Linux capabilities: `unshare(CLONE_FS)`, `capget`, `capset`.
    pub(super) fn new() -> Result<Self, EnforceError> {
        const CLONE_FS: usize = 0x200;
        // SAFETY: from now on this thread has its own working directory, root and umask.
        #[allow(unsafe_code)]
        unsafe { call(number::UNSHARE, [CLONE_FS, 0, 0, 0, 0]) }.map_err(system("unshare"))?;
        let identity = Identity::of(Thread::Own).map_err(system("openat(/proc/thread-self)"))?;
        let sets = rustix::thread::capabilities(None)
            .map_err(|errno| system("capget")(from_rustix(errno)))?;
        let own = Self { identity, sets, is_lost: Cell::new(false) };
        own.set_privileges(own.sets.effective & BASE).map_err(system("capset"))?;
        Ok(own)
    }

    /// Runs `body` with these Linux capabilities, as far as the supervisor has them.
    pub(super) fn with_privileges<T>(
        &self,
        privileges: CapabilitySet,
        body: impl FnOnce() -> T,
    ) -> Result<T, EnforceError> {
        let kept = self.sets.effective & BASE;
        self.set_privileges(privileges & self.sets.permitted | kept).map_err(system("capset"))?;
        let result = body();
        self.set_privileges(kept).map_err(system("capset"))?;
        Ok(result)
    }

    /// Runs `body` with this identity, and restores the own one. It is `None` if the identity cannot
    /// be assumed. If the own one cannot be restored, `undo` runs before the capabilities are given
    /// up.
    pub(super) fn with_identity<T>(
        &self,
        other: &Identity,
        body: impl FnOnce() -> T,
        undo: impl FnOnce(T),
    ) -> Result<Option<T>, EnforceError> {
        self.is_lost.set(true);
        let result = self.assume(other).ok().map(|()| body());
        if let Err(errno) = self.restore(other) {
            if let Some(result) = result {
                undo(result);
            }
            let _ = self.set_privileges(self.sets.effective & BASE);
            return Err(system("restoring the identity of the supervisor")(errno));
        }
        self.is_lost.set(false);
        Ok(result)
    }

    /// Assumes an identity. If it fails, a part of it may be assumed.
    fn assume(&self, other: &Identity) -> Result<(), Errno> {
        self.set_privileges(self.sets.effective)?;
        switch(&self.identity, other)?;
        let privileges = other.capabilities_in_namespace_of(&self.identity);
        self.set_privileges(privileges & self.sets.permitted)
    }

    /// Restores the own identity, as far as possible.
    fn restore(&self, other: &Identity) -> Result<(), Errno> {
        let raised = self.set_privileges(self.sets.effective);
        raised.and(switch(other, &self.identity))?;
        self.set_privileges(self.sets.effective & BASE)
    }

    fn set_privileges(&self, effective: CapabilitySet) -> Result<(), Errno> {
        set_capabilities(None, CapabilitySets { effective, ..self.sets }).map_err(from_rustix)
    }
}

impl Drop for Own {
    /// Gives the thread its Linux capabilities back, unless it has a part of another identity.
    fn drop(&mut self) {
        if !self.is_lost.get() {
            let _ = self.set_privileges(self.sets.effective);
        }
    }
}

/// Makes every change, also after one that failed, and returns the first error.
fn switch(from: &Identity, to: &Identity) -> Result<(), Errno> {
    let directory = |directory| fchdir(borrow(directory)).map_err(from_rustix);
    let mut changed = Ok(());
    let mut then = |result: Result<(), Errno>| changed = changed.and(result);
    if !from.has_root_of(to) {
        then(directory(&to.root).and_then(|()| chroot(c".").map_err(from_rustix)));
    }
    then(directory(&to.working_directory));
    umask(Mode::from_raw_mode(to.mask));
    if from.groups != to.groups {
        then(set_thread_groups(&to.groups).map_err(from_rustix));
    }
    if from.group != to.group {
        then(set_id(number::SETFSGID, to.group));
    }
    if from.user != to.user {
        then(set_id(number::SETFSUID, to.user));
    }
    changed
}

/// Sets the user or group for files. The calls return the former id, also if they fail.
fn set_id(number: u32, id: u32) -> Result<(), Errno> {
    let set = |id: u32| {
        // SAFETY: the call takes a number only, and applies to this thread.
        #[allow(unsafe_code)]
        unsafe {
            call(number, [id as usize, 0, 0, 0, 0])
        }
    };
    set(id)?;
    if set(u32::MAX)?.cast_unsigned() == id { Ok(()) } else { Err(Errno::PERM) }
}
