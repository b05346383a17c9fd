//! The supervised side.

use core::mem::MaybeUninit;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::enforce::bpf::{Answer, Field, Program};
use crate::enforce::error::EnforceError;
use crate::enforce::gaps::Gaps;
use crate::enforce::landlock::Ruleset;
use crate::enforce::sys::{number, set_no_new_privs, system};
use crate::enforce::{seccomp, tasks};
use crate::error::Errno;
use crate::linux::{borrow, from_rustix};

/// The right to put a process under a [`Supervisor`](super::Supervisor), between `fork` and `exec`.
///
/// [`Supervisor::new`](super::Supervisor::new) makes it. The process and all that it starts stay
/// under the supervisor. The supervisor's process should drop its copy after the fork.
#[derive(Debug)]
pub struct Supervised {
    channel: OwnedFd,
}

impl Supervised {
    pub(super) const fn new(channel: OwnedFd) -> Self {
        Self { channel }
    }

    /// Puts this process under its supervisor: `prctl(PR_SET_NO_NEW_PRIVS)`,
    /// `landlock_create_ruleset`, `landlock_restrict_self`, `seccomp`, and `sendmsg` of the
    /// notification descriptor. Before them it looks for an `io_uring`.
    ///
    /// From now on `bind` and `listen` wait for the supervisor. `enter` makes only system calls, so
    /// it may run after `fork` in a process with threads. It does not wait for the supervisor.
    ///
    /// Like its parent, the process is not dumpable until `exec`, so a supervisor without
    /// `CAP_SYS_PTRACE` refuses its calls. A process that does not execute a program must
    ///
    /// - drop its copy of the `Supervisor` before, with which it could answer its own calls;
    /// - call `prctl(PR_SET_DUMPABLE, 1)`.
    ///
    /// # Errors
    ///
    /// - [`EnforceError::Gaps`] if the process has other threads ([`Gaps::THREADS`]) or an
    ///   `io_uring` ([`Gaps::IO_URING`]).
    /// - [`EnforceError::System`], such as `seccomp` with `EBUSY` in a process that is supervised
    ///   already.
    ///
    /// The process should then end. It may be restricted in part, and its binds may fail.
    pub fn enter(&self) -> Result<(), EnforceError> {
        let mut gaps = tasks::io_uring_gap();
        gaps.set(Gaps::THREADS, tasks::has_other_threads());
        if !gaps.is_empty() {
            return Err(EnforceError::Gaps(gaps));
        }
        set_no_new_privs()?;
        // The kernel refuses binds of TCP even if the filter had a hole, and does not let the
        // process trace its supervisor.
        let ruleset = Ruleset::new(true, false)?;
        ruleset.restrict_self().map_err(system("landlock_restrict_self"))?;
        let notifications = seccomp::install_with_notifications(&program())?;
        send(borrow(&self.channel), borrow(&notifications))
    }
}

#[cfg(feature = "std")]
impl Supervised {
    /// Starts a program under its supervisor: `enter` between `fork` and `exec`.
    ///
    /// # Errors
    ///
    /// Those of `Command::spawn`, and those of [`enter`](Self::enter) by their errno.
    pub fn spawn(self, mut command: std::process::Command) -> std::io::Result<std::process::Child> {
        use std::os::unix::process::CommandExt;

        let enter = move || self.enter().map_err(Into::into);
        // SAFETY: after the fork, `enter` makes system calls only.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(enter)
        };
        command.spawn()
    }
}

fn program() -> Program {
    let mut program = seccomp::common_rules();
    program.load(Field::Number).if_equal(number::BIND, Answer::Notify);
    program.if_equal(number::LISTEN, Answer::Notify);
    program.block(number::SOCKET, &seccomp::sockets(true)).answer(Answer::Allow);
    program
}

fn send(channel: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> Result<(), EnforceError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = loop {
        match sendmsg(channel, &[IoSlice::new(b"\0")], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => break sent,
        }
    };
    sent.map(drop).map_err(|errno| system("sendmsg")(from_rustix(errno)))
}

/// Receives the notification descriptor of a child: `recvmsg`. It is `None` if no child will come.
#[inline(never)] // so that the assertions of rustix, see proofs/no-panic, are in one place
pub(super) fn receive(channel: &OwnedFd) -> Result<Option<OwnedFd>, EnforceError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(borrow(channel), &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(system("recvmsg")(from_rustix(errno))),
        }
    };
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    match descriptors.flatten().next() {
        None if received > 0 => Err(system("recvmsg")(Errno::MFILE)), // no descriptor was free
        descriptor => Ok(descriptor),
    }
}
