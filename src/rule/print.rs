use core::fmt;

use super::{Form, Ports, Rule, display_form};

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
    /// Prints the text of the rule. It parses to the same rule, unless a path or name is not UTF-8:
    /// such bytes print as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let word = match parts.form {
            Form::Ports => return parts.ports.fmt(f),
            Form::Host => {
                let (ip, prefix) = display_form(parts.network(), parts.prefix);
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
