use core::ffi::CStr;
use core::fmt;

use allocator_api2::alloc::Allocator;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::net::SocketFlags;

use super::calls;
use super::descriptor::borrow;
use super::unix_file::{self, FileId, PathLookup, Remove};
use crate::address::BindAddress;
use crate::capability::Permit;
use crate::error::{Errno, SocketError, Step};
use crate::sockaddr::SockAddr;

/// A listening socket and the address that it is bound to.
///
/// It owns the descriptor, which is close-on-exec, and the socket address in the caller's memory.
///
/// Dropping it removes the socket path if it still is the socket that this bind created, and then
/// closes the descriptor. The calls are `lstat` and `unlink`. For a relative path, `openat` of the
/// working directory comes before them and `close` of it after them. A path that was replaced
/// stays. [`close`](Self::close) does the same and returns the first error.
///
/// - A relative path is looked up from the working directory at that time: after a `chdir` it is
///   not found, and stays.
/// - A forked child has the same socket, so its drop removes the path of the parent. The child
///   should call [`into_fd`](Self::into_fd).
/// - After a crash the path is still there, and the next bind of it fails with `EADDRINUSE`. The
///   caller must remove it, and must know that no other process listens there.
///
/// It is `Send` if its allocator is, as `Global` is.
///
/// ```
/// let memory = bumpalo::Bump::new();
/// # let name = format!("netbind-doc-listener-{}.sock", std::process::id());
/// # let path = std::path::Path::new("/tmp").join(name);
/// let listener = netbind::listen(format!("unix:{}", path.display()), &memory)?;
/// assert!(path.exists());
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), netbind::SocketError>(())
/// ```
pub struct Listener<A: Allocator> {
    // Fields are dropped in this order. While the socket is open, its file's inode number is not
    // reused, so equal numbers mean the same file.
    name: BoundName<A>,
    socket: OwnedFd,
    nonblocking: bool,
}

/// The socket address, and the file that the bind created.
struct BoundName<A: Allocator> {
    sockaddr: SockAddr<A>,
    /// The file to remove at the end, if there is one, and the function if it is a special one.
    file: Option<(FileId, Option<Remove>)>,
}

impl<A: Allocator> BoundName<A> {
    /// Removes the file of a Unix path if it still is the one that the bind created.
    fn remove_file(&mut self) -> Result<(), SocketError> {
        match (self.file.take(), self.sockaddr.path()) {
            (Some((file, None)), Some(path)) => unix_file::remove(path, file),
            (Some((file, Some(remove))), Some(path)) => remove(path, file),
            _ => Ok(()),
        }
    }
}

impl<A: Allocator> Drop for BoundName<A> {
    fn drop(&mut self) {
        let _ = self.remove_file();
    }
}

/// The steps bind and listen. If one fails, dropping the value undoes what was done.
impl<A: Allocator> Listener<A> {
    /// Makes a value of a socket whose path stays. One that does not listen yet is not exposed
    /// before `listen` succeeds.
    pub(super) fn new(socket: OwnedFd, sockaddr: SockAddr<A>, nonblocking: bool) -> Self {
        Self { name: BoundName { sockaddr, file: None }, socket, nonblocking }
    }

    /// Binds, finds out the file or the port, and records `bind_socket`.
    pub(super) fn bind(&mut self, permit: Permit<'_>) -> Result<(), SocketError> {
        let address = permit.address();
        if let Some(path) = self.name.sockaddr.path() {
            let lookup = PathLookup::before_bind(path)?;
            self.bind_socket()?;
            let file = lookup.after_bind();
            permit.record_bind(address);
            self.name.file = file?.map(|file| (file, None));
            return Ok(());
        }
        self.bind_socket()?;
        let needs_port = address.port() == Some(0) && permit.is_audited();
        if !needs_port {
            permit.record_bind(address);
            return Ok(());
        }
        let chosen = calls::getsockname(borrow(&self.socket));
        permit.record_bind(chosen.as_ref().unwrap_or(address));
        chosen.map(drop)
    }

    /// Returns the socket, its address and its Unix path, or `None` for a socket without a path.
    pub(super) fn bound_path(&self) -> Option<(BorrowedFd<'_>, &[u8], &CStr)> {
        let sockaddr = &self.name.sockaddr;
        Some((borrow(&self.socket), sockaddr.as_bytes(), sockaddr.path()?))
    }

    /// Sets the file of a Unix path, which is then removed at the end.
    pub(super) const fn set_file(&mut self, file: FileId, remove: Option<Remove>) {
        self.name.file = Some((file, remove));
    }

    fn bind_socket(&self) -> Result<(), SocketError> {
        calls::bind(borrow(&self.socket), self.name.sockaddr.as_bytes())
    }

    pub(super) fn listen(&self, backlog: i32) -> Result<(), SocketError> {
        calls::listen(borrow(&self.socket), backlog)
    }
}

impl<A: Allocator> Listener<A> {
    /// Accepts the next connection. Returns its descriptor and the address of the client.
    ///
    /// The call is `accept4(fd, &addr, &len, SOCK_CLOEXEC)`. The connection is blocking.
    ///
    /// The address is `None` for a Unix client without a name, and for a name that [`BindAddress`]
    /// has no form for: a path of 108 bytes or one that begins with `@`, or an abstract name with a
    /// NUL byte.
    ///
    /// It waits for a client without a limit, and does not check a context;
    /// [`accept_with_context`](Self::accept_with_context) does. If the listener is
    /// [`nonblocking`](crate::ListenOptions::nonblocking), it returns `EAGAIN` instead of waiting.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with the errno. An accept loop needs four cases:
    /// [`is_connection_lost`](SocketError::is_connection_lost) (go on),
    /// [`is_exhausted`](SocketError::is_exhausted) (pause),
    /// [`is_would_block`](SocketError::is_would_block) (wait until readable) and
    /// [`is_interrupted`](SocketError::is_interrupted) (check the context, go on).
    ///
    /// ```
    /// use std::net::TcpStream;
    ///
    /// let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("127.0.0.1:0", &memory)?;
    /// let address = listener.local_address()?.to_socket_addr().unwrap();
    /// let client = TcpStream::connect(address).unwrap();
    ///
    /// let (connection, peer) = listener.accept()?;
    /// assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
    /// # drop(connection);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn accept(&self) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        calls::accept4(self.as_fd(), SocketFlags::CLOEXEC)
    }

    /// Accepts like [`accept`](Self::accept); the connection is non-blocking (`SOCK_NONBLOCK`).
    ///
    /// On Linux, connections do not inherit this from the listener.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn accept_nonblocking(&self) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        calls::accept4(self.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Returns the address that the socket listens on, with the port that the kernel chose for 0.
    ///
    /// For an IP address it makes one `getsockname`, for a Unix socket no call.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::LocalAddress`], such as `ENOBUFS`, or `EINVAL` for an
    /// address that [`BindAddress`] cannot represent.
    pub fn local_address(&self) -> Result<BindAddress, SocketError> {
        if self.name.sockaddr.family().is_ip() {
            return calls::getsockname(self.as_fd());
        }
        let unknown = SocketError::system(Step::LocalAddress, Errno::INVAL);
        self.name.sockaddr.to_bind_address().ok_or(unknown)
    }

    /// Returns the bytes of the socket address that was passed to `bind`.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("unix:@netbind-doc-sockaddr", &memory)?;
    /// assert_eq!(listener.sockaddr()[2..], *b"\0netbind-doc-sockaddr");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn sockaddr(&self) -> &[u8] {
        self.name.sockaddr.as_bytes()
    }

    /// Leaves the socket path when the listener is dropped or closed.
    pub const fn keep_path(&mut self) {
        self.name.file = None;
    }

    /// Sets whether the socket path is removed when the listener is dropped or closed, if it then
    /// still is this socket. It makes no difference for sockets without a path.
    ///
    /// The default is true, and false for an adopted socket. To set it again, the calls of
    /// [`adopt_as`](crate::ListenOptions::adopt_as) verify that the path leads to this socket.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::Adopt`] and `EADDRNOTAVAIL` if another file is at the
    /// path, with [`Step::Diag`], or with [`Step::Stat`]. The path then stays.
    pub fn remove_path(&mut self, remove: bool) -> Result<(), SocketError> {
        if !remove {
            self.keep_path();
        } else if let (None, Some(path)) = (self.name.file, self.name.sockaddr.path()) {
            let file = unix_file::verify(borrow(&self.socket), path)?;
            self.name.file = Some((file, None));
        }
        Ok(())
    }

    /// Returns the descriptor, which still listens. A socket path stays; the new owner must remove
    /// it.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        let Self { mut name, socket, .. } = self;
        name.file = None;
        socket
    }

    /// Removes the socket path if it still is the one that the bind created (`lstat`, `unlink`),
    /// and closes the descriptor (`close`).
    ///
    /// Attempts every step and returns the first error.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::OpenDirectory`], [`Step::Stat`], [`Step::Unlink`] or
    /// [`Step::Close`]. The descriptor is closed in any case: on Linux, a `close` that returns
    /// `EINTR` has closed, and must not be repeated.
    pub fn close(self) -> Result<(), SocketError> {
        let Self { mut name, socket, .. } = self;
        let removed = name.remove_file();
        let closed = calls::close(socket);
        removed.and(closed)
    }

    /// Returns true if the listener was opened with `nonblocking(true)`.
    pub(super) const fn is_nonblocking(&self) -> bool {
        self.nonblocking
    }

    /// Returns true if the socket is a TCP socket.
    #[cfg(feature = "std")]
    pub(super) fn is_tcp(&self) -> bool {
        self.name.sockaddr.family().is_ip()
    }
}

impl<A: Allocator> AsFd for Listener<A> {
    /// Borrows the descriptor, to wait on it or to read an option.
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.socket)
    }
}

impl<A: Allocator> AsRawFd for Listener<A> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<A: Allocator> From<Listener<A>> for OwnedFd {
    /// Does the same as [`Listener::into_fd`].
    fn from(listener: Listener<A>) -> Self {
        listener.into_fd()
    }
}

impl<A: Allocator> fmt::Debug for Listener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("fd", &self.socket.as_raw_fd())
            .field("address", &self.name.sockaddr.to_bind_address())
            .field("nonblocking", &self.nonblocking)
            .finish()
    }
}
