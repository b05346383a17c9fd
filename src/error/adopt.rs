use core::fmt;

use rustix::fd::OwnedFd;

use super::SocketError;

/// The error of `ListenOptions::adopt` and `adopt_as`. It gives the descriptor back.
///
/// It converts into a [`SocketError`], which closes the descriptor.
#[derive(Debug)]
pub struct AdoptError {
    error: SocketError,
    fd: OwnedFd,
}

impl AdoptError {
    pub(crate) const fn new(error: SocketError, fd: OwnedFd) -> Self {
        Self { error, fd }
    }

    /// Returns the reason.
    #[must_use]
    pub const fn error(&self) -> SocketError {
        self.error
    }

    /// Returns the descriptor, open and unchanged.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for AdoptError {}

impl From<AdoptError> for SocketError {
    fn from(error: AdoptError) -> Self {
        error.error
    }
}
