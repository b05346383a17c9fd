//! The rows of the table: printed, kept in a file for the chart, and read back.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{fs, io};

/// What a row has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// The ratio is at most this.
    Ratio(f64),
    /// Ours is at most this, in the row's unit.
    Most(f64),
    /// The peer's time is at least this many times ours.
    Faster(f64),
    /// Shown for the comparison alone.
    Nothing,
}

/// One comparison.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    /// The peer's name and figure; some rows have a limit and no peer.
    pub(crate) peer: Option<(String, f64)>,
    /// The median of the pairs' ratios where there were pairs; else the quotient.
    pub(crate) ratio: Option<f64>,
    /// Where that median lies, with 95 % confidence.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) reach: Reach,
}

impl Row {
    /// A row of exact figures.
    pub(crate) fn exact(
        what: impl Into<String>,
        unit: &str,
        ours: f64,
        peer: Option<(&str, f64)>,
        reach: Reach,
    ) -> Self {
        let ratio = peer.map(|(_, peer)| ours / peer);
        let peer = peer.map(|(name, figure)| (name.to_string(), figure));
        Self { what: what.into(), unit: unit.to_string(), ours, peer, ratio, interval: None, reach }
    }

    /// `None` where there is nothing to reach.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.reach {
            Reach::Ratio(most) => self.ratio.map(|ratio| ratio <= most),
            Reach::Most(most) => Some(self.ours <= most),
            Reach::Faster(times) => self.ratio.map(|ratio| ratio * times <= 1.0),
            Reach::Nothing => None,
        }
    }

    /// The ratio at which the row would just be met.
    pub(crate) fn ratio_to_reach(&self) -> Option<f64> {
        match self.reach {
            Reach::Ratio(most) => Some(most),
            Reach::Most(most) => self.peer.as_ref().map(|(_, peer)| most / peer),
            Reach::Faster(times) => Some(1.0 / times),
            Reach::Nothing => None,
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
        let reach = match self.reach {
            Reach::Ratio(most) => format!("{} x", trimmed(most)),
            Reach::Most(most) => format!("{most} {unit}"),
            Reach::Faster(times) => format!("{times} x the throughput"),
            Reach::Nothing => "-".into(),
        };
        let met = self.is_met().map_or("-", |met| if met { "yes" } else { "no" });
        format!(
            "| {} | {} | {peer} | {ratio} | {reach} | {met} |",
            self.what,
            figure(self.ours, unit)
        )
    }
}

/// Three digits that say something.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value < 100.0 => format!("{value:.1} ns"),
        "ns" if value < 10_000.0 => format!("{value:.0} ns"),
        "ns" => format!("{:.1} µs", value / 1000.0),
        _ => format!("{value} {unit}"),
    }
}

fn trimmed(value: f64) -> String {
    if (value * 3.0 - 1.0).abs() < 1e-9 {
        return "1/3".into();
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The table, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| what | ours | peer | ratio | reach | met? |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text
}

/// Prints the table, and keeps the rows for the chart where they are a measurement.
pub(crate) fn finish(name: &str, rows: &[Row]) {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("\n{name}\n\n{}", table(rows));
    if let Err(error) = save(name, rows) {
        eprintln!("{}: {error}", file(name).display());
    }
}

/// Under cargo's own directory, beside the build.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.tsv"))
}

fn save(name: &str, rows: &[Row]) -> io::Result<()> {
    let mut text = String::new();
    for row in rows {
        let (peer, peers) =
            row.peer.as_ref().map_or(("", String::new()), |(name, peer)| (name, peer.to_string()));
        let ratio = row.ratio.map_or(String::new(), |ratio| ratio.to_string());
        let (kind, reach) = match row.reach {
            Reach::Ratio(reach) => ("ratio", reach),
            Reach::Most(reach) => ("most", reach),
            Reach::Faster(reach) => ("faster", reach),
            Reach::Nothing => ("", 0.0),
        };
        let (low, high) = row
            .interval
            .map_or_else(Default::default, |(low, high)| (low.to_string(), high.to_string()));
        let (what, unit, ours) = (&row.what, &row.unit, row.ours);
        let _ = writeln!(
            text,
            "{what}\t{unit}\t{ours}\t{peer}\t{peers}\t{ratio}\t{low}\t{high}\t{kind}\t{reach}"
        );
    }
    fs::write(file(name), text)
}

/// The rows that the last run of this benchmark kept.
pub(crate) fn load(name: &str) -> io::Result<Vec<Row>> {
    let text = fs::read_to_string(file(name))?;
    text.lines()
        .map(|line| row(line).ok_or_else(|| io::Error::other(format!("not a row: {line}"))))
        .collect()
}

fn row(line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [what, unit, ours, peer, peers, ratio, low, high, kind, reach] = columns[..] else {
        return None;
    };
    let reach = reach.parse().ok()?;
    Some(Row {
        what: what.to_string(),
        unit: unit.to_string(),
        ours: ours.parse().ok()?,
        peer: if peer.is_empty() { None } else { Some((peer.to_string(), peers.parse().ok()?)) },
        ratio: if ratio.is_empty() { None } else { Some(ratio.parse().ok()?) },
        interval: low.parse().ok().zip(high.parse().ok()),
        reach: match kind {
            "ratio" => Reach::Ratio(reach),
            "most" => Reach::Most(reach),
            "faster" => Reach::Faster(reach),
            _ => Reach::Nothing,
        },
    })
}
