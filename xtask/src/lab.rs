//! Runs the lab: real programs in network namespaces, with Fairway on the router between them.

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Scope};

/// Sets up, builds with optimisation, and runs the lab.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tools = setup::prepare(Scope { traffic: true, ..Scope::BUILD })?;
    build::bpf(&tools)?;
    build::host(Profile::Release)?;
    let mut lab = command::program(Profile::Release.directory().join("lab"));
    lab.args(arguments);
    if !command::is_root() {
        let line = command::line(&lab);
        bail!("everything is built, but only root may make network namespaces. Run\n    sudo {line}");
    }
    command::run(&mut lab)
}
