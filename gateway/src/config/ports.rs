//! Ports: `[smtp]`, and the `[[closed_port]]` services that the operator closes for every tenant.
//!
//! Each port belongs to one service class in the data plane, so closed ports do not overlap, and the
//! mail ports belong to `[smtp]` alone.

use ipnetwork::IpNetwork;

use super::diagnostic::Diagnostic;
use super::network::{PORTS, PREFIX, PortRange, port_range_text};
use super::reader::Table;
use super::source::{At, IntoValues, Span};
use super::value::{Choice, IDENTIFIER, Refusal, Scalar, text};
use super::{ClosedPort, Direction, PortRule, Protocol, Smtp};

/// Relay (25) and submission: 465 (RFC 8314), 587 (RFC 6409), and 2525, which providers use beside it.
const MAIL_PORTS: [u16; 4] = [25, 465, 587, 2525];

pub(super) const PORT_RULE: Choice<PortRule> =
    Choice(&[("block", PortRule::Block), ("allow", PortRule::Allow)]);
pub(super) const DIRECTION: Choice<Direction> =
    Choice(&[("out", Direction::Out), ("in", Direction::In), ("both", Direction::Both)]);
const PROTOCOL: Choice<Protocol> = Choice(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]);

/// How a closed mail port answers.
const REFUSE: Scalar<()> = Scalar {
    expected: "\"drop\"",
    read: |value| match text(value)? {
        "drop" => Ok(()),
        "reset" => Err(Refusal::new("not built yet")
            .message("`refuse` = \"reset\" is not built yet")
            .help("write \"drop\", or leave it out: connections to a closed port time out")),
        _ => Err(Refusal::new("not known")),
    },
};

/// What `[smtp]` says.
pub(super) struct SmtpSection {
    pub(super) settings: Smtp,
    /// Whether relays are listed, valid or not.
    pub(super) lists_relays: bool,
}

pub(super) fn read_smtp(root: &mut Table<'_>) -> SmtpSection {
    root.table("smtp", |table| {
        table.or("refuse", &REFUSE, ());
        SmtpSection {
            settings: Smtp {
                default: table.or("default", &PORT_RULE, PortRule::Block),
                submission: table.or("submission", &PORT_RULE, PortRule::Allow),
                relays: table.list("relays", &PREFIX).into_values(),
            },
            lists_relays: table.count_written("relays").is_some_and(|relays| relays > 0),
        }
    })
}

/// `[walled_garden]`: whom a suspended tenant may still talk to.
pub(super) fn read_walled_garden(root: &mut Table<'_>) -> Vec<IpNetwork> {
    root.table("walled_garden", |table| table.list("hosts", &PREFIX).into_values())
}

/// What `[[closed_port]]` says.
pub(super) struct ClosedPorts {
    pub(super) ports: Vec<ClosedPort>,
    /// Whether each could be read, so that a name that is not among them does not exist.
    pub(super) are_all_known: bool,
}

/// A range of ports, with whose it is.
struct Closed {
    protocol: Protocol,
    range: At<PortRange>,
    owner: String,
}

/// Reads every `[[closed_port]]`.
pub(super) fn read_closed_ports(root: &mut Table<'_>) -> ClosedPorts {
    let mut names: Vec<(String, Span)> = Vec::new();
    let mut closed: Vec<Closed> = Vec::new();
    let ports = root.tables("closed_port", |table| {
        let name = table.required("name", &IDENTIFIER);
        let protocol = table.required("protocol", &PROTOCOL);
        let ports = table.required_list("ports", &PORTS);
        let direction = table.or("direction", &DIRECTION, Direction::Both);
        let name = name?;
        if let Some((_, first)) = names.iter().find(|(other, _)| *other == name.value) {
            table.report(
                Diagnostic::error(format!("closed port {} is written twice", name.value))
                    .at(&name.span, "the second time")
                    .at(first, "the first time")
                    .help("put all ports into one, or give the second another name"),
            );
        }
        if names.len() == ClosedPort::MAX {
            table.report(
                Diagnostic::error(format!("more than {} closed ports", ClosedPort::MAX))
                    .at(table.header(), format!("the {}th", ClosedPort::MAX + 1))
                    .help("services that are opened together can share one: ports takes a list"),
            );
        }
        names.push((name.value.clone(), name.span));
        let protocol = protocol?.value;
        report_mail_ports(table, protocol, &ports);
        closed.extend(ports.iter().map(|range| Closed {
            protocol,
            range: range.clone(),
            owner: name.value.clone(),
        }));
        Some(ClosedPort {
            name: name.value,
            protocol,
            ports: ports.into_values(),
            direction,
            place: table.header().place(),
        })
    });
    report_overlaps(root, &mut closed);
    let are_all_known = root.is_whole() && ports.iter().all(Option::is_some);
    ClosedPorts { ports: ports.into_iter().flatten().collect(), are_all_known }
}

fn report_mail_ports(table: &mut Table<'_>, protocol: Protocol, ports: &[At<PortRange>]) {
    if protocol != Protocol::Tcp {
        return;
    }
    for At { value: (first, last), span } in ports {
        if let Some(port) = MAIL_PORTS.iter().find(|port| (first..=last).contains(port)) {
            table.report(
                Diagnostic::error(format!("TCP port {port} is ruled by [smtp]"))
                    .at(span, format!("contains {port}"))
                    .help(match port {
                        25 => "leave it out: `default` in [smtp] closes it",
                        _ => "leave it out: `submission` in [smtp] opens or closes 465, 587 and 2525",
                    }),
            );
        }
    }
}

/// Reports each range that begins within an earlier one, in the order of ports.
fn report_overlaps(root: &mut Table<'_>, closed: &mut [Closed]) {
    closed.sort_by_key(|entry| (entry.protocol == Protocol::Udp, entry.range.value));
    let mut widest: Option<&Closed> = None;
    for entry in closed.iter() {
        let (first, last) = entry.range.value;
        match widest {
            Some(other) if other.protocol == entry.protocol && first <= other.range.value.1 => {
                let shared = port_range_text((first, last.min(other.range.value.1)));
                root.report(if entry.owner == other.owner {
                    Diagnostic::warning(format!("closed port {} lists {shared} twice", entry.owner))
                        .at(&entry.range.span, "the second time")
                        .at(&other.range.span, "the first time")
                        .help("once is enough")
                } else {
                    Diagnostic::error(format!("port {shared} is closed twice"))
                        .at(&entry.range.span, format!("by {}", entry.owner))
                        .at(&other.range.span, format!("by {}", other.owner))
                        .help("leave it to one of them: a tenant that opens a port must mean one service")
                });
                if last > other.range.value.1 {
                    widest = Some(entry);
                }
            }
            _ => widest = Some(entry),
        }
    }
}
