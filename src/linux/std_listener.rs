use core::error::Error;
use core::fmt;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use allocator_api2::alloc::Allocator;

use super::listener::Listener;

impl<A: Allocator> TryFrom<Listener<A>> for TcpListener {
    type Error = WrongFamily<A>;

    /// Converts a TCP listener into std's.
    ///
    /// # Errors
    ///
    /// [`WrongFamily`] for a Unix socket.
    ///
    /// tokio and mio take std's listener. They need a non-blocking one:
    ///
    /// ```
    /// use netbind::{ListenOptions, alloc::Global};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # let _guard = runtime.enter();
    /// let listener = ListenOptions::new().nonblocking(true).listen("127.0.0.1:0", Global)?;
    /// let listener = tokio::net::TcpListener::from_std(listener.try_into()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_from(listener: Listener<A>) -> Result<Self, WrongFamily<A>> {
        if listener.is_tcp() {
            Ok(listener.into_fd().into())
        } else {
            Err(WrongFamily { listener })
        }
    }
}

impl<A: Allocator> TryFrom<Listener<A>> for UnixListener {
    type Error = WrongFamily<A>;

    /// Converts a Unix listener into std's. std does not remove the socket path.
    ///
    /// # Errors
    ///
    /// [`WrongFamily`] for a TCP socket.
    ///
    /// To remove the path at the end, keep the listener and convert a duplicate of its descriptor:
    ///
    /// ```
    /// use std::os::unix::net::UnixListener;
    /// use netbind::alloc::Global;
    /// use netbind::fd::AsFd;
    ///
    /// # let name = format!("netbind-doc-duplicate-{}.sock", std::process::id());
    /// # let path = std::env::temp_dir().join(name);
    /// let owner = netbind::listen(format!("unix:{}", path.display()), Global)?;
    /// let listener = UnixListener::from(owner.as_fd().try_clone_to_owned()?);
    /// // serve with `listener`
    /// drop(owner);
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_from(listener: Listener<A>) -> Result<Self, WrongFamily<A>> {
        if listener.is_tcp() {
            Err(WrongFamily { listener })
        } else {
            Ok(listener.into_fd().into())
        }
    }
}

/// The error of converting a Unix listener into std's TCP listener, or the reverse.
///
/// The listener is unchanged; [`into_listener`](Self::into_listener) returns it.
pub struct WrongFamily<A: Allocator> {
    listener: Listener<A>,
}

impl<A: Allocator> WrongFamily<A> {
    /// Returns the listener.
    #[must_use]
    pub fn into_listener(self) -> Listener<A> {
        self.listener
    }
}

impl<A: Allocator> fmt::Display for WrongFamily<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.listener.is_tcp() {
            "a TCP socket is not a Unix listener"
        } else {
            "a Unix socket is not a TCP listener"
        })
    }
}

impl<A: Allocator> fmt::Debug for WrongFamily<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrongFamily").field("listener", &self.listener).finish()
    }
}

impl<A: Allocator> Error for WrongFamily<A> {}
