//! Kills the controller at random moments under load, and compares what was answered with what holds.

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Scope};

/// Sets up, builds with optimisation, and kills.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tools = setup::prepare(Scope { traffic: true, ..Scope::BUILD })?;
    build::bpf(&tools)?;
    build::host(Profile::Release)?;
    let mut soak = command::program(Profile::Release.directory().join("soak"));
    soak.args(arguments);
    if !command::is_root() {
        let line = command::line(&soak);
        bail!("everything is built, but only root may load the programs. Run\n    sudo {line}");
    }
    command::run(&mut soak)
}
