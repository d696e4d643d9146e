//! How answers look: JSON, tables, units, colours.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::control::api::Count;
use crate::text::{escaped, escaped_lines};

/// Colours are for terminals, unless NO_COLOR (no-color.org) is set to anything.
pub(super) fn coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `error:`, as compilers write it.
pub(super) fn error_heading() -> &'static str {
    if coloured(&io::stderr()) { "\x1b[1;31merror:\x1b[0m" } else { "error:" }
}

/// One JSON object, indented.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints lines for people; nothing in them reaches the terminal but as text.
pub(super) fn print(lines: &str) -> io::Result<()> {
    io::stdout().lock().write_all(escaped_lines(lines).as_bytes())
}

/// Standard output for much of it: left to itself, it is flushed at every line. To be flushed at the end.
pub(super) fn stdout() -> impl Write {
    io::BufWriter::new(io::stdout().lock())
}

/// A table without lines, numbers to the right: columns that hold them are named by index.
pub(super) fn table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    numbers: &[usize],
) -> String {
    let mut table = Table::new();
    // A name must not make a row of its own.
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(|cell| escaped(&cell).into_owned()).collect::<Vec<_>>());
    table.load_preset(comfy_table::presets::NOTHING).set_header(header).add_rows(rows);
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.to_string();
    lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `12.3 MB`: decimal, three digits or so.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{}.{} {unit}", bytes / factor, bytes % factor * 10 / factor),
        None => format!("{bytes} B"),
    }
}

/// `2d 3h`: the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `smtp_blocked 12, over_cap 3`: packets by reason.
pub(super) fn reasons<'a>(by_reason: impl IntoIterator<Item = (&'a String, &'a Count)>) -> String {
    let each = by_reason.into_iter().map(|(reason, count)| format!("{reason} {}", count.packets));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_decimal() {
        let shown = [0, 999, 1_000, 1_999, 999_999, 12_345_678, 3_000_000_000, 1_500_000_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.9 kB", "999.9 kB", "12.3 MB", "3.0 GB", "1.5 TB"]);
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [0, 59, 60, 3_599, 3_600, 90_000, 86_400 * 3].map(duration);
        assert_eq!(shown, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "1d 1h", "3d 0h"]);
    }

    #[test]
    fn tables_align_numbers_to_the_right() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bb".to_owned(), "100".to_owned()]];
        assert_eq!(table(&["name", "n"], rows, &[1]), " name    n\n a       1\n bb    100\n");
    }
}
