use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use allocator_api2::alloc::Allocator;

use super::listener::Listener;
use crate::error::WrongFamily;

impl<A: Allocator> TryFrom<Listener<A>> for TcpListener {
    type Error = WrongFamily<Listener<A>>;

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
    fn try_from(listener: Listener<A>) -> Result<Self, Self::Error> {
        if listener.is_tcp() {
            Ok(listener.into_fd().into())
        } else {
            Err(WrongFamily::unix(listener))
        }
    }
}

impl<A: Allocator> TryFrom<Listener<A>> for UnixListener {
    type Error = WrongFamily<Listener<A>>;

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
    /// # let path = std::path::Path::new("/tmp").join(name);
    /// let owner = netbind::listen(format!("unix:{}", path.display()), Global)?;
    /// let listener = UnixListener::from(owner.as_fd().try_clone_to_owned()?);
    /// // serve with `listener`
    /// drop(owner);
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_from(listener: Listener<A>) -> Result<Self, Self::Error> {
        if listener.is_tcp() {
            Err(WrongFamily::tcp(listener))
        } else {
            Ok(listener.into_fd().into())
        }
    }
}
