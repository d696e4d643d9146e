//! Tenants as JSON (RFC 8259): a list of objects, each with the keys of a `[[tenant]]`; or one object after the other,
//! as JSON lines.
//!
//! `null` is a key that is left out, and the text of `expires` is a date or time, which JSON does not have.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::source::Source;
use super::super::value::type_name;
use super::{Parsed, tenants};

/// Lists and objects within each other: the deepest that there is are an exemption's peers, five.
const MAX_DEPTH: usize = 8;

pub(super) fn parse<'s>(source: &'s Arc<Source>, found: &mut Diagnostics) -> Parsed<'s> {
    let text = source.text();
    let is_lines = text.trim_start().starts_with('{');
    let written: Result<Vec<&RawValue>, _> = if is_lines {
        serde_json::Deserializer::from_str(text).into_iter().collect()
    } else {
        serde_json::from_str(text).map(|list| vec![list])
    };
    let written = match written {
        Ok(written) => written,
        Err(error) => return torn(source, text, &error, found),
    };
    let refuse = |what: &str, value: &Spanned<DeValue<'_>>| {
        Diagnostic::error(what)
            .at(&source.span(value.span()), format!("found {}", type_name(value.get_ref())))
            .help("write [{ \"id\": ..., \"prefixes\": [...] }, ...]")
    };
    let null = || Spanned::new(0..0, DeValue::String("null".into()));
    let mut values = Vec::with_capacity(written.len());
    for raw in written {
        // An object within a list is as deep as one without.
        let depth = usize::from(is_lines);
        values.push(Reader { source, found: &mut *found }.value(raw, "", depth).unwrap_or_else(null));
    }
    // One object that is no tenant may hold the list.
    let is_wrapped = |values: &[Spanned<DeValue<'_>>]| match values {
        [one] => one.get_ref().get("id").is_none(),
        _ => false,
    };
    if (!is_lines || is_wrapped(&values))
        && let Some(list) = values.pop()
    {
        let place = list.span();
        match list.into_inner() {
            DeValue::Array(list) => values.extend(list),
            other => {
                found.push(refuse("a file of tenants must be a list", &Spanned::new(place.clone(), other)));
                return Parsed { root: DeTable::new(), torn_lines: vec![source.span(place).place().line] };
            }
        }
    }
    let mut entries = DeArray::new();
    for entry in values {
        if entry.get_ref().is_table() {
            entries.push(entry);
        } else {
            found.push(refuse("a tenant must be an object", &entry));
        }
    }
    Parsed { root: tenants(entries), torn_lines: Vec::new() }
}

/// Nothing can be saved of text that is not JSON.
fn torn<'s>(
    source: &Arc<Source>,
    text: &str,
    error: &serde_json::Error,
    found: &mut Diagnostics,
) -> Parsed<'s> {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    // Columns count bytes, from 1; the end of the text is behind its last byte.
    let at = text.floor_char_boundary((line_start + error.column().saturating_sub(1)).min(text.len()));
    let end = text.ceil_char_boundary((at + 1).min(text.len()));
    let span = source.span(at..end);
    let message = error.to_string();
    let message = message.split_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    found.push(
        Diagnostic::error("not valid JSON")
            .at(&span, message)
            .help("nothing behind it is read: mend it, or have the file written anew"),
    );
    Parsed { root: DeTable::new(), torn_lines: vec![span.place().line] }
}

struct Reader<'r, 's> {
    source: &'s Arc<Source>,
    found: &'r mut Diagnostics,
}

impl<'s> Reader<'_, 's> {
    /// A value of TOML that says the same as the one of `key`; none for `null`.
    fn value(&mut self, raw: &'s RawValue, key: &str, depth: usize) -> Option<Spanned<DeValue<'s>>> {
        let written = raw.get();
        let whole = self.place(raw);
        // An object goes over many lines; its beginning tells which one it is.
        let opening = whole.start..whole.start + 1;
        Some(match written.as_bytes().first() {
            Some(b'n') => return None,
            Some(b't' | b'f') => Spanned::new(whole, DeValue::Boolean(written == "true")),
            Some(b'"') => Spanned::new(whole, string(written, key)),
            Some(b'[') => Spanned::new(whole, DeValue::Array(self.list(written, key, depth))),
            Some(b'{') => Spanned::new(opening, DeValue::Table(self.object(written, depth))),
            // Numbers are written in the same way in both, but for exponents without a fraction.
            _ => Spanned::new(whole, number(written)),
        })
    }

    fn list(&mut self, written: &'s str, key: &str, depth: usize) -> DeArray<'s> {
        let mut list = DeArray::new();
        if depth < MAX_DEPTH {
            let entries: Vec<&RawValue> = serde_json::from_str(written).unwrap_or_default();
            for raw in entries {
                match self.value(raw, key, depth + 1) {
                    Some(value) => list.push(value),
                    None => self.found.push(
                        Diagnostic::error("`null` in a list")
                            .at(&self.source.span(self.place(raw)), "not a value")
                            .help("leave it out"),
                    ),
                }
            }
        }
        list
    }

    fn object(&mut self, written: &'s str, depth: usize) -> DeTable<'s> {
        let mut table = DeTable::new();
        if depth == MAX_DEPTH {
            return table;
        }
        let Entries(entries) = serde_json::from_str(written).unwrap_or_default();
        for (key, raw) in entries {
            let place = self.place_of_key(&key, raw);
            let value = self.value(raw, &key, depth + 1);
            let key = Spanned::new(place.clone(), key.into());
            if let Some((first, _)) = table.get_key_value(&key) {
                self.found.push(
                    Diagnostic::error(format!("`{}` is written twice", key.get_ref()))
                        .at(&self.source.span(place), "the second time")
                        .at(&self.source.span(first.span()), "the first time")
                        .help("keep one of them"),
                );
            } else if let Some(value) = value {
                table.insert(key, value);
            }
        }
        table
    }

    /// Where a value is written: it is a part of the text.
    fn place(&self, value: &RawValue) -> Range<usize> {
        let start = value.get().as_ptr().addr() - self.source.text().as_ptr().addr();
        start..start + value.get().len()
    }

    /// Where the key of a value is written; the value's place if the key has escapes in it.
    fn place_of_key(&self, key: &str, value: &RawValue) -> Range<usize> {
        let value = self.place(value);
        let before = self.source.text()[..value.start].trim_end().trim_end_matches(':').trim_end();
        match before.strip_suffix('"').and_then(|before| before.strip_suffix(key)) {
            Some(rest) if rest.ends_with('"') => rest.len()..rest.len() + key.len(),
            _ => value,
        }
    }
}

fn string<'s>(written: &str, key: &str) -> DeValue<'s> {
    let text: String = serde_json::from_str(written).unwrap_or_default();
    match text.parse() {
        Ok(datetime) if key == "expires" => DeValue::Datetime(datetime),
        _ => DeValue::String(text.into()),
    }
}

fn number(written: &str) -> DeValue<'_> {
    DeValue::parse(written).map_or_else(|_| DeValue::String(written.into()), Spanned::into_inner)
}

/// The entries of an object, in their order, those of one key among them.
#[derive(Default)]
struct Entries<'s>(Vec<(String, &'s RawValue)>);

impl<'s> Deserialize<'s> for Entries<'s> {
    fn deserialize<D: Deserializer<'s>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'s> Visitor<'s> for InOrder {
            type Value = Entries<'s>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'s>>(self, mut map: A) -> Result<Entries<'s>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
