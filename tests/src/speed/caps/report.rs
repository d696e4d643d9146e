//! Medians over the rounds, as a table and as JSON.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use fairway_tests::caps::{Algorithm, Experiment, Lateness, Outcome, Source, jain};
use serde::Serialize;

use super::{Measured, shown};
use crate::results::{Machine, directory};

/// Everything that was measured.
#[derive(Serialize)]
pub(super) struct Report {
    conditions: Conditions,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) rows: Vec<Row>,
}

/// What it was measured under.
#[derive(Serialize)]
struct Conditions {
    #[serde(flatten)]
    machine: Machine,
    /// Batches of experiments that were run at the same time.
    batches: usize,
    /// Batches in which the delay line was late: run again, and nothing of them is in here.
    refused_batches: usize,
    /// By how much the line was late, over the batches that count, in ms.
    line_late_ms: Late,
}

/// How late the delay line was.
#[derive(Serialize)]
struct Late {
    mean: Span,
    percentile_99: Span,
}

/// The median of the runs, the smallest and the largest; in this order in JSON, to four decimals.
#[derive(Clone, Copy, Serialize)]
#[serde(into = "[f64; 3]")]
pub(super) struct Span {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// One experiment's figures; rates are over the cap.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) algorithm: Algorithm,
    pub(super) workload: String,
    pub(super) cap_mbit_per_sec: u32,
    pub(super) round_trip_ms: u32,
    /// If it is not the default.
    pub(super) burst_ms: Option<u32>,
    runs: usize,
    /// What arrived, as full frames; of the long flow alone where there are downloads.
    pub(super) goodput: Span,
    goodput_later: Span,
    /// What arrived of the first source.
    pub(super) first_share: Span,
    /// Over all sources, if there are several.
    pub(super) jain: Option<Span>,
    pub(super) retransmissions_per_mb: Option<Span>,
    retransmissions_per_mb_later: Option<Span>,
    /// The busiest second.
    peak: Span,
    pub(super) peak_later: Span,
    /// What the cap let through after the first seconds.
    rate_later: Span,
    pub(super) download_ms: Option<Span>,
    download_percentile_90_ms: Option<Span>,
}

impl From<Span> for [f64; 3] {
    fn from(span: Span) -> Self {
        [span.median, span.least, span.most].map(|value| (value * 1e4).round() / 1e4)
    }
}

impl Span {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self { median: *sorted.get(sorted.len() / 2)?, least: *sorted.first()?, most: *sorted.last()? })
    }
}

impl Row {
    fn of(experiment: &Experiment, outcomes: &[Outcome]) -> Option<Self> {
        let sources = &experiment.workload.sources;
        let is_shared = sources.len() > 1 && !sources.iter().any(|one| matches!(one, Source::Downloads(_)));
        let span = |figure: fn(&Outcome) -> f64| Span::of(outcomes.iter().map(figure));
        let some = |figure: fn(&Outcome) -> Option<f64>| Span::of(outcomes.iter().filter_map(figure));
        Some(Self {
            algorithm: experiment.algorithm,
            workload: experiment.workload.name.clone(),
            cap_mbit_per_sec: experiment.cap_kbit_per_sec / 1_000,
            round_trip_ms: experiment.round_trip_ms,
            burst_ms: experiment.burst_ms,
            runs: outcomes.len(),
            goodput: span(|each| each.goodput)?,
            goodput_later: span(|each| each.goodput_later)?,
            first_share: span(|each| each.shares.first().copied().unwrap_or(0.0))?,
            jain: if is_shared { span(|each| jain(&each.shares)) } else { None },
            retransmissions_per_mb: some(|each| each.retransmissions_per_mb),
            retransmissions_per_mb_later: some(|each| each.retransmissions_per_mb_later),
            peak: span(|each| each.peak)?,
            peak_later: span(|each| each.peak_later)?,
            rate_later: span(|each| each.rate_later)?,
            download_ms: some(|each| Some(each.downloads?.median_ms)),
            download_percentile_90_ms: some(|each| Some(each.downloads?.percentile_90_ms)),
        })
    }

    /// What all algorithms have in common.
    fn key(&self) -> (&str, u32, u32, Option<u32>) {
        (&self.workload, self.cap_mbit_per_sec, self.round_trip_ms, self.burst_ms)
    }
}

impl Report {
    pub(super) fn of(experiments: &[Experiment], measured: &Measured) -> Self {
        let row = |experiment: &Experiment| Row::of(experiment, measured.outcomes.get(experiment)?);
        let late = |figure: fn(&Lateness) -> f64| {
            let none = Span { median: 0.0, least: 0.0, most: 0.0 };
            Span::of(measured.lateness.iter().map(figure)).unwrap_or(none)
        };
        Self {
            conditions: Conditions {
                machine: Machine::this(),
                batches: measured.lateness.len(),
                refused_batches: measured.refused.len(),
                line_late_ms: Late {
                    mean: late(|each| each.mean_ms),
                    percentile_99: late(|each| each.percentile_99_ms),
                },
            },
            algorithms: shown(experiments),
            rows: unique(experiments).into_iter().filter_map(row).collect(),
        }
    }

    /// Writes `caps.json`: a line for each row.
    pub(super) fn keep(&self) -> Result<()> {
        let rows: Vec<String> = self.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let json = format!(
            "{{\n\"conditions\": {},\n\"algorithms\": {},\n\"rows\": [\n{}\n]\n}}\n",
            serde_json::to_string(&self.conditions)?,
            serde_json::to_string(&self.algorithms)?,
            rows.join(",\n")
        );
        fs::create_dir_all(directory())?;
        let file: PathBuf = directory().join("caps.json");
        fs::write(&file, json).with_context(|| format!("writing {}", file.display()))
    }

    /// A row for each workload, cap and round trip, in each cell a figure for each algorithm.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "Workload",
            "Mbit/s",
            "RTT ms",
            "Burst",
            "Goodput",
            "First",
            "Jain",
            "Resent/MB",
            "Peak 1 s",
            "100 kB ms",
        ]);
        let mut keys = Vec::new();
        for row in &self.rows {
            if !keys.contains(&row.key()) {
                keys.push(row.key());
            }
        }
        for key in keys {
            let rows: Vec<&Row> = self
                .algorithms
                .iter()
                .filter_map(|algorithm| {
                    self.rows.iter().find(|row| row.key() == key && row.algorithm == *algorithm)
                })
                .collect();
            let (workload, cap, round_trip, burst) = key;
            table.add_row([
                workload.to_owned(),
                cap.to_string(),
                round_trip.to_string(),
                burst.map_or(String::new(), |burst| burst.to_string()),
                cell(&rows, 2, |row| Some(row.goodput)),
                cell(&rows, 2, |row| Some(row.first_share)),
                cell(&rows, 2, |row| row.jain),
                cell(&rows, 0, |row| row.retransmissions_per_mb),
                cell(&rows, 2, |row| Some(row.peak_later)),
                cell(&rows, 0, |row| row.download_ms),
            ]);
        }
        (4..10).for_each(|column| {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        });
        let algorithms: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.label()).collect();
        let Conditions { machine, batches, refused_batches, line_late_ms } = &self.conditions;
        let Late { mean, percentile_99 } = line_late_ms;
        format!(
            "{machine}\n{batches} batches, {refused_batches} refused; the line was {:.2} ms late (up to {:.2}), 1 % of frames above {:.2} (up to {:.2})\n\
             Medians; in each cell: {}\n{table}",
            mean.median,
            mean.most,
            percentile_99.median,
            percentile_99.most,
            algorithms.join(", ")
        )
    }
}

/// Some experiments are repeated within a round.
fn unique(experiments: &[Experiment]) -> Vec<&Experiment> {
    let mut seen = HashSet::new();
    experiments.iter().filter(|experiment| seen.insert(*experiment)).collect()
}

fn cell(rows: &[&Row], decimals: usize, figure: impl Fn(&Row) -> Option<Span>) -> String {
    let figures = rows.iter().map(|row| figure(row).map(|span| format!("{:.decimals$}", span.median)));
    figures.collect::<Option<Vec<_>>>().map_or(String::new(), |figures| figures.join(" "))
}
