//! `fairway ledger`: whether anybody changed the ledger, and copies of it that carry their proof.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::output::json;
use super::{CommandError, ConfigArgs, RemoteArgs, block_on, load};
use crate::control::api::{Acknowledge, Acknowledged, VERSION};
use crate::ledger::{Format, Verified, check_export, export, verify};
use crate::store::{Hash, Reader, Selection, hex, unhex};

#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Check the chain of entries, or an export, for any change, removal, reordering or cut
    Verify(VerifyArgs),
    /// Write entries with their proof to stdout
    Export(ExportArgs),
    /// Record that a loss of the ledger was reviewed
    Acknowledge(AcknowledgeArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// An export to check instead of the gateway's own ledger; needs neither gateway nor configuration
    file: Option<PathBuf>,
    /// A hash that must be in the chain: from the metrics, a notice or an earlier export
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<Hash>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Only entries of this tenant; the others are proven, but not shown
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Entries from this moment on, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Entries before this moment
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Comma-separated values instead of a JSON object a line
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct AcknowledgeArgs {
    /// What was done about the loss: for the ledger
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

fn hash(text: &str) -> Result<Hash, String> {
    let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "a hash has 64 lower-case hexadecimal digits".to_owned())
}

pub(super) fn ledger(args: &LedgerArgs) -> Result<(), CommandError> {
    match &args.command {
        LedgerCommand::Verify(args) => verified(args),
        LedgerCommand::Export(args) => exported(args),
        LedgerCommand::Acknowledge(args) => {
            let request = Acknowledge { reason: args.reason.clone() };
            let path = "/v1/ledger/acknowledge";
            let done: Acknowledged = block_on(args.remote.client()?.post_json(path, &request))?;
            if args.remote.json {
                return Ok(json(&done)?);
            }
            match &done.losses[..] {
                [] => eprintln!("nothing is known to be lost"),
                losses => losses.iter().for_each(|loss| eprintln!("acknowledged: {loss}")),
            }
            Ok(())
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    version: u32,
    entries: u64,
    removed_bodies: u64,
    last: u64,
    head: String,
    has_witnessed: Option<bool>,
    findings: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    entry: u64,
    what: String,
}

fn verified(args: &VerifyArgs) -> Result<(), CommandError> {
    let verified = match &args.file {
        Some(file) => check_export(file, args.head)
            .map_err(|error| CommandError::Export { file: file.clone(), error })?,
        None => verify(&reader(&args.config)?, args.head)?,
    };
    let is_sound = verified.findings.is_empty() && verified.has_witnessed != Some(false);
    if args.json {
        json(&report(&verified))?;
    } else {
        told(&verified)?;
    }
    if is_sound { Ok(()) } else { Err(CommandError::Reported) }
}

fn report(verified: &Verified) -> Report {
    let findings = verified.findings.iter();
    Report {
        version: VERSION,
        entries: verified.entries,
        removed_bodies: verified.removed_bodies,
        last: verified.head.number,
        head: hex(&verified.head.hash),
        has_witnessed: verified.has_witnessed,
        findings: findings.map(|found| Wrong { entry: found.number, what: found.what.clone() }).collect(),
    }
}

fn told(verified: &Verified) -> std::io::Result<()> {
    let Verified { entries, removed_bodies, head, findings, has_witnessed } = verified;
    for finding in findings {
        eprintln!("{finding}");
    }
    if *has_witnessed == Some(false) {
        eprintln!("no entry has the hash that was asked for: this is not the chain that it was seen in");
    }
    let removed = match removed_bodies {
        0 => String::new(),
        removed => format!(", {removed} of them without their bodies, which were removed by rule"),
    };
    if findings.is_empty() {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{entries} entries follow from each other{removed}; the last is {}", head.number)?;
        writeln!(out, "{}", hex(&head.hash))?;
    }
    Ok(())
}

fn exported(args: &ExportArgs) -> Result<(), CommandError> {
    let selection = Selection { tenant: args.tenant.clone(), from: args.from, to: args.to };
    let format = if args.csv { Format::Csv } else { Format::JsonLines };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let reader = reader(&args.config)?;
    let file = || PathBuf::from("the ledger");
    let entries = export(&reader, &selection, format, &mut out)
        .map_err(|error| CommandError::Export { file: file(), error })?;
    out.flush()?;
    eprintln!("{entries} entries");
    Ok(())
}

/// The ledger of the gateway that a configuration describes, whether it runs or not.
fn reader(config: &ConfigArgs) -> Result<Reader, CommandError> {
    Ok(Reader::open(&load(&config.config)?.config.gateway.state_dir)?)
}
