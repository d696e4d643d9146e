//! What keeps the gateway from policing as it should, found before it is felt.
//!
//! Facts are gathered first (from the kernel, whatever this process's network namespace is) and judged
//! by pure functions afterwards. Every finding says what was found, why it matters, and how to mend it;
//! `docs/doctor.md` lists them. A *problem* means that something will not work or goes unpoliced, a
//! *warning* that it may.

mod facts;
mod finding;
mod interface;
mod system;

pub use finding::{Finding, Severity};

use facts::{OwnPrograms, Programs, Seen, System};

use crate::config::Config;
use crate::link::Links;

/// Everything: the machine, the configured interfaces, and the real programs loaded for a moment.
/// Without a configuration, the machine alone.
///
/// Belongs into a tokio runtime.
pub async fn examine(config: Option<&Config>) -> Vec<Finding> {
    let mut findings = machine(config, Programs::Try).await;
    if let Some(config) = config {
        match Links::open() {
            Ok(links) => findings.extend(examine_interfaces(config, &links).await),
            Err(error) => findings.push(interface::cannot_look(&error)),
        }
    }
    findings
}

/// The machine alone, for a service whose programs run already.
pub async fn examine_machine(config: &Config) -> Vec<Finding> {
    machine(Some(config), Programs::Leave).await
}

async fn machine(config: Option<&Config>, programs: Programs) -> Vec<Finding> {
    system::findings(&System::gather(config, programs).await)
}

/// The configured interfaces alone.
pub async fn examine_interfaces(config: &Config, links: &Links) -> Vec<Finding> {
    let ours = OwnPrograms::of(&config.gateway.pin_dir);
    let mut findings = Vec::new();
    for configured in &config.interfaces {
        let seen = Seen::look(configured, links).await;
        findings.extend(interface::findings(config, configured, &seen, &ours));
    }
    findings
}
