//! Figures with their units, their baselines, and what they are to be.

use serde::{Deserialize, Serialize};

use crate::measure::Spread;

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Section and what is measured, as a path: `packet/hot/100k tenants/TCP over IPv4, 64 B`.
    pub(crate) name: String,
    /// Unit of all values.
    pub(crate) unit: String,
    /// Whether less is better.
    pub(crate) less_is_better: bool,
    /// What was measured; where a difference to the baseline is meant, that difference.
    pub(crate) value: Spread,
    /// What it was measured beside.
    pub(crate) baseline: Option<Baseline>,
    /// What it is to be.
    pub(crate) aim: Option<Aim>,
}

/// What a figure was measured beside, in the same rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// What it is.
    pub(crate) name: String,
    /// What was measured of it.
    pub(crate) value: Spread,
    /// The figure over the baseline, by their medians.
    pub(crate) ratio: f64,
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// The value is at most this.
    AtMost(f64),
    /// The value is at least this.
    AtLeast(f64),
    /// The ratio to the baseline is at most this.
    RatioAtMost(f64),
    /// The ratio to the baseline is at least this.
    RatioAtLeast(f64),
}

impl Figure {
    /// A figure of which less is better.
    pub(crate) fn less(name: impl Into<String>, unit: &str, value: Spread) -> Self {
        let (name, unit) = (name.into(), unit.to_owned());
        Self { name, unit, less_is_better: true, value, baseline: None, aim: None }
    }

    /// A figure of which more is better.
    pub(crate) fn more(name: impl Into<String>, unit: &str, value: Spread) -> Self {
        Self { less_is_better: false, ..Self::less(name, unit, value) }
    }

    pub(crate) fn beside(mut self, name: impl Into<String>, value: Spread) -> Self {
        let ratio = self.value.median / value.median;
        self.baseline = Some(Baseline { name: name.into(), value, ratio });
        self
    }

    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// Whether it is what it is to be; none if nothing was asked of it.
    pub(crate) fn reached(&self) -> Option<bool> {
        let ratio = self.baseline.as_ref().map_or(f64::NAN, |baseline| baseline.ratio);
        Some(match self.aim? {
            Aim::AtMost(most) => self.value.median <= most,
            Aim::AtLeast(least) => self.value.median >= least,
            Aim::RatioAtMost(most) => ratio <= most,
            Aim::RatioAtLeast(least) => ratio >= least,
        })
    }

    /// Whether it is worse than it was, by more than a tenth and more than both their spreads.
    pub(crate) fn is_worse_than(&self, before: &Self) -> bool {
        let (now, then) = (self.value, before.value);
        if self.less_is_better {
            now.median > then.median * 1.1 && now.low > then.high
        } else {
            now.median < then.median / 1.1 && now.high < then.low
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::RatioAtMost(most) => write!(f, "<= {most} x"),
            Self::RatioAtLeast(least) => write!(f, ">= {least} x"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { low, median, high }
    }

    #[test]
    fn worse_is_what_lies_beyond_a_tenth_and_both_spreads() {
        let time = |value| Figure::less("time", "ns", value);
        let before = time(spread(9.0, 10.0, 11.0));
        assert!(time(spread(11.5, 12.0, 12.5)).is_worse_than(&before));
        assert!(!time(spread(10.5, 12.0, 12.5)).is_worse_than(&before), "the spreads overlap");
        assert!(!time(spread(10.9, 10.9, 10.9)).is_worse_than(&before), "within a tenth");
        assert!(!time(spread(5.0, 5.0, 5.0)).is_worse_than(&before), "better");
        let rate = |value| Figure::more("rate", "packets/s", value);
        let before = rate(spread(9.0, 10.0, 11.0));
        assert!(rate(spread(8.0, 8.0, 8.0)).is_worse_than(&before));
        assert!(!rate(spread(12.0, 12.0, 12.0)).is_worse_than(&before), "better");
    }

    #[test]
    fn aims_are_held_against_values_or_ratios() {
        let figure =
            Figure::less("time", "ns", spread(9.0, 10.0, 11.0)).beside("other", spread(5.0, 5.0, 5.0));
        assert_eq!(figure.reached(), None);
        assert_eq!(figure.clone().aim(Aim::AtMost(10.0)).reached(), Some(true));
        assert_eq!(figure.clone().aim(Aim::AtMost(9.9)).reached(), Some(false));
        assert_eq!(figure.clone().aim(Aim::AtLeast(10.1)).reached(), Some(false));
        assert_eq!(figure.clone().aim(Aim::RatioAtMost(1.5)).reached(), Some(false));
        assert_eq!(figure.aim(Aim::RatioAtLeast(2.0)).reached(), Some(true));
    }
}
