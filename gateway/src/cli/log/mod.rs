//! The service's log.

mod journal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// How log lines look; in systemd's journal they have priorities instead of times and levels
    #[arg(long, value_enum, default_value_t = LogFormat::Plain)]
    log_format: LogFormat,
    /// Which log lines appear: error, warn, info, debug, trace, or a filter such as `info,gateway::run=debug`
    #[arg(long, value_name = "FILTER", env = "FAIRWAY_LOG", default_value = "info", value_parser = filter)]
    log_level: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Plain,
    /// One JSON object a line
    Json,
}

/// Checked when arguments are parsed, so that a mistake is wrong usage.
fn filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned())
}

impl LogArgs {
    /// Sends the log to stderr from now on.
    pub(super) fn start(&self) {
        let log =
            tracing_subscriber::fmt().with_target(false).with_env_filter(EnvFilter::new(&self.log_level));
        match self.log_format {
            LogFormat::Plain if journal::reads_stderr() => {
                log.with_writer(journal::Stderr).with_ansi(false).with_level(false).without_time().init();
            }
            LogFormat::Plain => {
                let stderr = std::io::stderr;
                log.with_writer(stderr).with_ansi(super::output::coloured(&stderr())).init();
            }
            LogFormat::Json => log.with_writer(std::io::stderr).json().flatten_event(true).init(),
        }
    }

    /// Whether what ends the service belongs into the log as well, for its priority.
    pub(super) fn takes_errors() -> bool {
        journal::reads_stderr()
    }
}
