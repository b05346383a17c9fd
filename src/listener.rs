//! The open socket: accept, where it listens, and its end.

use core::fmt;

use allocator_api2::alloc::Allocator;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::net::{self, SocketFlags};

use crate::address::BindAddress;
use crate::capability::Permit;
use crate::error::{Errno, SocketError, Step};
use crate::sockaddr::SockAddr;
use crate::socket_file::BoundName;
use crate::sys;

/// A listening socket, and the address that it is bound to.
///
/// It owns the descriptor (close-on-exec) and, in the caller's memory, the socket address. Dropping it removes the socket
/// path that its own bind created, when it is still that same socket (`lstat`, `unlink`), closes the descriptor (`close`),
/// and gives the memory back; a path that somebody else replaced stays. What dropping swallows, [`close`](Self::close)
/// reports.
///
/// A relative path is looked up from the working directory of the moment: after a `chdir` it is not found, and stays. A
/// forked child has the same socket, so its drop removes the path of the parent's too; it calls [`into_fd`](Self::into_fd).
/// After a crash nobody has removed the path, and the next bind of it says `EADDRINUSE`: to remove it is the caller's, who
/// knows whether another process is alive behind it.
///
/// It takes 24 bytes with a zero-sized allocator and 32 with a reference to one.
///
/// ```
/// let memory = bumpalo::Bump::new();
/// # let path = std::env::temp_dir().join(format!("netbind-doc-listener-{}.sock", std::process::id()));
/// let listener = netbind::listen(format!("unix:{}", path.display()), &memory)?;
/// assert!(path.exists());
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), netbind::SocketError>(())
/// ```
pub struct Listener<A: Allocator> {
    // In this order: the name goes while the descriptor still holds its inode.
    name: BoundName<A>,
    socket: OwnedFd,
}

/// The steps bind and listen. They belong to the value, so that whatever fails, its drop undoes what was done.
impl<A: Allocator> Listener<A> {
    /// Not bound yet, and not listening: nobody outside of the steps gets to see it.
    #[inline]
    pub(crate) const fn new(socket: OwnedFd, sockaddr: SockAddr<A>) -> Self {
        Self { name: BoundName { sockaddr }, socket }
    }

    /// `bind`
    #[inline(always)] // one caller
    #[allow(clippy::inline_always)]
    pub(crate) fn bind(&self) -> Result<(), SocketError> {
        net::bind(sys::borrow(&self.socket), &self.name.sockaddr)
            .map_err(|errno| SocketError::system(Step::Bind, errno.into()))
    }

    /// The record of the bind, and what has to be asked before it.
    #[inline(always)] // one caller
    #[allow(clippy::inline_always)]
    pub(crate) fn record_bind(&mut self, permit: Permit<'_>) -> Result<(), SocketError> {
        match permit.address().port() {
            port @ Some(1..) => {
                permit.record_bind(port);
                Ok(())
            }
            port => self.learn(port, permit),
        }
    }

    /// The same for a Unix socket and for port 0: for a path the `lstat` tells which file is ours, and under a sink the
    /// `getsockname` tells the port.
    #[cold]
    #[inline(never)] // the permit needs a place in memory here, and nowhere else
    fn learn(&mut self, mut port: Option<u16>, permit: Permit<'_>) -> Result<(), SocketError> {
        let mut learned = Ok(());
        if port.is_none() {
            learned = self.name.learn_file().map_err(|errno| SocketError::system(Step::Stat, errno));
        } else if permit.is_audited() {
            learned = self.learn_port().map_err(|errno| SocketError::system(Step::LocalAddress, errno));
            port = self.name.sockaddr.port();
        }
        permit.record_bind(port);
        learned
    }

    /// `listen`
    #[inline(always)] // one caller
    #[allow(clippy::inline_always)]
    pub(crate) fn listen(&self, backlog: i32) -> Result<(), SocketError> {
        net::listen(sys::borrow(&self.socket), backlog).map_err(|errno| SocketError::system(Step::Listen, errno.into()))
    }

    /// `getsockname`, where the kernel chose the port.
    fn learn_port(&mut self) -> Result<(), Errno> {
        let address = sys::local_address(sys::borrow(&self.socket))?;
        let port = address.and_then(|address| address.port()).ok_or(Errno::INVAL)?;
        self.name.sockaddr.set_port(port);
        Ok(())
    }
}

impl<A: Allocator> Listener<A> {
    /// Takes the next connection, close-on-exec and blocking, and the address that the peer is bound to.
    ///
    /// `accept4(fd, &addr, &len, SOCK_CLOEXEC)`: one system call. The peer is `None` for a Unix client without
    /// a name, or with one that [`BindAddress`] has no form for: a path of 108 bytes or one that begins with `@`, an abstract
    /// name with a NUL byte in it.
    ///
    /// It waits for a client however long that takes: no context is asked. A listener that was opened
    /// [`nonblocking`](crate::ListenOptions::nonblocking) answers `EAGAIN` instead. Without the feature `std` the descriptor
    /// is rustix's own `OwnedFd`, which std's types take by its number.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with the errno. Loops tell them apart by
    /// [`is_connection_lost`](SocketError::is_connection_lost) (go on), [`is_exhausted`](SocketError::is_exhausted) (back
    /// off), [`is_would_block`](SocketError::is_would_block) (wait until readable) and
    /// [`is_interrupted`](SocketError::is_interrupted) (look at the context, go on).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    ///
    /// let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("[::1]:0", &memory)?;
    /// let mut client = TcpStream::connect(listener.local_address()?.to_socket_addr().unwrap()).unwrap();
    ///
    /// let (connection, _peer) = listener.accept()?;
    /// rustix::io::write(&connection, b"hello").unwrap();
    /// drop(connection);
    /// let mut text = String::new();
    /// client.read_to_string(&mut text).unwrap();
    /// assert_eq!(text, "hello");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn accept(&self) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        self.accept_with(SocketFlags::CLOEXEC)
    }

    /// The same, and the connection does not block (`SOCK_NONBLOCK`). Linux does not hand that on from the listener.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    ///
    /// ```
    /// use std::net::TcpStream;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("127.0.0.1:0", &memory)?;
    /// let _silent = TcpStream::connect(listener.local_address()?.to_socket_addr().unwrap()).unwrap();
    ///
    /// let (connection, _peer) = listener.accept_nonblocking()?;
    /// assert_eq!(rustix::io::read(&connection, &mut [0; 1]), Err(rustix::io::Errno::AGAIN));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn accept_nonblocking(&self) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        self.accept_with(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    fn accept_with(&self, flags: SocketFlags) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        sys::accept(sys::borrow(&self.socket), flags).map_err(|errno| SocketError::system(Step::Accept, errno))
    }

    /// Where the socket listens, with the real port behind a `:0`.
    ///
    /// No system call, but for port 0 without an audit sink: then one `getsockname`.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::LocalAddress`], where that call fails (`ENOBUFS`).
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("127.0.0.1:0", &memory)?;
    /// let address = listener.local_address()?;
    /// assert_eq!(address.ip(), Some([127, 0, 0, 1].into()));
    /// assert_ne!(address.port(), Some(0));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn local_address(&self) -> Result<BindAddress, SocketError> {
        let unknown = SocketError::system(Step::LocalAddress, crate::Errno::INVAL);
        if self.name.sockaddr.port() == Some(0) {
            return sys::local_address(sys::borrow(&self.socket))
                .map_err(|errno| SocketError::system(Step::LocalAddress, errno))?
                .ok_or(unknown);
        }
        self.name.sockaddr.to_bind_address().ok_or(unknown)
    }

    /// The bytes that the socket was bound with; behind a `:0` under an audit sink they have the real port.
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

    /// Gives the descriptor away, still listening. A socket path stays, and is the new owner's to remove.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("127.0.0.1:0", &memory)?;
    /// let fd = listener.into_fd();
    /// assert!(rustix::net::sockopt::socket_acceptconn(&fd).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        let Self { mut name, socket } = self;
        name.forget();
        socket
    }

    /// Removes the path if it is still ours (`lstat`, `unlink`), and closes the descriptor (`close`).
    ///
    /// Everything is done whatever fails, and the first failure is told.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::Stat`], [`Step::Unlink`] or [`Step::Close`]. The descriptor is gone in any case:
    /// on Linux a `close` that says `EINTR` has closed, and is never to be repeated.
    ///
    /// ```
    /// let memory = bumpalo::Bump::new();
    /// netbind::listen("unix:@netbind-close", &memory)?.close()?;
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn close(self) -> Result<(), SocketError> {
        let Self { mut name, socket } = self;
        let removed = name.remove();
        // SAFETY: the descriptor was owned until this line and nobody has it behind it.
        #[allow(unsafe_code)]
        let closed = unsafe { rustix::io::try_close(socket.into_raw_fd()) };
        removed.and(closed.map_err(|errno| SocketError::system(Step::Close, errno.into())))
    }
}

impl<A: Allocator> AsFd for Listener<A> {
    /// Borrows the descriptor, to wait on it or to read an option.
    ///
    /// ```
    /// use std::os::fd::{AsFd, AsRawFd};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::listen("127.0.0.1:0", &memory)?;
    /// assert_eq!(listener.as_fd().as_raw_fd(), listener.as_raw_fd());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.socket)
    }
}

impl<A: Allocator> AsRawFd for Listener<A> {
    /// The descriptor's number, good for as long as the listener lives.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// assert!(netbind::listen("127.0.0.1:0", &memory)?.as_raw_fd() >= 0);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<A: Allocator> From<Listener<A>> for OwnedFd {
    /// The same as [`Listener::into_fd`].
    ///
    /// ```
    /// use std::os::fd::OwnedFd;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let fd: OwnedFd = netbind::listen("127.0.0.1:0", &memory)?.into();
    /// assert!(rustix::net::sockopt::socket_acceptconn(&fd).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn from(listener: Listener<A>) -> Self {
        listener.into_fd()
    }
}

impl<A: Allocator> fmt::Debug for Listener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("fd", &self.socket.as_raw_fd())
            .field("address", &self.name.sockaddr.to_bind_address())
            .finish()
    }
}

#[cfg(feature = "std")]
impl<A: Allocator> TryFrom<Listener<A>> for std::net::TcpListener {
    type Error = Listener<A>;

    /// Gives the descriptor to std; the listener comes back if it is a Unix one.
    ///
    /// # Errors
    ///
    /// The listener itself, untouched and still listening, where it is bound to a path or an abstract name.
    ///
    /// ```
    /// use std::net::TcpListener;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = TcpListener::try_from(netbind::listen("127.0.0.1:0", &memory)?).unwrap();
    /// assert_ne!(listener.local_addr().unwrap().port(), 0);
    ///
    /// let unix = netbind::listen("unix:@netbind-doc-into-tcp", &memory)?;
    /// assert!(TcpListener::try_from(unix).is_err());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn try_from(listener: Listener<A>) -> Result<Self, Listener<A>> {
        if listener.name.sockaddr.port().is_some() { Ok(listener.into_fd().into()) } else { Err(listener) }
    }
}

#[cfg(feature = "std")]
impl<A: Allocator> TryFrom<Listener<A>> for std::os::unix::net::UnixListener {
    type Error = Listener<A>;

    /// Gives the descriptor to std; the listener comes back if it is a TCP one. std never removes a socket path.
    ///
    /// # Errors
    ///
    /// The listener itself, untouched and still listening, where it is bound to an IP address.
    ///
    /// ```
    /// use std::os::unix::net::UnixListener;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let unix = netbind::listen("unix:@netbind-doc-into-unix", &memory)?;
    /// assert!(UnixListener::try_from(unix).is_ok());
    /// assert!(UnixListener::try_from(netbind::listen("127.0.0.1:0", &memory)?).is_err());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    fn try_from(listener: Listener<A>) -> Result<Self, Listener<A>> {
        if listener.name.sockaddr.port().is_none() { Ok(listener.into_fd().into()) } else { Err(listener) }
    }
}
