bitflags::bitflags! {
    /// The kinds of address that a capability may open at all. Rights are independent.
    ///
    /// A right opens a kind of address, and a [`Rule`](crate::Rule) says which addresses of that
    /// kind. Both are needed.
    ///
    /// ```
    /// use netbind::Rights;
    ///
    /// let rights = Rights::NET_BIND | Rights::NET_BIND_ABSTRACT;
    /// assert!(rights.contains(Rights::NET_BIND));
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// `net.bind`: IP addresses and Unix paths.
        const NET_BIND = 1;
        /// `net.bind.abstract`: abstract names.
        const NET_BIND_ABSTRACT = 2;
    }
}
