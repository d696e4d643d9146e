//! The Debian systems that tests boot: made once each, by mmdebstrap, and never changed afterwards.

use std::fs;

use anyhow::{Context, Result};

use crate::command::{self, announce, program};
use crate::workspace;

/// Each suite that the package is tried on.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
/// Besides what is essential, and apt: what a router has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2";

/// Makes those that are missing.
pub(crate) fn prepare() -> Result<()> {
    SUITES.iter().try_for_each(|suite| {
        let tree = workspace::machines().join(suite);
        if tree.exists() {
            return Ok(());
        }
        announce(
            &format!("mmdebstrap {suite}"),
            "a Debian system for the tests to boot; takes about a minute",
        );
        make(suite).with_context(|| format!("making a Debian system ({suite})"))
    })
}

fn make(suite: &str) -> Result<()> {
    let (partial, tree) =
        (workspace::machines().join(format!("{suite}.partial")), workspace::machines().join(suite));
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    fs::create_dir_all(workspace::machines())?;
    let include = format!("--include={PACKAGES}");
    let mut mmdebstrap = program("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", &include, suite]).arg(&partial).args(archive());
    command::run(&mut mmdebstrap)?;
    fs::rename(&partial, &tree).with_context(|| format!("renaming {}", partial.display()))
}

/// The archive that this machine itself takes Debian from; mmdebstrap's default elsewhere.
fn archive() -> Option<String> {
    let mut targets = program("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)", "Label: Debian", "Created-By: Packages"]);
    Some(command::stdout_of(&mut targets)?.lines().next()?.to_owned())
}
