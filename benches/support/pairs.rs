//! Time by pairs: ours, the peer, the peer, ours, … and the median of the ratios within the pairs.
//!
//! Criterion and divan measure one subject to its end before the next. On a shared machine the
//! speed changes in between by more than the few percent that matter here. A change of speed
//! affects both halves of a pair, and a pair that was disturbed in the middle does not move the
//! median.

use std::time::Instant;

/// The medians of a comparison, in nanoseconds of one operation.
pub(crate) struct Compared {
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    /// The median of `ours / peer` of each pair, which is not the quotient of the two medians.
    pub(crate) ratio: f64,
    /// The 95 % confidence interval of the ratio, if the pairs are independent.
    pub(crate) interval: (f64, f64),
}

/// Measures both in turn, `pairs` times. Each call returns the nanoseconds of one operation.
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

/// Returns the medians of pairs `(ours, peer)`.
pub(crate) fn summary(pairs: &[(f64, f64)]) -> Compared {
    let ours = sorted(pairs.iter().map(|pair| pair.0));
    let peer = sorted(pairs.iter().map(|pair| pair.1));
    let ratios = sorted(pairs.iter().map(|(ours, peer)| ours / peer));
    // The rank of the median has a binomial distribution; this is two standard deviations of it.
    let middle = (ratios.len() - 1) / 2;
    let margin = ratios.len().isqrt() + 1;
    let interval =
        (ratios[middle.saturating_sub(margin)], ratios[(middle + margin).min(ratios.len() - 1)]);
    Compared { ours: ours[middle], peer: peer[middle], ratio: ratios[middle], interval }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns a measurement of `batch` calls: the nanoseconds of one.
pub(crate) fn batch(batch: u32, mut operation: impl FnMut()) -> impl FnMut() -> f64 {
    move || {
        let start = Instant::now();
        for _ in 0..batch {
            operation();
        }
        nanoseconds(start) / f64::from(batch)
    }
}

/// Returns the nanoseconds since `start`.
pub(crate) fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}
