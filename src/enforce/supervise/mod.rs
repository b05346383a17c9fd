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
use self::judge::{EphemeralSockets, Judge};
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
/// waits, and [`step`](Self::step) decides with [`NetBind`]'s own function. It makes the call
/// itself on a duplicate of the descriptor, with its own copy of the address. So it does not help a
/// program to change either in the meantime. If the supervisor ends, `bind` and `listen` fail with
/// `ENOSYS`.
///
/// - TCP sockets and Unix sockets are judged by the rules. `listen` is judged too; on an unbound
///   TCP socket it is judged as a bind to port 0. A socket that was bound to port 0 is judged as
///   port 0 at `listen` as well. The supervisor remembers the last 256 of them; an older one is
///   judged by its real port.
/// - UDP sockets are judged by the same rules after [`allow_udp`](Self::allow_udp), and refused
///   otherwise. A UDP bind to port 0 is always allowed, because a UDP socket gets such a port
///   without a bind too.
/// - A path in another root directory (`chroot`, or a mount namespace) and a relative path are
///   allowed by `any-path` only, and a Unix bind without a name (autobind) by `any-abstract` only.
///   A path of 108 bytes, which has no room for a NUL, and an abstract name that contains a NUL are
///   refused. Links and mounts are not looked at.
/// - A Unix path is bound with the identity of the thread: its users, groups, Linux capabilities,
///   directories and umask. An identity with more than 64 groups, or that the supervisor may not
///   assume, is refused.
/// - Route netlink, which name look-ups need, is allowed. MPTCP, raw, packet and other sockets
///   cannot be made, `io_uring` answers `ENOSYS`, and programs for another ABI of the processor are
///   killed.
///
/// Refused calls return `EACCES`. The sinks of the capability get `check_bind_address` for each
/// decision about a bind, and `bind_socket` for each socket that was bound. `listen` on an unbound
/// TCP socket counts as a bind. An allowed `listen` on a bound socket leaves no record, a refused
/// one leaves a denial. There is no record of a UDP bind to port 0, of a netlink bind, and of a
/// socket or an address that cannot be judged.
///
/// It does not stop:
///
/// - a socket that listens already, whether inherited or received over a Unix socket;
/// - `connect` and `sendto`, which give a socket a port. With the option `IP_LOCAL_PORT_RANGE` the
///   program can choose it within `net.ipv4.ip_local_port_range`, as for a bind to port 0.
///
/// A program can block its supervisor, for example by an address in memory that another process
/// serves (userfaultfd) or by a path on FUSE. Then all programs of this supervisor wait. Use one
/// supervisor for each program.
///
/// For programs, two things differ from the kernel: `SO_PEERCRED` of a client of a Unix listener
/// shows the supervisor, and set-user-ID programs get no privileges. Supervision cannot be nested:
/// in a supervised process, [`Supervised::enter`] fails with `EBUSY`.
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
    ephemeral: EphemeralSockets,
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
        notify::check_support()?;
        identity::check_support()?;
        forbid_tracing()?;
        let flags = SocketFlags::CLOEXEC;
        let (own, childs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| system("socketpair")(from_rustix(errno)))?;
        let supervisor = Self {
            capability,
            allows_udp: false,
            lends_ports: false,
            state: State::Waiting(own),
            ephemeral: EphemeralSockets::default(),
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

    /// Lends the supervisor's `CAP_NET_BIND_SERVICE` for binds that the rules allow, so that a
    /// program without Linux capabilities can bind a port below 1024.
    #[must_use]
    pub const fn lend_privileged_ports(mut self) -> Self {
        self.lends_ports = true;
        self
    }

    /// Waits until the child has entered, and takes its notifications over: `recvmsg`. Returns
    /// false if all copies of [`Supervised`] are closed and no child has entered.
    ///
    /// [`step`](Self::step) does it too. An event loop calls it by itself, because `step` goes on
    /// and waits for the first call. After [`Supervised::spawn`] it does not wait.
    ///
    /// It must be called by the thread that makes the steps. The thread gets its own working
    /// directory, root and umask (`unshare(CLONE_FS)`), and loses all Linux capabilities but
    /// `CAP_SYS_PTRACE` from its effective set. They are restored when the supervision ends or the
    /// supervisor is dropped. Each change of them clears `PR_SET_PDEATHSIG`.
    ///
    /// # Errors
    ///
    /// [`EnforceError::System`], such as `recvmsg` with `EMFILE`. The supervision has then ended.
    pub fn attach(&mut self) -> Result<bool, EnforceError> {
        if let State::Waiting(channel) = &self.state {
            let notifications = child::receive(channel);
            self.state = State::Ended; // unless all succeeds
            if let Some(notifications) = notifications? {
                self.state = State::Running(Notifications::new(notifications), Own::new()?);
            }
        }
        Ok(matches!(self.state, State::Running(..)))
    }

    /// Waits for one call of a supervised thread, and answers it. It begins with
    /// [`attach`](Self::attach).
    ///
    /// It returns `None` when the last supervised process has ended, or when all copies of
    /// [`Supervised`] are closed and no child has entered. Drop the parent's copy after `fork`:
    /// otherwise `step` can wait for ever.
    ///
    /// [`descriptor`](Self::descriptor) can be polled together with others.
    ///
    /// # Errors
    ///
    /// [`EnforceError::System`] if the supervisor cannot go on. The binds of its programs fail from
    /// then on. If it could not restore its own identity after a Unix path, the thread must end: it
    /// keeps a part of the program's identity, and does not get its Linux capabilities back.
    pub fn step(&mut self) -> Result<Option<Answered>, EnforceError> {
        let answered = self.try_step();
        if !matches!(answered, Ok(Some(_))) {
            self.state = State::Ended;
        }
        answered
    }

    /// Returns the descriptor to poll:
    /// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
    ///
    /// Before [`attach`](Self::attach) it becomes readable when a child enters, and after it when a
    /// call waits. `POLLHUP` means the end. It is `None` after the end.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Waiting(channel) => Some(borrow(channel)),
            State::Running(notifications, _) => Some(borrow(notifications.descriptor())),
            State::Ended => None,
        }
    }

    fn try_step(&mut self) -> Result<Option<Answered>, EnforceError> {
        self.attach()?;
        let State::Running(notifications, own) = &self.state else { return Ok(None) };
        let Some(call) = notifications.receive()? else { return Ok(None) };
        let judge = Judge {
            capability: self.capability,
            allows_udp: self.allows_udp,
            lends_ports: self.lends_ports,
            notifications,
            own,
            ephemeral: &mut self.ephemeral,
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
