//! `netbind`: runs programs that may listen only where a policy allows it.
//!
//! The library decides and makes every call of listening. This tool reads the arguments, starts the
//! program, and forwards signals.

mod arguments;
mod check;
mod failure;
mod help;
mod learn;
mod open;
mod policy;
mod report;
mod run;
mod session;
mod signals;
mod trail;
mod users;
mod watch;

use std::env;
use std::process::ExitCode;

use arguments::{Command, Request};
use failure::Failure;

fn main() -> ExitCode {
    let status = dispatch().unwrap_or_else(|failure| {
        report::report(failure.message());
        failure.status()
    });
    ExitCode::from(status)
}

fn dispatch() -> Result<u8, Failure> {
    let words = env::args_os().skip(1).collect();
    match arguments::parse(words)? {
        Request::Print(text) => report::print(text.as_bytes()).map(|()| 0),
        Request::Execute(arguments) => match arguments.command {
            Command::Open => open::open(&arguments).map(|never| match never {}),
            Command::Run => run::run(&arguments),
            Command::Check => check::check(&arguments),
        },
    }
}
