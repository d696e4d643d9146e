//! Speed: each tenant's cap holds by itself, both ways, and feels like a link of that speed to TCP.

use std::thread;

use anyhow::Result;
use fairway_tests::iperf::{self, Flow, Throughput, Traffic};
use fairway_tests::process::Process;
use fairway_tests::topology::Tenant;

use crate::Lab;
use crate::report::Row;

const SECONDS: u32 = 6;
/// Payload in Mbit/s under a cap of 10 Mbit/s of frames. The burst of 350 ms adds at most 6 % over six
/// seconds; headers take 3 % (UDP) to 4 % (TCP).
const EXPECTED: std::ops::RangeInclusive<f64> = 9.0..=10.4;

/// Who sends what, all at the same time, in one direction.
const TCP: [(&str, Traffic<'static>); 3] =
    [("acme", Traffic::Tcp("cubic")), ("beta", Traffic::Tcp("reno")), ("gamma", Traffic::Tcp("bbr"))];
const FLOOD: [(&str, Traffic<'static>); 2] = [
    ("acme", Traffic::Udp { bits_per_sec: 40_000_000 }),
    ("delta", Traffic::Udp { bits_per_sec: 40_000_000 }),
];

/// Measures TCP and floods, up and down.
pub(crate) fn experiment(lab: &Lab<'_>) -> Result<Vec<Row>> {
    let ports = (iperf::PORT..).take(TCP.len());
    let servers = ports.map(|port| iperf::serve(&lab.topology.internet.namespace, port));
    let _servers: Vec<Process> = servers.collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for load in [&TCP[..], &FLOOD] {
        for flow in [Flow::Upload, Flow::Download] {
            rows.extend(measure(lab, load, flow));
        }
    }
    Ok(rows)
}

fn measure(lab: &Lab<'_>, load: &[(&str, Traffic<'static>)], flow: Flow) -> Vec<Row> {
    let server = lab.topology.internet.ipv4.into();
    let run = |tenant: &Tenant, port: u16, traffic: Traffic<'static>| {
        let outcome = iperf::transfer(&tenant.host.namespace, server, port, traffic, flow, SECONDS);
        let expected = format!("{:.1} to {:.1} Mbit/s", EXPECTED.start(), EXPECTED.end());
        Row::new(describe(tenant.id, traffic, flow), expected, outcome.map(|outcome| judge(&outcome)))
    };
    thread::scope(|scope| {
        let loads = load.iter().zip(iperf::PORT..).map(|(&(id, traffic), port)| {
            let (run, tenant) = (&run, lab.topology.tenant(id));
            scope.spawn(move || run(tenant, port, traffic))
        });
        let loads: Vec<_> = loads.collect();
        loads.into_iter().map(|load| load.join().expect("a measurement does not panic")).collect()
    })
}

fn describe(id: &str, traffic: Traffic<'_>, flow: Flow) -> String {
    let way = if flow == Flow::Upload { "sends" } else { "receives" };
    match traffic {
        Traffic::Tcp(congestion_control) => format!("{id} {way} by TCP ({congestion_control})"),
        Traffic::Udp { bits_per_sec } => format!("{id} {way} UDP at {} Mbit/s", bits_per_sec / 1_000_000),
    }
}

fn judge(throughput: &Throughput) -> (String, bool) {
    let mbit_per_sec = throughput.mbit_per_sec();
    (format!("{mbit_per_sec:.1} Mbit/s arrive"), EXPECTED.contains(&mbit_per_sec))
}
