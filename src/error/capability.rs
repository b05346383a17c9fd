use core::fmt;

use super::rule::RuleError;

/// The reason why a capability could not be made, or a rule not added.
///
/// It is separate from [`SocketError`](crate::SocketError), because it reports a mistake in the
/// program's policy, not a failed opening. Both convert into `Box<dyn Error>` and the error types
/// of crates such as `anyhow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CapabilityError {
    /// The text is not a capability id: 1 to 32 printable ASCII characters without a space.
    InvalidId,
    /// The table of rules, or the memory for their paths and names, is full. It is unchanged.
    TooManyRules,
    /// The value is not a rule.
    InvalidRule(RuleError),
}

impl fmt::Display for CapabilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidId => {
                "not a capability id: expected 1 to 32 printable ASCII characters without a space"
            }
            Self::TooManyRules => {
                "the capability has no room for another rule: it holds 16 rules, and 640 bytes of \
                 their paths, names and networks"
            }
            Self::InvalidRule(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for CapabilityError {}

impl From<RuleError> for CapabilityError {
    fn from(error: RuleError) -> Self {
        Self::InvalidRule(error)
    }
}
