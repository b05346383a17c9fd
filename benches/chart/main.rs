//! Draws the chart and prints the tables of the last run of the other two benchmarks:
//! `cargo bench && cargo bench --bench chart`.
//!
//! The chart goes to `chart.svg` beside this directory, the tables to standard output, for the front page.

#[path = "../support/report.rs"]
#[allow(dead_code)] // the benchmarks write what is read here
mod report;

mod svg;

use std::process::ExitCode;
use std::{fs, io};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/chart.svg");

fn main() -> ExitCode {
    if !is_measured() {
        return ExitCode::SUCCESS;
    }
    match draw() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chart: {error} (`cargo bench` first)");
            ExitCode::FAILURE
        }
    }
}

fn draw() -> io::Result<()> {
    let time = report::load("time")?;
    let instructions = report::load("instructions")?;
    println!("{}\n{}", report::table(&time), report::table(&instructions));
    fs::write(CHART, svg::chart(&[("Time", &time), ("Instructions and bytes", &instructions)]))
}

/// The same question as the other benchmarks ask.
fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
