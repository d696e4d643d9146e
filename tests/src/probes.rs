//! TCP connections opened in ways that filters fall for, by the tools that people try them with: in
//! fragments, behind options, behind extension headers.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::run::wait_for;
use crate::topology::Host;

/// A way to send a SYN that its receiver takes for a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// hping3, over IPv4, with these options.
    Hping(&'static [&'static str]),
    /// nping, over IPv4, with these options.
    Nping(&'static [&'static str]),
    /// scapy, over IPv4: its fragments or its packet, in Python.
    Scapy(&'static str),
    /// The same over IPv6.
    Scapy6(&'static str),
}

/// Each arrives if nothing is in its way, with the reason that Fairway drops it for on a closed port. Over IPv6
/// none is cut within the TCP header: Linux does not take those (RFC 7112).
pub const PROBES: [(Probe, &str); 13] = [
    // Eight bytes of TCP hold the ports, sixteen not the flags, 24 the whole header.
    (Probe::Hping(&["--data", "100", "--mtu", "8"]), "fragment"),
    (Probe::Hping(&["--data", "100", "--frag"]), "fragment"),
    (Probe::Hping(&["--data", "100", "--mtu", "24"]), "smtp_blocked"),
    (Probe::Hping(&["--rroute"]), "smtp_blocked"),
    (Probe::Nping(&["--data-length", "100", "--mtu", "8"]), "fragment"),
    (Probe::Nping(&["--data-length", "100", "--mtu", "48"]), "smtp_blocked"),
    (Probe::Nping(&["--ip-options", "T"]), "smtp_blocked"),
    (Probe::Scapy("fragment(ip/tcp/data, 16)[::-1]"), "fragment"),
    (Probe::Scapy("fragment(ip/tcp/data, 24)[::-1]"), "smtp_blocked"),
    (Probe::Scapy6("fragment6(ip/IPv6ExtHdrFragment(id=n)/tcp/data, 80)[::-1]"), "smtp_blocked"),
    (Probe::Scapy6("ip/IPv6ExtHdrFragment(id=n)/tcp"), "smtp_blocked"),
    (Probe::Scapy6("ip/IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/tcp"), "smtp_blocked"),
    (
        Probe::Scapy6("ip/IPv6ExtHdrDestOpt()/IPv6ExtHdrFragment(id=n)/IPv6ExtHdrDestOpt()/tcp"),
        "smtp_blocked",
    ),
];

/// Sends what the expression in the first argument makes. Through raw sockets, for which the kernel looks
/// for routes and neighbours as for any.
const SCAPY: &str = "\
import socket, sys
from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.inet6 import *
from scapy.packet import Raw
what, version, source, target, port, count = sys.argv[1:]
family = socket.AF_INET if version == '4' else socket.AF_INET6
wire = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
for n in range(1, int(count) + 1):
    ip = IP(src=source, dst=target, id=n) if version == '4' else IPv6(src=source, dst=target)
    tcp, data = TCP(sport=40000 + n, dport=int(port), flags='S'), Raw(bytes(100))
    made = eval(what)
    for packet in made if isinstance(made, list) else [made]:
        wire.sendto(bytes(packet), (target, 0))
";

impl Probe {
    /// Sends it a number of times.
    ///
    /// # Errors
    /// If the tool says that it has not.
    pub fn send(self, from: &Host, to: &Host, port: u16, count: u32) -> Result<()> {
        let [(source4, target4), (source6, target6)] =
            [(from.ipv4.to_string(), to.ipv4.to_string()), (from.ipv6.to_string(), to.ipv6.to_string())];
        let (port, count) = (port.to_string(), count.to_string());
        let scapy = |expression, version, source, target| {
            vec!["/usr/bin/python3", "-c", SCAPY, expression, version, source, target, &port, &count]
        };
        let (arguments, sent) = match self {
            Self::Hping(options) => {
                let fixed = ["hping3", "--numeric", "--syn", "--destport", &port, "--count", &count];
                let arguments = [&fixed[..], &["--interval", "u2000"], options, &[&target4]].concat();
                (arguments, format!("{count} packets transmitted"))
            }
            Self::Nping(options) => {
                let fixed = ["nping", "--tcp", "--flags", "syn", "--dest-port", &port, "--count", &count];
                let arguments = [&fixed[..], &["--delay", "2ms"], options, &[&target4]].concat();
                (arguments, format!("Raw packets sent: {count} "))
            }
            Self::Scapy(expression) => (scapy(expression, "4", &source4, &target4), String::new()),
            Self::Scapy6(expression) => (scapy(expression, "6", &source6, &target6), String::new()),
        };
        let finished = from.namespace.start(&arguments)?.finish(Duration::from_secs(30))?;
        let told = format!("{}{}", finished.stdout, finished.stderr);
        // hping3 fails when nothing is answered, as may be meant here.
        let succeeded = finished.status.success() || matches!(self, Self::Hping(_));
        ensure!(succeeded && told.contains(&sent), "{self:?}: {}\n{told}", finished.status);
        Ok(())
    }
}

/// Sends a probe a number of times, and sees that as many segments arrive. Again, if they do not: hping3 gives the fragments of
/// all that it sends the same identification, so one that is overtaken on another processor spoils the next packet.
///
/// # Errors
/// If they never did.
pub fn see_arrive(probe: Probe, from: &Host, to: &Host, port: u16, count: u32) -> Result<()> {
    const ATTEMPTS: u32 = 4;
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        let before = segments_received(&to.namespace)?;
        probe.send(from, to, port, count)?;
        let arrived = || (segments_received(&to.namespace).ok()? >= before + u64::from(count)).then_some(());
        last = wait_for(&format!("{count} times {probe:?}"), Duration::from_secs(5), arrived);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Segments that TCP has received in a namespace, whole and put together, over IPv4 and IPv6.
pub fn segments_received(namespace: &Namespace) -> Result<u64> {
    // /proc/net shows the namespace of the thread that looks.
    let table = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = rows.next().zip(rows.next()).context("no counters of TCP")?;
    let mut columns = names.split(' ').zip(values.split(' '));
    let (_, received) = columns.find(|(name, _)| *name == "InSegs").context("no counter InSegs")?;
    received.parse().with_context(|| format!("InSegs is {received}"))
}
