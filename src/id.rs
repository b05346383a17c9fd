use core::fmt;

use crate::error::capability::CapabilityError;

/// The maximum length of an id in bytes.
#[cfg(not(netbind_loom))]
pub(crate) const ID_CAPACITY: usize = 32;
/// The model checker's ids are one word: with four, there are too many interleavings to try.
#[cfg(netbind_loom)]
pub(crate) const ID_CAPACITY: usize = 8;

/// The name of a capability in the audit trail: 1 to 32 printable ASCII characters without a space.
///
/// ```
/// use netbind::capability::CapabilityId;
///
/// const WEB: CapabilityId = match CapabilityId::new("web/frontend-1") {
///     Ok(id) => id,
///     Err(_) => panic!("a malformed id"),
/// };
/// assert_eq!(WEB.as_str(), "web/frontend-1");
/// assert!(CapabilityId::new("two words").is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapabilityId {
    /// The text, padded with NULs.
    padded: [u8; ID_CAPACITY],
}

impl CapabilityId {
    /// Makes an id from this text.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] if it is empty, longer than 32 bytes, or contains a byte that
    /// is not printable ASCII, or a space.
    pub const fn new(id: &str) -> Result<Self, CapabilityError> {
        let mut padded = [0; ID_CAPACITY];
        let mut from = id.as_bytes();
        let mut to: &mut [u8] = &mut padded;
        if from.is_empty() || from.len() > ID_CAPACITY {
            return Err(CapabilityError::InvalidId);
        }
        while let ([byte, from_rest @ ..], [place, to_rest @ ..]) = (from, to) {
            if !byte.is_ascii_graphic() {
                return Err(CapabilityError::InvalidId);
            }
            *place = *byte;
            (from, to) = (from_rest, to_rest);
        }
        Ok(Self { padded })
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.padded.split(|byte| *byte == 0).next().unwrap_or_default();
        // Every byte is ASCII, so this never fails.
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Returns the bytes, padded with NULs.
    pub(crate) const fn padded(&self) -> &[u8; ID_CAPACITY] {
        &self.padded
    }

    /// Makes an id from the bytes of [`padded`](Self::padded).
    pub(crate) const fn from_padded(padded: [u8; ID_CAPACITY]) -> Self {
        Self { padded }
    }
}

impl fmt::Debug for CapabilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_str())
    }
}

impl fmt::Display for CapabilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
