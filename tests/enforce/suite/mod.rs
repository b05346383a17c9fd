// Arguments and answers of system calls.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod harness;
mod memory;
mod probe;
mod ring;
mod supervised;
mod trap;

mod attempts;
mod confine;
mod decision;
mod errors;
mod faults;
mod gaps;
mod hostile;
mod io_uring;
mod layers;
mod paths;
mod quiet;
mod seal;
mod supervise;
mod threads;

use std::process::ExitCode;

use harness::Case;

const CASES: &[&[Case]] = &[
    confine::CASES,
    decision::CASES,
    errors::CASES,
    faults::CASES,
    gaps::CASES,
    hostile::CASES,
    io_uring::CASES,
    layers::CASES,
    paths::CASES,
    quiet::CASES,
    seal::CASES,
    supervise::CASES,
    threads::CASES,
];

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(attempts::FLAG) => attempts::run_by_name(&arguments[1..]),
        _ => harness::run(CASES, &arguments),
    }
}
