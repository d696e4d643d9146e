//! Control groups of a machine under test, so that no two systemds take one group for their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::wait_for;

/// Where systemd keeps services apart: cgroup v2, alone or beside v1, and v1's own hierarchy for it.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// A group in each hierarchy; dropping it removes them with all beneath.
pub(crate) struct Cgroup {
    name: String,
}

impl Cgroup {
    /// Makes them.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let made = Self { name: name.to_owned() };
        made.directories().try_for_each(|directory| {
            fs::create_dir(&directory)
                .with_context(|| format!("making the control group {}", directory.display()))
        })?;
        Ok(made)
    }

    /// The files that take the numbers of processes that are to enter.
    pub(crate) fn doors(&self) -> Vec<String> {
        self.directories()
            .map(|directory| directory.join("cgroup.procs").to_string_lossy().into_owned())
            .collect()
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        hierarchies().map(|hierarchy| hierarchy.join(&self.name))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.directories() {
            // The last processes may be leaving it yet.
            let removed = || remove(&directory).is_ok().then_some(());
            if let Err(error) = wait_for("leaving", std::time::Duration::from_secs(10), removed) {
                eprintln!("removing {}: {error:#}", directory.display());
            }
        }
    }
}

/// Those that there are here.
pub(crate) fn hierarchies() -> impl Iterator<Item = &'static Path> {
    HIERARCHIES.iter().map(Path::new).filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
}

/// Removes a group and those in it; their files are the kernel's.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    for entry in directory.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
