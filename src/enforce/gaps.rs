use core::fmt;

bitflags::bitflags! {
    /// Restrictions of a capability that the kernel does not enforce.
    ///
    /// A gap that is tolerated is left open: what its description says is possible in spite of the
    /// capability. A gap that is not tolerated is an error. The exception is `UDP`: if it is not
    /// tolerated, UDP sockets are refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Gaps: u32 {
        /// `listen` on a TCP socket that was not bound makes the kernel choose a port on every
        /// address. Landlock does not check it. By the option `IP_LOCAL_PORT_RANGE` the process can
        /// choose a port within `net.ipv4.ip_local_port_range`. No gap if the capability allows
        /// `0.0.0.0:0` and `[::]:0`.
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
        /// The process already has an `io_uring`, whose pending requests can bind and listen. Also
        /// returned if `/proc` cannot be read: then a ring cannot be ruled out. A ring is found by
        /// its descriptor, by its memory, and by the threads that the kernel makes for it.
        const IO_URING = 1 << 6;
        /// The capability has more ancestors than Landlock has layers left of its 16. The farthest
        /// ancestors are not enforced.
        const DEPTH = 1 << 7;
    }
}

impl fmt::Display for Gaps {
    /// Prints the names with spaces between them, such as `HOSTS THREADS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        self.iter_names()
            .try_for_each(|(name, _)| write!(f, "{}{name}", core::mem::replace(&mut space, " ")))
    }
}
