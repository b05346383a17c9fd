//! Time by pairs: ours, the peer, the peer, ours, … and the median of the ratios within the pairs.
//!
//! A hand-made clock, and neither criterion nor divan: those measure one subject to its end before the next. On a machine
//! that is shared, its speed changes between the two by more than the three percent that are to be seen. What happens to
//! the machine happens to both halves of a pair, and a pair that was disturbed in between does not move the median.

use std::time::Instant;

/// The medians of a comparison; times are in nanoseconds for one operation.
pub(crate) struct Compared {
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    /// The median of `ours / peer` of each pair, which is not the quotient of the two medians.
    pub(crate) ratio: f64,
    /// Where that median lies with 95 % confidence, if the pairs do not depend on each other.
    pub(crate) interval: (f64, f64),
}

/// Measures both by turns, `pairs` times; each measurement answers with the nanoseconds of one operation.
pub(crate) fn compare(
    pairs: usize,
    mut ours: impl FnMut() -> f64,
    mut peer: impl FnMut() -> f64,
) -> Compared {
    let pairs = if super::is_measured() { pairs } else { 1 };
    let warm_up = pairs / 10;
    let mut all = Vec::with_capacity(pairs);
    for pair in 0..warm_up + pairs {
        let (ours, peer) = if pair.is_multiple_of(2) {
            let ours = ours();
            (ours, peer())
        } else {
            let peer = peer();
            (ours(), peer)
        };
        if pair >= warm_up {
            all.push((ours, peer));
        }
    }
    summary(&all)
}

/// The medians of pairs that were measured elsewhere.
pub(crate) fn summary(pairs: &[(f64, f64)]) -> Compared {
    let ours = sorted(pairs.iter().map(|pair| pair.0));
    let peer = sorted(pairs.iter().map(|pair| pair.1));
    let ratios = sorted(pairs.iter().map(|(ours, peer)| ours / peer));
    // So far beside the middle is the median's place among them: two standard deviations of a binomial distribution.
    let middle = (ratios.len() - 1) / 2;
    let beside = ratios.len().isqrt() + 1;
    let interval =
        (ratios[middle.saturating_sub(beside)], ratios[(middle + beside).min(ratios.len() - 1)]);
    Compared { ours: ours[middle], peer: peer[middle], ratio: ratios[middle], interval }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The nanoseconds of one call among `batch`.
pub(crate) fn batch(batch: u32, mut operation: impl FnMut()) -> impl FnMut() -> f64 {
    move || {
        let start = Instant::now();
        for _ in 0..batch {
            operation();
        }
        nanoseconds(start) / f64::from(batch)
    }
}

/// Nanoseconds since `start`.
pub(crate) fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}
