//! What a restriction leaves behind: no memory, no descriptor, no process and no signal.
#![allow(unsafe_code)]

use std::ptr;

use netbind::NetBind;
use netbind::enforce::{Confinement, Gaps, Seal};
use netbind::error::Errno;

use super::harness::{Case, case};
use super::memory;
use super::probe::{Outcome, capability, check, descriptors, directory, grant};

pub(crate) const CASES: &[Case] = &[
    case!(a_confinement_leaves_nothing_behind),
    case!(a_refusal_leaves_nothing_behind),
    case!(a_seal_leaves_nothing_behind),
    case!(a_parent_that_ignores_its_children_can_be_confined),
];

/// Runs `body`, and asserts that it uses no memory and leaves nothing behind.
fn assert_quiet<T>(what: &str, body: impl FnOnce() -> T) -> T {
    let old_mask = block_sigchld();
    let (descriptors_before, before) = (descriptors(), memory::requests());
    let value = body();
    assert_eq!(memory::requests() - before, 0, "{what}: requests for memory");
    assert_eq!(descriptors(), descriptors_before, "{what}: descriptors");
    assert_eq!(wait_for_any(), Err(Errno::from_raw_os_error(libc::ECHILD).unwrap()), "{what}");
    assert!(!is_sigchld_pending(), "{what}: a signal");
    // SAFETY: the set outlives the call.
    let set = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const old_mask, ptr::null_mut()) };
    check(set.into()).unwrap();
    value
}

/// Blocks SIGCHLD, and returns the signals that were blocked before.
fn block_sigchld() -> libc::sigset_t {
    // SAFETY: a set of signals can be zero.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut old = set;
    // SAFETY: the set outlives the call.
    check(unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) }.into()).unwrap();
    // SAFETY: the sets outlive the call.
    let blocked = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut old) };
    check(blocked.into()).unwrap();
    old
}

fn is_sigchld_pending() -> bool {
    // SAFETY: a set of signals can be zero.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the call.
    check(unsafe { libc::sigpending(&raw mut set) }.into()).unwrap();
    // SAFETY: the set outlives the call.
    unsafe { libc::sigismember(&raw const set, libc::SIGCHLD) == 1 }
}

/// Waits for any child, also for one that sends no signal, without blocking.
fn wait_for_any() -> Outcome {
    let flags = libc::__WALL | libc::WNOHANG;
    // SAFETY: no status is written.
    check(unsafe { libc::waitpid(-1, ptr::null_mut(), flags) }.into()).map(drop)
}

fn with_family(body: impl FnOnce(&NetBind<'_>)) {
    let directory = directory();
    let beneath = format!("beneath {}", directory.path().display());
    let parent = capability(&["port 8000-8100", &beneath, "any-abstract"]);
    let mut child = parent.child("child").unwrap();
    grant(&mut child, &["port 8080", &beneath, "any-abstract"]);
    body(&child);
}

fn a_confinement_leaves_nothing_behind() {
    with_family(|capability| {
        let confinement = Confinement::new(capability).tolerate(Gaps::EPHEMERAL_LISTEN);
        let gaps = assert_quiet("gaps", || confinement.gaps());
        assert_eq!(gaps, Ok(Gaps::EPHEMERAL_LISTEN));
        assert_eq!(assert_quiet("apply", || confinement.apply()), Ok(()));
    });
}

fn a_refusal_leaves_nothing_behind() {
    with_family(|capability| {
        let refused = assert_quiet("a gap", || Confinement::new(capability).apply());
        assert!(refused.is_err());
    });
    let missing = capability(&["port 8080", "beneath /does/not/exist"]);
    let refused = assert_quiet("ENOENT", || Confinement::new(&missing).gaps());
    assert!(refused.is_err());
}

fn a_seal_leaves_nothing_behind() {
    for seal in [Seal::Listening, Seal::Sockets] {
        assert_eq!(assert_quiet("gaps", || seal.gaps()), Gaps::empty());
        assert_eq!(assert_quiet("apply", || seal.apply()), Ok(()));
    }
}

fn a_parent_that_ignores_its_children_can_be_confined() {
    // SAFETY: no handler is set.
    assert_ne!(unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) }, libc::SIG_ERR);
    with_family(|capability| {
        let confinement = Confinement::new(capability).tolerate(Gaps::EPHEMERAL_LISTEN);
        assert_eq!(assert_quiet("apply", || confinement.apply()), Ok(()));
    });
}
