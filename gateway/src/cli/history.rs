//! `fairway history`.

use std::io::Write;

use clap::Args;

use super::output::{json, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::config::Measure;
use crate::control::{HistoricOffence, History};
use crate::detect::Offence;
use crate::ledger::{PastOffence, Taken};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The tenant's id
    tenant: String,
    /// How many offences, the newest first
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
    if history.offences.is_empty() {
        eprintln!("nothing is recorded of {}", history.tenant);
    } else {
        std::io::stdout().lock().write_all(text(&history.offences).as_bytes())?;
    }
    Ok(())
}

fn text(offences: &[HistoricOffence]) -> String {
    let header = ["when", "source", "offence", "measure", "counted", "first targets", "packets"];
    let rows = offences.iter().map(|HistoricOffence { offence, capture_file }| {
        let capture = match (capture_file, &offence.capture) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(_)) => "(no longer kept)".to_owned(),
            (None, None) => String::new(),
        };
        let counted: Vec<_> =
            offence.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        vec![
            format!("{:.0}", offence.at),
            offence.source.map_or("(all)".to_owned(), |source| source.to_string()),
            offence.kind.label().to_owned(),
            measure(offence),
            counted.join(", "),
            offence.targets.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            capture,
        ]
    });
    table(&header, rows, &[])
}

/// `quarantine until ...`, and how it came to nothing or to its end.
fn measure(offence: &PastOffence) -> String {
    let PastOffence { measure, taken, counters, .. } = offence;
    if counters.contains_key(Offence::HELD) {
        return "held back: too many at once".to_owned();
    }
    match (taken, measure) {
        (Some(Taken { lifted: Some(lifted), .. }), _) => {
            format!("{}, lifted {:.0} by {}: {}", measure.label(), lifted.at, lifted.by, lifted.reason)
        }
        (Some(taken), _) => format!("{} until {:.0}", measure.label(), taken.until),
        (None, Measure::None) => "reported".to_owned(),
        (None, _) => format!("watched: would be {}", measure.label()),
    }
}
