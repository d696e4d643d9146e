//! What an examination finds.

use std::path::Path;

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Something may not work, or not as well as it could.
    Warning,
    /// Something does not work, or goes unpoliced.
    Problem,
}

impl Severity {
    /// As the JSON writes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at; a stable word, see `docs/doctor.md`.
    pub check: &'static str,
    /// The interface that it is about; none: the machine.
    pub interface: Option<String>,
    /// What was found.
    pub found: String,
    /// Why that matters; none: it is as it should be.
    pub why: Option<String>,
    /// How to mend it; none: it is as it should be.
    pub mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, check, interface: None, found: found.into(), why: None, mend: None }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let (why, mend) = (Some(why.into()), Some(mend.into()));
        Self { severity: Severity::Warning, why, mend, ..Self::ok(check, found) }
    }

    pub(super) fn problem(
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Problem, ..Self::warning(check, found, why, mend) }
    }

    /// The configuration cannot be read, and nothing that it says was looked at.
    #[must_use]
    pub fn unreadable(config: &Path) -> Self {
        Self::problem(
            "config",
            format!("{} cannot be read or holds mistakes", config.display()),
            "`fairway run` does not start with it, and its interfaces were not looked at",
            format!("fairway check --config {}", config.display()),
        )
    }

    pub(super) fn on(self, interface: &str) -> Self {
        Self { interface: Some(interface.into()), ..self }
    }
}
