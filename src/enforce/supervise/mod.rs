//! Supervision: a broker makes the binds of programs that do not know this crate.

mod child;
mod identity;
mod judge;
mod notify;
mod socket;
mod target;

use core::fmt;
use core::marker::PhantomData;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub use self::child::Supervised;
use self::identity::Own;
use self::judge::{Chosen, Judge};
use self::notify::Notifications;
use super::error::EnforceError;
use super::landlock;
use super::sys::{call, number, system};
use crate::address::BindAddress;
use crate::capability::NetBind;
use crate::error::Errno;
use crate::linux::{borrow, from_rustix};

/// A broker that makes the binds of a process and of all that it starts.
///
/// The programs need not know this crate. When one of them calls `bind` or `listen`, its thread
/// waits, and [`step`](Self::step) decides with [`NetBind`]'s own function. It makes the call itself
/// on a duplicate of the descriptor, with its own copy of the address, so a program that changes
/// either meanwhile gains nothing. If the supervisor ends, `bind` and `listen` fail with `ENOSYS`.
///
/// - TCP sockets and Unix sockets are judged by the rules. `listen` is judged too: a TCP socket that
///   is not bound is port 0. A socket whose port the kernel chose is judged as port 0 again; of such
///   sockets the newest 256 are known.
/// - UDP sockets are judged by the same rules after [`allow_udp`](Self::allow_udp), and refused
///   otherwise. A UDP bind to port 0 is always allowed, because a UDP socket gets such a port without
///   a bind too.
/// - A path in another root directory (`chroot`, or a mount namespace) and a relative path are
///   allowed by `any-path` only. A path that ends the address without a NUL, and an abstract name
///   with a NUL in it, are refused. Links and mounts are not looked at.
/// - A file of a Unix path is made with the identity of the thread: its users, groups, privileges,
///   directories and umask. An identity with more than 64 groups, or that the supervisor has no
///   privilege for, is refused.
/// - Route netlink, which name look-ups need, is allowed. MPTCP, raw, packet and other sockets
///   cannot be made, `io_uring` answers `ENOSYS`, and programs for another ABI of the processor are
///   killed.
///
/// Refused calls return `EACCES`. The sinks of the capability get `check_bind_address` for each bind
/// and each refused `listen`, and `bind_socket` for each socket that was bound. There is no record of
/// a UDP bind to port 0, of a netlink bind, and of a socket or an address that cannot be judged.
///
/// It does not stop:
///
/// - sockets that listen already, or that are received over a Unix socket;
/// - `connect` and `sendto`, which give a socket a port. With the option `IP_LOCAL_PORT_RANGE` the
///   program can choose it within `net.ipv4.ip_local_port_range`, as for a bind to port 0.
///
/// To programs, it differs from the kernel in this: the peer of a Unix listener sees the supervisor
/// in `SO_PEERCRED`; set-user-id programs get no privileges; and a program that makes the supervisor
/// wait, for example by memory that another process serves, stops the binds of its own supervisor.
/// Use one supervisor for each program. It cannot be nested.
///
/// It needs Linux 6.7 with Landlock and seccomp, and `/proc`.
///
/// ```no_run
/// use std::process::Command;
///
/// use netbind::NetBind;
/// use netbind::enforce::Supervisor;
///
/// let capability = NetBind::new("web")?;
/// let (mut supervisor, supervised) = Supervisor::new(&capability)?;
/// let mut command = Command::new("python3");
/// command.args(["-m", "http.server", "8000"]);
/// # #[cfg(feature = "std")]
/// # {
/// let mut child = supervised.spawn(command)?;
/// while let Some(answered) = supervisor.step()? {
///     println!("{answered:?}");
/// }
/// child.wait()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Supervisor<'c> {
    capability: &'c NetBind<'c>,
    allows_udp: bool,
    lends_ports: bool,
    state: State,
    chosen: Chosen,
    /// Not `Send`: the thread that makes the first step has the identity that is changed.
    thread: PhantomData<*mut ()>,
}

#[allow(clippy::large_enum_variant)] // there is one value
enum State {
    /// No child has entered yet.
    Waiting(OwnedFd),
    Running(Notifications, Own),
    Ended,
}

/// A call of a supervised thread that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The id of the thread. For a process with one thread it is the id of the process.
    pub thread: u32,
    /// The call.
    pub call: SocketCall,
    /// The address, if there is one that [`BindAddress`] has a form for.
    pub address: Option<BindAddress>,
    /// What came of it.
    pub outcome: Outcome,
}

/// The supervised system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketCall {
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
    Bind,
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html)
    Listen,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The call was made.
    Made,
    /// The capability does not allow the address, or the supervisor cannot judge it. The program
    /// gets `EACCES`.
    Denied,
    /// The kernel refused the call with this errno.
    Failed(Errno),
}

impl<'c> Supervisor<'c> {
    /// Prepares the supervision of one child and all that it starts: `socketpair`,
    /// `prctl(PR_SET_DUMPABLE, 0)`.
    ///
    /// From now on this process leaves no core dumps, and other processes of the same user cannot
    /// trace it, so the child cannot either.
    ///
    /// # Errors
    ///
    /// - [`EnforceError::Unsupported`] without Landlock ABI 4 (Linux 6.7), user notifications of
    ///   seccomp, or `/proc`.
    /// - [`EnforceError::System`]
    pub fn new(capability: &'c NetBind<'c>) -> Result<(Self, Supervised), EnforceError> {
        landlock::require_abi()?;
        notify::require()?;
        identity::require()?;
        forbid_tracing()?;
        let flags = SocketFlags::CLOEXEC;
        let (own, childs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| system("socketpair")(from_rustix(errno)))?;
        let supervisor = Self {
            capability,
            allows_udp: false,
            lends_ports: false,
            state: State::Waiting(own),
            chosen: Chosen::default(),
            thread: PhantomData,
        };
        Ok((supervisor, Supervised::new(childs)))
    }

    /// Judges binds of UDP sockets by the rules, instead of refusing them.
    #[must_use]
    pub const fn allow_udp(mut self) -> Self {
        self.allows_udp = true;
        self
    }

    /// Lends the supervisor's `CAP_NET_BIND_SERVICE` for binds that the capability allows, so that a
    /// program without privileges can bind a port below 1024.
    #[must_use]
    pub const fn lend_privileged_ports(mut self) -> Self {
        self.lends_ports = true;
        self
    }

    /// Waits for one call of a supervised thread, and answers it. It returns `None` when the last
    /// supervised process has ended. It also does if the child ended without entering, but only when
    /// no process has the [`Supervised`] any more.
    ///
    /// All steps must be made by one thread. The first one gives the thread its own working
    /// directory, root and umask (`unshare(CLONE_FS)`), and takes the privileges from its effective
    /// set. Dropping the supervisor gives them back. The changes of privileges clear
    /// `PR_SET_PDEATHSIG` of the thread.
    ///
    /// [`descriptor`](Self::descriptor) can be polled together with others.
    ///
    /// # Errors
    ///
    /// [`EnforceError::System`] if the supervisor cannot go on. The binds of its programs fail from
    /// then on. If it could not go back from the identity of a program, the thread should end: it
    /// keeps a part of that identity, and does not get its privileges back.
    pub fn step(&mut self) -> Result<Option<Answered>, EnforceError> {
        let answered = self.try_step();
        if !matches!(answered, Ok(Some(_))) {
            self.state = State::Ended;
        }
        answered
    }

    /// Returns the descriptor that [`poll(2)`](https://man7.org/linux/man-pages/man2/poll.2.html)
    /// reports as soon as a step does not wait, by `POLLIN` or by `POLLHUP`. It is `None` after the
    /// end. The first step changes it.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Waiting(channel) => Some(borrow(channel)),
            State::Running(notifications, _) => Some(borrow(notifications.descriptor())),
            State::Ended => None,
        }
    }

    fn try_step(&mut self) -> Result<Option<Answered>, EnforceError> {
        if let State::Waiting(channel) = &self.state {
            let Some(notifications) = child::receive(channel)? else { return Ok(None) };
            self.state = State::Running(Notifications::new(notifications), Own::new()?);
        }
        let State::Running(notifications, own) = &self.state else { return Ok(None) };
        let Some(call) = notifications.receive()? else { return Ok(None) };
        let judge = Judge {
            capability: self.capability,
            allows_udp: self.allows_udp,
            lends_ports: self.lends_ports,
            notifications,
            own,
            chosen: &mut self.chosen,
        };
        judge.answer(&call).map(Some)
    }
}

impl fmt::Debug for Supervisor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("capability", &self.capability)
            .field("allows_udp", &self.allows_udp)
            .field("lends_ports", &self.lends_ports)
            .finish_non_exhaustive()
    }
}

/// Keeps processes of the same user from tracing this one.
fn forbid_tracing() -> Result<(), EnforceError> {
    const PR_SET_DUMPABLE: usize = 4;
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let set = unsafe { call(number::PRCTL, [PR_SET_DUMPABLE, 0, 0, 0, 0]) };
    set.map(drop).map_err(system("prctl(PR_SET_DUMPABLE)"))
}
