//! What a capability may do at all, and why one was not made.

use core::fmt;

use crate::audit::InvalidId;

bitflags::bitflags! {
    /// What a capability may do at all. No right stands for another.
    ///
    /// ```
    /// use netbind::Rights;
    ///
    /// let rights = Rights::NET_BIND | Rights::NET_BIND_ABSTRACT;
    /// assert!(rights.contains(Rights::NET_BIND));
    /// assert_eq!(format!("{:?}", Rights::NET_BIND), "Rights(NET_BIND)");
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// `net.bind`: bind the IP ports that rules allow, and Unix paths.
        const NET_BIND = 1;
        /// `net.bind.abstract`: bind abstract Unix names.
        const NET_BIND_ABSTRACT = 2;
    }
}

/// Why a capability was not made, or a rule not added.
///
/// ```
/// use netbind::{CapabilityError, NetBind};
///
/// let error = NetBind::new("two words").unwrap_err();
/// assert_eq!(error, CapabilityError::InvalidId);
/// assert!(error.to_string().starts_with("not a capability id"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CapabilityError {
    /// The id is no [`CapabilityId`](crate::CapabilityId).
    InvalidId,
    /// The table of rules is full; it is as it was before.
    TooManyRules,
}

impl fmt::Display for CapabilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidId => InvalidId.fmt(f),
            Self::TooManyRules => f.write_str("the capability has no room for another rule"),
        }
    }
}

impl core::error::Error for CapabilityError {}

impl From<InvalidId> for CapabilityError {
    fn from(_: InvalidId) -> Self {
        Self::InvalidId
    }
}
