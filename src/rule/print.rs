use core::fmt;

use super::{Form, Ports, Rule, shown};

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "port {}", self.first)
        } else {
            write!(f, "port {}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for Rule {
    /// Prints the text of the rule, which parses to the same rule. Bytes of a path or name that are
    /// not UTF-8 print as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let word = match parts.form {
            Form::Ports => return parts.ports.fmt(f),
            Form::Host => {
                let (ip, prefix) = shown(parts.network(), parts.prefix);
                write!(f, "host {ip}")?;
                if parts.prefix < 128 {
                    write!(f, "/{prefix}")?;
                }
                return write!(f, " {}", parts.ports);
            }
            Form::AnyPath => return f.write_str("any-path"),
            Form::AnyAbstract => return f.write_str("any-abstract"),
            Form::Path => "path ",
            Form::Beneath => "beneath ",
            Form::Abstract => "abstract ",
            Form::AbstractPrefix => "abstract-prefix ",
        };
        f.write_str(word)?;
        for chunk in parts.bytes.utf8_chunks() {
            f.write_str(chunk.valid())?;
            f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({self})")
    }
}
