//! A gateway under test: its process, and what it answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::config::{Config, METRICS};
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::process::{Finished, Process};
use crate::run;
use crate::web;

/// Long enough for any command, and for loading the programs on a busy machine.
const PROMPT: Duration = Duration::from_secs(30);

/// `fairway` in the router's namespace, with files, pins and a control socket of its own. Dropping it ends
/// the policing.
pub struct Gateway<'a> {
    router: &'a Namespace,
    directory: TempDir,
    name: String,
    process: Option<Process>,
}

/// One direction of one tenant, as `fairway tenants --json` tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct Counters {
    /// Let through.
    pub passed: Count,
    /// Not let through.
    pub dropped: Count,
    /// `dropped`, by reason.
    pub by_reason: BTreeMap<String, Count>,
}

/// Packets and bytes (Ethernet frames without FCS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Counters {
    /// What was dropped for this reason.
    #[must_use]
    pub fn dropped_for(&self, reason: &str) -> Count {
        self.by_reason.get(reason).copied().unwrap_or_default()
    }
}

impl<'a> Gateway<'a> {
    /// Writes the configuration, starts `fairway run`, and waits until it polices.
    ///
    /// # Errors
    /// If it ends instead; with its log.
    pub fn start(router: &'a Namespace, config: &Config) -> Result<Self> {
        let name = run::unique_name("gateway");
        let mut gateway = Self { router, directory: run::scratch_directory()?, name, process: None };
        gateway.write(config)?;
        gateway.launch()?;
        Ok(gateway)
    }

    /// Starts `fairway run` on the configuration as it lies there, for a gateway that was stopped or killed.
    pub fn launch(&mut self) -> Result<()> {
        self.launch_program(&binary()?)
    }

    /// The same as an upgrade does it: starts the `fairway` that FAIRWAY_NEXT_BIN names, where it does.
    pub fn launch_next(&mut self) -> Result<()> {
        match std::env::var("FAIRWAY_NEXT_BIN") {
            Ok(next) => self.launch_program(&next),
            Err(_) => self.launch(),
        }
    }

    fn launch_program(&mut self, program: &str) -> Result<()> {
        let config_file = self.config_file();
        let command = [program, "run", "--config", &config_file.to_string_lossy()];
        let mut process = self.router.start(&command)?;
        process.wait_until_ready(PROMPT, |_| {
            self.call(&["status"]).is_ok_and(|status| status.status.success())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// The main configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// The directory of its pinned maps and links.
    #[must_use]
    pub fn pin_directory(&self) -> PathBuf {
        Path::new(run::PINS).join(&self.name)
    }

    /// Replaces the configuration's files; the running gateway notices by itself, sooner or later.
    pub fn write(&self, config: &Config) -> Result<()> {
        config.write(self.directory.path(), &self.name, &self.pin_directory())
    }

    /// Replaces the configuration and has it put into force.
    ///
    /// # Errors
    /// If it is refused; with what the gateway says about it.
    pub fn reload(&self, config: &Config) -> Result<()> {
        self.write(config)?;
        self.call(&["reload"])?.success().map(drop).context("fairway reload")
    }

    /// Runs a command that asks the running gateway: `["tenants", "--json"]`.
    pub fn call(&self, command: &[&str]) -> Result<Finished> {
        let (program, socket) = (binary()?, self.socket());
        let socket = socket.to_string_lossy();
        let arguments = [&[&program[..]], command, &["--socket", &socket]].concat();
        self.router.start(&arguments)?.finish(PROMPT)
    }

    /// How long such a command takes from its start to its end. Its end is waited for, not looked for now and
    /// then as in [`Self::call`], whose pauses would be in the figure.
    ///
    /// # Errors
    /// If it fails; with what it wrote.
    pub fn time(&self, command: &[&str]) -> Result<Duration> {
        // The control socket is a file, the same in every network namespace.
        let mut timed = std::process::Command::new(binary()?);
        timed.args(command).arg("--socket").arg(self.socket());
        let started = Instant::now();
        let output = timed.output().with_context(|| format!("fairway {}", command.join(" ")))?;
        let took = started.elapsed();
        ensure!(
            output.status.success(),
            "fairway {}: {}\n{}",
            command.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    }

    /// What `fairway status --json` prints.
    pub fn status(&self) -> Result<Value> {
        self.ask("status")
    }

    /// What `fairway tenants --json` prints.
    pub fn tenants(&self) -> Result<Value> {
        self.ask("tenants")
    }

    /// Counters of a tenant; `direction` is `up` or `down`.
    pub fn counters(&self, tenant: &str, direction: &str) -> Result<Counters> {
        let answer = self.tenants()?;
        let tenants = answer["tenants"].as_array().with_context(|| format!("no tenants in {answer}"))?;
        let found = tenants.iter().find(|entry| entry["id"] == tenant);
        let counters = &found.with_context(|| format!("no tenant {tenant} in {answer}"))?[direction];
        Counters::deserialize(counters).with_context(|| format!("counters of {tenant} in {answer}"))
    }

    /// An interface's part of [`Self::status`].
    pub fn interface(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let mut interfaces = status["interfaces"].as_array().into_iter().flatten();
        let found = interfaces.find(|interface| interface["name"] == name).cloned();
        found.with_context(|| format!("no interface {name} in {status}"))
    }

    /// A scrape, as text.
    pub fn metrics_text(&self) -> Result<String> {
        web::get(self.router, METRICS, "/metrics")
    }

    /// A scrape.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.metrics_text()?)
    }

    /// What it has logged since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the gateway does not run")?.pid())
    }

    /// Sends the running gateway a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("the gateway does not run")?.signal(signal)
    }

    /// Stops it in order, by SIGTERM.
    ///
    /// # Errors
    /// If it does not end, or not with success; with its log.
    pub fn stop(&mut self) -> Result<()> {
        let process = self.process.take().context("the gateway does not run")?;
        process.signal(Signal::SIGTERM)?;
        process.finish(PROMPT)?.success().map(drop).context("stopping fairway")
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        let process = self.process.take().context("the gateway does not run")?;
        process.signal(Signal::SIGKILL)?;
        process.finish(PROMPT).map(drop)
    }

    /// `fairway detach`.
    ///
    /// # Errors
    /// If it fails; with what it says.
    pub fn detach(&self) -> Result<()> {
        let config_file = self.config_file();
        let detach = [&binary()?, "detach", "--config", &config_file.to_string_lossy()];
        self.router.start(&detach)?.finish(PROMPT)?.success().map(drop).context("fairway detach")
    }

    fn ask(&self, what: &str) -> Result<Value> {
        let answer = self.call(&[what, "--json"])?.success().with_context(|| format!("fairway {what}"))?;
        serde_json::from_str(&answer).with_context(|| format!("fairway {what} printed {answer}"))
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        self.process = None;
        if self.pin_directory().exists()
            && let Err(error) = self.detach()
        {
            eprintln!("{error:#}");
        }
    }
}

/// The `fairway` that was built beside this program, or the one that FAIRWAY_BIN names.
pub fn binary() -> Result<String> {
    let path = match std::env::var_os("FAIRWAY_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let this = std::env::current_exe().context("finding this program's own file")?;
            let directory = this.parent().context("this program has no directory")?;
            // Cargo puts test programs one directory deeper than others.
            let directory = if directory.ends_with("deps") { directory.join("..") } else { directory.into() };
            directory.join("fairway")
        }
    };
    ensure!(fs::exists(&path)?, "{} is not there: `cargo xtask build` makes it", path.display());
    Ok(path.to_string_lossy().into_owned())
}
