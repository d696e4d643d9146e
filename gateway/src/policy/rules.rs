//! Which rules decide about a tenant's packets, and where each is configured: for whoever asks why.

use gateway_ebpf::Direction as Way;

use super::{Cause, Effective, TenantPolicy};
use crate::config::{
    ClosedPort, Config, Direction, Fragments, Interface, Place, PortRule, Protocol, Refuse, Side, Tenant,
    UnknownSources, port_range_text,
};
use crate::domain::kind_label;

/// One rule, as it applies to one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What it is about: `TCP 25 out`.
    pub about: String,
    /// What it says: `closed`.
    pub says: String,
    /// The key of the configuration that it comes from: `smtp.default`.
    pub key: &'static str,
    /// Where that is written; none: it is left out, and this is the default.
    pub place: Option<Place>,
}

impl PolicyRule {
    fn new(
        about: impl Into<String>,
        says: impl Into<String>,
        key: &'static str,
        place: Option<&Place>,
    ) -> Self {
        Self { about: about.into(), says: says.into(), key, place: place.cloned() }
    }

    fn by(about: impl Into<String>, says: impl Into<String>, (key, place): KeyAndPlace<'_>) -> Self {
        Self::new(about, says, key, place)
    }
}

/// A key of the configuration, and where it is written.
type KeyAndPlace<'p> = (&'static str, Option<&'p Place>);

/// Every rule for a tenant, in the order in which the programs apply them; exemptions and suspensions aside.
#[must_use]
pub fn rules(policy: &TenantPolicy<'_>) -> Vec<PolicyRule> {
    let (config, tenant) = (policy.config(), policy.configured());
    let networks = texts(&tenant.prefixes);
    let mut rules = vec![
        PolicyRule::new("networks", networks, "tenant.prefixes", tenant.written.place("prefixes")),
        vlan(config, tenant),
        fragments(policy),
        walled_garden(config),
    ];
    rules.extend([(Direction::Out, "TCP 25 out"), (Direction::In, "TCP 25 in")].map(|(direction, about)| {
        let says = relay_port(policy, direction);
        PolicyRule::new(about, says, "smtp.default", config.written.place("smtp.default"))
    }));
    if tenant.relay && config.smtp.default == PortRule::Block {
        let says = format!("open ({})", texts(&config.smtp.relays));
        rules.push(PolicyRule::new("TCP 25 to relays", says, "tenant.relay", tenant.written.place("relay")));
    }
    rules.push(submission(policy));
    rules.extend(config.closed_ports.iter().map(|closed| closed_port(closed, tenant)));
    rules.extend(Way::ALL.map(|way| cap(policy, way)));
    let written = policy.own_or("cap.algorithm", "tenant.cap.algorithm", "cap.algorithm");
    rules.push(PolicyRule::by("cap algorithm", tenant.cap_algorithm.label(), written));
    rules
}

fn cap(policy: &TenantPolicy<'_>, way: Way) -> PolicyRule {
    let configured = policy.configured_cap(way);
    let in_force = policy.cap(way);
    let says = match in_force.cause {
        Cause::Measure(measure) => format!(
            "{}, lowered to {} until {:.0} for {}",
            configured.value,
            in_force.value,
            measure.until,
            kind_label(measure.kind)
        ),
        Cause::Case(restraint) => format!(
            "{}, lowered to {} by case {} {}",
            configured.value,
            in_force.value,
            restraint.case,
            restraint.end()
        ),
        Cause::Config { .. } | Cause::Grant(_) => in_force.value.to_string(),
    };
    PolicyRule::new(format!("cap {}", way.label()), says, configured.key, configured.place)
}

/// What happens to packets of an address that is no tenant's.
#[must_use]
pub fn rules_for_strangers(policy: &Effective) -> Vec<PolicyRule> {
    let config = policy.config();
    let from = match config.gateway.unknown_sources {
        UnknownSources::Drop => {
            "dropped as unknown_source, but for control traffic of the link (ARP, DHCP...)"
        }
        UnknownSources::Count => "counted as unknown_source_passed and let through unpoliced",
    };
    let interfaces = |side| {
        let on_side = config.interfaces.iter().filter(move |interface: &&Interface| interface.side == side);
        texts(&on_side.map(|interface| interface.name.as_str()).collect::<Vec<_>>())
    };
    let (key, place) = ("gateway.unknown_sources", config.written.place("gateway.unknown_sources"));
    let uplink = config.interfaces.iter().find(|interface| interface.side == Side::Uplink);
    vec![
        PolicyRule::new(format!("sent to {}", interfaces(Side::Tenant)), from, key, place),
        PolicyRule::new(
            format!("received on {}", interfaces(Side::Uplink)),
            "let through unpoliced, counted as unmatched",
            "interface.side",
            uplink.map(|interface| &interface.place),
        ),
    ]
}

fn vlan(config: &Config, tenant: &Tenant) -> PolicyRule {
    let checked = config.interfaces.iter().filter(|interface| interface.match_vlan);
    let checked: Vec<_> = checked.map(|interface| interface.name.as_str()).collect();
    let says = match tenant.vlan {
        None => "any tag, or none".to_owned(),
        Some(vlan) if checked.is_empty() => format!("{vlan}, but no interface checks tags"),
        Some(vlan) => format!("{vlan}, checked on {}", texts(&checked)),
    };
    PolicyRule::new("VLAN", says, "tenant.vlan", tenant.written.place("vlan"))
}

fn fragments(policy: &TenantPolicy<'_>) -> PolicyRule {
    let says = match policy.configured().fragments {
        Fragments::Allow => "let through, but for those that could hide a port",
        Fragments::Drop => "dropped",
    };
    PolicyRule::by("fragments", says, policy.own_or("fragments", "tenant.fragments", "gateway.fragments"))
}

fn walled_garden(config: &Config) -> PolicyRule {
    let says = match config.walled_garden.is_empty() {
        true => "nothing stays within reach in a suspension".to_owned(),
        false => format!("{} in a suspension", texts(&config.walled_garden)),
    };
    PolicyRule::new("walled garden", says, "walled_garden.hosts", config.written.place("walled_garden.hosts"))
}

fn relay_port(policy: &TenantPolicy<'_>, direction: Direction) -> String {
    let config = policy.config();
    let covers = |exempt: Direction| match direction {
        Direction::In => exempt.covers_in(),
        _ => exempt.covers_out(),
    };
    let is_exempt = policy.exemptions().any(|exemption| covers(exemption.direction));
    match config.smtp.default {
        PortRule::Allow => "open".to_owned(),
        PortRule::Block if is_exempt => {
            format!("{}, but for exemptions", closed(config.smtp.refuse, direction))
        }
        PortRule::Block => closed(config.smtp.refuse, direction),
    }
}

fn submission(policy: &TenantPolicy<'_>) -> PolicyRule {
    let says = match policy.configured().submission {
        PortRule::Allow => "open".to_owned(),
        PortRule::Block => closed(policy.config().smtp.refuse, Direction::Both),
    };
    PolicyRule::by(
        "TCP 465, 587, 2525",
        says,
        policy.own_or("submission", "tenant.submission", "smtp.submission"),
    )
}

fn closed_port(port: &ClosedPort, tenant: &Tenant) -> PolicyRule {
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let direction = match port.direction {
        Direction::Out => " out",
        Direction::In => " in",
        Direction::Both => "",
    };
    let ports: Vec<_> = port.ports.iter().map(|&range| port_range_text(range)).collect();
    let about = format!("{protocol} {}{direction}", texts(&ports));
    if tenant.open.contains(&port.name) {
        let says = format!("open ({})", port.name);
        return PolicyRule::new(about, says, "tenant.open", tenant.written.place("open"));
    }
    let says = format!("{} ({})", closed(port.refuse, port.direction), port.name);
    PolicyRule::new(about, says, "closed_port", Some(&port.place))
}

/// Only tenants are answered: the sender of an inbound packet may be forged.
fn closed(refuse: Refuse, direction: Direction) -> String {
    match refuse {
        Refuse::Reset if direction.covers_out() => "closed, and the tenant is told so".to_owned(),
        _ => "closed".to_owned(),
    }
}

fn texts(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
