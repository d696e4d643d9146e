//! TOML, and what its parser objects to, in an operator's words. It tells its errors apart by their text
//! alone; one that is not recognised here is shown as it is.

use std::sync::Arc;

use toml::de::DeTable;

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::source::{Source, Span};
use super::Parsed;

pub(super) fn parse<'s>(source: &'s Arc<Source>, found: &mut Diagnostics) -> Parsed<'s> {
    let (root, errors) = DeTable::parse_recoverable(source.text());
    let torn_lines = errors.iter().map(|error| report(error, source, found)).collect();
    Parsed { root: root.into_inner(), torn_lines }
}

/// Reports one error of the parser and returns its line.
fn report(error: &toml::de::Error, source: &Arc<Source>, found: &mut Diagnostics) -> u32 {
    let span = source.span(error.span().unwrap_or(0..0));
    let line = span.place().line;
    found.push(explain(error.message(), source, &span));
    line
}

fn explain(message: &str, source: &Arc<Source>, span: &Span) -> Diagnostic {
    if message.starts_with("string values must be quoted") {
        return match span.text() {
            "" => Diagnostic::error("a value is missing").at(span, "expected a value after \"=\""),
            bare => Diagnostic::error("a string without quotes")
                .at(span, "not a TOML value")
                .help(format!("write it in quotes: \"{bare}\"")),
        };
    }
    if message == "duplicate key" {
        return Diagnostic::error(format!("`{}` is written twice", span.text()))
            .at(span, "the second time")
            .at_any(earlier(source, span).as_ref(), "the first time")
            .help("keep one of them");
    }
    Diagnostic::error("not valid TOML").at(span, message)
}

/// Where the key at `span` was written before. The parser does not tell, so this goes by the text:
/// the nearest earlier line that begins in the same way.
fn earlier(source: &Arc<Source>, span: &Span) -> Option<Span> {
    let start = span.start();
    let text = source.text();
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let written = text[line_start..start].trim_start().to_owned() + span.text();
    let mut end = line_start;
    while end > 0 {
        let start = text[..end - 1].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &text[start..end];
        if let Some(rest) = line.trim_start().strip_prefix(&written)
            && rest.trim_start().starts_with(['=', ']', '.'])
        {
            let key = start + indent(line) + written.len() - span.text().len();
            return Some(source.span(key..key + span.text().len()));
        }
        end = start;
    }
    None
}
