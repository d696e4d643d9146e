//! Usage: every packet that passes is counted, to the byte, and a Prometheus sees it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use fairway_tests::packets::{self, Receiver};
use fairway_tests::prometheus;
use fairway_tests::run::wait_for;

use crate::Lab;
use crate::report::Row;

/// At once, and below the 83 ms of the cap at which a fair cap gives its first signal.
const DATAGRAMS: u32 = 80;
const PAYLOAD_BYTES: u32 = 1_000;
/// With the headers of UDP, IPv4 and Ethernet.
const FRAME_BYTES: u32 = PAYLOAD_BYTES + 8 + 20 + 14;

/// Sends a known number of datagrams and looks them up.
pub(crate) fn experiment(lab: &Lab<'_>) -> Result<Vec<Row>> {
    let bytes = DATAGRAMS * FRAME_BYTES;
    let sent = Row::new(
        format!("acme sends {DATAGRAMS} datagrams of {PAYLOAD_BYTES} bytes"),
        format!("Prometheus: {DATAGRAMS} packets, {bytes} bytes"),
        send(lab, f64::from(bytes)),
    );
    let form = lab.gateway.metrics_text().and_then(|text| prometheus::check_metrics(&text));
    let form = Row::new("promtool reads the metrics", "no fault", form.map(|()| ("no fault".into(), true)));
    Ok(vec![sent, form])
}

fn send(lab: &Lab<'_>, bytes: f64) -> Result<(String, bool)> {
    let (tenant, internet) = (&lab.topology.tenant("acme").host, &lab.topology.internet);
    // Before, from the gateway itself: Prometheus may not have seen all of what came earlier.
    let metrics = lab.gateway.metrics()?;
    let before = |what: &str| metrics.sum(&name(what), &[("tenant", "acme"), ("direction", "up")]);
    let (packets_before, bytes_before) = (before("packets"), before("bytes"));

    let target = SocketAddr::new(internet.ipv4.into(), 9);
    let mut receiver = Receiver::listen(&internet.namespace, target)?;
    let payload = usize::try_from(PAYLOAD_BYTES)?;
    packets::send_datagrams(&tenant.namespace, tenant.ipv4.into(), target, payload, DATAGRAMS)?;
    receiver.wait_for(DATAGRAMS)?;

    let scraped = |what: &str| -> Option<f64> {
        lab.prometheus.query(&format!("{}{{tenant=\"acme\",direction=\"up\"}}", name(what))).ok()?
    };
    let grown = || Some((scraped("packets")? - packets_before, scraped("bytes")? - bytes_before));
    let expected = (f64::from(DATAGRAMS), bytes);
    let in_time =
        wait_for("the next scrape", Duration::from_secs(5), || grown().filter(|grown| *grown == expected));
    let (packets, bytes) = in_time.ok().or_else(grown).context("Prometheus does not know acme's counters")?;
    Ok((format!("Prometheus: {packets} packets, {bytes} bytes"), (packets, bytes) == expected))
}

fn name(what: &str) -> String {
    format!("fairway_tenant_{what}_total")
}
