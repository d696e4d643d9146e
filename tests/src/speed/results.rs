//! Results: written, read, compared with those kept before.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

use crate::figure::Figure;

/// Where results are kept.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance"))
}

/// What figures were measured on, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// When, UTC.
    at: jiff::Timestamp,
    /// Model of the processor.
    processor: String,
    processors: usize,
    /// Release of Linux.
    kernel: String,
}

/// All figures of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    #[serde(flatten)]
    machine: Machine,
    pub(crate) figures: Vec<Figure>,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let (cpuinfo, kernel) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
        Self {
            at: jiff::Timestamp::now(),
            processor: model.to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {}, Linux {}, {}", self.processors, self.processor, self.kernel, self.at)
    }
}

impl Results {
    pub(crate) fn of_this_machine(figures: Vec<Figure>) -> Self {
        Self { machine: Machine::this(), figures }
    }

    /// With the figures of `kept` that were not measured this time.
    pub(crate) fn over(mut self, kept: Option<Self>) -> Self {
        let others = kept.into_iter().flat_map(|kept| kept.figures);
        let others: Vec<_> = others.filter(|other| !self.has_section(section(&other.name))).collect();
        self.figures.extend(others);
        self
    }

    fn has_section(&self, name: &str) -> bool {
        self.figures.iter().any(|figure| section(&figure.name) == name)
    }

    fn find(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

fn section(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// The results kept last.
pub(crate) fn kept() -> Result<Option<Results>> {
    let file = directory().join("last.json");
    match fs::read(&file) {
        Ok(json) => {
            let results = serde_json::from_slice(&json);
            results.map(Some).with_context(|| format!("{}: not results; remove it", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Keeps results for the next runs to compare themselves with.
pub(crate) fn keep(results: &Results) -> Result<()> {
    fs::create_dir_all(directory()).with_context(|| format!("making {}", directory().display()))?;
    let file = directory().join("last.json");
    let json = serde_json::to_string_pretty(results)? + "\n";
    fs::write(&file, json).with_context(|| format!("writing {}", file.display()))
}

/// For people. Figures that are worse than those kept say so.
pub(crate) fn table(results: &Results, kept: Option<&Results>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["Figure", "Median", "Quartiles", "Unit", "Baseline", "Ratio", "Aim", "Kept before"]);
    for figure in &results.figures {
        let baseline = figure.baseline.as_ref();
        let aim = figure.aim.zip(figure.reached()).map_or(String::new(), |(aim, reached)| {
            format!("{aim} {}", if reached { "ok" } else { "MISSED" })
        });
        let before = kept.and_then(|kept| kept.find(&figure.name)).map_or(String::new(), |before| {
            let verdict = if figure.is_worse_than(before) { " SLOWER" } else { "" };
            format!("{}{verdict}", number(before.value.median))
        });
        table.add_row([
            figure.name.clone(),
            number(figure.value.median),
            format!("{} - {}", number(figure.value.low), number(figure.value.high)),
            figure.unit.clone(),
            baseline.map_or(String::new(), |b| format!("{}: {}", b.name, number(b.value.median))),
            baseline.map_or(String::new(), |b| format!("{:.2}", b.ratio)),
            aim,
            before,
        ]);
    }
    for column in [1, 2, 5, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n{table}", results.machine)
}

/// Three digits or so, thousands in groups.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(-1_000.0), "-1,000");
        assert_eq!(number(100.0), "100");
    }
}
