//! Draws the chart and writes the tables of the last run of the other two benchmarks:
//! `cargo bench && cargo bench --bench chart`.
//!
//! The chart goes to `chart.svg` beside this directory, the tables to the front page, between the two marks that are there
//! for them: no figure on it is copied by hand.

#[path = "../support/report.rs"]
#[allow(dead_code)] // the benchmarks write what is read here
mod report;

mod svg;

use std::process::ExitCode;
use std::{fs, io};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/chart.svg");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

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
    fs::write(CHART, svg::chart(&[("Time", &time), ("Instructions and bytes", &instructions)]))?;
    let tables = format!("\n{}\n{}\n", report::table(&time), report::table(&instructions));
    let page = fs::read_to_string(PAGE)?;
    let page = between_marks(&page, &tables)
        .ok_or_else(|| io::Error::other("the front page has lost its marks"))?;
    fs::write(PAGE, page)
}

/// The page with these tables in the place of the old ones.
fn between_marks(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, behind) = rest.split_once(END)?;
    Some([before, BEGIN, tables, END, behind].concat())
}

/// The same question as the other benchmarks ask.
fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
