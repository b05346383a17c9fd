//! Users and groups: their look-up, and the change of this process to them.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::failure::Failure;
use crate::report::printable;

/// "No change" for `chown`.
const UNCHANGED: u32 = u32::MAX;

/// The most groups of a user on Linux.
const MAX_GROUPS: usize = 65536;

/// A user and the groups that this process changes to.
pub(crate) struct Identity {
    user: Option<Uid>,
    group: Gid,
    groups: Vec<Gid>,
}

/// An entry of the user database.
struct User {
    id: u32,
    /// The group and the name, if the user has an entry.
    entry: Option<(u32, CString)>,
}

/// Looks up the arguments of `--user` and `--group`.
pub(crate) fn identity(
    user: Option<&OsStr>,
    group: Option<&OsStr>,
) -> Result<Option<Identity>, Failure> {
    let user = user.map(look_up_user).transpose()?;
    let group = group.map(look_up_group).transpose()?;
    let Some(user) = user else {
        return Ok(group.map(|group| {
            let group = Gid::from_raw(group);
            Identity { user: None, group, groups: vec![group] }
        }));
    };
    let (group, groups) = match (group, &user.entry) {
        (group, Some((own, name))) => {
            let group = group.unwrap_or(*own);
            (group, groups_of(name, group)?)
        }
        (Some(group), None) => (group, vec![group]),
        (None, None) => {
            return Err(Failure::new(format!("user {} has no entry: add --group", user.id)));
        }
    };
    Ok(Some(Identity {
        user: Some(Uid::from_raw(user.id)),
        group: Gid::from_raw(group),
        groups: groups.into_iter().map(Gid::from_raw).collect(),
    }))
}

/// Looks up the argument of `--owner`: `USER`, `USER:GROUP` or `:GROUP`.
pub(crate) fn owner(text: &OsStr) -> Result<(u32, u32), Failure> {
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b':');
    let user = OsStr::from_bytes(parts.next().unwrap_or_default());
    let group = parts.next().map(OsStr::from_bytes);
    let user = match (user.is_empty(), group) {
        (true, Some(_)) => UNCHANGED,
        _ => look_up_user(user)?.id,
    };
    let group = group.map_or(Ok(UNCHANGED), look_up_group)?;
    Ok((user, group))
}

/// Parses a number. The largest one means "no change" to the kernel.
fn number(text: &OsStr) -> Option<u32> {
    let digits = text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|number| *number != UNCHANGED)
}

fn c_string(kind: &str, text: &OsStr) -> Result<CString, Failure> {
    CString::new(text.as_bytes()).map_err(|_| unknown(kind, text))
}

fn unknown(kind: &str, text: &OsStr) -> Failure {
    Failure::new(format!("unknown {kind} '{}'", printable(text.as_bytes())))
}

#[allow(unsafe_code)]
fn look_up_user(text: &OsStr) -> Result<User, Failure> {
    let number = number(text);
    let name = c_string("user", text)?;
    let found = match number {
        // SAFETY: no other thread uses the database.
        Some(number) => unsafe { libc::getpwuid(number) },
        // SAFETY: as above, and the name ends with a NUL.
        None => unsafe { libc::getpwnam(name.as_ptr()) },
    };
    // SAFETY: it is null, or an entry that is valid until the next look-up.
    let Some(found) = (unsafe { found.as_ref() }) else {
        let id = number.ok_or_else(|| unknown("user", text))?;
        return Ok(User { id, entry: None });
    };
    // SAFETY: the name of an entry ends with a NUL.
    let name = unsafe { CStr::from_ptr(found.pw_name) };
    Ok(User { id: found.pw_uid, entry: Some((found.pw_gid, name.into())) })
}

#[allow(unsafe_code)]
fn look_up_group(text: &OsStr) -> Result<u32, Failure> {
    if let Some(number) = number(text) {
        return Ok(number);
    }
    let name = c_string("group", text)?;
    // SAFETY: no other thread uses the database, and the name ends with a NUL.
    let found = unsafe { libc::getgrnam(name.as_ptr()) };
    // SAFETY: it is null, or an entry that is valid until the next look-up.
    let found = unsafe { found.as_ref() };
    found.map(|entry| entry.gr_gid).ok_or_else(|| unknown("group", text))
}

/// Returns the groups of a user, with this one.
fn groups_of(user: &CStr, group: u32) -> Result<Vec<u32>, Failure> {
    let mut groups = vec![0; MAX_GROUPS];
    let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the name ends with a NUL, and `groups` has room for `count` numbers.
    #[allow(unsafe_code)]
    let found =
        unsafe { libc::getgrouplist(user.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    match usize::try_from(count) {
        Ok(count) if found >= 0 => groups.truncate(count),
        _ => return Err(Failure::about("the groups of the user", "too many")),
    }
    Ok(groups)
}

impl Identity {
    /// Changes this process, which has one thread, to the user and the groups: `setgroups`,
    /// `setresgid`, `setresuid`. A user other than root keeps no privilege.
    pub(crate) fn assume(&self) -> Result<(), Failure> {
        let Self { user, group, groups } = self;
        let group = *group;
        set_thread_groups(groups).map_err(failed("setgroups"))?;
        set_thread_res_gid(group, group, group).map_err(failed("setresgid"))?;
        if let Some(user) = *user {
            set_thread_res_uid(user, user, user).map_err(failed("setresuid"))?;
            if !user.is_root() {
                drop_privileges().map_err(failed("capset"))?;
            }
        }
        if self.is_assumed() {
            Ok(())
        } else {
            Err(Failure::new("the kernel did not change the user and the groups"))
        }
    }

    fn is_assumed(&self) -> bool {
        let is_user = |user| getuid() == user && geteuid() == user;
        let mut expected = self.groups.clone();
        let mut groups = getgroups().unwrap_or_default();
        expected.sort_unstable_by_key(|group| group.as_raw());
        groups.sort_unstable_by_key(|group| group.as_raw());
        let has_privileges =
            capabilities(None).is_ok_and(|sets| !(sets.effective | sets.permitted).is_empty());
        let user_is_right =
            self.user.is_none_or(|user| is_user(user) && (user.is_root() || !has_privileges));
        user_is_right && getgid() == self.group && getegid() == self.group && groups == expected
    }
}

fn drop_privileges() -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn failed(call: &'static str) -> impl Fn(rustix::io::Errno) -> Failure {
    move |error| Failure::about(call, io::Error::from(error))
}
