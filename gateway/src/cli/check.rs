//! `fairway check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::ladders::ladders;
use super::output::{coloured, json, stdout};
use super::{CommandError, ConfigArgs, block_on};
use crate::config::{self, Diagnostics};
use crate::control::Client;
use crate::control::api::{RunningConfig, VERSION};
use crate::controller::FixedSettings;
use crate::policy::{self, Change, Effective};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also print the changes that a reload of the running gateway would make
    #[arg(long)]
    against_running: bool,
    /// The running gateway's control socket; by default the one in the configuration
    #[arg(long, value_name = "PATH", requires = "against_running")]
    socket: Option<PathBuf>,
    /// Also print what follows from misuse, strike by strike, and what counts as misuse of which class
    #[arg(long)]
    ladders: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    version: u32,
    valid: bool,
    /// SHA-256 of all files; none: not valid.
    digest: Option<String>,
    /// Mistakes and warnings.
    diagnostics: Diagnostics,
    #[serde(skip_serializing_if = "Option::is_none")]
    against_running: Option<Difference>,
    /// `[enforcement]`, defaults filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<Value>,
}

/// What a reload would change.
#[derive(Serialize)]
struct Difference {
    /// Digest of the configuration in force.
    running_digest: String,
    changes: Vec<Change>,
    /// Changes for which a reload would be refused.
    needs_restart: Vec<String>,
}

pub(super) fn check(args: &CheckArgs) -> Result<(), CommandError> {
    let now = jiff::Timestamp::now();
    let loaded = match config::load(&args.config.config) {
        Ok(loaded) => loaded,
        Err(diagnostics) if args.json => {
            let (digest, against_running, enforcement) = (None, None, None);
            let valid = false;
            json(&Report { version: VERSION, valid, digest, diagnostics, against_running, enforcement })?;
            return Err(CommandError::Reported);
        }
        Err(diagnostics) => return Err(CommandError::Config(diagnostics)),
    };
    let (config, warnings) = (&loaded.config, loaded.warnings_at(now));
    let against_running = if args.against_running {
        let client = Client::new(args.socket.as_ref().unwrap_or(&config.gateway.control_socket));
        let running: RunningConfig = block_on(client.get("/v1/config"))?;
        Some(Difference::between(
            &running,
            &config.into(),
            &policy::view(&Effective::of(config.clone(), now)),
        ))
    } else {
        None
    };
    if args.json {
        let report = Report {
            version: VERSION,
            valid: true,
            digest: Some(config.digest.to_string()),
            diagnostics: warnings,
            against_running,
            enforcement: args
                .ladders
                .then(|| policy::view(&Effective::of(config.clone(), now))["enforcement"].take()),
        };
        return Ok(json(&report)?);
    }
    eprint!("{}", warnings.render(coloured(&std::io::stderr())));
    eprintln!(
        "{} is valid: {} tenants, {} interfaces, {} warnings",
        config.file.display(),
        config.tenants.len(),
        config.interfaces.len(),
        warnings.warnings(),
    );
    if args.ladders {
        let mut out = stdout();
        write!(out, "{}", ladders(&config.enforcement))?;
        out.flush()?;
    }
    against_running.map_or(Ok(()), |difference| Ok(difference.print()?))
}

impl Difference {
    fn between(running: &RunningConfig, fixed: &FixedSettings, policy: &Value) -> Self {
        Self {
            running_digest: running.digest.clone(),
            changes: policy::changes(&running.policy, policy),
            needs_restart: running.fixed.changed_by(fixed),
        }
    }

    fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.changes.is_empty() && self.needs_restart.is_empty() {
            return writeln!(out, "a reload would change nothing");
        }
        for setting in &self.needs_restart {
            writeln!(out, "{setting} (a reload would be refused: restart the gateway)")?;
        }
        self.changes.iter().try_for_each(|change| writeln!(out, "{change}"))
    }
}
