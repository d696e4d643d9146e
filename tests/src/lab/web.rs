//! Everything else flows: the web both ways. Packets with a source that is not the tenant's own do not (BCP 38).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::topology::{Host, Tenant};
use fairway_tests::web::{self, PAGE, WebServer};

use crate::Lab;
use crate::report::Row;

/// Nobody's in this network (TEST-NET-1).
const FORGED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
const FORGED_PACKETS: u32 = 20;

/// Fetches pages from and to every tenant, then sends forged packets.
pub(crate) fn experiment(lab: &Lab<'_>) -> Result<Vec<Row>> {
    let _outside = WebServer::start(&lab.topology.internet.namespace, 80)?;
    let tenants = lab.topology.tenants.iter();
    let mut rows: Vec<Row> =
        tenants.map(|tenant| browse(tenant, &lab.topology.internet)).collect::<Result<_>>()?;
    let forger = lab.topology.tenant("acme");
    rows.push(Row::new(
        format!("acme sends {FORGED_PACKETS} packets from {FORGED}"),
        format!("0 arrive, {FORGED_PACKETS} counted"),
        forge(lab, forger),
    ));
    Ok(rows)
}

fn browse(tenant: &Tenant, internet: &Host) -> Result<Row> {
    let _inside = WebServer::start(&tenant.host.namespace, 80)?;
    let pairs = [(&tenant.host, internet), (internet, &tenant.host)];
    let targets =
        pairs.iter().flat_map(|(from, to)| to.addresses().map(|address| (&from.namespace, address)));
    let pages = targets.filter(|(from, address)| {
        web::get(from, SocketAddr::new(*address, 80), "/").is_ok_and(|page| page == PAGE)
    });
    let pages = pages.count();
    let tried = format!("{} fetches and serves web pages", tenant.id);
    Ok(Row::new(tried, "4 of 4 (IPv4, IPv6)", Ok((format!("{pages} of 4"), pages == 4))))
}

fn forge(lab: &Lab<'_>, forger: &Tenant) -> Result<(String, bool)> {
    let target = SocketAddrV4::new(lab.topology.internet.ipv4, 9);
    let mut receiver = Receiver::listen(&lab.topology.internet.namespace, target.into())?;
    let counted = || -> Result<f64> {
        let interface = [("interface", forger.router_interface.as_str())];
        Ok(lab.gateway.metrics()?.sum("fairway_unknown_source_packets_total", &interface))
    };
    let before = counted()?;
    packets::send_forged(&forger.host.namespace, FORGED, target, FORGED_PACKETS).context("forging")?;
    let (counted, arrived) = (counted()? - before, receiver.received());
    Ok((format!("{arrived} arrive, {counted} counted"), arrived == 0 && counted == f64::from(FORGED_PACKETS)))
}
