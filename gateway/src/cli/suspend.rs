//! `fairway suspend` and `fairway restore`.

use std::net::IpAddr;

use clap::Args;

use super::output::json;
use super::{CommandError, RemoteArgs, block_on};
use crate::config::{BitRate, DurationText, QuantityError};
use crate::control::api::{Restore, Restored, Suspend, Suspended};
use crate::control::{OpenCases, Slow};
use crate::detect::{MeasureInForce, kind_label};
use crate::suspension::{Scope, Suspension};
use crate::text::escaped;

#[derive(Debug, Args)]
pub(super) struct SuspendArgs {
    /// The tenant's id
    tenant: String,
    /// How far the suspension goes; it adds to those of other scopes
    #[arg(long, value_enum)]
    scope: Scope,
    /// Why: for the log, the ledger, and whoever restores the tenant
    #[arg(long)]
    reason: String,
    /// When it ends by itself, such as 90s, 5m, 1h, 30d; otherwise only `fairway restore` ends it
    #[arg(long = "for", value_name = "DURATION", value_parser = for_some_time)]
    duration: Option<DurationText>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The tenant's id
    tenant: String,
    /// Why: for the log and the ledger
    #[arg(long)]
    reason: String,
    /// Only the suspension of this scope
    #[arg(long, value_enum, conflicts_with = "source")]
    scope: Option<Scope>,
    /// Only the measures against this address of the tenant
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// A suspension of no time is a slip: one without an end is asked for by leaving `--for` out.
fn for_some_time(written: &str) -> Result<DurationText, String> {
    match written.parse() {
        Ok(DurationText(duration)) if duration.as_secs() == 0 => {
            Err("must be a second at least; leave it out for a suspension without an end".to_owned())
        }
        parsed => parsed.map_err(|error: QuantityError| error.to_string()),
    }
}

pub(super) fn suspend(args: &SuspendArgs) -> Result<(), CommandError> {
    let request = Suspend {
        scope: args.scope,
        reason: args.reason.clone(),
        for_seconds: args.duration.as_ref().map(|duration| duration.0.as_secs()),
    };
    let path = format!("/v1/tenants/{}/suspend", args.tenant);
    let suspended: Suspended = block_on(args.remote.client()?.post_json(&path, &request))?;
    if args.remote.json {
        return Ok(json(&suspended)?);
    }
    let Suspended { tenant, suspension: Suspension { scope, until, .. }, suspensions, .. } = &suspended;
    let until = until.map_or("until restored".into(), |until| format!("until {until}"));
    eprintln!("suspended {tenant}: {}, {until}", scope.label());
    for Suspension { scope, reason, .. } in suspensions.iter().filter(|other| other.scope != *scope) {
        eprintln!("{tenant} is suspended besides ({}) for: {}", scope.label(), escaped(reason));
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct SlowArgs {
    /// The tenant's id
    tenant: String,
    /// The cap, both ways, such as "2 Mbit/s"
    rate: BitRate,
    /// Why: for the log, the ledger, and whoever restores the tenant
    #[arg(long)]
    reason: String,
    /// When it ends by itself, such as 5m, 1h, 30d; otherwise only `fairway restore` ends it
    #[arg(long = "for", value_name = "DURATION", value_parser = for_some_time)]
    duration: Option<DurationText>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn slow(args: &SlowArgs) -> Result<(), CommandError> {
    let request = Slow {
        cap_bits_per_second: args.rate.bits_per_sec(),
        reason: args.reason.clone(),
        for_seconds: args.duration.as_ref().map(|duration| duration.0.as_secs()),
    };
    let path = format!("/v1/tenants/{}/slow", args.tenant);
    let open: OpenCases = block_on(args.remote.client()?.post_json(&path, &request))?;
    if args.remote.json {
        return Ok(json(&open)?);
    }
    let held = open.cases.iter().filter_map(|case| Some((case, case.in_force.as_ref()?)));
    for (case, held) in held.filter(|(_, held)| held.step.cap == Some(args.rate)) {
        let until = held.until.map_or("until restored".into(), |until| format!("until {until}"));
        eprintln!("slowed {}: {} both ways, {until}, by case {}", args.tenant, args.rate, case.id);
    }
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), CommandError> {
    let request = Restore { reason: args.reason.clone(), scope: args.scope, source: args.source };
    let path = format!("/v1/tenants/{}/restore", args.tenant);
    let ended: Restored = block_on(args.remote.client()?.post_json(&path, &request))?;
    if args.remote.json {
        return Ok(json(&ended)?);
    }
    let Restored { tenant, suspensions, lifted, closed, asked, .. } = &ended;
    for Suspension { scope, since, reason, by, .. } in suspensions {
        let (scope, by) = (scope.label(), by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default());
        eprintln!(
            "restored {tenant}: it was suspended ({scope}){by} since {since:.0} for: {}",
            escaped(reason)
        );
    }
    for MeasureInForce { source, kind, measure, since, .. } in lifted {
        let (measure, kind) = (measure.label(), kind_label(*kind));
        let what = source.map_or(tenant.clone(), |source| format!("{source} of {tenant}"));
        eprintln!("restored {what}: {measure} since {since:.0} for {kind}");
    }
    for case in closed {
        eprintln!("restored {tenant}: case {case} is closed");
    }
    for case in asked {
        eprintln!(
            "{tenant} is NOT restored yet in case {case}: somebody else with the role approve has to confirm it \
             (fairway approve {case} --reason ...)"
        );
    }
    Ok(())
}
