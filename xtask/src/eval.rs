//! Evaluates detection: scanners and ordinary programs against the real programs on a virtual clock.

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Scope};

/// Sets up, builds with optimisation, and evaluates.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let tools = setup::prepare(Scope::BUILD)?;
    build::bpf(&tools)?;
    build::host(Profile::Release)?;
    let mut eval = command::program(Profile::Release.directory().join("eval"));
    eval.args(arguments);
    if !command::is_root() {
        let line = command::line(&eval);
        bail!("everything is built, but only root may load the programs. Run\n    sudo {line}");
    }
    command::run(&mut eval)
}
