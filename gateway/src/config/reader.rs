//! Tables read key by key, with every mistake reported where it stands.
//!
//! A value that is missing or wrong is reported and read as `None`, so that the rest is still checked;
//! a configuration with any error is thrown away in the end. A key that nobody asked for is an error.
//!
//! What the parser saved of a file that is not valid is checked too, so that a comma does not hide
//! everything else. There, nothing is said to be missing or unknown, and nothing is said about
//! the very lines that did not parse: either may be the slip's consequence.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Written;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{At, Source, Span};
use super::suggest::nearest;
use super::syntax::{ColumnNames, Parsed, Syntax};
use super::value::{Kind, Refusal, type_name};

struct Document {
    source: Arc<Source>,
    syntax: Syntax,
    /// Lines with syntax errors.
    torn_lines: Vec<u32>,
}

/// A table that is being read.
pub(super) struct Table<'a> {
    document: &'a Document,
    entries: &'a DeTable<'a>,
    /// Dotted, as in its header; empty for the file itself.
    path: &'a str,
    /// Whether it is one of a list, with a header in double brackets.
    is_listed: bool,
    header: Span,
    asked_for: Vec<&'static str>,
    /// Whether its keys are names that the operator gives.
    has_free_keys: bool,
    found: &'a mut Diagnostics,
}

/// Reads a whole file by `read`, which asks for every key that there may be.
pub(super) fn read_file<R>(
    source: &Arc<Source>,
    (syntax, names): (Syntax, &ColumnNames),
    found: &mut Diagnostics,
    read: impl FnOnce(&mut Table<'_>) -> R,
) -> R {
    let Parsed { root, torn_lines } = syntax.parse(source, names, found);
    let document = Document { source: Arc::clone(source), syntax, torn_lines };
    let mut table = Table {
        document: &document,
        entries: &root,
        path: "",
        is_listed: false,
        header: source.span(0..0),
        asked_for: Vec::new(),
        has_free_keys: false,
        found,
    };
    let result = read(&mut table);
    table.report_unknown_keys();
    result
}

impl<'a> Table<'a> {
    /// Where the table starts.
    pub(super) fn header(&self) -> &Span {
        &self.header
    }

    /// Whether all of the file was understood, so that what is missing really is.
    pub(super) fn is_whole(&self) -> bool {
        self.document.torn_lines.is_empty()
    }

    /// Whether the key is there, valid or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// How many entries a list has, valid or not; none if there is no list.
    pub(super) fn count_written(&self, key: &str) -> Option<usize> {
        self.entries.get(key)?.get_ref().as_array().map(|entries| entries.len())
    }

    /// Where the key is written, if it is.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.get_key_value(key).map(|(key, _)| self.span(key.span()))
    }

    /// Where these keys are written, dotted ones in the tables below; those that are not are left out.
    pub(super) fn written(&self, keys: &[&'static str]) -> Written {
        let place = |key: &'static str| {
            let (path, name) = key.rsplit_once('.').map_or((None, key), |(path, name)| (Some(path), name));
            let below = |entries: &'a DeTable<'a>, table| entries.get(table)?.get_ref().as_table();
            let entries = path.into_iter().flat_map(|path| path.split('.')).try_fold(self.entries, below)?;
            let (written, _) = entries.get_key_value(name)?;
            Some((key, self.span(written.span()).place()))
        };
        Written(keys.iter().filter_map(|key| place(key)).collect())
    }

    /// Reports a mistake in this table.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        let is_torn = |place: super::Place| self.document.torn_lines.contains(&place.line);
        if !diagnostic.place().is_some_and(is_torn) {
            self.found.push(diagnostic);
        }
    }

    /// The value of `key`, which may be left out.
    pub(super) fn optional<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<At<K::Value>> {
        let (value, span) = self.entry(key)?;
        self.take(value, span, kind, format_args!("`{key}`"))
    }

    /// The value of `key`, or `default`.
    pub(super) fn or<K: Kind>(&mut self, key: &'static str, kind: &K, default: K::Value) -> K::Value {
        self.optional(key, kind).map_or(default, |at| at.value)
    }

    /// The value of `key`, which must be there.
    pub(super) fn required<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<At<K::Value>> {
        if !self.has(key) {
            self.report_missing(key, &kind.expected());
        }
        self.optional(key, kind)
    }

    /// The values of a list; none if it is left out. Entries that are wrong are left out.
    pub(super) fn list<K: Kind>(&mut self, key: &'static str, kind: &K) -> Vec<At<K::Value>> {
        let Some((value, span)) = self.entry(key) else { return Vec::new() };
        let DeValue::Array(entries) = value else {
            self.report(
                Diagnostic::error(format!("`{key}` must be a list"))
                    .at(&span, format!("found {}", type_name(value)))
                    .help(format!("put it in brackets: {}", self.document.syntax.list_of(key, span.text()))),
            );
            return Vec::new();
        };
        let take = |entry: &Spanned<DeValue<'_>>| {
            let name = format_args!("an entry of `{key}`");
            self.take(entry.get_ref(), self.span(entry.span()), kind, name)
        };
        entries.iter().filter_map(take).collect()
    }

    /// The values of a list; one that stands alone is a list of one.
    pub(super) fn list_or_one<K: Kind>(&mut self, key: &'static str, kind: &K) -> Vec<At<K::Value>> {
        match self.entries.get(key) {
            Some(value) if !value.get_ref().is_array() => self.optional(key, kind).into_iter().collect(),
            _ => self.list(key, kind),
        }
    }

    /// The values in the table at `key`, under names that are the operator's.
    pub(super) fn named_values<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
    ) -> Vec<(String, At<K::Value>)> {
        self.table(key, |names| {
            names.has_free_keys = true;
            let mut values = Vec::new();
            for (name, entry) in names.entries {
                let span = names.span(entry.span());
                let taken = names.take(entry.get_ref(), span, kind, format_args!("`{}`", name.get_ref()));
                values.extend(taken.map(|value| (name.get_ref().to_string(), value)));
            }
            values
        })
    }

    /// Whether the value of `key` is text.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// The values of a list that must be there and hold at least one.
    pub(super) fn required_list<K: Kind>(&mut self, key: &'static str, kind: &K) -> Vec<At<K::Value>> {
        match self.entries.get(key) {
            None => self.report_missing(key, &format!("a list, each {}", kind.expected())),
            Some(value) if self.count_written(key) == Some(0) => self.report(
                Diagnostic::error(format!("`{key}` is empty"))
                    .at(&self.span(value.span()), format!("expected at least one: {}", kind.expected())),
            ),
            Some(_) => {}
        }
        self.list_or_one(key, kind)
    }

    /// Reads the table at `key`. One that is left out is read as empty, which gives its defaults.
    pub(super) fn table<R>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'_>) -> R) -> R {
        let path = self.path_of(key);
        match self.entry(key) {
            None => self.visit(&path, false, &DeTable::new(), self.header.clone(), read),
            Some((DeValue::Table(entries), span)) => self.visit(&path, false, entries, span, read),
            Some((other, span)) => {
                self.report(
                    Diagnostic::error(format!("`{key}` must be a table"))
                        .at(&span, format!("found {}", type_name(other)))
                        .help(format!("write {}", self.document.syntax.table_at(&path, key))),
                );
                // Its keys are not missing: they were written in another way.
                let found = std::mem::take(self.found);
                let result = self.visit(&path, false, &DeTable::new(), span, read);
                *self.found = found;
                result
            }
        }
    }

    /// Reads each of the tables at `key`, of which there may be none.
    pub(super) fn tables<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Table<'_>) -> R,
    ) -> Vec<R> {
        let Some((value, span)) = self.entry(key) else { return Vec::new() };
        let path = self.path_of(key);
        let syntax = self.document.syntax;
        let not_a_table = |value: &DeValue<'_>, span: &Span| {
            Diagnostic::error(format!("`{key}` must be a list of tables"))
                .at(span, format!("found {}", type_name(value)))
                .help(format!("write {}", syntax.tables_at(&path, key)))
        };
        match value {
            DeValue::Array(entries) => entries
                .iter()
                .filter_map(|entry| match (entry.get_ref(), self.span(entry.span())) {
                    (DeValue::Table(table), span) => Some(self.visit(&path, true, table, span, &mut read)),
                    (other, span) => {
                        self.report(not_a_table(other, &span));
                        None
                    }
                })
                .collect(),
            // One that is written in single brackets is read all the same, for its own mistakes.
            DeValue::Table(table) => {
                self.report(not_a_table(value, &span));
                vec![self.visit(&path, true, table, span, read)]
            }
            other => {
                self.report(not_a_table(other, &span));
                Vec::new()
            }
        }
    }

    /// Reads each of the tables in the table at `key`, under names that are the operator's. Returns whether
    /// all names are of their `kind`; those that are not are left out.
    pub(super) fn named_tables(
        &mut self,
        key: &'static str,
        kind: &impl Kind<Value = String>,
        mut read: impl FnMut(&mut Table<'_>, String),
    ) -> bool {
        self.table(key, |names| {
            names.has_free_keys = true;
            let mut all_valid = true;
            for (name, entry) in names.entries {
                let (span, written) = (names.span(name.span()), DeValue::String(name.get_ref().clone()));
                let (path, within) = (names.path_of(name.get_ref()), names.heading());
                let name = names.take(&written, span, kind, format_args!("a name in {within}"));
                match (name, entry.get_ref()) {
                    (Some(name), DeValue::Table(table)) => {
                        let header = names.span(entry.span());
                        names.visit(&path, false, table, header, |table| read(table, name.value));
                    }
                    (Some(name), other) => names.report(
                        Diagnostic::error(format!("`{}` must be a table", name.value))
                            .at(&names.span(entry.span()), format!("found {}", type_name(other)))
                            .help(format!("write [{path}]")),
                    ),
                    (None, _) => all_valid = false,
                }
            }
            all_valid
        })
    }

    /// Refuses sections that have their place in the main file only.
    pub(super) fn refuse_sections(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.asked_for.push(key);
            if let Some(span) = self.key_span(key) {
                self.report(
                    Diagnostic::error(format!("`{key}` belongs in the main file"))
                        .at(&span, "not taken from here")
                        .help("files named by `tenants` in [gateway] hold [[tenant]] entries only"),
                );
            }
        }
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.document.source.span(range)
    }

    /// How messages call the table.
    fn heading(&self) -> String {
        self.document.syntax.heading(self.path, self.is_listed)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Span)> {
        self.asked_for.push(key);
        let value = self.entries.get(key)?;
        Some((value.get_ref(), self.span(value.span())))
    }

    fn take<K: Kind>(
        &mut self,
        value: &DeValue<'_>,
        span: Span,
        kind: &K,
        name: fmt::Arguments<'_>,
    ) -> Option<At<K::Value>> {
        match kind.read(value) {
            Ok(value) => Some(At { value, span }),
            Err(Refusal { message, label, help }) => {
                let message = message.unwrap_or_else(|| format!("{name} must be {}", kind.expected()));
                let mut diagnostic = Diagnostic::error(message).at(&span, label);
                if let Some(help) = help {
                    diagnostic = diagnostic.help(help);
                }
                self.report(diagnostic);
                None
            }
        }
    }

    fn visit<R>(
        &mut self,
        path: &str,
        is_listed: bool,
        entries: &DeTable<'_>,
        header: Span,
        read: impl FnOnce(&mut Table<'_>) -> R,
    ) -> R {
        let mut table = Table {
            document: self.document,
            entries,
            path,
            is_listed,
            header,
            asked_for: Vec::new(),
            has_free_keys: false,
            found: self.found,
        };
        let result = read(&mut table);
        table.report_unknown_keys();
        result
    }

    fn report_missing(&mut self, key: &str, expected: &str) {
        if self.is_whole() {
            self.report(
                Diagnostic::error(format!("`{key}` is missing from {}", self.heading()))
                    .at(&self.header, format!("expected `{key}`: {expected}")),
            );
        }
    }

    fn report_unknown_keys(&mut self) {
        if !self.is_whole() || self.has_free_keys {
            return;
        }
        for key in self.entries.keys().filter(|key| !self.asked_for.contains(&&**key.get_ref())) {
            let help = match nearest(key.get_ref(), self.asked_for.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known keys: {}", self.asked_for.join(", ")),
            };
            self.found.push(
                Diagnostic::error(format!("unknown key `{}` in {}", key.get_ref(), self.heading()))
                    .at(&self.span(key.span()), "not known here")
                    .help(help),
            );
        }
    }
}
