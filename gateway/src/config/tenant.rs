//! `[[tenant]]`: one customer, its networks and what it may do.

use std::sync::Arc;

use super::burst::read_burst;
use super::contact::{CONTACT, report_unreachable};
use super::diagnostic::Diagnostic;
use super::exemption::read_exemption;
use super::gateway::{CAP_ALGORITHM, FRAGMENTS};
use super::main_file::MainFile;
use super::network::{DOMAIN, PREFIX, VLAN};
use super::ports::PORT_RULE;
use super::reader::Table;
use super::source::{At, IntoValues, Span};
use super::suggest::nearest;
use super::units::RATE;
use super::value::{FLAG, IDENTIFIER, TENANT_ID, TEXT};
use super::{BitRate, Tenant};

/// Keys whose places are remembered, for whoever asks which rule decides.
const KEYS_TOLD: [&str; 9] =
    ["prefixes", "vlan", "cap.up", "cap.down", "cap.algorithm", "fragments", "submission", "relay", "open"];

/// The same of a tenant with one rate for both directions.
const KEYS_WITH_ONE_CAP: [&str; 7] = ["prefixes", "vlan", "cap", "fragments", "submission", "relay", "open"];

/// A tenant with the places that checks across tenants point at.
pub(super) struct WrittenTenant {
    /// With defaults where something was wrong.
    pub(super) tenant: Arc<Tenant>,
    /// Where the id stands, if it has a valid one.
    pub(super) id: Option<Span>,
    /// Where each of the tenant's prefixes stands.
    pub(super) prefixes: Vec<Span>,
}

impl WrittenTenant {
    /// How messages call the tenant.
    pub(super) fn title(&self) -> String {
        title(&self.tenant.id)
    }
}

fn title(id: &str) -> String {
    if id.is_empty() { "a tenant without a valid id".to_owned() } else { format!("tenant {id}") }
}

/// Reads one `[[tenant]]` under the rules of the main file.
pub(super) fn read_tenant(table: &mut Table<'_>, main: &MainFile) -> WrittenTenant {
    let (id, id_span) = table.required("id", &TENANT_ID).map(|id| (id.value, id.span)).unzip();
    let id = id.unwrap_or_default();
    let title = title(&id);
    let (prefixes, prefix_spans): (Vec<_>, Vec<_>) = table
        .required_list("prefixes", &PREFIX)
        .into_iter()
        .map(|prefix| (prefix.value, prefix.span))
        .unzip();
    let domains = table.list_or_one("domains", &DOMAIN).into_values();
    let contact = table.optional("contact", &CONTACT);
    match &contact {
        Some(contact) => report_unreachable(table, contact, &title, &prefixes, &domains),
        None if table.has("contact") || !table.is_whole() => {}
        None => table.report(
            Diagnostic::warning(format!("{title} has no contact"))
                .at(table.header(), "expected `contact`: a mail address")
                .help("notices about this tenant reach nobody"),
        ),
    }
    let is_one_cap = table.is_text("cap");
    let general = main.fair_use.settings.algorithm;
    let (cap_up, cap_down, cap_algorithm) = if is_one_cap {
        let cap = read_cap(table, "cap", main, &title);
        (cap, cap, general)
    } else {
        table.table("cap", |cap| {
            let algorithm = cap.or("algorithm", &CAP_ALGORITHM, general);
            (read_cap(cap, "up", main, &title), read_cap(cap, "down", main, &title), algorithm)
        })
    };
    let exemptions = table.tables("smtp_exemption", |exemption| read_exemption(exemption, &title));
    let written = table.written(if is_one_cap { &KEYS_WITH_ONE_CAP[..] } else { &KEYS_TOLD });
    let tenant = Tenant {
        name: table.or("name", &TEXT, id.clone()),
        vlan: table.optional("vlan", &VLAN).map(|vlan| vlan.value),
        contact: contact.map(|contact| contact.value.to_string()),
        burst: read_burst(table, main.fair_use.settings.burst, &title),
        fragments: table.or("fragments", &FRAGMENTS, main.gateway.settings.fragments),
        submission: table.or("submission", &PORT_RULE, main.smtp.settings.submission),
        relay: read_relay(table, main, &title),
        open: read_open(table, main),
        detect_class: read_class(table, main),
        smtp_exemptions: exemptions.into_iter().flatten().collect(),
        place: table.header().place(),
        written,
        id,
        prefixes,
        domains,
        cap_up,
        cap_down,
        cap_algorithm,
    };
    WrittenTenant { tenant: Arc::new(tenant), id: id_span, prefixes: prefix_spans }
}

/// A cap that is left out is the ceiling, and none exceeds it.
fn read_cap(cap: &mut Table<'_>, key: &'static str, main: &MainFile, title: &str) -> BitRate {
    let ceiling = main.fair_use.settings.ceiling;
    let Some(At { value: rate, span }) = cap.optional(key, &RATE) else { return ceiling };
    if main.fair_use.is_ceiling_known && rate > ceiling {
        let written = &main.fair_use.ceiling_span;
        cap.report(
            Diagnostic::error(format!("the cap of {title} is over the ceiling of {ceiling}"))
                .at(&span, "over the ceiling")
                .at_any(written.as_ref(), "the ceiling")
                .help(match written {
                    Some(_) => "lower the cap or raise the ceiling",
                    None => "lower the cap, or write a higher `ceiling` in [fair_use] (default: 10 Mbit/s)",
                }),
        );
    }
    rate
}

fn read_relay(table: &mut Table<'_>, main: &MainFile, title: &str) -> bool {
    let Some(At { value: relay, span }) = table.optional("relay", &FLAG) else { return false };
    if relay && !main.smtp.lists_relays {
        table.report(
            Diagnostic::error(format!("{title} rents a relay, but there is none"))
                .at(&span, "no relay is configured")
                .help("list the relays' addresses as `relays` in [smtp]"),
        );
    }
    relay
}

fn read_open(table: &mut Table<'_>, main: &MainFile) -> Vec<String> {
    let open = table.list_or_one("open", &IDENTIFIER);
    if main.closed_ports.are_all_known {
        let names: Vec<_> = main.closed_ports.ports.iter().map(|port| port.name.as_str()).collect();
        for written in &open {
            let none = "the main file has no [[closed_port]]: there is nothing to open";
            report_unknown(table, written, "closed port", "[[closed_port]]", &names, none);
        }
    }
    open.into_values()
}

fn read_class(table: &mut Table<'_>, main: &MainFile) -> Option<String> {
    let class = table.optional("detect_class", &IDENTIFIER)?;
    if main.detect.are_classes_known {
        let names: Vec<_> = main.detect.settings.classes.iter().map(|class| class.name.as_str()).collect();
        report_unknown(table, &class, "detection class", "[detect.class.NAME]", &names, "");
    }
    Some(class.value)
}

/// Reports a name that is not among `known`, which the main file's `section` defines.
fn report_unknown(
    table: &mut Table<'_>,
    written: &At<String>,
    what: &str,
    section: &str,
    known: &[&str],
    if_none: &str,
) {
    let At { value: name, span } = written;
    if known.contains(&name.as_str()) {
        return;
    }
    let help = match nearest(name, known.iter().copied()) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None if known.is_empty() => if_none.to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    table.report(
        Diagnostic::error(format!("unknown {what} \"{name}\""))
            .at(span, format!("no {section} has this name"))
            .help(help),
    );
}
