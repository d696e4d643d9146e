//! Rounds and what is made of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    /// `all` of something, or a few.
    pub(crate) fn rounds(self, all: usize) -> usize {
        if self.quick { 3.min(all) } else { all }
    }

    /// `all` of something that is repeated, or a tenth.
    pub(crate) fn repeats(self, all: u32) -> u32 {
        if self.quick { (all / 10).max(1) } else { all }
    }
}

/// Median and quartiles of what the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// A quarter of the rounds lies below.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// A quarter of the rounds lies above.
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter: usize| sorted[(sorted.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }

    /// Of what each round's value exceeds the same round's baseline by.
    pub(crate) fn of_differences(values: &[f64], baselines: &[f64]) -> Self {
        let differences: Vec<f64> =
            values.iter().zip(baselines).map(|(value, baseline)| value - baseline).collect();
        Self::of(&differences)
    }
}

/// Something that is measured once a round.
pub(crate) type Trial<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Measures all in turns, `rounds` times, after one turn that is thrown away; gives the values of each.
pub(crate) fn in_turns(rounds: usize, trials: &mut [Trial<'_>]) -> Result<Vec<Vec<f64>>> {
    let mut values = vec![Vec::with_capacity(rounds); trials.len()];
    for round in 0..=rounds {
        for (trial, values) in trials.iter_mut().zip(&mut values) {
            let value = trial()?;
            if round > 0 {
                values.push(value);
            }
        }
    }
    Ok(values)
}

/// The processor time that this thread spends in `work`: what other programs take meanwhile is not in it.
pub(crate) fn processor_time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = now()?;
    work()?;
    Ok(now()? - start)
}

/// The time that passes during `work`.
pub(crate) fn elapsed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert_eq!(Spread::of(&[7.0]), Spread { low: 7.0, median: 7.0, high: 7.0 });
        let difference = Spread::of_differences(&[3.0, 30.0, 4.0], &[1.0, 28.0, 2.0]);
        assert_eq!(difference.median, 2.0);
    }

    #[test]
    fn the_first_turn_is_thrown_away() {
        let mut count = 0.0;
        let mut trials: [Trial<'_>; 1] = [Box::new(|| {
            count += 1.0;
            Ok(count)
        })];
        assert_eq!(in_turns(2, &mut trials).expect("no trial fails"), [[2.0, 3.0]]);
    }
}
