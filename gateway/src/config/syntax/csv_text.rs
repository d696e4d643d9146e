//! Tenants as CSV (RFC 4180): a header that names the columns, then a row for each tenant.
//!
//! Columns are keys of `[[tenant]]`, dotted ones for the tables in it. An empty cell is a key that is left
//! out; a cell of a list holds its entries, separated by blanks, commas or semicolons.
//!
//! Spreadsheets separate columns by commas, semicolons or tabs, by the country they are set to; say so in a first
//! line `sep=;`, or not; and pad with empty columns and rows.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::source::Source;
use super::super::suggest::nearest;
use super::columns::{Column, ColumnNames, KEYS, Named, Shape};
use super::{Parsed, tenants};

/// Columns that each file has.
const REQUIRED: [&str; 2] = ["id", "prefixes"];

/// What may stand between cells, in the order of preference.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

pub(super) fn parse<'s>(source: &'s Arc<Source>, names: &ColumnNames, found: &mut Diagnostics) -> Parsed<'s> {
    let mut entries = DeArray::new();
    let mut torn_lines = Vec::new();
    // With how many cells the header has, empty ones at its end among them.
    let mut columns: Option<(Vec<Option<Column>>, usize)> = None;
    let layout = Layout::of(source.text(), names);
    for row in layout.rows(source.text()) {
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
        let Some((columns, width)) = &columns else {
            let named = header(&row, names, source, found);
            let has = |name: &&str| named.iter().flatten().any(|column| column.name == *name);
            let missing = REQUIRED.into_iter().find(|name| !has(name));
            columns = Some((named, row.cells.len()));
            let Some(missing) = missing else { continue };
            found.push(
                Diagnostic::error(format!("there is no column `{missing}`"))
                    .at(&source.span(row.range()), "expected it in this header")
                    .help(
                        "the first line names the columns; `columns` in [csv] says which key another name is",
                    ),
            );
            // Each row would lack it.
            break;
        };
        let filled = row.filled();
        // A row that is wider than the header may hold a separator that was meant to be text.
        if filled > 0 && (row.cells.len() != *width || filled > columns.len()) {
            found.push(
                Diagnostic::error(format!("{} cells under {} columns", row.cells.len(), columns.len()))
                    .at(&source.span(row.range()), "this row")
                    .help("put a cell that holds a separator in double quotes; leave cells empty, not out"),
            );
        } else if filled > 0 {
            entries.push(tenant(&row, columns));
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

/// The columns as they are named; none in the place of one that is of no use, or not known, which is reported.
fn header(
    row: &Row,
    names: &ColumnNames,
    source: &Arc<Source>,
    found: &mut Diagnostics,
) -> Vec<Option<Column>> {
    let mut columns: Vec<Option<Column>> = Vec::with_capacity(row.cells.len());
    for cell in &row.cells[..row.filled()] {
        let span = source.span(cell.range.clone());
        let known = match names.meaning(&cell.text) {
            Named::Key(known) => Some(known),
            Named::Ignored => None,
            Named::Unknown => {
                let help = match nearest(&cell.text, KEYS) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known columns: {}; others are named in [csv]", KEYS.join(", ")),
                };
                found.push(
                    Diagnostic::error(format!("unknown column `{}`", cell.text))
                        .at(&span, "not known here")
                        .help(help),
                );
                None
            }
        };
        let twin = known.and_then(|known| columns.iter().flatten().find(|other| known.excludes(**other)));
        if let (Some(known), Some(twin)) = (known, twin) {
            let message = if known.name == twin.name {
                format!("two columns are named `{}`", known.name)
            } else {
                format!("`{}` and `{}` say the same", twin.name, known.name)
            };
            found.push(Diagnostic::error(message).at(&span, "the second one").help("keep one of them"));
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
    /// How many cells there are without empty ones at the end.
    fn filled(&self) -> usize {
        self.cells.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1)
    }

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
                for entry in self.text.split(is_between_entries).filter(|entry| !entry.is_empty()) {
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

/// Whether a character separates the entries of a list; none of them is in an entry.
fn is_between_entries(character: char) -> bool {
    character.is_whitespace() || matches!(character, ',' | ';')
}

/// How a file is laid out, by its first lines.
struct Layout {
    /// Where the header starts, in bytes.
    header: usize,
    separator: u8,
    /// Whether a `#` at the start of a line makes it a comment. Where free text comes first, a tenant may be
    /// called so; and a line that is left out is a tenant that is cut off.
    has_comments: bool,
}

impl Layout {
    fn of(text: &str, names: &ColumnNames) -> Self {
        let (mut header, mut declared) = (0, None);
        for line in text.split_inclusive('\n') {
            let content = line.trim();
            // `sep=;`, of Excel; the whole line may be in quotes.
            let separator = content.trim_matches('"').strip_prefix("sep=").map(str::as_bytes);
            match separator {
                Some(&[separator]) if declared.is_none() => declared = Some(separator),
                // A tab was trimmed off.
                Some([]) if declared.is_none() => declared = Some(b'\t'),
                _ if content.is_empty() || content.starts_with('#') => {}
                _ => break,
            }
            header += line.len();
        }
        let known = |separator: u8| {
            let mut first = StringRecord::new();
            let mut reader = reader(separator, None).from_reader(&text.as_bytes()[header..]);
            // Text in memory that is UTF-8 gives no errors.
            let _ = reader.read_record(&mut first);
            let names_known = first.iter().filter(|name| matches!(names.meaning(name.trim()), Named::Key(_)));
            let is_text = matches!(names.meaning(first.get(0).unwrap_or("").trim()), Named::Key(key) if key.is_free_text());
            (names_known.count(), first.len(), is_text)
        };
        // Of those that make the most names known, the first; if none does, the one that makes the most of them.
        let best = SEPARATORS.into_iter().rev().max_by_key(|&separator| {
            let (known, all, _) = known(separator);
            (known, all)
        });
        let separator = declared.or(best).unwrap_or(SEPARATORS[0]);
        Self { header, separator, has_comments: !known(separator).2 }
    }

    /// The rows of a file, the header among them.
    fn rows(&self, text: &str) -> impl Iterator<Item = Row> {
        // Rows of other lengths are reported with their places, by the caller.
        let reader = reader(self.separator, self.has_comments.then_some(b'#'))
            .from_reader(&text.as_bytes()[self.header..]);
        // Text in memory that is UTF-8 gives no errors.
        reader.into_records().map_while(Result::ok).map(|record| self.row(text, &record))
    }

    /// Finds each cell of a record in the text.
    fn row(&self, text: &str, record: &StringRecord) -> Row {
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
        let mut at = self.header + start;
        // A record begins behind the one before: empty lines and comments are skipped.
        loop {
            let rest = &text[at..];
            let skipped = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
            at += skipped;
            if !(self.has_comments && text[at..].starts_with('#')) {
                break;
            }
            at += text[at..].find('\n').unwrap_or(text.len() - at);
        }
        let mut open_quote = None;
        let mut cells = Vec::with_capacity(record.len());
        for value in record {
            let (end, is_closed) = self.end_of_cell(text, at);
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
    fn end_of_cell(&self, text: &str, start: usize) -> (usize, bool) {
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
        let ends = [char::from(self.separator), '\r', '\n'];
        (text[at..].find(ends).map_or(text.len(), |end| at + end), true)
    }
}

fn reader(separator: u8, comment: Option<u8>) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(separator).comment(comment);
    builder
}
