//! `fairway explain`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use jiff::Timestamp;

use super::output::{bytes, duration, json, print, reasons, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::config::BitRate;
use crate::control::explain::{
    ExemptionStatus, Explanation, OwnerStatus, SampleStatus, UsageStatus, WatchedStatus,
};
use crate::detect::{Count, kind_label};
use crate::text::escaped;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The address of a tenant's server, or of one of its peers
    address: IpAddr,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), CommandError> {
    let path = format!("/v1/explain/{}", args.address);
    let explanation: Explanation = block_on(args.remote.client()?.get(&path))?;
    if args.remote.json {
        json(&explanation)?
    } else {
        print(&text(&explanation))?
    }
    Ok(())
}

/// What an abuse desk asks first comes first: whose, what it is forbidden, what was dropped.
fn text(explanation: &Explanation) -> String {
    let Explanation { address, at, tenant, samples, .. } = explanation;
    let (own, others): (Vec<_>, Vec<_>) = samples.iter().partition(|sample| sample.of_address);
    let mut parts = Vec::new();
    match tenant {
        None => parts.push(format!("{address} is no tenant's.\n")),
        Some(owner) => {
            parts.push(format!(
                "{address} is a server of {} ({}).\n\n{}",
                owner.id,
                escaped(&owner.name),
                facts(owner, *at)
            ));
            if let Some(watched) = &owner.detection {
                parts.push(detection(watched, *at));
            }
            parts.push(format!("Traffic of {}\n{}", owner.id, traffic(owner)));
        }
    }
    parts.push(dropped(&format!("Last dropped packets of {address}"), &own));
    if let Some(owner) = tenant {
        parts.push(dropped(&format!("Last dropped packets of other servers of {}", owner.id), &others));
    }
    parts.push(format!("Rules, in the order in which they are applied\n{}", rules(explanation)));
    if let Some(owner) = tenant.as_ref().filter(|owner| !owner.exemptions.is_empty()) {
        parts.push(format!("Exemptions from the closed port 25\n{}", exemptions(&owner.exemptions, *at)));
    }
    parts.join("\n")
}

fn facts(owner: &OwnerStatus, now: Timestamp) -> String {
    let suspended = owner.suspensions.iter().map(|suspension| {
        let until = suspension.until.map(|until| format!("for another {}", left(until, now)));
        format!(
            "SUSPENDED ({}){} since {:.0}, {}: {}",
            suspension.scope.label(),
            suspension.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default(),
            suspension.since,
            until.as_deref().unwrap_or("until somebody restores it"),
            escaped(&suspension.reason)
        )
    });
    let held = owner.lowered_cap.iter().map(|held| {
        let cap = held.lowered_cap.map(|cap| cap.to_string()).unwrap_or_default();
        format!(
            "UNDER A MEASURE for {}: cap {cap}, for another {}",
            kind_label(held.kind),
            left(held.until, now)
        )
    });
    let cases = owner.restraints.iter().map(|held| {
        let cap = held.cap.map(|cap| format!(" {cap}")).unwrap_or_default();
        format!(
            "RESTRICTED ({}{cap}) by case {}, strike {} of class {}, since {:.0}, {}",
            held.restrict.label(),
            held.case,
            held.strike,
            held.class,
            held.since,
            held.end()
        )
    });
    let mut restrictions: Vec<_> =
        suspended.chain(cases).chain(held).map(|fact| ("restriction", fact)).collect();
    if restrictions.is_empty() {
        restrictions.push(("restriction", "none".to_owned()));
    }
    let facts = [
        ("network", owner.prefix.clone()),
        ("VLAN", owner.vlan.clone().unwrap_or_else(|| "any".into())),
        ("contact", owner.contact.clone().unwrap_or_else(|| "none".into())),
        ("configured", owner.configured_at.clone()),
    ];
    let facts = restrictions.into_iter().chain(facts);
    facts.map(|(name, fact)| format!(" {name:<12}{fact}\n")).collect()
}

/// What the source did lately, and what is done about it.
fn detection(watched: &WatchedStatus, now: Timestamp) -> String {
    let mut text =
        format!("Detection, of {}: last turned to somebody new at {:.0}\n", watched.source, watched.seen);
    for held in &watched.measures {
        let (measure, until) = (held.measure.label(), left(held.until, now));
        text.push_str(&format!(" UNDER A MEASURE: {measure}, for another {until}\n"));
    }
    let row = |count: &Count| {
        vec![
            count.what.replace('_', " "),
            duration(u64::from(count.window_seconds)),
            format!("{:.0}", count.since),
            count.attempted.to_string(),
            count.answered.to_string(),
            count.rejected.to_string(),
            if count.what == "tcp_ports" { count.probed.to_string() } else { String::new() },
        ]
    };
    let header = ["new contacts", "window", "since", "made", "answered", "refused", "only probed"];
    text.push_str(&table(&header, watched.counts.iter().map(row), &[3, 4, 5, 6]));
    if !watched.targets.is_empty() {
        text.push_str(&format!("last with {}\n", watched.targets.join(", ")));
    }
    text
}

fn traffic(owner: &OwnerStatus) -> String {
    let header = ["", "cap", "now", "passed packets", "bytes", "dropped packets", "bytes", "by reason"];
    let row = |direction: &str, usage: &UsageStatus| {
        let counters = &usage.counters;
        let cap = BitRate::from_bits_per_sec(counters.cap_bits_per_second);
        let now = usage.bucket.as_ref().map(|bucket| {
            let state = if bucket.over_cap { "OVER IT" } else { "within it" };
            let queues = match bucket.queues_ms.len() {
                0 => String::new(),
                1 => " in 1 queue".to_owned(),
                queues => format!(" in {queues} queues"),
            };
            format!("{state}, {} of {} ms ahead{queues}", bucket.backlog_ms, bucket.burst_ms)
        });
        vec![
            direction.to_owned(),
            cap.map(|cap| cap.to_string()).unwrap_or_default(),
            now.unwrap_or_else(|| "unknown".into()),
            counters.passed.packets.to_string(),
            bytes(counters.passed.bytes),
            counters.dropped.packets.to_string(),
            bytes(counters.dropped.bytes),
            reasons(&counters.by_reason),
        ]
    };
    let mut text = table(&header, [row("up", &owner.up), row("down", &owner.down)], &[1, 3, 4, 5, 6]);
    for (direction, usage) in [("up", &owner.up), ("down", &owner.down)] {
        text.push_str(&over_cap(direction, &usage.counters.over_cap));
    }
    text
}

/// What packets over the cap met: one line, or nothing.
fn over_cap(direction: &str, by_state: &BTreeMap<String, u64>) -> String {
    let met = |(state, packets): (&String, &u64)| match state.as_str() {
        "signal" => format!("{packets} as early signals"),
        "queue_full" => format!("{packets} because their flow's queue was full"),
        _ => format!("{packets} because the credit was used up"),
    };
    let met: Vec<_> = by_state.iter().map(met).collect();
    if met.is_empty() { String::new() } else { format!("over_cap {direction}: {}\n", met.join(", ")) }
}

fn dropped(heading: &str, samples: &[&SampleStatus]) -> String {
    if samples.is_empty() {
        return format!("{heading}: none was sampled.\n");
    }
    let header = ["when", "of", "", "reason", "packet", "bytes", "on"];
    let row = |sample: &&SampleStatus| {
        vec![
            format!("{:.3}", sample.at),
            sample.tenant.clone().unwrap_or_else(|| "nobody".into()),
            sample.direction.clone(),
            sample.reason.clone(),
            packet(sample),
            sample.frame_bytes.to_string(),
            sample.interface.clone().unwrap_or_default(),
        ]
    };
    format!("{heading}\n{}", table(&header, samples.iter().map(row), &[5]))
}

/// `tcp 203.0.113.5:40312 > 192.0.2.25:25 opening`.
fn packet(sample: &SampleStatus) -> String {
    let (Some(source), Some(destination)) = (sample.source, sample.destination) else {
        return "not readable as IP".into();
    };
    let end = |address: IpAddr, port: Option<u16>| match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    };
    let what = match (sample.opens_connection, sample.fragment) {
        (true, _) => " opening",
        (false, true) => " fragment",
        (false, false) => "",
    };
    let protocol = sample.protocol.as_deref().unwrap_or("ip");
    let (from, to) = (end(source, sample.source_port), end(destination, sample.destination_port));
    format!("{protocol} {from} > {to}{what}")
}

fn rules(explanation: &Explanation) -> String {
    let rows = explanation.rules.iter().map(|rule| {
        let place = rule.configured_at.clone().unwrap_or_else(|| "default".into());
        vec![rule.about.clone(), rule.says.clone(), rule.key.clone(), place]
    });
    table(&["about", "says", "key", "configured"], rows, &[])
}

fn exemptions(exemptions: &[ExemptionStatus], now: Timestamp) -> String {
    let rows = exemptions.iter().map(|exemption| {
        let peers = if exemption.peers.is_empty() { "anybody".into() } else { exemption.peers.join(", ") };
        vec![
            exemption.ticket.clone(),
            exemption.direction.clone(),
            peers,
            exemption.approved_by.clone().unwrap_or_default(),
            format!("{:.0}, in {}", exemption.expires, left(exemption.expires, now)),
            exemption.configured_at.clone(),
        ]
    });
    table(&["ticket", "", "with", "approved by", "expires", "configured"], rows, &[])
}

fn left(until: Timestamp, now: Timestamp) -> String {
    duration(u64::try_from(until.duration_since(now).as_secs()).unwrap_or(0))
}
