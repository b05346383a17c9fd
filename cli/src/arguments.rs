//! The arguments of all commands.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::prelude::{Long, Short, Value};
use lexopt::{Arg, Parser};
use netbind::Rule;

use crate::failure::Failure;
use crate::report::printable;
use crate::{help, policy, users};

/// The request of the user.
pub(crate) enum Request {
    /// A help text, or the version.
    Print(&'static str),
    Execute(Box<Arguments>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Open,
    Run,
    Check,
}

/// The arguments of a command. Options of other commands have their defaults.
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) rules: Vec<Rule>,
    pub(crate) trail: TrailOptions,
    pub(crate) open: OpenOptions,
    pub(crate) run: RunOptions,
    pub(crate) addresses: Vec<OsString>,
    /// The program and its arguments. `check` has none.
    pub(crate) program: Vec<OsString>,
}

#[derive(Default)]
pub(crate) struct TrailOptions {
    pub(crate) file: Option<OsString>,
    pub(crate) json: bool,
}

#[derive(Default)]
pub(crate) struct OpenOptions {
    pub(crate) mode: Option<u16>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) replace_stale: bool,
    pub(crate) dual_stack: bool,
    pub(crate) backlog: Option<u32>,
    pub(crate) seal: bool,
    pub(crate) user: Option<OsString>,
    pub(crate) group: Option<OsString>,
}

#[derive(Default)]
pub(crate) struct RunOptions {
    pub(crate) udp: bool,
    pub(crate) privileged_ports: bool,
    pub(crate) learn: Option<Learn>,
}

/// The place that the learned policy is written to.
pub(crate) enum Learn {
    StandardError,
    File(OsString),
}

impl Command {
    fn of(word: &OsStr) -> Option<Self> {
        match word.to_str()? {
            "open" => Some(Self::Open),
            "run" => Some(Self::Run),
            "check" => Some(Self::Check),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Run => "run",
            Self::Check => "check",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Open => help::OPEN,
            Self::Run => help::RUN,
            Self::Check => help::CHECK,
        }
    }

    /// Makes a failure that says where to read on.
    fn failure(self, error: impl std::fmt::Display) -> Failure {
        let name = self.name();
        Failure::new(format!("{name}: {error}; see netbind {name} --help"))
    }
}

/// Parses the words after the name of the tool.
pub(crate) fn parse(mut words: Vec<OsString>) -> Result<Request, Failure> {
    let Some(first) = words.first() else {
        return Err(Failure::new("open, run or check is missing; see netbind --help"));
    };
    match first.to_str() {
        Some("-h" | "--help" | "help") => return Ok(Request::Print(help::TOOL)),
        Some("-V" | "--version") => return Ok(Request::Print(help::VERSION)),
        _ => {}
    }
    let Some(command) = Command::of(first) else {
        let word = printable(first.as_bytes());
        return Err(Failure::new(format!("unknown command '{word}'; see netbind --help")));
    };
    words.remove(0);
    let program = split_program(&mut words);
    let mut arguments = Arguments {
        command,
        rules: Vec::new(),
        trail: TrailOptions::default(),
        open: OpenOptions::default(),
        run: RunOptions::default(),
        addresses: Vec::new(),
        program: Vec::new(),
    };
    let mut parser = Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(|error| command.failure(error))? {
        if matches!(argument, Short('h') | Long("help")) {
            return Ok(Request::Print(command.help()));
        }
        let argument = own(argument);
        arguments.add(&argument, &mut parser)?;
    }
    arguments.finish(program)?;
    Ok(Request::Execute(Box::new(arguments)))
}

/// Takes the words from the first `--` on away, and returns those after it.
fn split_program(words: &mut Vec<OsString>) -> Option<Vec<OsString>> {
    let at = words.iter().position(|word| word == "--")?;
    let program = words.split_off(at + 1);
    words.truncate(at);
    Some(program)
}

/// An argument that does not borrow the parser.
enum Word {
    Option(String),
    Value(OsString),
}

fn own(argument: Arg<'_>) -> Word {
    match argument {
        Short(letter) => Word::Option(format!("-{letter}")),
        Long(name) => Word::Option(format!("--{name}")),
        Value(value) => Word::Value(value),
    }
}

impl Arguments {
    fn add(&mut self, word: &Word, parser: &mut Parser) -> Result<(), Failure> {
        let command = self.command;
        let option = match word {
            Word::Value(value) if command == Command::Run => {
                let value = printable(value.as_bytes());
                return Err(command.failure(format!("unexpected '{value}', write -- before it")));
            }
            Word::Value(value) => {
                self.addresses.push(value.clone());
                return Ok(());
            }
            Word::Option(option) => option.as_str(),
        };
        let is_known = self.add_common(option, parser)?
            || match command {
                Command::Open => self.add_of_open(option, parser)?,
                Command::Run => self.add_of_run(option, parser)?,
                Command::Check => self.add_dual_stack(option),
            };
        if is_known {
            Ok(())
        } else {
            Err(command.failure(format!("unknown option '{}'", printable(option))))
        }
    }

    fn value(&self, parser: &mut Parser) -> Result<OsString, Failure> {
        parser.value().map_err(|error| self.command.failure(error))
    }

    /// Adds an option of every command. Returns false if it is another one.
    fn add_common(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "--allow" => self.rules.push(policy::parse_rule(&self.value(parser)?)?),
            "--policy" => self.rules.extend(policy::read(&self.value(parser)?)?),
            "--audit" => self.trail.file = Some(self.value(parser)?),
            "--json" => self.trail.json = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_of_open(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "--mode" => self.open.mode = Some(self.mode(parser)?),
            "--owner" => self.open.owner = Some(users::owner(&self.value(parser)?)?),
            "--replace-stale" => self.open.replace_stale = true,
            "--backlog" => self.open.backlog = Some(self.backlog(parser)?),
            "--seal" => self.open.seal = true,
            "--user" => self.open.user = Some(self.value(parser)?),
            "--group" => self.open.group = Some(self.value(parser)?),
            option => return Ok(self.add_dual_stack(option)),
        }
        Ok(true)
    }

    fn add_of_run(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "--udp" => self.run.udp = true,
            "--privileged-ports" => self.run.privileged_ports = true,
            "--learn" => self.run.learn = Some(Learn::StandardError),
            "--learn-to" => self.run.learn = Some(Learn::File(self.value(parser)?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_dual_stack(&mut self, option: &str) -> bool {
        let is_it = option == "--dual-stack";
        self.open.dual_stack |= is_it;
        is_it
    }

    fn mode(&self, parser: &mut Parser) -> Result<u16, Failure> {
        let text = self.value(parser)?;
        let is_octal = |text: &&str| text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode =
            text.to_str().filter(is_octal).and_then(|text| u16::from_str_radix(text, 8).ok());
        let error = "--mode expects 0 to 777 in octal digits";
        mode.filter(|mode| *mode <= 0o777).ok_or_else(|| self.command.failure(error))
    }

    fn backlog(&self, parser: &mut Parser) -> Result<u32, Failure> {
        let text = self.value(parser)?;
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.command.failure("--backlog expects a number"))
    }

    /// Checks what is needed besides the options.
    fn finish(&mut self, program: Option<Vec<OsString>>) -> Result<(), Failure> {
        let command = self.command;
        if command != Command::Run && self.addresses.is_empty() {
            return Err(command.failure("an address is missing"));
        }
        if self.run.learn.is_some() && !self.rules.is_empty() {
            return Err(command.failure("--learn allows everything, so it takes no rules"));
        }
        match (command, program) {
            (Command::Check, None) => {}
            (Command::Check, Some(_)) => return Err(command.failure("unexpected --")),
            (_, Some(program)) if !program.is_empty() => self.program = program,
            _ => return Err(command.failure("a program is missing, write -- PROGRAM at the end")),
        }
        Ok(())
    }
}
