//! Errors of the data plane, in the operator's terms.

use crate::limits;

/// What went wrong, with what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: {cause}. {remedy}")]
pub struct DataplaneError {
    /// What was tried, on what ("attaching to eth0 in native mode").
    pub what: String,
    /// What the kernel or file system said, with its own causes.
    pub cause: String,
    /// What the operator can do.
    pub remedy: String,
}

impl DataplaneError {
    /// Of an error of the system. A limit that was reached has a remedy of its own, whatever was tried.
    pub(super) fn new(
        what: impl Into<String>,
        cause: impl std::fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        let cause = cause.to_string();
        let remedy = limits::remedy_in(&cause).map_or_else(|| remedy.into(), str::to_owned);
        Self { what: what.into(), cause, remedy }
    }
}

/// Lines of an error that are worth reading: the verifier explains itself in thousands, the last of
/// which say what it objects to.
const LAST_LINES: usize = 6;

/// An error with all its causes; aya's messages leave the causes out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own message.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    match lines.len().checked_sub(LAST_LINES + 1) {
        Some(skipped) if skipped > 0 => {
            format!("{}\n[{skipped} lines left out]\n{}", lines[0], lines[skipped + 1..].join("\n"))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_keep_their_head_and_their_end() {
        let log: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        let text = chain(&std::io::Error::other(log.join("\n")));
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(
            text.starts_with("line 0\n[93 lines left out]\nline 94\n") && text.ends_with("line 99"),
            "{text}"
        );
        assert_eq!(chain(&std::io::Error::other("short")), "short");
    }
}
