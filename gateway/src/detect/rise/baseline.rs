//! What is usual of one direction of one tenant: the rate per minute that it exceeds for one minute in a
//! hundred.
//!
//! It is learned by stochastic approximation (Robbins, Monro 1951; the quantile form is that of Ma,
//! Muthukrishnan, Sandler 2013): one number, moved up a large step when the rate exceeds it and down a
//! small one when not. What recurs, an hour's backup each night, is half forgotten by the next night
//! and no rise; what stays is the new baseline within half an hour.

use super::LEAST_BYTES_PER_SEC;

/// What a baseline exceeds in this share of all minutes.
const QUANTILE: f64 = 0.99;
/// How far a minute over the baseline moves it, as a factor; one below it moves it by 1/99 of that.
const STEP: f64 = 0.05;
/// Minutes before a tenant is judged: a day, since days differ less than hours do.
const LEARNING_MINUTES: u32 = 24 * 60;

/// What is usual, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The rate.
    pub bytes_per_sec: f64,
    /// For how many minutes it has been learned.
    pub minutes: u32,
}

impl Baseline {
    /// Whether anything was learned.
    pub(super) fn is_known(&self) -> bool {
        self.minutes > 0
    }

    /// Whether it was learned for long enough to judge by.
    pub(super) fn is_settled(&self) -> bool {
        self.minutes >= LEARNING_MINUTES
    }

    /// Learns from one minute.
    pub(super) fn learn(&mut self, bytes_per_sec: f64) {
        let rate = bytes_per_sec.max(LEAST_BYTES_PER_SEC);
        let factor =
            if rate > self.bytes_per_sec { 1.0 + STEP * QUANTILE } else { 1.0 - STEP * (1.0 - QUANTILE) };
        self.bytes_per_sec =
            if self.minutes == 0 { rate } else { (self.bytes_per_sec * factor).max(LEAST_BYTES_PER_SEC) };
        self.minutes = self.minutes.saturating_add(1);
    }
}
