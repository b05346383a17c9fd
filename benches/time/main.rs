//! Time, compared with peers in the same run: `cargo bench --bench time`.
//!
//! Each figure is the median of pairs of measurements that alternate between ours and the peer (see
//! `support/pairs.rs`). Both do the same work: the same system calls in the same order, including
//! the close, the same values read, the same number of records kept. Standard error shows each
//! comparison when it is done; the table comes at the end.

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
mod accept;
#[cfg(target_os = "linux")]
mod listen;
#[cfg(target_os = "linux")]
mod many;
#[cfg(target_os = "linux")]
mod parse;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(all(target_os = "linux", feature = "enforce"))]
mod supervise;

#[cfg(target_os = "linux")]
fn main() {
    let mut rows = Rows {
        rows: Vec::new(),
        only: std::env::args().skip(1).find(|word| !word.starts_with('-')),
    };
    parse::measure(&mut rows);
    listen::measure(&mut rows);
    accept::measure(&mut rows);
    ring::measure(&mut rows);
    many::measure(&mut rows);
    #[cfg(feature = "enforce")]
    supervise::measure(&mut rows);
    if rows.only.is_none() {
        support::report::finish("time", &rows.rows);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}

/// The rows that were measured so far.
#[cfg(target_os = "linux")]
struct Rows {
    rows: Vec<support::report::Row>,
    /// `cargo bench --bench time -- record` measures only the rows with this word, without a table.
    only: Option<String>,
}

#[cfg(target_os = "linux")]
impl Rows {
    /// Makes a comparison, unless `only` excludes it.
    fn add(
        &mut self,
        what: impl Into<String>,
        peer: &str,
        budget: support::report::Budget,
        compare: impl FnOnce() -> support::pairs::Compared,
    ) {
        let what = what.into();
        if self.only.as_ref().is_some_and(|only| !what.contains(only.as_str())) {
            return;
        }
        let compared = compare();
        let (low, high) = compared.interval;
        eprintln!(
            "{what} / {peer}: {:.1} ns / {:.1} ns = {:.3} [{low:.3}, {high:.3}]",
            compared.ours, compared.peer, compared.ratio
        );
        self.rows.push(support::report::Row {
            what,
            unit: "ns".into(),
            ours: compared.ours,
            peer: Some((peer.into(), compared.peer)),
            ratio: Some(compared.ratio),
            interval: Some(compared.interval),
            budget,
        });
    }
}
