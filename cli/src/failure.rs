//! The failures of the tool itself, and their exit statuses.

use std::fmt;
use std::io;

/// Malformed input, or something that the tool could not do.
const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// A message for the user, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { status: OWN_FAILURE, message: message.into() }
    }

    /// Makes the failure of something that has a name, such as a file.
    pub(crate) fn about(name: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(format!("{name}: {error}"))
    }

    /// Makes the failure of a program that could not be executed.
    pub(crate) fn of_program(name: impl fmt::Display, error: &io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        Self { status, ..Self::about(name, error) }
    }

    pub(crate) const fn status(&self) -> u8 {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}
