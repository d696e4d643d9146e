//! What was tried, what was expected, what happened.

use anyhow::Result;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};

/// The lab's results, printed as they come and once more together.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    tried: String,
    expected: String,
    happened: String,
    ok: bool,
}

impl Row {
    /// A row for `outcome`: what happened, and whether it was as expected.
    pub(crate) fn new(
        tried: impl Into<String>,
        expected: impl Into<String>,
        outcome: Result<(String, bool)>,
    ) -> Self {
        let (happened, ok) = outcome.unwrap_or_else(|error| (format!("error: {error:#}"), false));
        Self { tried: tried.into(), expected: expected.into(), happened, ok }
    }

    fn verdict(&self) -> &'static str {
        if self.ok { "ok" } else { "FAILED" }
    }
}

impl Report {
    /// Adds rows.
    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            println!("  {:6} {}: {}", row.verdict(), row.tried, row.happened);
            self.rows.push(row);
        }
    }

    /// How many rows are not as expected.
    pub(crate) fn failures(&self) -> usize {
        self.rows.iter().filter(|row| !row.ok).count()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        // An error's text is wrapped; everything else fits.
        table
            .load_preset(UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(140);
        table.set_header(["Tried", "Expected", "Happened", ""]);
        for row in &self.rows {
            table.add_row([&row.tried, &row.expected, &row.happened, row.verdict()]);
        }
        table.fmt(f)
    }
}
