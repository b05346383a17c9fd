//! `netbind run --learn`: the policy that a program would have needed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use netbind::BindAddress;
use netbind::audit::{AuditSink, Operation, Record};

use crate::arguments::Learn;
use crate::failure::Failure;
use crate::policy::{no_rule, rule_for};
use crate::report::{printable, report};
use crate::trail::Trail;

/// A sink that keeps the addresses that were judged, and passes the records on.
pub(crate) struct Learner {
    trail: Trail,
    addresses: Mutex<BTreeSet<BindAddress>>,
    /// Standard error if there is none.
    file: Option<(String, File)>,
}

impl Learner {
    /// Creates the file.
    pub(crate) fn new(learn: &Learn, trail: Trail) -> Result<Self, Failure> {
        let file = match learn {
            Learn::StandardError => None,
            Learn::File(path) => {
                let name = printable(path.as_bytes());
                let file = File::create(path).map_err(|error| Failure::about(&name, error))?;
                Some((name, file))
            }
        };
        Ok(Self { trail, addresses: Mutex::default(), file })
    }

    /// Writes the policy of this program. A failure is reported and keeps the exit status.
    pub(crate) fn finish(&self, program: &[OsString]) {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let text = policy(&addresses, program);
        let (name, written) = match &self.file {
            Some((name, file)) => (name.as_str(), (&*file).write_all(text.as_bytes())),
            None => ("standard error", std::io::stderr().write_all(text.as_bytes())),
        };
        if let Err(error) = written {
            report(&format!("{name}: the policy is lost: {error}"));
        }
    }
}

impl AuditSink for Learner {
    fn record(&self, record: &Record<'_>) {
        // The check has the address that a rule must allow; a bind has the port that was chosen.
        if record.operation == Operation::CheckBindAddress {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            addresses.insert(record.address.clone());
        }
        self.trail.record(record);
    }
}

fn policy(addresses: &BTreeSet<BindAddress>, program: &[OsString]) -> String {
    let words: Vec<_> = program.iter().map(|word| printable(word.as_bytes())).collect();
    let mut text = format!("# The policy that netbind learned of: {}\n", words.join(" "));
    text.push_str("# If the program has UDP sockets, it needs the option --udp too.\n");
    let rules: BTreeSet<String> = addresses.iter().map(line).collect();
    for rule in rules {
        text.push_str(&rule);
        text.push('\n');
    }
    text
}

/// Returns the rule, or a comment.
fn line(address: &BindAddress) -> String {
    rule_for(address)
        .unwrap_or_else(|| format!("# {}: {}", printable(address.to_bytes()), no_rule(address)))
}
