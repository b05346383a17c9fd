/// The treatment of an entry that is already at a Unix path.
///
/// To replace one, the socket is bound under a temporary name in the same directory, listens, and
/// then gets its path by `renameat2`. So its path never shows a socket that is not ready, and its
/// mode and owner are set before.
///
/// Programs that replace a path with this crate take turns: the directory is locked by
/// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html) for the replacement. A program
/// that ignores the lock can lose its own new socket in a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Existing {
    /// `EADDRINUSE` for any entry.
    #[default]
    Refuse,
    /// Replaces a socket that refuses connections, such as one of a process that was killed.
    ///
    /// `EADDRINUSE` for a listening socket, and for an entry of another kind. Of several processes
    /// at the same time, one succeeds and the others get `EADDRINUSE`.
    ///
    /// To find out, it connects to the socket. A server that listens there sees a connection that
    /// is closed at once.
    ReplaceStale,
    /// Replaces any socket, also a listening one. No client is refused: one that connects reaches
    /// the old or the new socket.
    ///
    /// `EADDRINUSE` for an entry of another kind. The old server still has the connections in its
    /// queue. It should accept until `EAGAIN` some time after the replacement, and then close.
    Replace,
}
