//! Errors of the data plane, in the operator's terms.

/// What went wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
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
    pub(super) fn new(
        what: impl Into<String>,
        cause: impl std::fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), cause: cause.to_string(), remedy: remedy.into() }
    }
}

/// An error with all its causes in one line; aya's messages leave the causes out.
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
    text
}
