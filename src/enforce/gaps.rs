bitflags::bitflags! {
    /// Restrictions of a capability that the kernel does not enforce.
    ///
    /// A gap that is tolerated is left open: what its description says is possible in spite of the
    /// capability.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Gaps: u32 {
        /// `listen` on a TCP socket that was not bound makes the kernel choose a port on every
        /// address. Landlock does not check it. No gap if the capability allows `0.0.0.0:0` and
        /// `[::]:0`.
        const EPHEMERAL_LISTEN = 1;
        /// The ports of a `host` rule can be bound on every address. No gap if a `port` rule allows
        /// them too.
        const HOSTS = 1 << 1;
        /// Sockets with other names can be made in the directory of a `path` rule, and below it. No
        /// gap if `any-path` or a `beneath` rule allows that too.
        const PATHS = 1 << 2;
        /// Every abstract name can be bound. No gap if the capability allows `any-abstract`.
        const ABSTRACT_NAMES = 1 << 3;
        /// UDP sockets can be opened and bound. If this is not tolerated, they are refused, which
        /// also stops name look-ups by DNS.
        const UDP = 1 << 4;
        /// Threads that exist already are not restricted by Landlock.
        const THREADS = 1 << 5;
        /// Requests in an `io_uring` that the process has already can bind and listen, or it cannot
        /// be found out, without `/proc`, that there is none. A ring whose descriptor was closed is
        /// found only if a thread of the kernel polls it.
        const IO_URING = 1 << 6;
        /// The capability has more ancestors than Landlock has layers left of its 16. The farthest
        /// ancestors are not enforced.
        const DEPTH = 1 << 7;
    }
}
