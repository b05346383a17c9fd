use super::bpf::{Answer, Field};
use super::error::EnforceError;
use super::gaps::Gaps;
use super::sys::{number, set_no_new_privs};
use super::{seccomp, tasks};
use crate::error::Errno;

/// Forbids `bind` and `listen`, for the whole process and the programs that it executes.
///
/// A service opens its sockets, seals itself, and serves. Sockets that listen already go on
/// accepting, and connections can be made. It covers all threads. It needs no Linux
/// capability and cannot be undone.
///
/// It does not stop:
///
/// - A socket that listens already can be received over a Unix socket.
/// - A TCP or UDP socket that is not bound gets a port by `connect` or `sendto`.
///
/// In a sealed process, resolvers that bind a UDP socket fail. `getifaddrs` of glibc fails, so
/// `getaddrinfo` cannot look at the addresses of the machine. `io_uring` and `pidfd_getfd` are
/// refused. Programs for another ABI of the processor, such as 32-bit ones, are killed by `SIGSYS`.
///
/// ```no_run
/// use netbind::enforce::Seal;
///
/// # let memory = bumpalo::Bump::new();
/// let listener = netbind::listen("127.0.0.1:8080", &memory)?;
/// Seal::Listening.apply()?;
/// assert!(netbind::listen("127.0.0.1:8081", &memory).is_err()); // EACCES
/// let client = listener.accept()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seal {
    /// Refuses `bind` and `listen` with `EACCES`.
    Listening,
    /// Refuses also `socket` and `socketpair`.
    Sockets,
}

impl Seal {
    /// Returns the gaps on this kernel now. It restricts nothing.
    ///
    /// The only one is [`Gaps::IO_URING`].
    #[must_use]
    pub fn gaps(self) -> Gaps {
        tasks::io_uring_gap()
    }

    /// Seals the process: `prctl(PR_SET_NO_NEW_PRIVS)`, `seccomp`. Before them it looks for an
    /// `io_uring` in `/proc/self/task` and `/proc/self/maps`.
    ///
    /// # Errors
    ///
    /// - [`EnforceError::Gaps`] if the process has an `io_uring`, or `/proc` is not there.
    /// - [`EnforceError::OtherThread`] if a thread has seccomp filters of its own.
    /// - [`EnforceError::Unsupported`] or [`EnforceError::System`].
    ///
    /// If it fails, nothing is sealed, but `no_new_privs` may be set.
    pub fn apply(self) -> Result<(), EnforceError> {
        self.apply_tolerating(Gaps::empty())
    }

    /// Seals the process like [`apply`](Self::apply), in spite of these gaps.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply).
    pub fn apply_tolerating(self, gaps: Gaps) -> Result<(), EnforceError> {
        seccomp::check_support()?;
        let open = self.gaps().difference(gaps);
        if !open.is_empty() {
            return Err(EnforceError::Gaps(open));
        }
        let refused = Answer::Refuse(Errno::ACCESS);
        let mut program = seccomp::common_rules();
        program.load(Field::Number);
        program.if_equal(number::BIND, refused).if_equal(number::LISTEN, refused);
        if self == Self::Sockets {
            program.if_equal(number::SOCKET, refused).if_equal(number::SOCKETPAIR, refused);
        }
        program.answer(Answer::Allow);
        set_no_new_privs()?;
        seccomp::install(&program)
    }
}
