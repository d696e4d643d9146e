//! `fairway reload`.

use clap::Args;

use super::output::json;
use super::{CommandError, RemoteArgs, block_on};
use crate::control::CallError;
use crate::control::api::ReloadDone;

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Take a configuration without all, or more than `gateway.removal_limit_percent`, of the tenants in force
    #[arg(long)]
    accept_removals: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn reload(ReloadArgs { accept_removals, remote: args }: &ReloadArgs) -> Result<(), CommandError> {
    let path = if *accept_removals { "/v1/reload?accept_removals=true" } else { "/v1/reload" };
    let done: ReloadDone = match block_on(args.client()?.post(path)) {
        Err(CommandError::Call(CallError::Refused(failure))) if args.json => {
            json(&failure)?;
            return Err(CommandError::Reported);
        }
        outcome => outcome?,
    };
    if args.json {
        return Ok(json(&done)?);
    }
    eprint!("{}", done.warnings_text);
    if !done.missing_interfaces.is_empty() {
        eprintln!("not there, and policed as soon as they are: {}", done.missing_interfaces.join(", "));
    }
    eprintln!(
        "reloaded: {} tenants, {} prefixes, {} warnings, switched in {:.1} ms",
        done.tenants,
        done.prefixes,
        done.warnings,
        done.apply_seconds * 1_000.0,
    );
    Ok(())
}
