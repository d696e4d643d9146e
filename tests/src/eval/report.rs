//! Tables, JSON and the plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use gateway::config::{OffenceKind, Threshold};
use serde::Serialize;

use crate::attack::{Cell, Run};
use crate::benign::Hour;

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

/// What other thresholds would do.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scaled {
    pub(crate) factor: f64,
    pub(crate) detected_share: f64,
    pub(crate) false_verdicts_per_hour: f64,
}

/// Counts, times a factor, as the config writes them; shares stay.
pub(crate) fn scaled_thresholds(factor: f64) -> String {
    let mut config = String::new();
    let class = &fairway_tests::bench::config("").detection.classes[0];
    for (kind, rule) in class.rules().filter(|(kind, _)| *kind != OffenceKind::SuddenRise) {
        _ = writeln!(config, "[detect.{}]", kind.label());
        for (threshold, value) in &rule.thresholds {
            if *threshold != Threshold::FailedPercent {
                let value = (f64::from(*value) * factor).ceil().max(4.0);
                _ = writeln!(config, "{} = {value}", threshold.label());
            }
        }
    }
    config
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
        let mut text = String::from(
            "Detected of 100 scans, and in brackets the targets reached before (median, 99th percentile).\n\n\
             | shape | targets/s | 0 % answer | 10 % | 30 % | 50 % | 70 % |\n|---|---|---|---|---|---|---|\n",
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
        if !self.scaled.is_empty() {
            text.push_str("\n| thresholds times | detected | false verdicts an hour |\n|---|---|---|\n");
            for scaled in &self.scaled {
                let share = 100.0 * scaled.detected_share;
                let Scaled { factor, false_verdicts_per_hour, .. } = scaled;
                _ = writeln!(text, "| {factor} | {share:.1} % | {false_verdicts_per_hour:.2} |");
            }
        }
        text
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
            fs::write(directory.join("eval.svg"), self.plot())?;
        }
        Ok(())
    }

    /// Detected against wrongly detected, one point for each factor.
    fn plot(&self) -> String {
        const WIDTH: f64 = 520.0;
        const HEIGHT: f64 = 300.0;
        const LEFT: f64 = 60.0;
        const TOP: f64 = 30.0;
        let most = self.scaled.iter().map(|s| s.false_verdicts_per_hour).fold(1.0, f64::max);
        let x = |value: f64| LEFT + value / most * WIDTH;
        let y = |share: f64| TOP + (1.0 - share) * HEIGHT;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 400\" font-family=\"sans-serif\" \
             font-size=\"12\"><rect width=\"640\" height=\"400\" fill=\"#fff\"/>\
             <path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>",
            bottom = TOP + HEIGHT,
            right = LEFT + WIDTH,
        );
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            _ = write!(svg, "<text x=\"20\" y=\"{}\">{:.0} %</text>", y(share) + 4.0, share * 100.0);
        }
        let points: Vec<_> = self
            .scaled
            .iter()
            .map(|s| (x(s.false_verdicts_per_hour), y(s.detected_share), s.factor))
            .collect();
        let line: Vec<_> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
        _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#27c\"/>", line.join(" "));
        for (index, (x, y, factor)) in points.iter().enumerate() {
            // Neighbours may coincide: their labels go apart.
            let (cx, label_y) = (x + 8.0, y + 16.0 * (index as f64 - 1.0));
            _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#27c\"/><text x=\"{cx:.1}\" y=\"{label_y:.1}\">times {factor}</text>"
            );
        }
        _ = writeln!(
            svg,
            "<text x=\"200\" y=\"385\">false verdicts per source-hour (0 to {most:.1})</text>\
             <text x=\"60\" y=\"18\">scans detected, by a factor on all thresholds</text></svg>"
        );
        svg
    }
}
