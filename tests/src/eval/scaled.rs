//! What other thresholds would do: all of them times a factor, counts and shares alike.

use std::fmt::Write as _;

use anyhow::Result;
use fastrand::Rng;
use gateway::config::OffenceKind;
use serde::Serialize;

use crate::attack::{Cell, Shape};
use crate::benign;
use crate::world::World;
use crate::{configure_grid, grid_cell};

/// Thresholds as they are, and so many times as high.
const FACTORS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0];
const RATES: [f64; 3] = [1.0, 10.0, 1_000.0];
const ANSWERED: [u8; 4] = [0, 30, 50, 70];
/// Of each cell.
const RUNS: u32 = 10;
/// Of each ordinary program; without the fastest crawler, which takes longer than all others together.
const SECONDS: u64 = 900;
const LEFT_OUT: &str = "crawler, 2,000 hosts/s";

/// What came of one factor.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scaled {
    pub(crate) factor: f64,
    pub(crate) detected: Vec<Detected>,
    pub(crate) false_verdicts_per_hour: f64,
}

/// Scans of all shapes and some rates.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Detected {
    pub(crate) answered_percent: u8,
    pub(crate) share: f64,
}

/// A smaller grid, and the ordinary programs for a shorter time, under each factor.
pub(crate) fn run(world: &mut World, rng: &mut Rng) -> Result<Vec<Scaled>> {
    FACTORS.iter().map(|factor| run_scaled(world, *factor, rng)).collect()
}

fn run_scaled(world: &mut World, factor: f64, rng: &mut Rng) -> Result<Scaled> {
    eprintln!("thresholds times {factor}");
    let config = thresholds(factor);
    configure_grid(world, &config)?;
    let detected = ANSWERED.iter().map(|answered| detected(world, *answered, rng)).collect::<Result<_>>()?;
    let (mut verdicts, mut seconds) = (0, 0);
    for program in benign::PROGRAMS.iter().filter(|program| program.name != LEFT_OUT) {
        verdicts += benign::run(world, program, &config, SECONDS, rng)?.verdicts.len();
        seconds += SECONDS;
    }
    let false_verdicts_per_hour = verdicts as f64 * 3_600.0 / seconds as f64;
    Ok(Scaled { factor, detected, false_verdicts_per_hour })
}

fn detected(world: &mut World, answered_percent: u8, rng: &mut Rng) -> Result<Detected> {
    let (mut detected, mut runs) = (0, 0);
    for shape in Shape::ALL {
        for per_second in RATES {
            detected +=
                grid_cell(world, Cell { shape, per_second, answered_percent, silent: false }, RUNS, rng)?
                    .detected;
            runs += RUNS;
        }
    }
    Ok(Detected { answered_percent, share: f64::from(detected) / f64::from(runs) })
}

/// All thresholds times a factor, as far as the config takes them.
fn thresholds(factor: f64) -> String {
    let mut config = String::new();
    let class = &fairway_tests::bench::config("").detection.classes[0];
    for (kind, rule) in class.rules().filter(|(kind, _)| *kind != OffenceKind::SuddenRise) {
        _ = writeln!(config, "[detect.{}]", kind.label());
        for (threshold, value) in &rule.thresholds {
            let label = threshold.label();
            let most = if label.ends_with("_percent") { 100.0 } else { f64::INFINITY };
            let value = (f64::from(*value) * factor).ceil().clamp(4.0, most);
            _ = writeln!(config, "{label} = {value}");
        }
    }
    config
}
