//! A running gateway with a provider's files: what reloads, scrapes and starts are measured on.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::topology::Topology;

use crate::notation::{Notation, TENANTS_PER_FILE};
use crate::scale::Scale;

/// The gateway, and its files.
pub(crate) struct Provider<'a> {
    pub(crate) gateway: Gateway<'a>,
    scale: Scale,
}

impl<'a> Provider<'a> {
    /// Starts `fairway run` on the router for a few tenants, and has it reload with all of them.
    pub(crate) fn start(topology: &'a Topology, scale: Scale) -> Result<Self> {
        let mut config = Config::of(topology);
        config.set("gateway = { tenants = ['bulk/*.toml'] }");
        let gateway = Gateway::start(&topology.router, &config)?;
        let provider = Self { gateway, scale };
        fs::create_dir(provider.directory()).context("a directory for the tenants' files")?;
        for file in 0..provider.files() {
            provider.write(file, 1)?;
        }
        provider.reload()?;
        Ok(provider)
    }

    fn directory(&self) -> PathBuf {
        self.gateway.config_file().with_file_name("bulk")
    }

    pub(crate) fn files(&self) -> u32 {
        self.scale.tenants.div_ceil(TENANTS_PER_FILE)
    }

    /// Writes one file anew; its first tenant's cap is `cap_mbit_per_sec`.
    pub(crate) fn write(&self, file: u32, cap_mbit_per_sec: u32) -> Result<()> {
        let path = self.directory().join(format!("{file:05}.toml"));
        let partial = path.with_extension("partial");
        let text = Notation::Toml.file(self.scale, file, cap_mbit_per_sec);
        fs::write(&partial, text).context("a tenants' file")?;
        fs::rename(partial, path).context("a tenants' file")
    }

    /// Has the files read, and returns how long the command took.
    pub(crate) fn reload(&self) -> Result<Duration> {
        self.gateway.time(&["reload"])
    }

    /// How long a command takes that the gateway answers at once.
    pub(crate) fn status(&self) -> Result<Duration> {
        self.gateway.time(&["status"])
    }

    /// Lets the gateway notice by itself that files changed, and find nothing new in them.
    pub(crate) fn settle(&self) {
        std::thread::sleep(Duration::from_millis(1_500));
    }

    /// A line of /proc/PID/status, such as `VmRSS`, in MB.
    pub(crate) fn memory_mb(&self, line: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid()?))?;
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kb = value.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kb.with_context(|| format!("no {line}"))? * 1_024.0 / 1e6)
    }
}
