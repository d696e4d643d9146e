//! Packages of the Debian system: what is missing is installed as root; anyone else is told how.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::command::{self, announce, program};
use crate::workspace;

/// Something that a package provides, and why it is needed.
pub(crate) struct Need {
    /// The package.
    pub(crate) package: &'static str,
    /// For people.
    pub(crate) why: &'static str,
}

/// Nothing that is on the machine may be replaced or started for the sake of a build: no recommended
/// packages, no removals (rustc-web conflicts with Debian's rustc and rustup), no questions.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

/// Installs the packages.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> =
        needs.iter().map(|need| need.package).collect::<BTreeSet<_>>().into_iter().collect();
    let reasons: String =
        needs.iter().map(|need| format!("\n    {:<18} {}", need.package, need.why)).collect();
    if command::find("apt-get").is_none() {
        bail!("this machine lacks programs, and is no Debian that could install them:{reasons}");
    }
    if !command::is_root() {
        bail!(
            "this machine lacks packages that only root can install:{reasons}\nRun\n    sudo apt-get update\n    \
             sudo apt-get {} {}\nand then this command again.",
            INSTALL.join(" "),
            packages.join(" ")
        );
    }
    update()?;
    announce(&format!("apt-get install {}", packages.join(" ")), &format!("missing here:{reasons}"));
    command::run(program("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(INSTALL).args(&packages))
        .context("installing packages; --no-remove forbids replacing others, see apt's message")
}

/// Unpacks programs of a package into the workspace's tools without installing it: what its maintainer
/// scripts would do (make users, start services) is not done.
pub(crate) fn unpack(package: &str, programs: &[&str], why: &str) -> Result<()> {
    if command::find("apt-get").is_none() {
        bail!("{} not found: {why}. Put them on PATH.", programs.join(" and "));
    }
    if command::is_root() {
        update()?;
    }
    announce(&format!("apt-get download {package}, unpacked into target/tools"), why);
    let directory = workspace::tools().join(package);
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    command::run(program("apt-get").current_dir(&directory).args(["download", package]))
        .with_context(|| format!("downloading {package}; `sudo apt-get update` first if apt has no lists"))?;
    let archive = fs::read_dir(&directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no archive in {}", directory.display()))?;
    command::run(program("dpkg-deb").arg("-x").arg(archive).arg(&directory))?;
    fs::create_dir_all(workspace::tools().join("bin"))?;
    for name in programs {
        fs::rename(directory.join("usr/bin").join(name), workspace::tool(name))
            .with_context(|| format!("package {package} has no usr/bin/{name}"))?;
    }
    fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))
}

/// Refreshes apt's lists, once: a fresh machine has none, and old ones name archives that are gone.
fn update() -> Result<()> {
    static DONE: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    if DONE.set(()).is_err() {
        return Ok(());
    }
    announce("apt-get update", "apt needs current lists to install from");
    command::run(program("apt-get").args(["--quiet", "update"]))
}
