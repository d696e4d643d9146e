//! The commands of `fairway`; `docs/commands.md` is the reference.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Data goes to stdout, messages to stderr.

mod cases;
mod check;
mod detach;
mod doctor;
mod explain;
mod history;
mod ladders;
mod ledger;
mod log;
mod output;
mod reload;
mod replay;
mod run;
mod status;
mod suspend;
mod tenants;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Diagnostics, Loaded, Paths};
use crate::control::{CallError, Client, api::Failure};
use crate::dataplane::DataplaneError;
use crate::ledger::ExportError;
use crate::replay::ReplayError;
use crate::run::RunError;
use crate::store::StoreError;
use crate::text::escaped_lines;

const DEFAULT_CONFIG: &str = "/etc/fairway/gateway.toml";
const DEFAULT_SOCKET: &str = "/run/fairway/control.sock";

/// A traffic policing gateway.
#[derive(Debug, Parser)]
#[command(name = "fairway", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the policy, attach to interfaces and serve until SIGTERM; reload on SIGHUP or a changed file
    Run(run::RunArgs),
    /// Validate a configuration and change nothing
    Check(check::CheckArgs),
    /// Make the running gateway read its configuration again
    Reload(reload::ReloadArgs),
    /// Show what the running gateway does
    Status(RemoteArgs),
    /// Show every tenant with its counters
    Tenants(RemoteArgs),
    /// Show why an address's packets are dropped: everything that decides about them
    Explain(explain::ExplainArgs),
    /// Suspend a tenant: within the scope it reaches only the walled garden
    Suspend(suspend::SuspendArgs),
    /// End a tenant's suspension, and the measures against its sources
    Restore(suspend::RestoreArgs),
    /// Show a tenant's offences and suspensions, the measures, who decided, and where the evidence is
    History(history::HistoryArgs),
    /// Check that nobody changed the ledger, or export it with its proof
    Ledger(ledger::LedgerArgs),
    /// Show the cases that are open: who misbehaved, what followed
    Cases(cases::CasesArgs),
    /// Show all that was decided on a case; write something down in it, or close it
    Case(cases::CaseArgs),
    /// Hold a tenant to a lower cap, both ways
    Slow(suspend::SlowArgs),
    /// Confirm, or decline, the restoration that somebody else asked for
    Approve(cases::ApproveArgs),
    /// Run a capture through the real programs: what would this policy have done to it?
    Replay(replay::ReplayArgs),
    /// Switch policing off at once, with or without a running controller; all traffic passes
    Detach(detach::DetachArgs),
    /// Examine this machine: what will not work, why it matters, and how to fix it
    Doctor(doctor::DoctorArgs),
}

/// Names a configuration.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The gateway's main configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Commands that ask the running gateway.
#[derive(Debug, Args)]
struct RemoteArgs {
    /// The gateway's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, conflicts_with = "config")]
    socket: PathBuf,
    /// The configuration that names the control socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why a command was refused or failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{}", .0.render(output::coloured(&std::io::stderr())).trim_end())]
    Config(Diagnostics),
    #[error("{0}")]
    Run(RunError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    #[error("replaying {}: {error}", .file.display())]
    Replay { file: PathBuf, error: ReplayError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: {error}", .file.display())]
    Export { file: PathBuf, error: ExportError },
    #[error("cannot write to stdout: {0}")]
    Output(#[from] std::io::Error),
    /// All has been said.
    #[error("")]
    Reported,
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Config(diagnostics) => Self::Config(diagnostics),
            error => Self::Run(error),
        }
    }
}

/// The commands with their options and help, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Status(args) => status::status(&args),
        Command::Tenants(args) => tenants::tenants(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Suspend(args) => suspend::suspend(&args),
        Command::Restore(args) => suspend::restore(&args),
        Command::History(args) => history::history(&args),
        Command::Ledger(args) => ledger::ledger(&args),
        Command::Cases(args) => cases::cases(&args),
        Command::Case(args) => cases::case(&args),
        Command::Slow(args) => suspend::slow(&args),
        Command::Approve(args) => cases::approve(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Detach(args) => detach::detach(&args),
        Command::Doctor(args) => doctor::doctor(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads stdout has seen enough (`fairway tenants | head`).
        Err(CommandError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Diagnostics, rendered here or by the gateway, bring their own headings.
fn report(error: &CommandError) {
    match error {
        CommandError::Reported => {}
        CommandError::Config(_)
        | CommandError::Call(CallError::Refused(Failure { diagnostics: Some(_), .. })) => {
            eprintln!("{error}");
        }
        error => eprintln!("{} {}", output::error_heading(), escaped_lines(&error.to_string())),
    }
}

impl RemoteArgs {
    fn client(&self) -> Result<Client, CommandError> {
        match &self.config {
            Some(file) => Ok(Client::new(&path_by(file, |paths| paths.control_socket)?)),
            None => Ok(Client::new(&self.socket)),
        }
    }
}

/// A path that the main file states, whatever is wrong with the rest of the configuration.
fn path_by(file: &Path, which: impl Fn(Paths) -> Option<PathBuf>) -> Result<PathBuf, CommandError> {
    if let Some(path) = which(config::locate(file)) {
        return Ok(path);
    }
    // The mistakes are why it is not known, unless they have been mended since.
    load(file)?;
    which(config::locate(file))
        .ok_or_else(|| std::io::Error::other("the configuration changes meanwhile; try again").into())
}

fn load(file: &Path) -> Result<Loaded, CommandError> {
    config::load(file).map_err(CommandError::Config)
}

/// Runs a short conversation to its end.
fn block_on<T>(conversation: impl Future<Output = Result<T, CallError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(conversation)?)
}
