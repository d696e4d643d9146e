//! Mail: port 25 is closed both ways unless a tenant holds an exemption; submission stays open.

use std::thread;

use anyhow::Result;
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::topology::{Host, Tenant};

use crate::Lab;
use crate::report::Row;

/// Tenant, whether it is the one that sends, port, what becomes of the mail.
const ATTEMPTS: [(&str, bool, u16, Outcome); 12] = [
    ("acme", true, 25, Outcome::NoAnswer),
    ("acme", false, 25, Outcome::NoAnswer),
    ("acme", true, 587, Outcome::Delivered),
    ("beta", true, 25, Outcome::Delivered),
    ("beta", false, 25, Outcome::Delivered),
    ("beta", true, 587, Outcome::Delivered),
    ("gamma", true, 25, Outcome::NoAnswer),
    ("gamma", false, 25, Outcome::NoAnswer),
    ("gamma", true, 587, Outcome::Delivered),
    ("delta", true, 25, Outcome::NoAnswer),
    ("delta", false, 25, Outcome::NoAnswer),
    ("delta", true, 587, Outcome::Delivered),
];

/// Servers in the Internet.
struct Servers {
    relay: MailServer,
    submission: MailServer,
}

/// Tries all, the tenants at the same time: a closed port is known by waiting in vain.
pub(crate) fn experiment(lab: &Lab<'_>) -> Result<Vec<Row>> {
    let internet = &lab.topology.internet;
    let servers = Servers {
        relay: MailServer::start(&internet.namespace, 25)?,
        submission: MailServer::start(&internet.namespace, 587)?,
    };
    let rows = thread::scope(|scope| {
        let servers = &servers;
        let tenants = lab.topology.tenants.iter();
        let tenants: Vec<_> =
            tenants.map(|tenant| scope.spawn(|| attempts_of(tenant, internet, servers))).collect();
        let rows = tenants.into_iter().map(|tenant| tenant.join().expect("an attempt does not panic"));
        rows.collect::<Result<Vec<_>>>()
    });
    Ok(rows?.into_iter().flatten().collect())
}

fn attempts_of(tenant: &Tenant, internet: &Host, servers: &Servers) -> Result<Vec<Row>> {
    let own_server = MailServer::start(&tenant.host.namespace, 25)?;
    let attempts = ATTEMPTS.into_iter().filter(|(id, ..)| *id == tenant.id);
    let rows = attempts.map(|(id, sends, port, expected)| {
        let (client, host, server) = match (sends, port) {
            (false, _) => (internet, &tenant.host, &own_server),
            (true, 25) => (&tenant.host, internet, &servers.relay),
            (true, _) => (&tenant.host, internet, &servers.submission),
        };
        let link = tenant.tags.map_or_else(String::new, |tags| format!(" (VLAN {tags})"));
        let tried = format!("{id}{link} {} mail, port {port}", if sends { "sends" } else { "is sent" });
        let [ipv4, ipv6] = host.addresses().map(|address| server.receive(&client.namespace, address));
        let happened = ipv4.and_then(|ipv4| {
            let ipv6 = ipv6?;
            Ok((format!("IPv4 {ipv4}, IPv6 {ipv6}"), [ipv4, ipv6] == [expected; 2]))
        });
        Row::new(tried, expected.to_string(), happened)
    });
    Ok(rows.collect())
}
