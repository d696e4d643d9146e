//! What an experiment gave.

use std::time::Duration;

use super::line::SLICE_NS;

/// A full frame over the payload that TCP with timestamps carries in it: goodput of 1.0 is the cap.
pub(super) const FRAME_PER_PAYLOAD: f64 = 1_514.0 / 1_448.0;

/// Figures of one experiment; rates are over the cap.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What arrived of all senders, as full frames, over the whole run.
    pub goodput: f64,
    /// The same without the first seconds.
    pub goodput_later: f64,
    /// What arrived of each source, in their order; 0 for downloads.
    pub shares: Vec<f64>,
    /// Segments that long connections sent again, for each 10^6 bytes of their payload that arrived.
    pub retransmissions_per_mb: Option<f64>,
    /// The same without the first seconds.
    pub retransmissions_per_mb_later: Option<f64>,
    /// The busiest second.
    pub peak: f64,
    /// The same without the first seconds.
    pub peak_later: f64,
    /// Frames behind the cap without the first seconds: what the cap let through in the long run.
    pub rate_later: f64,
    /// How long downloads took.
    pub downloads: Option<Downloads>,
}

/// How long downloads of 100 kB took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Downloads {
    /// How many came to their end.
    pub count: usize,
    /// Half of them took longer.
    pub median_ms: f64,
    /// One in ten took longer.
    pub percentile_90_ms: f64,
}

impl Downloads {
    /// Of the downloads of one source; none if none came to its end.
    pub(super) fn of(took: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied();
        Some(Self { count: sorted.len(), median_ms: at(50)?, percentile_90_ms: at(90)? })
    }
}

/// Jain's index of fairness: 1 if all get the same, 1/n if one gets everything.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

/// Bytes in the busiest second of some slices.
pub(super) fn busiest_second(slices: &[u64]) -> u64 {
    let width = usize::try_from(1_000_000_000 / SLICE_NS).unwrap_or(usize::MAX);
    if slices.len() <= width {
        return slices.iter().sum();
    }
    slices.windows(width).map(|second| second.iter().sum()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_tells_even_from_uneven() {
        assert_eq!(jain(&[0.5, 0.5]), 1.0);
        assert_eq!(jain(&[1.0, 0.0]), 0.5);
        assert!((jain(&[0.9, 0.1]) - 0.61).abs() < 0.001);
    }

    #[test]
    fn the_busiest_second_may_begin_anywhere() {
        let mut slices = vec![1; 300];
        assert_eq!(busiest_second(&slices), 100);
        slices[150..160].fill(10);
        assert_eq!(busiest_second(&slices), 190);
        assert_eq!(busiest_second(&[1, 2]), 3);
    }

    #[test]
    fn downloads_are_summed_up() {
        let took: Vec<_> = (1..=101).map(Duration::from_millis).collect();
        let expected = Downloads { count: 101, median_ms: 51.0, percentile_90_ms: 91.0 };
        assert_eq!(Downloads::of(&took), Some(expected));
        assert_eq!(Downloads::of(&[]), None);
    }
}
