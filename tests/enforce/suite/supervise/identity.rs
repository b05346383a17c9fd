//! The supervisor makes a file as the thread that asks, and stays who it is.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::ptr;

use libc::{AF_INET, SOCK_STREAM};
use netbind::NetBind;
use netbind::enforce::Outcome as Came;
use netbind::error::Errno;
use tempfile::TempDir;

use super::super::harness::{End, await_condition, become_nobody, is_root};
use super::super::probe::{self, Outcome, capability, check, name_of, socket};
use super::super::supervised::wait;
use super::{address, bind, bind_new, listen, sleep, start, supervise, unix, wake};

const NOBODY: u32 = 65534;
const REFUSED: Outcome = Err(Errno::ACCESS);

/// Makes a directory that everyone can read, with the directories `in` and `out`.
fn directory() -> TempDir {
    let directory = probe::directory();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    for name in ["in", "out"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    directory
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn set_owner(path: &Path, user: u32, group: u32) {
    std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
}

fn owner(path: &Path) -> (u32, u32) {
    let file = path.symlink_metadata().unwrap();
    (file.uid(), file.gid())
}

fn set_groups(groups: &[u32]) {
    // SAFETY: the groups have this length and outlive the call.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }.into()).unwrap();
}

/// Becomes an ordinary user with these groups.
fn become_member(groups: &[u32]) {
    set_groups(groups);
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }.into()).unwrap();
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }.into()).unwrap();
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }.into()).unwrap();
}

fn unshare(flags: i32) {
    // SAFETY: what the thread has of its own from now on is no concern of Rust.
    check(unsafe { libc::unshare(flags) }.into()).unwrap();
}

pub(super) fn the_file_belongs_to_the_user_of_the_child() {
    let directory = directory();
    let d = directory.path();
    set_mode(&d.join("in"), 0o777);
    supervise(&capability(&["any-path"]), || {
        assert_eq!(bind_new(&unix(d, "in/root")), Ok(()));
        become_nobody().unwrap();
        assert_eq!(bind_new(&unix(d, "in/nobody")), Ok(()));
    });
    assert_eq!(owner(&d.join("in/root")), (0, 0));
    assert_eq!(owner(&d.join("in/nobody")), (NOBODY, NOBODY));
}

pub(super) fn the_privileges_of_the_supervisor_are_not_used() {
    let directory = directory();
    let d = directory.path();
    set_owner(&d.join("out"), NOBODY, 0);
    set_mode(&d.join("out"), 0o555);
    let answers = supervise(&capability(&["any-path"]), || {
        become_nobody().unwrap();
        for name in ["in/s", "out/s", "s"] {
            assert_eq!(bind_new(&unix(d, name)), REFUSED, "{name}");
        }
    });
    assert!(answers.iter().all(|a| a.outcome == Came::Failed(Errno::ACCESS)), "{answers:?}");
    assert!(["in/s", "out/s", "s"].iter().all(|name| !d.join(name).exists()));
}

pub(super) fn supplementary_groups_give_access() {
    let directory = directory();
    let d = directory.path();
    for name in ["in", "out"] {
        set_owner(&d.join(name), 0, 4242);
    }
    set_mode(&d.join("in"), 0o770);
    set_mode(&d.join("out"), 0o2770);
    supervise(&capability(&["any-path"]), || {
        become_member(&[4241, 4242]);
        assert_eq!(bind_new(&unix(d, "in/s")), Ok(()));
        assert_eq!(bind_new(&unix(d, "out/s")), Ok(()));
    });
    assert_eq!(owner(&d.join("in/s")), (NOBODY, NOBODY));
    assert_eq!(owner(&d.join("out/s")), (NOBODY, 4242), "the directory has the setgid bit");
    // The supervisor is a member, and the child is not.
    set_groups(&[4242]);
    supervise(&capability(&["any-path"]), || {
        become_member(&[4241]);
        assert_eq!(bind_new(&unix(d, "in/t")), REFUSED);
    });
}

pub(super) fn too_many_groups_are_refused() {
    let directory = directory();
    let d = directory.path();
    set_mode(&d.join("in"), 0o777);
    for (count, expected) in [(64, Ok(())), (65, REFUSED)] {
        let groups: Vec<_> = (5000..5000 + count).collect();
        supervise(&capability(&["any-path", "port 8000"]), || {
            become_member(&groups);
            assert_eq!(bind_new(&unix(d, &format!("in/{count}"))), expected, "{count} groups");
            assert_eq!(bind_new("127.0.0.1:8000"), Ok(()), "no file is made");
        });
    }
}

/// A child with `CAP_DAC_OVERRIDE` may write where its user may not.
pub(super) fn capabilities_of_the_child_count() {
    let directory = directory();
    let d = directory.path();
    set_owner(&d.join("in"), 1, 1);
    set_mode(&d.join("in"), 0o700);
    supervise(&capability(&["any-path"]), || {
        assert_eq!(bind_new(&unix(d, "in/privileged")), Ok(()));
        // The effective set only. The user is still root.
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: rustix::thread::CapabilitySet::empty(),
                ..rustix::thread::capabilities(None).unwrap()
            },
        )
        .unwrap();
        assert_eq!(bind_new(&unix(d, "in/unprivileged")), REFUSED);
    });
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn chroot(directory: &Path) {
    std::os::unix::fs::chroot(directory).unwrap();
    std::env::set_current_dir("/").unwrap();
}

pub(super) fn in_another_root_only_any_path_allows_paths() {
    let directory = directory();
    let d = directory.path();
    let text = |rule: &str| rule.replace('D', d.to_str().unwrap());
    let rules = ["path /s", "path D/in/s", "beneath /", "beneath D"].map(text);
    let rules = rules.each_ref().map(String::as_str);
    let before = PathBuf::from("/s").exists();
    for (rules, expected) in [(&rules[..], REFUSED), (&["any-path"], Ok(()))] {
        let answers = supervise(&capability(rules), || {
            chroot(&d.join("in"));
            assert_eq!(bind_new("unix:/s"), expected, "{rules:?}");
            become_nobody().unwrap();
            assert_eq!(bind_new("unix:/t"), REFUSED, "{rules:?}");
        });
        let came = if expected.is_ok() { Came::Made } else { Came::Denied };
        assert_eq!(answers[0].outcome, came);
        assert_eq!(d.join("in/s").exists(), expected.is_ok());
    }
    assert_eq!(PathBuf::from("/s").exists(), before);
    // A child in a directory that it can leave by `..`, as the supervisor could.
    supervise(&capability(&["any-path"]), || {
        chroot(&d.join("in"));
        assert_eq!(bind_new("unix:../../x"), Ok(()));
    });
    assert!(d.join("in/x").exists() && !d.join("x").exists());
}

pub(super) fn a_mount_namespace_is_another_root() {
    let directory = directory();
    let d = directory.path();
    let beneath = format!("beneath {}", d.display());
    for (rule, expected) in [(&*beneath, REFUSED), ("any-path", Ok(()))] {
        supervise(&capability(&[rule]), || {
            unshare(libc::CLONE_NEWNS);
            let (root, target) = (c_path(Path::new("/")), c_path(&d.join("in")));
            let flags = libc::MS_REC | libc::MS_PRIVATE;
            let none = ptr::null();
            // SAFETY: the paths end with a NUL, and nothing else is read.
            let private = unsafe { libc::mount(none, root.as_ptr(), none, flags, none.cast()) };
            check(private.into()).unwrap();
            let tmpfs = c"tmpfs".as_ptr();
            // SAFETY: the texts end with a NUL, and nothing else is read.
            let mounted = unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, none.cast()) };
            check(mounted.into()).unwrap();
            assert_eq!(bind_new(&unix(d, "in/s")), expected, "{rule}");
            assert_eq!(d.join("in/s").exists(), expected.is_ok(), "{rule}");
        });
        assert!(!d.join("in/s").exists(), "it is in the file system of the child");
    }
}

pub(super) fn a_thread_has_its_own_working_directory() {
    let directory = directory();
    let d = directory.path();
    supervise(&capability(&["any-path"]), || {
        std::env::set_current_dir(d.join("in")).unwrap();
        let thread = || {
            unshare(libc::CLONE_FS);
            std::env::set_current_dir(d.join("out")).unwrap();
            bind_new("unix:s")
        };
        let made = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
        assert_eq!((made, bind_new("unix:t")), (Ok(()), Ok(())));
    });
    assert!(d.join("out/s").exists() && d.join("in/t").exists());
}

/// The number of a descriptor means another socket in a thread with its own table.
pub(super) fn a_thread_has_its_own_descriptors() {
    supervise(&capability(&["port 8000"]), || {
        let socket = || socket(AF_INET, SOCK_STREAM, 0).unwrap();
        let ours = socket();
        let thread = || {
            unshare(libc::CLONE_FILES);
            let theirs = socket();
            // SAFETY: in this thread's table, the number of `ours` means `theirs` from now on.
            check(unsafe { libc::dup2(theirs.as_raw_fd(), ours.as_raw_fd()) }.into()).unwrap();
            bind(&ours, &address("127.0.0.1:8000")).unwrap();
            listen(&ours, 1).unwrap();
            name_of(&theirs).port()
        };
        let port = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
        assert_eq!((port, name_of(&ours).port()), (8000, 0), "the port of each socket");
    });
}

/// The first thread of a process can end before the others. Then the process has no files.
pub(super) fn a_thread_outlives_the_first_one() {
    let directory = directory();
    let d = directory.path().to_owned();
    supervise(&capability(&["port 8000", "any-path"]), || {
        let first = std::process::id();
        std::thread::spawn(move || {
            await_condition("the end of the first thread", || {
                let state = fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
                state.rsplit_once(')').unwrap().1.starts_with(" Z")
            });
            let bound = (bind_new("127.0.0.1:8000"), bind_new(&unix(&d, "in/s")));
            // SAFETY: the call does not return.
            unsafe { libc::_exit((bound != (Ok(()), Ok(()))).into()) };
        });
        // SAFETY: this thread ends here, and what it has is not used by the other one.
        unsafe { libc::syscall(libc::SYS_exit, 1) };
    });
    assert!(directory.path().join("in/s").exists());
}

/// What the supervisor's thread must keep.
fn own_state() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let keys = ["Umask:", "Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    let lines = status.lines().filter(|line| keys.iter().any(|key| line.starts_with(key)));
    let directories = ["cwd", "root"].map(|name| {
        fs::read_link(format!("/proc/thread-self/{name}")).unwrap().display().to_string()
    });
    lines.map(str::to_owned).chain(directories).collect()
}

fn effective(state: &[String]) -> u64 {
    let line = state.iter().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

/// Binds as many identities as this user can have. Each is another one than the supervisor's.
fn change_identity_and_bind(directory: &Path) {
    // SAFETY: the call takes only a number.
    unsafe { libc::umask(0o123) };
    std::env::set_current_dir(directory.join("in")).unwrap();
    bind_new("unix:own").unwrap();
    assert_eq!(bind_new("unix:own"), Err(Errno::ADDRINUSE));
    assert_eq!(bind_new("unix:missing/s"), Err(Errno::NOENT));
    if is_root() {
        chroot(&directory.join("in"));
        bind_new("unix:/chroot").unwrap();
        assert_eq!(bind_new("unix:/missing/s"), Err(Errno::NOENT));
        become_member(&[7, 8, 9]);
        bind_new("unix:/nobody").unwrap();
        assert_eq!(bind_new("unix:/nobody"), Err(Errno::ADDRINUSE));
    }
}

pub(super) fn the_supervisor_stays_who_it_is() {
    let directory = directory();
    let d = directory.path();
    set_mode(&d.join("in"), 0o777);
    // SAFETY: the call takes only a number.
    unsafe { libc::umask(0o027) };
    std::env::set_current_dir(d.join("out")).unwrap();
    if is_root() {
        set_groups(&[5, 6]);
    }
    let before = own_state();
    let rules = capability(&["any-path", "port 8000"]);
    let mut pair = start(&rules, || {
        bind_new("127.0.0.1:8000").unwrap();
        change_identity_and_bind(d);
    });
    pair.supervisor.step().unwrap().expect("the first bind");
    let reduced = own_state();
    let sys_ptrace = effective(&before) & 1 << 19;
    assert_eq!(effective(&reduced), sys_ptrace, "only what is needed to look at others");
    let without = |state: &[String]| -> HashSet<String> {
        state.iter().filter(|line| !line.starts_with("CapEff")).cloned().collect()
    };
    assert_eq!(without(&reduced), without(&before));
    let mut answers = Vec::new();
    while let Some(answered) = pair.supervisor.step().unwrap() {
        assert_eq!(own_state(), reduced, "after {answered:?}");
        answers.push(answered);
    }
    assert_eq!(answers.len(), if is_root() { 7 } else { 3 });
    drop(pair.supervisor);
    assert_eq!(own_state(), before, "after the end");
    assert_eq!(wait(pair.child), End::Exited(0));
    assert_privileges_return(&rules, &before);
}

/// The privileges come back if the supervisor is dropped while the child still runs.
fn assert_privileges_return(capability: &NetBind<'_>, before: &[String]) {
    let (asleep, waker) = std::io::pipe().unwrap();
    let mut pair = start(capability, || {
        bind_new("127.0.0.1:8000").unwrap();
        sleep(&asleep);
    });
    pair.supervisor.step().unwrap().expect("a bind");
    drop(pair.supervisor);
    assert_eq!(own_state(), before, "after the drop");
    wake(&waker);
    assert_eq!(wait(pair.child), End::Exited(0));
}
