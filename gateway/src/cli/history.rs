//! `fairway history`.

use clap::Args;
use ipnetwork::IpNetwork;

use super::output::{json, print, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::config::Measure;
use crate::control::History;
use crate::detect::Offence;
use crate::ledger::{PastEntry, PastOffence, Taken};
use crate::suspension::{Change, Scope, SuspensionChange};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The tenant's id
    tenant: String,
    /// How many entries, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn history(args: &HistoryArgs) -> Result<(), CommandError> {
    let path = format!("/v1/tenants/{}/history?limit={}", args.tenant, args.limit);
    let history: History = block_on(args.remote.client()?.get(&path))?;
    if args.remote.json {
        return Ok(json(&history)?);
    }
    if history.entries.is_empty() {
        eprintln!("nothing is recorded of {}", history.tenant);
    } else {
        print(&text(&history.entries))?;
    }
    Ok(())
}

fn text(entries: &[PastEntry]) -> String {
    let header = ["when", "source", "what", "what was done", "counted", "first targets", "packets"];
    let rows = entries.iter().map(|entry| match entry {
        PastEntry::Offence(offence) => offence_row(offence),
        PastEntry::Suspension(suspension) => suspension_row(&suspension.change),
    });
    table(&header, rows, &[])
}

fn offence_row(offence: &PastOffence) -> Vec<String> {
    let capture = match (&offence.capture_file, &offence.capture) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(_)) => "(no longer kept)".to_owned(),
        (None, None) => String::new(),
    };
    let counted: Vec<_> = offence.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    vec![
        format!("{:.0}", offence.at),
        source(offence.source),
        offence.kind.label().to_owned(),
        measure(offence),
        counted.join(", "),
        offence.targets.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        capture,
    ]
}

fn suspension_row(change: &SuspensionChange) -> Vec<String> {
    let SuspensionChange { at, change, scope, source: of, until, by, reason } = change;
    let scope = scope.map(Scope::label);
    let by = by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let done = match change {
        Change::Suspended => {
            let until = until.map_or("restored".to_owned(), |until| format!("{until:.0}"));
            format!("{} until {until},{by}: {reason}", scope.unwrap_or_default())
        }
        Change::Restored => format!("{}{by}: {reason}", scope.unwrap_or("measures")),
        Change::Expired => format!("{}: its time was over", scope.unwrap_or_default()),
    };
    vec![format!("{at:.0}"), source(*of), change.label().to_owned(), done]
}

fn source(source: Option<IpNetwork>) -> String {
    source.map_or("(all)".to_owned(), |source| source.to_string())
}

/// `quarantine until ...`, and how it came to nothing or to its end.
fn measure(offence: &PastOffence) -> String {
    let PastOffence { measure, taken, counters, .. } = offence;
    let cap = taken.as_ref().and_then(|taken| taken.lowered_cap);
    let done = cap.map_or(measure.label().to_owned(), |cap| format!("{} {cap}", measure.label()));
    if counters.contains_key(Offence::HELD) {
        return "held back: too many at once".to_owned();
    }
    match (taken, measure) {
        (Some(Taken { lifted: Some(lifted), .. }), _) => {
            format!("{done}, lifted {:.0} by {}: {}", lifted.at, lifted.by, lifted.reason)
        }
        (Some(taken), _) => format!("{done} until {:.0}", taken.until),
        (None, Measure::None) => "reported".to_owned(),
        (None, _) => format!("watched: would be {}", measure.label()),
    }
}
