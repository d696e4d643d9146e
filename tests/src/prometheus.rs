//! A real Prometheus that scrapes the gateway every second.

use std::fs;
use std::io::{Seek, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::run::{self, wait_for};
use crate::web;

/// Where it listens, in the router's own namespace.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A running Prometheus.
pub struct Prometheus<'a> {
    _process: Process,
    _directory: TempDir,
    namespace: &'a Namespace,
}

impl<'a> Prometheus<'a> {
    /// Starts it in `namespace`, scraping `target`, and waits until it has scraped it once.
    pub fn start(namespace: &'a Namespace, target: SocketAddr) -> Result<Self> {
        let directory = run::scratch_directory()?;
        let config_file = directory.path().join("prometheus.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs:\n  - job_name: fairway\n    static_configs: [{{ targets: ['{target}'] }}]\n"
        );
        fs::write(&config_file, config).context("writing Prometheus' configuration")?;
        let config_option = format!("--config.file={}", config_file.display());
        let storage_option = format!("--storage.tsdb.path={}", directory.path().join("data").display());
        let listen_option = format!("--web.listen-address={LISTEN}");
        let process =
            namespace.serve(&["prometheus", &config_option, &storage_option, &listen_option], LISTEN)?;
        let prometheus = Self { _process: process, _directory: directory, namespace };
        wait_for("Prometheus' first scrape", Duration::from_secs(20), || {
            (prometheus.query("up{job=\"fairway\"}").ok()? == Some(1.0)).then_some(())
        })?;
        Ok(prometheus)
    }

    /// The value of a query whose answer is at most one series; none if it is empty.
    pub fn query(&self, query: &str) -> Result<Option<f64>> {
        let parameter = format!("query={query}");
        let options = ["--get", "--data-urlencode", &parameter];
        let answer = web::get_with(self.namespace, LISTEN, "/api/v1/query", &options)?;
        let answer: Value = serde_json::from_str(&answer).context("Prometheus' answer")?;
        let series = answer["data"]["result"].as_array().with_context(|| format!("no result in {answer}"))?;
        ensure!(series.len() <= 1, "{query} has {} series", series.len());
        let value = |series: &Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
        series
            .first()
            .map(|series| value(series).with_context(|| format!("no value in {series}")))
            .transpose()
    }
}

/// Lets promtool check metrics for their form and names.
///
/// # Errors
/// If it finds fault with them; with what it says.
pub fn check_metrics(text: &str) -> Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let promtool = Process::start_with_input(&["promtool", "check", "metrics"], file)?;
    let finished = promtool.finish(Duration::from_secs(20))?;
    ensure!(
        finished.code() == 0 && finished.stderr.is_empty(),
        "promtool check metrics ended with {}: {}",
        finished.status,
        finished.stderr
    );
    Ok(())
}
