//! Rulesets of [landlock(7)](https://man7.org/linux/man-pages/man7/landlock.7.html).

use core::ffi::CStr;

use rustix::fd::{AsRawFd, OwnedFd};

use super::error::EnforceError;
use super::sys::{self, call, system};
use crate::error::Errno;
use crate::linux::own_raw;

const BIND_TCP: u64 = 1;
const MAKE_SOCK: u64 = 1 << 9;
const REFER: u64 = 1 << 13;

const RULE_PATH_BENEATH: usize = 1;
const RULE_NET_PORT: usize = 2;

/// The first ABI that knows ports.
const NEEDED_ABI: i32 = 4;

/// `struct landlock_ruleset_attr` of ABI 4
#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// `struct landlock_net_port_attr`
#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

/// Returns an error unless the kernel's Landlock knows ports.
pub(super) fn require_abi() -> Result<(), EnforceError> {
    const VERSION: usize = 1;
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let abi = unsafe { call(sys::LANDLOCK_CREATE_RULESET, [0, 0, VERSION, 0, 0]) };
    let found = abi.unwrap_or(0);
    if found < NEEDED_ABI {
        let needs = "Landlock ABI 4 (Linux 6.7)";
        return Err(EnforceError::Unsupported { needs, found: found.cast_unsigned() });
    }
    Ok(())
}

/// A ruleset that is not in force yet.
pub(super) struct Ruleset(OwnedFd);

impl Ruleset {
    /// Makes a ruleset that forbids TCP binds, or making Unix sockets, or both.
    pub(super) fn new(ports: bool, paths: bool) -> Result<Self, EnforceError> {
        let attributes = RulesetAttributes {
            handled_access_fs: if paths { MAKE_SOCK | REFER } else { 0 },
            handled_access_net: if ports { BIND_TCP } else { 0 },
        };
        let (pointer, size) = (&raw const attributes as usize, size_of_val(&attributes));
        // SAFETY: the attributes have this size and outlive the call.
        #[allow(unsafe_code)]
        let fd = unsafe { call(sys::LANDLOCK_CREATE_RULESET, [pointer, size, 0, 0, 0]) }
            .map_err(system("landlock_create_ruleset"))?;
        // SAFETY: the kernel has just made this descriptor, which is close-on-exec.
        #[allow(unsafe_code)]
        let ruleset = Self(unsafe { own_raw(fd) });
        if paths {
            // Otherwise no file could be moved to another directory.
            ruleset.allow_beneath(c"/", REFER)?;
        }
        Ok(ruleset)
    }

    pub(super) fn allow_port(&self, port: u16) -> Result<(), EnforceError> {
        let rule = NetPort { allowed_access: BIND_TCP, port: port.into() };
        self.add_rule(RULE_NET_PORT, &raw const rule as usize)
    }

    /// Allows sockets in a directory and below.
    pub(super) fn allow_sockets_beneath(&self, directory: &CStr) -> Result<(), EnforceError> {
        self.allow_beneath(directory, MAKE_SOCK)
    }

    #[inline(never)] // so that the one assertion of rustix, see proofs/no-panic, is in one place
    fn allow_beneath(&self, directory: &CStr, access: u64) -> Result<(), EnforceError> {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(CWD, directory, flags, Mode::empty())
            .map_err(|errno| system("openat")(crate::linux::from_rustix(errno)))?;
        let rule = PathBeneath { allowed_access: access, parent_fd: parent.as_raw_fd() };
        self.add_rule(RULE_PATH_BENEATH, &raw const rule as usize)
    }

    fn add_rule(&self, kind: usize, rule: usize) -> Result<(), EnforceError> {
        let arguments = [self.number(), kind, rule, 0, 0];
        // SAFETY: both callers pass the structure of this kind, which outlives the call.
        #[allow(unsafe_code)]
        let added = unsafe { call(sys::LANDLOCK_ADD_RULE, arguments) };
        added.map(drop).map_err(system("landlock_add_rule"))
    }

    /// Restricts the calling thread, and the threads and processes that it makes from now on.
    pub(super) fn restrict_self(&self) -> Result<(), Errno> {
        // SAFETY: the call takes numbers only. It takes rights away.
        #[allow(unsafe_code)]
        unsafe { call(sys::LANDLOCK_RESTRICT_SELF, [self.number(), 0, 0, 0, 0]) }.map(drop)
    }

    #[allow(clippy::cast_sign_loss)] // a descriptor is not negative
    fn number(&self) -> usize {
        self.0.as_raw_fd() as usize
    }
}
