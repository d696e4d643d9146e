//! The notations of configuration files. Whatever a file is written in, it is read as the tables of TOML,
//! each key and value with its place: the same keys, the same checks, the same messages.
//!
//! The main file is TOML. Files of tenants may also come out of another system, as CSV or JSON.

mod columns;
mod csv_text;
mod json_text;
mod toml_text;

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostics;
use super::source::Source;
pub(super) use columns::{ColumnNames, KEYS};

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Toml,
    /// A row for each tenant.
    Csv,
    /// A list with an object for each tenant, or the objects alone.
    Json,
}

/// What a file holds.
pub(super) struct Parsed<'s> {
    pub(super) root: DeTable<'s>,
    /// Lines that are not valid; what they hold is not in `root`.
    pub(super) torn_lines: Vec<u32>,
}

impl Syntax {
    /// By the end of the file's name.
    pub(super) fn of(path: &Path) -> Self {
        let is = |extension: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension));
        match () {
            () if is("csv") => Self::Csv,
            () if is("json") || is("jsonl") || is("ndjson") => Self::Json,
            () => Self::Toml,
        }
    }

    /// Takes a file apart; what is not valid is reported. `names` are those of its columns, if it has any.
    pub(super) fn parse<'s>(
        self,
        source: &'s Arc<Source>,
        names: &ColumnNames,
        found: &mut Diagnostics,
    ) -> Parsed<'s> {
        match self {
            Self::Toml => toml_text::parse(source, found),
            Self::Csv => csv_text::parse(source, names, found),
            Self::Json => json_text::parse(source, found),
        }
    }

    /// How messages call the table at a dotted path, which may be one of a list.
    pub(super) fn heading(self, path: &str, is_listed: bool) -> String {
        match self {
            _ if path.is_empty() => "the file".to_owned(),
            Self::Toml if is_listed => format!("[[{path}]]"),
            Self::Toml => format!("[{path}]"),
            Self::Csv => "this row".to_owned(),
            Self::Json => format!("this `{}`", path.rsplit_once('.').map_or(path, |(_, name)| name)),
        }
    }

    /// How a list of one value is written.
    pub(super) fn list_of(self, key: &str, value: &str) -> String {
        match self {
            Self::Json => format!("\"{key}\": [{value}]"),
            Self::Toml | Self::Csv => format!("{key} = [{value}]"),
        }
    }

    /// How the table at a dotted path is written, of which `key` is the last part.
    pub(super) fn table_at(self, path: &str, key: &str) -> String {
        match self {
            Self::Json => format!("\"{key}\": {{ ... }}"),
            Self::Toml | Self::Csv => format!("[{path}] once, or {key} = {{ ... }}"),
        }
    }

    /// How the list of tables at a dotted path is written, of which `key` is the last part.
    pub(super) fn tables_at(self, path: &str, key: &str) -> String {
        match self {
            Self::Json => format!("\"{key}\": [{{ ... }}], with as many as there are entries"),
            Self::Toml | Self::Csv => format!("[[{path}]], as often as there are entries"),
        }
    }
}

/// The root of a file that holds nothing but tenants.
fn tenants<'s>(entries: toml::de::DeArray<'s>) -> DeTable<'s> {
    let mut root = DeTable::new();
    root.insert(toml::Spanned::new(0..0, "tenant".into()), toml::Spanned::new(0..0, DeValue::Array(entries)));
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_its_name_tells_what_a_file_is_written_in() {
        let of = |path: &str| Syntax::of(Path::new(path));
        assert_eq!([of("a.csv"), of("B.CSV"), of("a.json")], [Syntax::Csv, Syntax::Csv, Syntax::Json]);
        assert_eq!([of("a.jsonl"), of("a.ndjson")], [Syntax::Json; 2]);
        assert_eq!([of("a.toml"), of("a.csv.toml"), of("csv"), of("a")], [Syntax::Toml; 4]);
    }
}
