//! Load: iperf3 servers and clients.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::Process;

/// The port that iperf3 uses unless told otherwise.
pub const PORT: u16 = 5201;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic<'a> {
    /// One TCP connection under the named congestion control, as fast as it goes.
    Tcp(&'a str),
    /// Datagrams at this rate, whatever becomes of them.
    Udp {
        /// Offered payload, in bits per second.
        bits_per_sec: u64,
    },
}

/// Which way the data flows, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the server.
    Upload,
    /// From the server.
    Download,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// Payload that the receiver got, in bits per second, over the whole transfer.
    pub received_bits_per_sec: f64,
    /// Payload that the receiver got, in bytes.
    pub received_bytes: u64,
    /// Segments that TCP sent again; none for datagrams.
    pub retransmits: Option<u64>,
}

impl Throughput {
    /// In Mbit/s of payload.
    #[must_use]
    pub fn mbit_per_sec(&self) -> f64 {
        self.received_bits_per_sec / 1e6
    }
}

/// Starts a server on a port of all addresses; it serves one client at a time.
pub fn serve(namespace: &Namespace, port: u16) -> Result<Process> {
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    namespace.serve(&["iperf3", "--server", "--port", &port.to_string()], listen)
}

/// Measures one transfer from a client in `namespace`.
///
/// # Errors
/// If the server cannot be reached, or the transfer breaks off.
pub fn transfer(
    namespace: &Namespace,
    server: IpAddr,
    port: u16,
    traffic: Traffic<'_>,
    flow: Flow,
    seconds: u32,
) -> Result<Throughput> {
    let (server, port, duration) = (server.to_string(), port.to_string(), seconds.to_string());
    let rate;
    let mut arguments = vec!["iperf3", "--json", "--connect-timeout", "5000", "--client", &server];
    arguments.extend(["--port", &port, "--time", &duration]);
    match traffic {
        Traffic::Tcp(congestion_control) => arguments.extend(["--congestion", congestion_control]),
        Traffic::Udp { bits_per_sec } => {
            rate = bits_per_sec.to_string();
            arguments.extend(["--udp", "--bitrate", &rate]);
        }
    }
    if flow == Flow::Download {
        arguments.push("--reverse");
    }
    let finished = namespace.start(&arguments)?.finish(Duration::from_secs(u64::from(seconds) + 30))?;
    parse(&finished.stdout).with_context(|| format!("{}\n{}", arguments.join(" "), finished.stderr))
}

/// Reads iperf3's report.
fn parse(report: &str) -> Result<Throughput> {
    let report: Value = serde_json::from_str(report).context("iperf3 printed no report")?;
    if let Some(error) = report["error"].as_str() {
        bail!("{error}");
    }
    let received = &report["end"]["sum_received"];
    Ok(Throughput {
        received_bits_per_sec: received["bits_per_second"].as_f64().context("no rate in the report")?,
        received_bytes: received["bytes"].as_u64().context("no bytes in the report")?,
        retransmits: report["end"]["sum_sent"]["retransmits"].as_u64(),
    })
}
