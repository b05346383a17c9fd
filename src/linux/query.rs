/// An option that is read by getsockopt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Query {
    /// `SO_DOMAIN`
    Domain,
    /// `SO_TYPE`
    Type,
    /// `SO_PROTOCOL`
    Protocol,
    /// `SO_ACCEPTCONN`
    Listening,
    /// `IPV6_V6ONLY`
    V6Only,
}
