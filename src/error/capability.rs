use core::fmt;

/// The reason why a capability could not be made, or a rule not added.
///
/// It does not convert into [`SocketError`](crate::SocketError): that one says why a socket was not
/// opened, this one that the program's own policy is malformed, before any address is known. Both
/// convert into `Box<dyn Error>` and the error types of crates such as `anyhow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CapabilityError {
    /// The text is not a capability id: 1 to 32 printable ASCII characters without a space.
    InvalidId,
    /// The table of rules is full. It is unchanged.
    TooManyRules,
}

impl fmt::Display for CapabilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidId => {
                "not a capability id: expected 1 to 32 printable ASCII characters without a space"
            }
            Self::TooManyRules => "the capability has no room for another rule",
        })
    }
}

impl core::error::Error for CapabilityError {}
