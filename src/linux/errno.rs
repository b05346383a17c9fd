//! The kernel's errnos as errors of this crate.

use rustix::io;

use crate::error::{Errno, SocketError, Step};

pub(crate) fn from_rustix(errno: io::Errno) -> Errno {
    // The kernel's errnos are in range, so the default is never used.
    Errno::from_raw_os_error(errno.raw_os_error()).unwrap_or(Errno::IO)
}

/// Returns the function that makes a [`SocketError`] of an errno.
pub(super) fn system_error(step: Step) -> impl Fn(io::Errno) -> SocketError {
    move |error| SocketError::system(step, from_rustix(error))
}
