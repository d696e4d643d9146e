//! Packets that others captured, under a policy made for each capture, on both sides, whole and damaged.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket};
use fairway_tests::captures::Capture;
use fastrand::Rng;
use gateway::config::Side;

use crate::BATCH;
use crate::difference::Difference;
use crate::mutate::mutate;
use crate::policies::{EARLY_NS, Policy};
use crate::world::{DRAIN_NS, Packet, World};

/// Tenants that a capture's addresses are dealt out to.
const TENANTS: usize = 4;

/// Prefixes of one tenant; the model goes through them one by one.
const MAX_PREFIXES: usize = 100;

/// What the kernel runs.
const LENGTHS: std::ops::Range<usize> = 14..65_000;

/// Longer pauses than this in a capture tell nothing more about caps.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Compares a capture's packets on both sides: as they are, then mutated in every further round.
pub(crate) fn compare(
    world: &mut World,
    capture: &Capture,
    seed: u64,
    rounds: u64,
) -> Result<(), Box<Difference>> {
    let mut rng = Rng::with_seed(seed);
    world.replace(&policy(capture));
    let frames: Vec<_> = capture.frames.iter().filter(|(_, frame)| LENGTHS.contains(&frame.len())).collect();
    let mut start_ns = EARLY_NS;
    for round in 0..rounds {
        for batch in frames.chunks(BATCH / 2) {
            let first_ns = batch.iter().map(|(at_ns, _)| *at_ns).min().unwrap_or(0);
            let both_sides = batch.iter().flat_map(|frame| [(Side::Tenant, *frame), (Side::Uplink, *frame)]);
            let packets: Vec<_> = both_sides
                .map(|(side, (at_ns, frame))| {
                    let mut frame = frame.clone();
                    if round > 0 {
                        let other = &frames[rng.usize(..frames.len())].1;
                        mutate(&mut rng, &mut frame, other);
                    }
                    Packet { side, at_ns: start_ns + (at_ns - first_ns).min(LONGEST_NS), frame }
                })
                .collect();
            world.compare(&packets).map_err(|difference| difference.of(seed, round))?;
            start_ns += LONGEST_NS + DRAIN_NS;
        }
    }
    Ok(())
}

/// A policy without tenants, to begin with.
pub(crate) fn no_policy() -> Policy {
    Policy {
        name: "none".into(),
        toml: String::new(),
        match_vlan: false,
        start_ns: EARLY_NS,
        suspends: false,
    }
}

/// A policy in which half of the capture's addresses belong to tenants of different kinds.
///
/// No tenant has the name of another capture's: those that stay keep their buckets.
fn policy(capture: &Capture) -> Policy {
    let addresses: BTreeSet<IpAddr> = capture.frames.iter().flat_map(|(_, frame)| addresses(frame)).collect();
    let (own, others): (Vec<_>, Vec<_>) = addresses.iter().zip(0..).partition(|(_, rank)| rank % 2 == 0);
    let id = capture.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
    let id = &id[id.len().saturating_sub(60)..];
    let mut toml = String::from(
        "[fair_use]\nceiling = \"1 Gbit/s\"\n\
         [[closed_port]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [80, 443]\n\
         [[closed_port]]\nname = \"dns\"\nprotocol = \"udp\"\nports = [53]\ndirection = \"in\"\n",
    );
    let peers: Vec<String> = others.iter().take(20).map(|(address, _)| format!("\"{address}\"")).collect();
    let exemption = |direction: &str, peers: &str| {
        format!(
            "[[tenant.smtp_exemption]]\ndirection = {direction:?}\n{peers}\nticket = \"T\"\n\
             approved_by = \"x\"\nexpires = 2099-01-01\n"
        )
    };
    let kinds: [(&str, String); TENANTS] = [
        ("", String::new()),
        (
            "cap = { up = \"8 kbit/s\", down = \"64 kbit/s\" }\nburst = \"1s\"\nopen = [\"web\"]\n",
            String::new(),
        ),
        ("open = [\"dns\"]\n", exemption("both", "")),
        ("submission = \"block\"\n", exemption("out", &format!("peers = [{}]", peers.join(", ")))),
    ];
    for (tenant, (settings, tables)) in kinds.iter().enumerate() {
        let dealt = own.iter().skip(tenant).step_by(TENANTS).take(MAX_PREFIXES);
        let prefixes: Vec<String> = dealt.map(|(address, _)| format!("\"{address}\"")).collect();
        if !prefixes.is_empty() {
            let prefixes = prefixes.join(", ");
            write!(toml, "[[tenant]]\nid = \"{id}-{tenant}\"\ncontact = \"a@t.example\"\n").unwrap();
            write!(toml, "prefixes = [{prefixes}]\n{settings}{tables}").unwrap();
        }
    }
    Policy { name: capture.name.clone(), toml, ..no_policy() }
}

/// Addresses of a frame that a tenant may have.
fn addresses(frame: &[u8]) -> Vec<IpAddr> {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else { return Vec::new() };
    let found: [IpAddr; 2] = match packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            [ip.header().source_addr().into(), ip.header().destination_addr().into()]
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            [ip.header().source_addr().into(), ip.header().destination_addr().into()]
        }
        _ => return Vec::new(),
    };
    found.into_iter().filter(is_a_hosts).collect()
}

/// Whether a configuration takes it for a host's.
fn is_a_hosts(address: &IpAddr) -> bool {
    let is_reserved = match address {
        IpAddr::V4(address) => address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_unspecified() || address.to_ipv4_mapped().is_some(),
    };
    !is_reserved && !address.is_loopback() && !address.is_multicast()
}
