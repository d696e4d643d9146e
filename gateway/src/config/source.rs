//! Configuration files as text, and places in them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::Place;
use crate::text::escaped;

/// One file that was read.
pub(super) struct Source {
    /// Rank among the files read: diagnostics are shown in this order. Files that come or go change it.
    order: AtomicUsize,
    path: Arc<Path>,
    text: Arc<str>,
    /// Byte offset at which each line starts.
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(order: usize, path: &Path, text: String) -> Arc<Self> {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Arc::new(Self { order: AtomicUsize::new(order), path: path.into(), text: text.into(), line_starts })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text, without a copy of it.
    pub(super) fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another rank.
    pub(super) fn set_order(&self, order: usize) {
        self.order.store(order, Relaxed);
    }

    /// The span of `range`, in bytes.
    pub(super) fn span(self: &Arc<Self>, range: Range<usize>) -> Span {
        Span { source: Arc::clone(self), range }
    }

    /// Index of the line that holds the byte at `offset`, from 0.
    fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset).saturating_sub(1)
    }

    /// Text of the lines from index `first` to `last`, with the last line's newline.
    fn lines(&self, first: usize, last: usize) -> &str {
        let end = self.line_starts.get(last + 1).copied().unwrap_or(self.text.len());
        &self.text[self.line_starts[first]..end]
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// A stretch of text in a file.
#[derive(Clone, Debug)]
pub(super) struct Span {
    source: Arc<Source>,
    range: Range<usize>,
}

/// The whole lines around a span, to be shown with it underlined.
pub(super) struct Excerpt<'s> {
    pub(super) path: std::borrow::Cow<'s, str>,
    pub(super) first_line: usize,
    pub(super) text: &'s str,
    /// The span, in bytes of `text`.
    pub(super) underlined: Range<usize>,
}

/// The same stretch of the same file, whatever stands there.
impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.source.path == other.source.path && self.range == other.range
    }
}

impl Eq for Span {}

impl Span {
    /// Sorts spans by file, then by position.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.source.order.load(Relaxed), self.range.start)
    }

    /// Where it starts, in bytes.
    pub(super) fn start(&self) -> usize {
        self.range.start
    }

    /// The text itself.
    pub(super) fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    /// Where the span starts.
    pub(super) fn place(&self) -> Place {
        let line = self.source.line_index(self.range.start);
        let before = &self.source.text[self.source.line_starts[line]..self.range.start];
        Place {
            file: Arc::clone(&self.source.path),
            line: saturate(line + 1),
            column: saturate(before.chars().count() + 1),
        }
    }

    pub(super) fn excerpt(&self) -> Excerpt<'_> {
        let first = self.source.line_index(self.range.start);
        let last = self.source.line_index(self.range.end);
        let offset = self.source.line_starts[first];
        Excerpt {
            path: escaped(&self.source.path.to_string_lossy()).into_owned().into(),
            first_line: first + 1,
            text: self.source.lines(first, last),
            underlined: self.range.start - offset..self.range.end - offset,
        }
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The values alone, once their places are of no more use.
pub(super) trait IntoValues<T> {
    fn into_values(self) -> Vec<T>;
}

impl<T> IntoValues<T> for Vec<At<T>> {
    fn into_values(self) -> Vec<T> {
        self.into_iter().map(|at| at.value).collect()
    }
}
