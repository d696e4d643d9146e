//! Text that others wrote, on its way in and on its way to a terminal.
//!
//! Control characters move the cursor and recolour the screen; characters that change the direction of writing, or
//! have no width, show another text than the one that is there (CVE-2021-42574).

use std::borrow::Cow;

/// Longest reason, in characters: a line or two of a terminal, and room for a reference.
pub(crate) const REASON_MAX_CHARS: usize = 500;

/// Whether a character shows something else than itself.
pub(crate) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Directional marks, embeddings and isolates (Unicode standard annex 9).
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Without width; separators of lines and paragraphs; tags.
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{2028}' | '\u{2029}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Text for a terminal: what is deceptive is written as an escape, such as `\u{202e}` and `\n`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// The same for text of several lines.
pub(crate) fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |character| character == '\n')
}

fn escaped_but(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |character| is_deceptive(character) && !is_kept(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' if is_escaped(character) => escaped.extend(character.escape_default()),
            character if is_escaped(character) => escaped.extend(character.escape_unicode()),
            character => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Why a text is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReasonError {
    /// Nothing, or blanks alone.
    #[error("the reason is empty: write why, for whoever reads it in a year")]
    Empty,
    #[error(
        "the reason has {0} characters, and may have {REASON_MAX_CHARS}: write the gist, and where the rest is"
    )]
    TooLong(usize),
    #[error("the reason holds {0:?}: write one line of plain text")]
    Deceptive(char),
}

/// Takes a reason as it will be shown for years: one line of 1 to 500 characters, without blanks around it.
pub(crate) fn reason(written: &str) -> Result<String, ReasonError> {
    let reason = written.trim();
    let length = reason.chars().count();
    match reason.chars().find(|&character| is_deceptive(character)) {
        _ if length == 0 => Err(ReasonError::Empty),
        Some(character) => Err(ReasonError::Deceptive(character)),
        None if length > REASON_MAX_CHARS => Err(ReasonError::TooLong(length)),
        None => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_escaped_and_nothing_else() {
        assert_eq!(escaped("Müller & Söhne — 東京 \u{1f6e3}"), "Müller & Söhne — 東京 \u{1f6e3}");
        assert_eq!(escaped("\u{1b}[2Jgone\u{7}"), "\\u{1b}[2Jgone\\u{7}");
        assert_eq!(escaped("evil\u{202e}moc.knab"), "evil\\u{202e}moc.knab");
        assert_eq!(escaped("one\ntwo\tthree"), "one\\ntwo\\tthree");
        assert_eq!(escaped_lines("one\n\u{9b}two\n"), "one\n\\u{9b}two\n");
    }

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(reason("  bulk mail, ticket 12 ").as_deref(), Ok("bulk mail, ticket 12"));
        assert_eq!(reason(" \n"), Err(ReasonError::Empty));
        assert_eq!(reason("a\nb"), Err(ReasonError::Deceptive('\n')));
        assert_eq!(reason("a\u{202e}b"), Err(ReasonError::Deceptive('\u{202e}')));
        assert_eq!(reason(&"ä".repeat(500)).map(|reason| reason.len()), Ok(1_000));
        assert_eq!(reason(&"x".repeat(501)), Err(ReasonError::TooLong(501)));
    }
}
