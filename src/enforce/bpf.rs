//! Programs of classic BPF for seccomp:
//! [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html).
//!
//! A program is a list of blocks. Each block is about one value of the call: if it is equal, the
//! block decides, and otherwise the next block follows.

use heapless::Vec;

use crate::error::Errno;

/// `struct sock_filter`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    code: u16,
    jump_if_true: u8,
    jump_if_false: u8,
    value: u32,
}

/// The answer of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Allow,
    Refuse(Errno),
    /// A supervisor answers.
    Notify,
    Kill,
}

/// A field of `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Number,
    Architecture,
    /// The low 32 bits of an argument.
    Argument(u8),
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// The most statements of a program here.
const CAPACITY: usize = 128;

/// A program.
#[derive(Default)]
pub(super) struct Program {
    statements: Vec<Statement, CAPACITY>,
    /// Set if a statement had no room. `finish` then returns `None`.
    is_too_long: bool,
}

impl Program {
    /// Loads a field, which the next statements compare.
    pub(super) fn load(&mut self, field: Field) -> &mut Self {
        let offset = match field {
            Field::Number => 0,
            Field::Architecture => 4,
            Field::Argument(index) => 16 + 8 * u32::from(index), // both processors: little-endian
        };
        self.push(LOAD, 0, 0, offset)
    }

    /// Keeps these bits of the loaded value.
    pub(super) fn mask(&mut self, bits: u32) -> &mut Self {
        self.push(AND, 0, 0, bits)
    }

    /// Answers if the loaded value is equal.
    pub(super) fn if_equal(&mut self, value: u32, answer: Answer) -> &mut Self {
        self.push(JUMP_IF_EQUAL, 0, 1, value).answer(answer)
    }

    /// Answers if the loaded value is another one.
    pub(super) fn unless_equal(&mut self, value: u32, answer: Answer) -> &mut Self {
        self.push(JUMP_IF_EQUAL, 1, 0, value).answer(answer)
    }

    /// Answers if the loaded value is at least this one.
    pub(super) fn if_at_least(&mut self, value: u32, answer: Answer) -> &mut Self {
        self.push(JUMP_IF_GREATER_OR_EQUAL, 0, 1, value).answer(answer)
    }

    /// Adds the statements of `block`, which are skipped unless the loaded value is equal. They
    /// must answer in every case, because they can load another value.
    pub(super) fn block(&mut self, value: u32, block: &Self) -> &mut Self {
        let length = u8::try_from(block.statements.len());
        self.is_too_long |= length.is_err() || block.is_too_long;
        self.push(JUMP_IF_EQUAL, 0, length.unwrap_or(0), value);
        for statement in &block.statements {
            self.is_too_long |= self.statements.push(*statement).is_err();
        }
        self
    }

    /// Answers.
    pub(super) fn answer(&mut self, answer: Answer) -> &mut Self {
        const ALLOW: u32 = 0x7fff_0000;
        const ERRNO: u32 = 0x0005_0000;
        const USER_NOTIF: u32 = 0x7fc0_0000;
        const KILL_PROCESS: u32 = 0x8000_0000;
        let value = match answer {
            Answer::Allow => ALLOW,
            Answer::Refuse(errno) => ERRNO | errno.raw_os_error().cast_unsigned(),
            Answer::Notify => USER_NOTIF,
            Answer::Kill => KILL_PROCESS,
        };
        self.push(RETURN, 0, 0, value)
    }

    /// Returns the statements, or `None` if there was no room for one.
    pub(super) fn finish(&self) -> Option<&[Statement]> {
        (!self.is_too_long).then_some(&self.statements)
    }

    fn push(&mut self, code: u16, jump_if_true: u8, jump_if_false: u8, value: u32) -> &mut Self {
        let statement = Statement { code, jump_if_true, jump_if_false, value };
        self.is_too_long |= self.statements.push(statement).is_err();
        self
    }
}
