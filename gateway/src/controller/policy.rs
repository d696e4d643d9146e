//! The policy in force, and what is known of how it came to be.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Diagnostics, Loaded};
use crate::policy::{Effective, Overrides, compose};

/// The policy that is enforced now.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What the files say.
    pub config: Arc<Config>,
    /// What is in force.
    pub effective: Effective,
    /// What the configuration was warned about when it was read.
    pub warnings: Arc<Diagnostics>,
    /// When it was read from its files.
    pub loaded_at: Timestamp,
}

impl Policy {
    pub(super) fn new(loaded: Loaded, overrides: &Overrides, loaded_at: Timestamp) -> Self {
        let warnings = Arc::new(loaded.warnings_at(loaded_at));
        let config = Arc::new(loaded.config);
        let effective = compose(&config, overrides, loaded_at);
        Self { config, effective, warnings, loaded_at }
    }

    /// The same configuration under other decisions, or at another time.
    pub(super) fn with(&self, overrides: &Overrides, now: Timestamp) -> Self {
        Self { effective: self.effective.with(overrides, now), ..self.clone() }
    }
}
