//! What is wrong with a configuration, told so that the operator can mend it: where, what was expected,
//! what to do.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Place;
use super::source::Span;

/// Whether a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken, but probably not what the operator wants.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    /// The first one is where the mistake is, the others are what it conflicts with.
    labels: Vec<Label>,
    help: Option<String>,
}

#[derive(Clone, Debug)]
struct Label {
    span: Span,
    text: String,
}

impl Diagnostic {
    fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), labels: Vec::new(), help: None }
    }

    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    /// Points at `span`. The first call names the mistake itself, later ones what it conflicts with.
    pub(super) fn at(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.labels.push(Label { span: span.clone(), text: label.into() });
        self
    }

    /// As [`Self::at`], if there is such a place: a default is written nowhere.
    pub(super) fn at_any(self, span: Option<&Span>, label: impl Into<String>) -> Self {
        match span {
            Some(span) => self.at(span, label),
            None => self,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Error or warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is; none if the file could not be read at all.
    pub fn place(&self) -> Option<Place> {
        self.labels.first().map(|label| label.span.place())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippets = self.labels.iter().enumerate().map(|(index, label)| {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let excerpt = label.span.excerpt();
            Snippet::source(excerpt.text)
                .path(excerpt.path)
                .line_start(excerpt.first_line)
                .annotation(kind.span(excerpt.underlined).label(label.text.as_str()))
        });
        let help = self.help.iter().map(|help| Level::HELP.message(help.as_str()));
        renderer.render(&[level.primary_title(self.message.as_str()).elements(snippets).elements(help)])
    }
}

/// `{severity, message, file, line, column, label, help, related: [{file, line, column, label}]}`. The label
/// belongs to the place, as the help belongs to the whole.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Related<'d> {
            file: String,
            line: u32,
            column: u32,
            label: &'d str,
        }
        fn related(label: &Label) -> Related<'_> {
            let place = label.span.place();
            let file = place.file.display().to_string();
            Related { file, line: place.line, column: place.column, label: &label.text }
        }
        let first = self.labels.first().map(related);
        let mut map = serializer.serialize_struct("Diagnostic", 8)?;
        map.serialize_field("severity", &self.severity)?;
        map.serialize_field("message", &self.message)?;
        map.serialize_field("file", &first.as_ref().map(|place| &place.file))?;
        map.serialize_field("line", &first.as_ref().map(|place| place.line))?;
        map.serialize_field("column", &first.as_ref().map(|place| place.column))?;
        map.serialize_field("label", &first.as_ref().map(|place| place.label))?;
        map.serialize_field("help", &self.help)?;
        map.serialize_field("related", &self.labels.iter().skip(1).map(related).collect::<Vec<_>>())?;
        map.end()
    }
}

/// Everything that is wrong with a configuration, by file and line.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds what was found elsewhere.
    pub(super) fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Sorts by file in the order they were read, then by position.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|diagnostic| diagnostic.labels.first().map(|label| label.span.position()));
    }

    fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// For people: each with file, line and column, the text underlined, and what to do.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        self.iter().map(|diagnostic| diagnostic.render(&renderer) + "\n").collect::<Vec<_>>().join("\n")
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
