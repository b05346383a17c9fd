use core::fmt;

use super::gaps::Gaps;
use crate::error::Errno;

/// The reason why a capability was not enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnforceError {
    /// These gaps are not tolerated. Nothing was restricted.
    Gaps(Gaps),
    /// The kernel or the processor lacks this. Nothing was restricted.
    Unsupported {
        /// The feature that is needed, such as `"Landlock ABI 4 (Linux 6.7)"`.
        needs: &'static str,
        /// The Landlock ABI that the kernel has, or 0.
        found: u32,
    },
    /// Another thread has seccomp filters of its own, so the filter cannot be set for all threads.
    OtherThread(u32),
    /// A system call failed. The process may be restricted in part.
    System {
        /// The name of the call.
        call: &'static str,
        /// The kernel's error number.
        errno: Errno,
    },
}

impl fmt::Display for EnforceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gaps(gaps) => {
                write!(f, "the kernel cannot enforce everything; gaps: {gaps}")
            }
            Self::Unsupported { needs, found: 0 } => {
                write!(f, "{needs} is required, and this system lacks it")
            }
            Self::Unsupported { needs, found } => {
                write!(f, "{needs} is required, and this system has Landlock ABI {found}")
            }
            Self::OtherThread(thread) => write!(f, "thread {thread} has other seccomp filters"),
            Self::System { call, errno } => write!(f, "{call} failed: {errno}"),
        }
    }
}

impl core::error::Error for EnforceError {}

#[cfg(feature = "std")]
impl From<EnforceError> for std::io::Error {
    /// Converts to an error with an errno, because `pre_exec` passes only the errno to the parent:
    /// a failed system call keeps its errno, a gap is `EPERM`, something unsupported is `ENOSYS`,
    /// and a thread with other filters is `EAGAIN`.
    fn from(error: EnforceError) -> Self {
        let errno = match error {
            EnforceError::System { errno, .. } => errno,
            EnforceError::Gaps(_) => Errno::PERM,
            EnforceError::Unsupported { .. } => Errno::NOSYS,
            EnforceError::OtherThread(_) => Errno::AGAIN,
        };
        Self::from_raw_os_error(errno.raw_os_error())
    }
}
