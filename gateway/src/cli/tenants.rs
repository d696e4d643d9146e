//! `fairway tenants`.

use super::output::{bytes, json, print, reasons, table};
use super::{CommandError, RemoteArgs, block_on};
use crate::config::BitRate;
use crate::control::api::{DirectionStatus, TenantStatus, Tenants};

pub(super) fn tenants(args: &RemoteArgs) -> Result<(), CommandError> {
    let tenants: Tenants = block_on(args.client()?.get("/v1/tenants"))?;
    if args.json {
        json(&tenants)?
    } else {
        print(&text(&tenants.tenants))?
    }
    Ok(())
}

/// Two lines a tenant: up and down.
fn text(tenants: &[TenantStatus]) -> String {
    let header = [
        "tenant",
        "name and networks",
        "",
        "cap",
        "passed packets",
        "bytes",
        "dropped packets",
        "bytes",
        "dropped packets by reason",
    ];
    let rows = tenants.iter().flat_map(|tenant| {
        let vlan = tenant.vlan.as_ref().map(|vlan| format!(" vlan {vlan}")).unwrap_or_default();
        let networks = format!("{}{vlan}", tenant.prefixes.join(" "));
        let held = held(tenant);
        [row([&tenant.id, &tenant.name, "up"], &tenant.up), row([&held, &networks, "down"], &tenant.down)]
    });
    table(&header, rows, &[3, 4, 5, 6, 7])
}

/// What is held against a tenant: its suspensions, and measures against it and its sources.
fn held(tenant: &TenantStatus) -> String {
    let suspended =
        tenant.suspensions.iter().map(|suspension| format!("suspended: {}", suspension.scope.label()));
    let measures = tenant.measures.iter().map(|held| match (held.source, held.lowered_cap) {
        (Some(source), _) => format!("{}: {source}", held.measure.label()),
        (None, Some(cap)) => format!("{}: {cap}", held.measure.label()),
        (None, None) => held.measure.label().to_owned(),
    });
    let cases = tenant.restraints.iter().map(|held| format!("{}: {}", held.case, held.restrict.label()));
    suspended.chain(cases).chain(measures).collect::<Vec<_>>().join(", ")
}

fn row(leading: [&str; 3], direction: &DirectionStatus) -> Vec<String> {
    let DirectionStatus { cap_bits_per_second, passed, dropped, by_reason, .. } = direction;
    let cap = BitRate::from_bits_per_sec(*cap_bits_per_second)
        .map_or_else(|| format!("{cap_bits_per_second} bit/s"), |cap| cap.to_string());
    let figures = [
        cap,
        passed.packets.to_string(),
        bytes(passed.bytes),
        dropped.packets.to_string(),
        bytes(dropped.bytes),
        reasons(by_reason),
    ];
    leading.iter().map(ToString::to_string).chain(figures).collect()
}
