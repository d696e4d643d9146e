//! Names of what one run makes in the kernel and file system, how it is all found again, and how a run ends.
//!
//! Every namespace, directory, pin and control group is called `fw-PID-...` after the process that made it.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cgroup;

/// What a program ends with; an error is told, with what led to it.
pub fn exit_code(outcome: Result<impl Termination>) -> ExitCode {
    outcome.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        Termination::report,
    )
}

const PREFIX: &str = "fw-";
/// Where `ip netns` keeps the names of namespaces.
pub(crate) const NETNS: &str = "/run/netns";
/// Where the gateways under test pin their maps and links.
pub const PINS: &str = "/sys/fs/bpf/fairway";

/// A name that no other run has, nor any other call in this one.
#[must_use]
pub fn unique_name(role: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}-{}-{role}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A directory that goes away with the value.
pub(crate) fn scratch_directory() -> Result<TempDir> {
    let name = unique_name("");
    tempfile::Builder::new().prefix(&name).tempdir().context("making a temporary directory")
}

/// Removes what killed runs have left.
pub fn sweep_stale() {
    // A process that is dead, but not yet collected by its parent, has no program any more.
    sweep(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_err());
}

/// Removes everything that this run has made, for a way out that drops no values.
pub fn sweep_own() {
    sweep(|pid| pid == process::id());
}

fn sweep(is_swept: impl Fn(u32) -> bool) {
    for name in names_in(Path::new(NETNS), &is_swept) {
        kill_all_in(&name);
        // Best effort: another run may be sweeping the same remains.
        let _ = process::Command::new("ip").args(["netns", "delete"]).arg(name).status();
    }
    for directory in [Path::new(PINS), &std::env::temp_dir()] {
        for name in names_in(directory, &is_swept) {
            let _ = fs::remove_dir_all(directory.join(name));
        }
    }
    for hierarchy in cgroup::hierarchies() {
        for name in names_in(hierarchy, &is_swept) {
            let _ = cgroup::remove(&hierarchy.join(name));
        }
    }
}

/// Entries of `directory` that belong to a swept run.
fn names_in(directory: &Path, is_swept: impl Fn(u32) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| owner(name).is_some_and(&is_swept)).map(PathBuf::from).collect()
}

fn kill_all_in(namespace: &Path) {
    let Ok(output) = process::Command::new("ip").args(["netns", "pids"]).arg(namespace).output() else {
        return;
    };
    let own = Pid::this();
    let pids = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|pid| pid.parse().ok())
        .collect::<Vec<_>>();
    for pid in pids.into_iter().map(Pid::from_raw).filter(|pid| *pid != own) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// The process that a name was made by.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// If there is none in time; says what was waited for.
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let timeout = timeout * patience();
    let deadline = Instant::now() + timeout;
    // Short at first, since most waits are for programs that end at once.
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {timeout:?}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// How many times longer things take here than on a machine: `FAIRWAY_PATIENCE`, which the guests of `cargo xtask vm`
/// set, as their processors are emulated.
fn patience() -> u32 {
    std::env::var("FAIRWAY_PATIENCE").map_or(1, |text| text.parse().expect("FAIRWAY_PATIENCE is a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner(&unique_name("router")), Some(process::id()));
        assert_eq!(owner("fw-17-0-a-b"), Some(17));
        assert_eq!(owner("fw-main"), None);
        assert_eq!(owner("firewall-17-0"), None);
    }
}
