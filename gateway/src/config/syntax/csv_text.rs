//! Tenants as CSV (RFC 4180): a header that names the columns, then a row for each tenant.
//!
//! Columns are keys of `[[tenant]]`, dotted ones for the tables in it. An empty cell is a key that is left
//! out; a cell of a list holds its entries, separated by spaces or semicolons.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::source::Source;
use super::super::suggest::nearest;
use super::{Parsed, tenants};

/// What a column's cells hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One value.
    Value,
    /// Values separated by spaces or semicolons.
    List,
    /// `true` or `false`.
    Flag,
}

/// A column; dotted: of the table in the tenant.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    shape: Shape,
}

/// Everything that a row can say: a tenant without mail exemptions, which are no single values.
const COLUMNS: [Column; 14] = [
    Column { name: "id", shape: Shape::Value },
    Column { name: "name", shape: Shape::Value },
    Column { name: "prefixes", shape: Shape::List },
    Column { name: "vlan", shape: Shape::Value },
    Column { name: "contact", shape: Shape::Value },
    Column { name: "domains", shape: Shape::List },
    Column { name: "cap.up", shape: Shape::Value },
    Column { name: "cap.down", shape: Shape::Value },
    Column { name: "burst", shape: Shape::Value },
    Column { name: "fragments", shape: Shape::Value },
    Column { name: "submission", shape: Shape::Value },
    Column { name: "relay", shape: Shape::Flag },
    Column { name: "open", shape: Shape::List },
    Column { name: "detect_class", shape: Shape::Value },
];

/// Columns that each file has.
const REQUIRED: [&str; 2] = ["id", "prefixes"];

pub(super) fn parse<'s>(source: &'s Arc<Source>, found: &mut Diagnostics) -> Parsed<'s> {
    let mut entries = DeArray::new();
    let mut torn_lines = Vec::new();
    let mut columns: Option<Vec<Option<Column>>> = None;
    for row in rows(source.text()) {
        if let Some(quote) = row.open_quote {
            let span = source.span(quote..quote + 1);
            torn_lines.push(span.place().line);
            found.push(
                Diagnostic::error("a quote is not closed")
                    .at(&span, "everything from here on would be one cell")
                    .help("close it, or write a quote within a cell twice"),
            );
            break;
        }
        let Some(columns) = &columns else {
            let named = header(&row, source, found);
            let has = |name: &&str| named.iter().flatten().any(|column| column.name == *name);
            let missing = REQUIRED.into_iter().find(|name| !has(name));
            columns = Some(named);
            let Some(missing) = missing else { continue };
            found.push(
                Diagnostic::error(format!("there is no column `{missing}`"))
                    .at(&source.span(row.range()), "expected it in this header")
                    .help("the first line names the columns"),
            );
            // Each row would lack it.
            break;
        };
        if row.cells.len() == columns.len() {
            entries.push(tenant(&row, columns));
        } else {
            found.push(
                Diagnostic::error(format!("{} cells under {} columns", row.cells.len(), columns.len()))
                    .at(&source.span(row.range()), "this row")
                    .help("put a cell that holds a comma in double quotes; leave cells empty, not out"),
            );
        }
    }
    if columns.is_none() {
        found.push(
            Diagnostic::error("there is no header")
                .at(&source.span(0..0), "expected the names of the columns, such as id,prefixes,contact")
                .help("an export that failed may be empty; a file of no tenants has a header alone"),
        );
    }
    Parsed { root: tenants(entries), torn_lines }
}

/// The columns as they are named; none in the place of one that is not known, which is reported.
fn header(row: &Row, source: &Arc<Source>, found: &mut Diagnostics) -> Vec<Option<Column>> {
    let mut columns: Vec<Option<Column>> = Vec::with_capacity(row.cells.len());
    for cell in &row.cells {
        let known = COLUMNS.iter().find(|column| column.name == cell.text).copied();
        let span = source.span(cell.range.clone());
        if known.is_some_and(|known| columns.iter().flatten().any(|column| column.name == known.name)) {
            found.push(
                Diagnostic::error(format!("two columns are named `{}`", cell.text))
                    .at(&span, "the second one")
                    .help("keep one of them"),
            );
        } else if known.is_none() {
            let names = COLUMNS.map(|column| column.name);
            let help = match nearest(&cell.text, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None if cell.text.contains([';', '\t']) => "separate columns by commas".to_owned(),
                None => format!("known columns: {}", names.join(", ")),
            };
            found.push(
                Diagnostic::error(format!("unknown column `{}`", cell.text))
                    .at(&span, "not known here")
                    .help(help),
            );
        }
        columns.push(known);
    }
    columns
}

/// A row as the table that a `[[tenant]]` would be.
fn tenant<'s>(row: &Row, columns: &[Option<Column>]) -> Spanned<DeValue<'s>> {
    let mut table = DeTable::new();
    for (cell, column) in row.cells.iter().zip(columns) {
        let Some(Column { name, shape }) = column.filter(|_| !cell.text.is_empty()) else { continue };
        let value = Spanned::new(cell.range.clone(), cell.value(shape));
        // A key's place is its value's: its name stands in the header, for all rows.
        let key = |name: &'static str| Spanned::new(cell.range.clone(), Cow::Borrowed(name));
        match name.split_once('.') {
            None => {
                table.insert(key(name), value);
            }
            Some((outer, inner)) => {
                let below = Spanned::new(cell.range.clone(), DeValue::Table(DeTable::new()));
                if let DeValue::Table(below) = table.entry(key(outer)).or_insert(below).get_mut() {
                    below.insert(key(inner), value);
                }
            }
        }
    }
    Spanned::new(row.range(), DeValue::Table(table))
}

/// A row of cells with their places in the file.
struct Row {
    cells: Vec<Cell>,
    /// Where a quote stands that is not closed.
    open_quote: Option<usize>,
}

struct Cell {
    /// Without quotes, and spaces around it.
    text: String,
    /// As it is written.
    range: Range<usize>,
}

impl Row {
    /// From the first cell to the last.
    fn range(&self) -> Range<usize> {
        let start = self.cells.first().map_or(0, |cell| cell.range.start);
        start..self.cells.last().map_or(start, |cell| cell.range.end)
    }
}

impl Cell {
    fn value<'s>(&self, shape: Shape) -> DeValue<'s> {
        match shape {
            Shape::List => {
                let mut entries = DeArray::new();
                for entry in self.text.split([' ', ';']).filter(|entry| !entry.is_empty()) {
                    entries
                        .push(Spanned::new(self.place_of(entry), DeValue::String(entry.to_owned().into())));
                }
                DeValue::Array(entries)
            }
            Shape::Flag if self.text.eq_ignore_ascii_case("true") => DeValue::Boolean(true),
            Shape::Flag if self.text.eq_ignore_ascii_case("false") => DeValue::Boolean(false),
            Shape::Flag | Shape::Value => DeValue::String(self.text.clone().into()),
        }
    }

    /// Where a part of the text stands in the file; the whole cell if there are quotes in between.
    fn place_of(&self, part: &str) -> Range<usize> {
        if self.text.len() != self.range.len() {
            return self.range.clone();
        }
        let start = self.range.start + (part.as_ptr().addr() - self.text.as_ptr().addr());
        start..start + part.len()
    }
}

/// The rows of a file, the header among them.
fn rows(text: &str) -> impl Iterator<Item = Row> {
    // Rows of other lengths are told with their places, by the caller.
    let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    // Text in memory that is UTF-8 gives no errors.
    reader.into_records().map_while(Result::ok).map(|record| row(text, &record))
}

/// Finds each cell of a record in the text.
fn row(text: &str, record: &StringRecord) -> Row {
    let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
    let rest = &text[start..];
    // A record begins behind the one before: empty lines and the mark of byte order are skipped.
    let mut at = start + rest.len() - rest.trim_start_matches(['\r', '\n', '\u{feff}']).len();
    let mut open_quote = None;
    let mut cells = Vec::with_capacity(record.len());
    for value in record {
        let (end, is_closed) = end_of_cell(text, at);
        open_quote = open_quote.or((!is_closed).then_some(at));
        let written = &text[at..end];
        let start = at + written.len() - written.trim_start().len();
        cells.push(Cell {
            text: value.trim().to_owned(),
            range: start..(at + written.trim_end().len()).max(start),
        });
        at = end + 1;
    }
    Row { cells, open_quote }
}

/// Where the cell that begins at `start` ends, and whether it has an end, as the parser sees it: a quote that
/// opens a cell is closed by the next one that stands alone.
fn end_of_cell(text: &str, start: usize) -> (usize, bool) {
    let mut at = start;
    if text[start..].starts_with('"') {
        at += 1;
        loop {
            let Some(quote) = text[at..].find('"') else { return (text.len(), false) };
            at += quote + 1;
            if !text[at..].starts_with('"') {
                break;
            }
            at += 1;
        }
    }
    (text[at..].find([',', '\r', '\n']).map_or(text.len(), |end| at + end), true)
}
