//! `fairway status`.

use super::output::{bytes, duration, json, print, reasons, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::control::api::{ConfigStatus, Count, InterfaceStatus, LedgerStatus, Status};

pub(super) fn status(args: &RemoteArgs) -> Result<(), CommandError> {
    let status: Status = block_on(args.client()?.get("/v1/status"))?;
    if args.json {
        json(&status)?
    } else {
        print(&text(&status))?
    }
    Ok(())
}

fn text(status: &Status) -> String {
    let Status { config, exemptions, tables, .. } = status;
    let last = &config.last_reload;
    let reload = match &last.error {
        None => format!("succeeded at {:.0}", last.at),
        Some(error) => {
            let error = error.replace('\n', "\n            ");
            format!("REFUSED at {:.0}, the policy before it stays in force:\n            {error}", last.at)
        }
    };
    let next = exemptions.next_expiry.map(|at| format!(", the next lapses at {at:.0}")).unwrap_or_default();
    let facts = [
        ("gateway", format!("{} (fairway {}, pid {})", status.name, status.release, status.pid)),
        ("running for", duration(status.uptime_seconds)),
        ("config", in_force(config)),
        ("digest", config.digest.clone()),
        ("last reload", reload),
        ("warnings", config.warnings.to_string()),
        ("tenants", status.tenants.to_string()),
        ("exemptions", format!("{}{next}", exemptions.count)),
        ("tables", format!("{} for up to {} tenants", bytes(tables.bytes), tables.tenant_capacity)),
        ("metrics", status.metrics.clone().unwrap_or_else(|| "off".into())),
        ("ledger", ledger(&status.ledger)),
    ];
    let facts: String = facts.iter().map(|(name, fact)| format!("{name:<12}{fact}\n")).collect();
    format!("{facts}\n{}", interfaces(&status.interfaces))
}

/// Where the configuration in force comes from.
fn in_force(config: &ConfigStatus) -> String {
    let file = config.file.display();
    match config.kept_since {
        None => format!("{file}, read at {:.0}", config.loaded_at),
        Some(since) => {
            format!("STALE: not {file}, but what it was at {since:.0}; mend the files, then fairway reload")
        }
    }
}

fn ledger(ledger: &LedgerStatus) -> String {
    let LedgerStatus { entries, trouble, losses, .. } = ledger;
    let mut lines = vec![format!("{entries} entries")];
    lines.extend(trouble.iter().map(|trouble| format!("NOT WRITTEN: {trouble}")));
    lines.extend(losses.iter().map(|loss| format!("LOST: {loss} (`fairway ledger acknowledge`)")));
    lines.join("\n            ")
}

fn interfaces(interfaces: &[InterfaceStatus]) -> String {
    let header = [
        "interface",
        "side",
        "mode",
        "policed",
        "link control",
        "unmatched",
        "unknown source",
        "forwarded by XDP",
        "dropped packets",
    ];
    let packets = |count: Count| count.packets.to_string();
    let rows = interfaces.iter().map(|interface| {
        vec![
            interface.name.clone(),
            interface.side.clone(),
            interface.mode.clone(),
            if interface.attached { "yes".into() } else { "NO".into() },
            packets(interface.link_control),
            packets(interface.unmatched),
            packets(interface.unknown_source_passed),
            packets(interface.forwarded),
            reasons(&interface.by_reason),
        ]
    });
    table(&header, rows, &[4, 5, 6, 7])
}
