use core::fmt;
use core::net::IpAddr;

/// The reason why a text or a value is not a rule, and the byte offset.
///
/// ```
/// use netbind::Rule;
///
/// let error = "host 10.0.0.1/8 port 80".parse::<Rule>().unwrap_err();
/// assert_eq!(error.offset(), 5);
/// assert_eq!(
///     error.to_string(),
///     "not a rule: bits after the prefix are set, the network is 10.0.0.0/8, at byte 5"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleError {
    offset: usize,
    reason: RuleReason,
}

/// The reason of a [`RuleError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuleReason {
    /// The text is empty.
    Empty,
    /// The first word does not name a rule: `port`, `host`, `path`, `beneath`, `any-path`,
    /// `abstract`, `abstract-prefix` or `any-abstract`.
    UnknownWord,
    /// The word after the host is not `port`.
    ExpectedPort,
    /// One space and then a word are expected. The text ends here, or has another space.
    MissingWord,
    /// There is more text after the rule.
    TrailingText,
    /// A port is not a number of 1 to 5 digits from 0 to 65535.
    InvalidPort,
    /// The first port of a range is larger than the last.
    EmptyRange,
    /// The host is not an IPv4 or IPv6 address. Scope ids are not allowed.
    InvalidHost,
    /// The prefix length is not a number, or larger than this.
    InvalidPrefix(u8),
    /// Bits after the prefix are set. This is the network that has them cleared, and the prefix
    /// length.
    HostBits(IpAddr, u8),
    /// A network of IPv4-mapped addresses has a prefix shorter than 96.
    MappedPrefix,
    /// The path is not absolute.
    RelativePath,
    /// The path has a component that is empty, `.` or `..`, or a slash at the end.
    UnnormalizedPath,
    /// The path or name is empty.
    EmptyName,
    /// The path or name has this many bytes, and at most 107 fit.
    TooLong(usize),
    /// The path or name contains this byte, which is 0x7f or less than 0x20.
    ControlByte(u8),
}

impl RuleError {
    pub(crate) const fn new(reason: RuleReason, offset: usize) -> Self {
        Self { offset, reason }
    }

    /// Returns the byte offset in the text of the rule, or in the path or name that was given to a
    /// constructor.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// Returns the reason.
    #[must_use]
    pub const fn reason(self) -> RuleReason {
        self.reason
    }
}

impl fmt::Display for RuleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Empty => "the text is empty",
            Self::UnknownWord => {
                "unknown word, expected port, host, path, beneath, any-path, abstract, \
                 abstract-prefix or any-abstract"
            }
            Self::ExpectedPort => "expected the word port",
            Self::MissingWord => "expected one space and then a word",
            Self::TrailingText => "text after the end of the rule",
            Self::InvalidPort => "expected a port, 0 to 65535 in 1 to 5 digits",
            Self::EmptyRange => "the first port of the range is larger than the last",
            Self::InvalidHost => "expected an IPv4 or IPv6 address",
            Self::InvalidPrefix(max) => {
                return write!(f, "expected a prefix length, 0 to {max}");
            }
            Self::HostBits(network, length) => {
                return write!(
                    f,
                    "bits after the prefix are set, the network is {network}/{length}"
                );
            }
            Self::MappedPrefix => "a network of IPv4-mapped addresses has a prefix of 96 to 128",
            Self::RelativePath => "the path must be absolute",
            Self::UnnormalizedPath => {
                "the path must not have '.', '..', '//' or a slash at the end"
            }
            Self::EmptyName => "the path or name is empty",
            Self::TooLong(length) => {
                return write!(f, "path or name of {length} bytes, at most 107 fit");
            }
            Self::ControlByte(byte) => {
                return write!(f, "byte {byte:#04x} cannot be in a path or name");
            }
        };
        f.write_str(text)
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a rule: {}, at byte {}", self.reason, self.offset)
    }
}

impl core::error::Error for RuleError {}
