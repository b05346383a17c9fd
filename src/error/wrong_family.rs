use core::error::Error;
use core::fmt;

/// The error of converting a Unix listener into std's TCP listener, or the reverse.
///
/// The listener is unchanged; [`into_listener`](Self::into_listener) returns it.
#[derive(Debug)]
pub struct WrongFamily<L> {
    listener: L,
    message: &'static str,
}

impl<L> WrongFamily<L> {
    pub(crate) const fn unix(listener: L) -> Self {
        Self { listener, message: "a Unix socket is not a TCP listener" }
    }

    pub(crate) const fn tcp(listener: L) -> Self {
        Self { listener, message: "a TCP socket is not a Unix listener" }
    }

    /// Returns the listener.
    #[must_use]
    pub fn into_listener(self) -> L {
        self.listener
    }
}

impl<L> fmt::Display for WrongFamily<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl<L: fmt::Debug> Error for WrongFamily<L> {}
