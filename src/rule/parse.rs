use core::ops::RangeInclusive;
use core::str::FromStr;

use super::Rule;
use crate::address::{parse_ip, parse_number};
use crate::error::rule::{RuleError, RuleReason};

impl Rule {
    /// Parses a rule from text or bytes, as in a line of a policy file.
    ///
    /// # Errors
    ///
    /// [`RuleError`] with the reason and the byte offset.
    ///
    /// ```
    /// use netbind::Rule;
    ///
    /// for text in ["port 443", "host ::1 port 0-65535", "beneath /run/app", "any-abstract"] {
    ///     assert_eq!(Rule::parse(text)?.to_string(), text);
    /// }
    /// let error = Rule::parse("port 9-1").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "not a rule: the first port of the range is larger than the last, at byte 5"
    /// );
    /// # Ok::<(), netbind::capability::RuleError>(())
    /// ```
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        parse(text.as_ref())
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    /// Does the same as [`Rule::parse`].
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

fn parse(text: &[u8]) -> Result<Rule, RuleError> {
    let mut words = Words { text, offset: 0 };
    if text.is_empty() {
        return Err(words.error(RuleReason::Empty));
    }
    match words.word() {
        b"port" => words.ports().and_then(|ports| words.expect_end(Rule::ports(ports)?)),
        b"host" => words.host(),
        b"path" => words.name(Rule::path),
        b"beneath" => words.name(Rule::beneath),
        b"abstract" => words.name(Rule::abstract_name),
        b"abstract-prefix" => words.name(Rule::abstract_prefix),
        b"any-path" => words.expect_end(Rule::any_path()),
        b"any-abstract" => words.expect_end(Rule::any_abstract()),
        _ => Err(RuleError::new(RuleReason::UnknownWord, 0)),
    }
}

/// The text, and how far it is read.
struct Words<'t> {
    text: &'t [u8],
    offset: usize,
}

impl<'t> Words<'t> {
    fn error(&self, reason: RuleReason) -> RuleError {
        RuleError::new(reason, self.offset)
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.offset..).unwrap_or_default()
    }

    /// Returns the word at the cursor, and moves the cursor after it.
    fn word(&mut self) -> &'t [u8] {
        let word = self.rest().split(|byte| *byte == b' ').next().unwrap_or_default();
        self.offset += word.len();
        word
    }

    /// Moves the cursor after one space.
    fn space(&mut self) -> Result<(), RuleError> {
        if !self.rest().starts_with(b" ") {
            return Err(self.error(RuleReason::MissingWord));
        }
        self.offset += 1;
        Ok(())
    }

    /// Reads a space and a word, and returns the word and its offset.
    fn next(&mut self) -> Result<(&'t [u8], usize), RuleError> {
        self.space()?;
        let start = self.offset;
        let word = self.word();
        if word.is_empty() { Err(self.error(RuleReason::MissingWord)) } else { Ok((word, start)) }
    }

    /// Returns `rule` if nothing follows.
    fn expect_end(&self, rule: Rule) -> Result<Rule, RuleError> {
        if self.rest().is_empty() { Ok(rule) } else { Err(self.error(RuleReason::TrailingText)) }
    }

    /// Reads a space and makes a rule of the rest, a path or name.
    fn name(&mut self, make: fn(&[u8]) -> Result<Rule, RuleError>) -> Result<Rule, RuleError> {
        self.space()?;
        make(self.rest())
            .map_err(|error| RuleError::new(error.reason(), self.offset + error.offset()))
    }

    /// `PORT` or `PORT-PORT`
    fn ports(&mut self) -> Result<RangeInclusive<u16>, RuleError> {
        let (word, start) = self.next()?;
        let mut ends = word.splitn(2, |byte| *byte == b'-');
        let first = ends.next().unwrap_or_default();
        let last = ends.next();
        let port = |text, offset| {
            match parse_number(text, 5, u32::from(u16::MAX)) {
                Some(port) => u16::try_from(port).map_err(|_| RuleReason::InvalidPort),
                None => Err(RuleReason::InvalidPort),
            }
            .map_err(|reason| RuleError::new(reason, offset))
        };
        let first_port = port(first, start)?;
        let last_port = match last {
            Some(last) => port(last, start + first.len() + 1)?,
            None => first_port,
        };
        if first_port > last_port {
            return Err(RuleError::new(RuleReason::EmptyRange, start));
        }
        Ok(first_port..=last_port)
    }

    /// `IP port PORTS` or `IP/LENGTH port PORTS`
    fn host(&mut self) -> Result<Rule, RuleError> {
        let (word, start) = self.next()?;
        let mut parts = word.splitn(2, |byte| *byte == b'/');
        let host = parts.next().unwrap_or_default();
        let ip = parse_ip(host).ok_or(RuleError::new(RuleReason::InvalidHost, start))?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match parts.next() {
            None => max,
            Some(text) => parse_number(text, 3, u32::from(max))
                .and_then(|length| u8::try_from(length).ok())
                .ok_or(RuleError::new(RuleReason::InvalidPrefix(max), start + host.len() + 1))?,
        };
        match self.next()? {
            (b"port", _) => {}
            (_, offset) => return Err(RuleError::new(RuleReason::ExpectedPort, offset)),
        }
        let rule = Rule::host(ip, prefix, self.ports()?)
            .map_err(|error| RuleError::new(error.reason(), start))?;
        self.expect_end(rule)
    }
}
