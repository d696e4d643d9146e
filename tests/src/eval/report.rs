//! Tables, JSON and the plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::attack::{Cell, Run};
use crate::benign::Hour;
use crate::plot;
use crate::scaled::Scaled;

/// What came of one cell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CellResult {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) runs: u32,
    pub(crate) detected: u32,
    /// Kinds found, the most frequent first.
    pub(crate) kinds: Vec<&'static str>,
    /// Targets reached before the verdict: median and 99th percentile, over all runs.
    pub(crate) reached_median: u32,
    pub reached_p99: u32,
    /// Seconds to the verdict, median over the detected.
    pub(crate) seconds_median: Option<f64>,
    /// Milliseconds from the verdict to the first packet dropped, at most, over the detected.
    pub(crate) to_drop_ms_most: Option<f64>,
}

impl CellResult {
    pub(crate) fn new(cell: Cell, runs: &[Run]) -> Self {
        let detected: Vec<_> = runs.iter().filter(|run| run.verdict.is_some()).collect();
        let mut reached: Vec<_> = runs.iter().map(|run| run.reached).collect();
        reached.sort_unstable();
        let mut seconds: Vec<_> = detected.iter().map(|run| run.took_ns as f64 / 1e9).collect();
        seconds.sort_by(f64::total_cmp);
        let kinds = detected.iter().filter_map(|run| run.verdict).map(|verdict| verdict.kind.label());
        let to_drop = detected.iter().map(|run| run.to_drop_ns.map_or(f64::INFINITY, |ns| ns as f64 / 1e6));
        Self {
            cell,
            runs: runs.len() as u32,
            detected: detected.len() as u32,
            kinds: by_frequency(kinds),
            reached_median: percentile(&reached, 50).unwrap_or(0),
            reached_p99: percentile(&reached, 99).unwrap_or(0),
            seconds_median: percentile(&seconds, 50),
            to_drop_ms_most: to_drop.reduce(f64::max),
        }
    }

    /// Lower end of the interval in which the true probability lies with 95 % confidence (Wilson 1927).
    fn at_least(&self) -> f64 {
        let (n, z) = (f64::from(self.runs), 1.96_f64);
        let p = f64::from(self.detected) / n;
        let centre = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (centre - spread) / (1.0 + z * z / n)
    }
}

fn by_frequency(kinds: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for kind in kinds {
        match counted.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counted.push((kind, 1)),
        }
    }
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.into_iter().map(|(kind, _)| kind).collect()
}

/// A percentile of sorted values, by the nearest rank.
fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) seed: u64,
    pub(crate) runs: u32,
    pub(crate) cells: Vec<CellResult>,
    pub(crate) hours: Vec<Hour>,
    pub(crate) scaled: Vec<Scaled>,
}

impl Evaluation {
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = format!(
            "Of {} scans, percent detected, and in brackets the targets reached before (median, 99th percentile).\n\n\
             | shape | targets/s | 0 % answer | 10 % | 30 % | 50 % | 70 % |\n|---|---|---|---|---|---|---|\n",
            self.runs
        );
        for row in self.cells.chunks(crate::ANSWERED.len()) {
            let Cell { shape, per_second, .. } = row[0].cell;
            let label = serde_json::to_value(shape).ok();
            let label = label.as_ref().and_then(|label| label.as_str()).unwrap_or_default();
            _ = write!(text, "| {label} | {per_second} |");
            for cell in row {
                let share = 100.0 * f64::from(cell.detected) / f64::from(cell.runs);
                _ = write!(text, " {share:.0} ({}, {}) |", cell.reached_median, cell.reached_p99);
            }
            text.push('\n');
        }
        self.summary(&mut text);
        if !self.hours.is_empty() {
            self.ordinary(&mut text);
        }
        self.thresholds(&mut text);
        text
    }

    /// What came of the ordinary programs.
    fn ordinary(&self, text: &mut String) {
        text.push_str("\n| program | contacts | delayed | false verdicts |\n|---|---|---|---|\n");
        for hour in &self.hours {
            let share = 100.0 * hour.delayed as f64 / hour.contacts.max(1) as f64;
            let verdicts = match hour.verdicts.as_slice() {
                [] => "none".to_owned(),
                kinds => kinds.join(", "),
            };
            _ = writeln!(text, "| {} | {} | {share:.2} % | {verdicts} |", hour.program, hour.contacts);
        }
        let hours = self.hours.iter().map(|hour| hour.simulated_s as f64 / 3_600.0).sum::<f64>();
        let verdicts: usize = self.hours.iter().map(|hour| hour.verdicts.len()).sum();
        if verdicts == 0 {
            _ = writeln!(
                text,
                "\nNo false verdict in {hours:.1} source-hours: below {:.2} an hour with 95 % confidence.",
                3.0 / hours
            );
        } else {
            _ = writeln!(text, "\n{verdicts} false verdicts in {hours:.1} source-hours.");
        }
    }

    /// What came of other thresholds.
    fn thresholds(&self, text: &mut String) {
        let Some(first) = self.scaled.first() else { return };
        text.push_str("\n| thresholds times |");
        for detected in &first.detected {
            _ = write!(text, " {} % answer |", detected.answered_percent);
        }
        text.push_str(" false verdicts per source-hour |\n|---|");
        text.push_str(&"---|".repeat(first.detected.len() + 1));
        text.push('\n');
        for Scaled { factor, detected, false_verdicts_per_hour } in &self.scaled {
            _ = write!(text, "| {factor} |");
            for detected in detected {
                _ = write!(text, " {:.1} % |", 100.0 * detected.share);
            }
            _ = writeln!(text, " {false_verdicts_per_hour:.1} |");
        }
    }

    fn summary(&self, text: &mut String) {
        let fast: Vec<_> = self.cells.iter().filter(|cell| cell.cell.per_second >= 1.0).collect();
        let caught = fast.iter().filter(|cell| cell.detected == cell.runs).count();
        let mut reached: Vec<_> = fast.iter().map(|cell| cell.reached_median).collect();
        reached.sort_unstable();
        let lowest = fast.iter().map(|cell| cell.at_least()).reduce(f64::min).unwrap_or(0.0);
        let slowest = fast.iter().filter_map(|cell| cell.to_drop_ms_most).reduce(f64::max).unwrap_or(0.0);
        _ = writeln!(
            text,
            "\nOf {} cells at 1 target/s and faster, {caught} had every scan detected; the median cell let {} \
             targets be reached. From the verdict to the first packet dropped: at most {slowest:.0} ms. Lowest \
             95 % bound of a cell's detection probability: {lowest:.3}.",
            fast.len(),
            percentile(&reached, 50).unwrap_or(0),
        );
    }

    /// Writes tables, JSON and the plot.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("eval.json"), self.json()? + "\n")?;
        fs::write(directory.join("eval.md"), self.tables())?;
        if !self.scaled.is_empty() {
            fs::write(directory.join("eval.svg"), plot::plot(&self.scaled))?;
        }
        Ok(())
    }
}
