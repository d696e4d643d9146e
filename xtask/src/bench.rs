//! Runs the bench, optimised.

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Scope};

/// Sets up, builds with optimisation, and measures.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tools = setup::prepare(Scope { traffic: true, ..Scope::BUILD })?;
    build::bpf(&tools)?;
    build::host(Profile::Release)?;
    let mut bench = command::program(Profile::Release.directory().join("bench"));
    bench.args(arguments);
    if !command::is_root() {
        let line = command::line(&bench);
        bail!("everything is built, but only root may load programs. Run\n    sudo {line}");
    }
    command::run(&mut bench)
}
