//! Addresses and rules as strings, with serde.

use core::fmt::{self, Display};
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use crate::address::BindAddress;
use crate::rule::{Form, Rule};

impl Serialize for BindAddress {
    /// Serializes the canonical text. A path or name that is not UTF-8 is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_bytes();
        let text = core::str::from_utf8(&text).map_err(ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}

impl Serialize for Rule {
    /// Serializes the text of the rule. A path or name that is not UTF-8 is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.parts();
        if parts.form != Form::Host {
            core::str::from_utf8(parts.bytes).map_err(ser::Error::custom)?;
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BindAddress {
    /// Parses the string, as [`BindAddress::parse`] does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ParseVisitor("an address", PhantomData))
    }
}

impl<'de> Deserialize<'de> for Rule {
    /// Parses the string, as [`Rule::parse`] does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ParseVisitor("a rule", PhantomData))
    }
}

/// A visitor that parses a string. The text describes the expected value in errors.
struct ParseVisitor<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for ParseVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
