//! Mail: port 25 is closed both ways unless a tenant holds an exemption; submission stays open.

use std::net::IpAddr;
use std::thread;

use anyhow::{Result, ensure};
use fairway_tests::mail::{self, MailServer, Outcome};
use fairway_tests::namespace::Namespace;
use fairway_tests::topology::{Host, Tenant};

use crate::Lab;
use crate::report::Row;

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// Tenant, way, port, whether mail gets through.
const ATTEMPTS: [(&str, Way, u16, bool); 12] = [
    ("acme", Way::Out, 25, false),
    ("acme", Way::In, 25, false),
    ("acme", Way::Out, 587, true),
    ("beta", Way::Out, 25, true),
    ("beta", Way::In, 25, true),
    ("beta", Way::Out, 587, true),
    ("gamma", Way::Out, 25, false),
    ("gamma", Way::In, 25, false),
    ("gamma", Way::Out, 587, true),
    ("delta", Way::Out, 25, false),
    ("delta", Way::In, 25, false),
    ("delta", Way::Out, 587, true),
];

/// Tries all, the tenants at the same time: a closed port is known by waiting in vain.
pub(crate) fn experiment(lab: &Lab<'_>) -> Result<Vec<Row>> {
    let internet = &lab.topology.internet;
    let relay = MailServer::start(&internet.namespace, 25)?;
    let submission = MailServer::start(&internet.namespace, 587)?;
    let rows = thread::scope(|scope| {
        let tenants = lab.topology.tenants.iter().map(|tenant| {
            let (relay, submission) = (&relay, &submission);
            scope.spawn(move || attempts_of(tenant, internet, relay, submission))
        });
        let tenants: Vec<_> = tenants.collect();
        tenants
            .into_iter()
            .map(|tenant| tenant.join().expect("an attempt does not panic"))
            .collect::<Result<Vec<_>>>()
    });
    Ok(rows?.into_iter().flatten().collect())
}

fn attempts_of(
    tenant: &Tenant,
    internet: &Host,
    relay: &MailServer,
    submission: &MailServer,
) -> Result<Vec<Row>> {
    let own_server = MailServer::start(&tenant.host.namespace, 25)?;
    let attempts = ATTEMPTS.into_iter().filter(|(id, ..)| *id == tenant.id);
    let rows = attempts.map(|(id, way, port, open)| {
        let (client, host, server) = match way {
            Way::Out if port == 25 => (&tenant.host, internet, relay),
            Way::Out => (&tenant.host, internet, submission),
            Way::In => (internet, &tenant.host, &own_server),
        };
        let outcome = attempt(&client.namespace, host.addresses(), server, port, open);
        let (what, link) = (if way == Way::Out { "sends" } else { "is sent" }, link(tenant));
        Row::new(
            format!("{id}{link} {what} mail, port {port}"),
            if open { "delivered" } else { "no answer" },
            outcome,
        )
    });
    Ok(rows.collect())
}

/// Tries both families; as expected if both fare the same, and the server agrees.
fn attempt(
    client: &Namespace,
    addresses: [IpAddr; 2],
    server: &MailServer,
    port: u16,
    open: bool,
) -> Result<(String, bool)> {
    let mut happened = Vec::new();
    let mut ok = true;
    for address in addresses {
        let subject = format!("to {address} port {port}");
        let outcome = mail::send(client, address, port, &subject)?;
        let delivered = server.has_received(&subject);
        ensure!(
            delivered == (outcome == Outcome::Accepted),
            "client and server disagree: {outcome:?}, {delivered}"
        );
        ok &= outcome == if open { Outcome::Accepted } else { Outcome::TimedOut };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let outcome = match outcome {
            Outcome::Accepted => "delivered",
            Outcome::TimedOut => "no answer",
            Outcome::Refused => "refused",
        };
        happened.push(format!("{family} {outcome}"));
    }
    Ok((happened.join(", "), ok))
}

fn link(tenant: &Tenant) -> String {
    tenant.tags.map_or_else(String::new, |tags| format!(" (VLAN {tags})"))
}
