//! Caps as TCP, UDP and short downloads meet them: Fairway's algorithms beside the kernel's queues.
//!
//! Unlike the other parts, what is measured here is time on a wire: how busy the machine is shows in the lateness of the
//! [delay line](fairway_tests::caps), and batches that were late are thrown away and run again.

mod cases;
mod plot;
mod report;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use anyhow::Result;
use fairway_tests::caps::{Algorithm, Bed, Control, Experiment, Judge, Lateness, Outcome, Source, Timing};

use crate::measure::Effort;

/// What the delay line may be late on average. At 0.1 ms figures repeat; at 1 ms peaks rose by a tenth.
const MOST_MEAN_MS: f64 = 0.3;
/// What one frame in a hundred may exceed.
const MOST_PERCENTILE_99_MS: f64 = 4.0;
/// Caps that are filled at the same time, together. More makes the line late on two processors.
const MOST_KBIT_PER_SEC: u32 = 250_000;
const MOST_FLOWS: usize = 160;

/// A run as long as that which `docs/caps.md` compares itself with.
const WHOLE: Timing = Timing { start: Duration::from_secs(5), whole: Duration::from_secs(16) };
const QUICK: Timing = Timing { start: Duration::from_secs(2), whole: Duration::from_secs(5) };
/// Runs of each experiment.
const ROUNDS: usize = 5;

/// What was measured, and under which conditions.
#[derive(Default)]
struct Measured {
    outcomes: HashMap<Experiment, Vec<Outcome>>,
    lateness: Vec<Lateness>,
    refused: Vec<Lateness>,
}

/// Measures everything; prints it, and keeps it if that is wanted.
pub(crate) fn run(effort: Effort, json: bool, keep: bool) -> Result<()> {
    let bed = Bed::build()?;
    let judge = Judge::start(&bed)?;
    let mut missing = BTreeSet::new();
    for (algorithm, reason) in judge.unavailable() {
        eprintln!("{} is left out, for this kernel has none: {reason}", algorithm.label());
        missing.insert(algorithm);
    }
    let mut controls = Vec::new();
    for control in Control::ALL {
        if control.is_available()? {
            controls.push(control);
        } else {
            eprintln!("{} is left out, for this kernel has none", control.label());
        }
    }
    let experiments: Vec<_> = cases::all(effort, &controls)
        .into_iter()
        .filter(|experiment| !missing.contains(&experiment.algorithm))
        .collect();
    let rounds = if effort.quick { 1 } else { ROUNDS };
    let mut measured = Measured::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        measured.round(&judge, &experiments, if effort.quick { QUICK } else { WHOLE })?;
        // A run of half an hour may be broken off.
        if keep {
            let report = report::Report::of(&experiments, &measured);
            report.keep()?;
            plot::write(&report)?;
        }
    }
    let report = report::Report::of(&experiments, &measured);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}

impl Measured {
    /// Runs every experiment once, in random order.
    fn round(&mut self, judge: &Judge<'_>, experiments: &[Experiment], timing: Timing) -> Result<()> {
        let mut waiting: Vec<_> = experiments.to_vec();
        fastrand::shuffle(&mut waiting);
        let mut waiting = VecDeque::from(waiting);
        // As many again as there are, for those that were late.
        let mut runs_left = 2 * waiting.len();
        while !waiting.is_empty() {
            let batch = take_batch(&mut waiting);
            let Some(left) = runs_left.checked_sub(batch.len()) else {
                eprintln!(
                    "the machine is too busy: {} experiments are left out",
                    batch.len() + waiting.len()
                );
                break;
            };
            runs_left = left;
            let result = judge.run(&batch, timing)?;
            let Lateness { mean_ms, percentile_99_ms, frames } = result.lateness;
            let is_late = mean_ms > MOST_MEAN_MS || percentile_99_ms > MOST_PERCENTILE_99_MS;
            eprintln!(
                "{} experiments, {} wait; the line was {mean_ms:.2} ms late, 1 % of {frames} frames above \
                 {percentile_99_ms:.2} ms{}",
                batch.len(),
                waiting.len(),
                if is_late { ": refused" } else { "" }
            );
            if is_late {
                self.refused.push(result.lateness);
                waiting.extend(batch);
                continue;
            }
            self.lateness.push(result.lateness);
            for (experiment, outcome) in batch.into_iter().zip(result.outcomes) {
                self.outcomes.entry(experiment).or_default().push(outcome);
            }
        }
        Ok(())
    }
}

/// As many as the machine can drive at once.
fn take_batch(waiting: &mut VecDeque<Experiment>) -> Vec<Experiment> {
    let (mut batch, mut load, mut flows) = (Vec::new(), 0, 0);
    while let Some(next) = waiting.front() {
        let own = offered_kbit_per_sec(next);
        let is_full = load + own > MOST_KBIT_PER_SEC || flows + next.workload.sources.len() > MOST_FLOWS;
        if is_full && !batch.is_empty() {
            break;
        }
        load += own;
        flows += next.workload.sources.len();
        batch.extend(waiting.pop_front());
    }
    batch
}

/// What its senders cost: TCP sends about the cap, UDP what it is told to, small datagrams as much as large ones.
fn offered_kbit_per_sec(experiment: &Experiment) -> u32 {
    let of = |source: &Source| match source {
        Source::Udp { payload_bytes, percent } => {
            percent * 1_472 / u32::try_from(*payload_bytes).unwrap_or(1)
        }
        _ => 0,
    };
    let percent: u32 = experiment.workload.sources.iter().map(of).sum();
    experiment.cap_kbit_per_sec * percent.max(100) / 100
}

/// The order in which algorithms are shown.
fn shown(experiments: &[Experiment]) -> Vec<Algorithm> {
    let used: BTreeSet<_> = experiments.iter().map(|experiment| experiment.algorithm).collect();
    used.into_iter().collect()
}
