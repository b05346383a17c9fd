//! The rows of a table: printed, saved to a file, and loaded for the chart.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{fs, io};

/// The limit of a row.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// The ratio is at most this.
    Ratio(f64),
    /// Our figure is at most this, in the row's unit.
    Most(f64),
    /// There is no limit.
    None,
}

/// One comparison.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    /// The peer's name and figure, if there is a peer.
    pub(crate) peer: Option<(String, f64)>,
    /// The median of the ratios of the pairs, or for exact figures their quotient.
    pub(crate) ratio: Option<f64>,
    /// The 95 % confidence interval of a median.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) budget: Budget,
}

impl Row {
    /// Makes a row of exact figures.
    pub(crate) fn exact(
        what: impl Into<String>,
        unit: &str,
        ours: f64,
        peer: Option<(&str, f64)>,
        budget: Budget,
    ) -> Self {
        let ratio = peer.map(|(_, peer)| ours / peer);
        let peer = peer.map(|(name, figure)| (name.to_string(), figure));
        Self { what: what.into(), unit: unit.into(), ours, peer, ratio, interval: None, budget }
    }

    /// Returns whether the row is within its budget, if it has one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.budget {
            Budget::Ratio(most) => self.ratio.map(|ratio| ratio <= most),
            Budget::Most(most) => Some(self.ours <= most),
            Budget::None => None,
        }
    }

    /// Returns the budget as a ratio to the peer.
    pub(crate) fn ratio_budget(&self) -> Option<f64> {
        match self.budget {
            Budget::Ratio(most) => Some(most),
            Budget::Most(most) => self.peer.as_ref().map(|(_, peer)| most / peer),
            Budget::None => None,
        }
    }

    fn line(&self) -> String {
        let unit = &self.unit;
        let peer = self
            .peer
            .as_ref()
            .map_or("-".into(), |(name, peer)| format!("{} ({name})", figure(*peer, unit)));
        let ratio = match (self.ratio, self.interval) {
            (Some(ratio), Some((low, high))) => format!("{ratio:.3} ({low:.3} to {high:.3})"),
            (Some(ratio), None) => format!("{ratio:.3}"),
            (None, _) => "-".into(),
        };
        let budget = match self.budget {
            Budget::Ratio(most) => format!("ratio {most}"),
            Budget::Most(most) => figure(most, unit),
            Budget::None => "-".into(),
        };
        let met = self.is_met().map_or("-", |met| if met { "yes" } else { "no" });
        let (what, ours) = (&self.what, figure(self.ours, unit));
        format!("| {what} | {ours} | {peer} | {ratio} | {budget} | {met} |")
    }
}

/// Returns the value with its unit, with at least three significant digits for a time.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value < 100.0 => format!("{value:.1} ns"),
        "ns" if value < 10_000.0 => format!("{value:.0} ns"),
        "ns" => format!("{:.1} µs", value / 1000.0),
        _ => format!("{value} {unit}"),
    }
}

/// Returns the table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| what | ours | peer | ratio | budget | met |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text
}

/// Prints the table and saves the rows for the chart, if this is a measurement.
pub(crate) fn finish(name: &str, rows: &[Row]) {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("\n{name}\n\n{}", table(rows));
    if let Err(error) = save(name, rows) {
        eprintln!("{}: {error}", file(name).display());
    }
}

/// Returns the file of a benchmark, in cargo's target directory.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.tsv"))
}

fn save(name: &str, rows: &[Row]) -> io::Result<()> {
    let optional = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let mut text = String::new();
    for row in rows {
        let peer = row.peer.as_ref().map_or("", |(name, _)| name);
        let peers = optional(row.peer.as_ref().map(|(_, figure)| *figure));
        let ratio = optional(row.ratio);
        let low = optional(row.interval.map(|(low, _)| low));
        let high = optional(row.interval.map(|(_, high)| high));
        let (kind, budget) = match row.budget {
            Budget::Ratio(budget) => ("ratio", budget),
            Budget::Most(budget) => ("most", budget),
            Budget::None => ("", 0.0),
        };
        let (what, unit, ours) = (&row.what, &row.unit, row.ours);
        let _ = writeln!(
            text,
            "{what}\t{unit}\t{ours}\t{peer}\t{peers}\t{ratio}\t{low}\t{high}\t{kind}\t{budget}"
        );
    }
    fs::write(file(name), text)
}

/// Returns the rows that the last run of a benchmark saved.
pub(crate) fn load(name: &str) -> io::Result<Vec<Row>> {
    let text = fs::read_to_string(file(name))?;
    text.lines()
        .map(|line| row(line).ok_or_else(|| io::Error::other(format!("not a row: {line}"))))
        .collect()
}

fn row(line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [what, unit, ours, peer, peers, ratio, low, high, kind, budget] = columns[..] else {
        return None;
    };
    let budget = budget.parse().ok()?;
    Some(Row {
        what: what.to_string(),
        unit: unit.to_string(),
        ours: ours.parse().ok()?,
        peer: peers.parse().ok().map(|figure| (peer.to_string(), figure)),
        ratio: ratio.parse().ok(),
        interval: low.parse().ok().zip(high.parse().ok()),
        budget: match kind {
            "ratio" => Budget::Ratio(budget),
            "most" => Budget::Most(budget),
            _ => Budget::None,
        },
    })
}
