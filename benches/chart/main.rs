//! Writes the tables and the chart of the last run of the other two benchmarks:
//! `cargo bench && cargo bench --bench chart`.
//!
//! The tables go to `docs/BENCHMARKS.md`, between its two marks, and the chart to
//! `docs/benchmarks.svg`. No figure is copied by hand.

#[path = "../support/report.rs"]
#[allow(dead_code)] // the other benchmarks write the rows
mod report;

mod svg;

use std::process::ExitCode;
use std::{fs, io};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.svg");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/BENCHMARKS.md");
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

fn main() -> ExitCode {
    // `cargo test --benches` runs this program without `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chart: {error} (run `cargo bench` first)");
            ExitCode::FAILURE
        }
    }
}

fn write() -> io::Result<()> {
    let time = report::load("time")?;
    let instructions = report::load("instructions")?;
    fs::write(CHART, svg::chart(&[("Time", &time), ("Instructions and bytes", &instructions)]))?;
    let tables = format!(
        "\n### Time\n\n{}\n### Instructions and bytes\n\n{}\n",
        report::table(&time),
        report::table(&instructions)
    );
    let page = fs::read_to_string(PAGE)?;
    let page = replace_tables(&page, &tables)
        .ok_or_else(|| io::Error::other("docs/BENCHMARKS.md does not contain the two marks"))?;
    fs::write(PAGE, page)
}

/// Returns the page with `tables` between the marks.
fn replace_tables(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, tables, END, after].concat())
}
