//! The policy as JSON: what holds of the configuration, defaults filled in, in its own notation.

use serde_json::{Map, Value, json};

use super::{Effective, Exemption, TenantPolicy};
use crate::config::{
    Allowance, ClosedPort, DetectClass, Detection, DurationText, Enforcement, Interface, Ladder, Rule,
    SizeText, hours_and_minutes, port_range_text,
};

/// Version of the JSON; raised whenever a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// What the files give every tenant, as far as it holds. Suspensions and lowered caps are left out, since they
/// stay whatever the files say. Interfaces, closed ports and tenants are keyed by what identifies them, so
/// that two views can be compared; where something was written is left out.
#[must_use]
pub fn view(policy: &Effective) -> Value {
    let config = policy.config();
    let gateway = &config.gateway;
    json!({
        "version": VERSION,
        "gateway": {
            "name": gateway.name,
            "state_dir": gateway.state_dir,
            "control_socket": gateway.control_socket,
            "control_group": gateway.control_group,
            "pin_dir": gateway.pin_dir,
            "on_stop": gateway.on_stop,
            "removal_limit_percent": gateway.removal_limit_percent,
            "forwarding": gateway.forwarding,
            "unknown_sources": gateway.unknown_sources,
            "fragments": gateway.fragments,
        },
        "limits": { "tenants": gateway.limits.tenants },
        "interfaces": keyed(&config.interfaces, |interface| &interface.name, view_interface),
        "cap": { "algorithm": config.fair_use.algorithm },
        "fair_use": {
            "ceiling": config.fair_use.ceiling.to_string(),
            "burst": DurationText(config.fair_use.burst).to_string(),
        },
        "smtp": {
            "default": config.smtp.default,
            "submission": config.smtp.submission,
            "refuse": config.smtp.refuse,
            "relays": texts(&config.smtp.relays),
        },
        "closed_ports": keyed(&config.closed_ports, |port| &port.name, view_closed_port),
        "walled_garden": texts(&config.walled_garden),
        "detect": view_detection(&config.detection, policy.allowances()),
        "enforcement": view_enforcement(&config.enforcement),
        "evidence": {
            "max_size": SizeText(config.evidence.max_bytes).to_string(),
            "keep": DurationText(config.evidence.keep).to_string(),
        },
        "metrics": config.metrics.as_ref().map(|metrics| json!({
            "listen": metrics.listen.to_string(),
            "top_tenants": metrics.top_tenants,
        })),
        "tenants": policy
            .tenants()
            .map(|tenant| (tenant.configured().id.clone(), view_tenant(&tenant)))
            .collect::<Map<_, _>>(),
    })
}

fn view_interface(interface: &Interface) -> Value {
    json!({
        "side": interface.side,
        "mode": interface.mode,
        "match_vlan": interface.match_vlan,
        "capacity": interface.capacity.map(|capacity| capacity.to_string()),
    })
}

fn view_closed_port(port: &ClosedPort) -> Value {
    let ports: Vec<_> = port.ports.iter().map(|&range| port_range_text(range)).collect();
    json!({ "protocol": port.protocol, "ports": ports, "direction": port.direction, "refuse": port.refuse })
}

fn view_tenant(policy: &TenantPolicy<'_>) -> Value {
    let tenant = policy.configured();
    let exemptions = policy.exemptions().filter(|exemption| exemption.is_configured());
    json!({
        "name": tenant.name,
        "prefixes": texts(&tenant.prefixes),
        "vlan": tenant.vlan.map(|vlan| vlan.to_string()),
        "domains": tenant.domains,
        "contact": tenant.contact,
        "cap": {
            "up": tenant.cap_up.to_string(),
            "down": tenant.cap_down.to_string(),
            "algorithm": tenant.cap_algorithm,
        },
        "burst": DurationText(tenant.burst).to_string(),
        "fragments": tenant.fragments,
        "submission": tenant.submission,
        "relay": tenant.relay,
        "open": tenant.open,
        "detect_class": tenant.detect_class,
        "smtp_exemptions": exemptions.map(|exemption| view_exemption(&exemption)).collect::<Vec<_>>(),
    })
}

fn view_exemption(exemption: &Exemption<'_>) -> Value {
    json!({
        "ticket": exemption.ticket,
        "direction": exemption.direction,
        "peers": texts(exemption.peers),
        "approved_by": exemption.approved_by,
        "expires": exemption.expires.to_string(),
    })
}

/// What drop lists hold is left out: it is the files' own, and may be long.
fn view_detection<'p>(detection: &Detection, allow: impl Iterator<Item = &'p Allowance>) -> Value {
    json!({
        "sources": detection.sources,
        "contacts": detection.contacts,
        "max_measures_per_minute": detection.max_measures_per_minute,
        "drop_lists": detection.drop_lists,
        "listed_networks": detection.listed.len(),
        "classes": keyed(&detection.classes, |class| &class.name, view_class),
        "allow": allow.map(view_allowance).collect::<Vec<_>>(),
    })
}

fn view_class(class: &DetectClass) -> Value {
    class.rules().map(|(kind, rule)| (kind.label().to_owned(), view_rule(rule))).collect::<Map<_, _>>().into()
}

fn view_rule(rule: &Rule) -> Value {
    let own = [
        ("mode", json!(rule.mode)),
        ("measure", json!(rule.measure)),
        ("for", json!(DurationText(rule.duration).to_string())),
    ];
    let thresholds = rule.thresholds.iter().map(|(threshold, value)| (threshold.label(), json!(value)));
    own.into_iter()
        .chain(thresholds)
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Map<_, _>>()
        .into()
}

fn view_enforcement(enforcement: &Enforcement) -> Value {
    let hours = &enforcement.office_hours;
    let ladders =
        enforcement.ladders().map(|(class, ladder)| (class.label().to_owned(), view_ladder(ladder)));
    json!({
        "mode": enforcement.mode,
        "timezone": enforcement.timezone.iana_name(),
        "office_hours": {
            "days": hours.days_text(),
            "from": hours_and_minutes(hours.from),
            "to": hours_and_minutes(hours.to),
            "holidays": texts(&hours.holidays),
        },
        "signal_window": DurationText(enforcement.signal_window).to_string(),
        "approvers": enforcement.approvers,
        "ladders": ladders.collect::<Map<_, _>>(),
    })
}

/// Steps are keyed by the strike that takes them, so that one that changed is told as one change.
fn view_ladder(ladder: &Ladder) -> Value {
    let steps = ladder.steps.iter().enumerate();
    let steps = steps.map(|(before, step)| ((before + 1).to_string(), json!(step.to_string())));
    json!({
        "severity": ladder.severity,
        "department": ladder.department,
        "decay": DurationText(ladder.decay).to_string(),
        "collect": DurationText(ladder.collect).to_string(),
        "steps": steps.collect::<Map<_, _>>(),
    })
}

fn view_allowance(allowance: &Allowance) -> Value {
    json!({
        "ticket": allowance.ticket,
        "sources": texts(&allowance.sources),
        "kinds": allowance.kinds,
        "reason": allowance.reason,
        "approved_by": allowance.approved_by,
        "expires": allowance.expires.to_string(),
    })
}

fn keyed<T>(entries: &[T], key: fn(&T) -> &String, view: impl Fn(&T) -> Value) -> Value {
    Value::Object(entries.iter().map(|entry| (key(entry).clone(), view(entry))).collect::<Map<_, _>>())
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
