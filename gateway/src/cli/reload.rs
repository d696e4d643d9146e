//! `fairway reload`.

use super::output::json;
use super::{CommandError, RemoteArgs, block_on};
use crate::control::CallError;
use crate::control::api::ReloadDone;

pub(super) fn reload(args: &RemoteArgs) -> Result<(), CommandError> {
    let done: ReloadDone = match block_on(args.client()?.post("/v1/reload")) {
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
