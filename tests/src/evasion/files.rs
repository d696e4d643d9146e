//! The corpus as files that others can use.

use std::fmt::Write as _;

use gateway::config::Side;
use gateway_ebpf::DropReason;

use super::Case;
use crate::outcome::Outcome;
use crate::pcap::{self, Resolution};

/// 2026-11-01, noon UTC, in nanoseconds; packets follow each other by a millisecond.
const START_NS: u64 = 1_793_534_400_000_000_000;

/// The packets of a case as a capture of Ethernet frames.
#[must_use]
pub fn capture(case: &Case) -> Vec<u8> {
    let packets = (START_NS..).step_by(1_000_000).zip(&case.packets);
    let packets: Vec<_> = packets.map(|(at_ns, packet)| pcap::at(at_ns, packet.frame.clone())).collect();
    pcap::file(Resolution::Microseconds, pcap::ETHERNET, &packets)
}

/// What must happen to each packet of the corpus. Packets are counted from 1 within their case, as
/// Wireshark counts them.
#[must_use]
pub fn table(corpus: &[Case]) -> String {
    let mut table = String::from("case,packet,side,verdict,tenant,reason,what\n");
    for case in corpus {
        for (packet, number) in case.packets.iter().zip(1..) {
            let side = match packet.side {
                Side::Tenant => "tenant",
                Side::Uplink => "uplink",
            };
            let verdict = if packet.expected.passes() { "pass" } else { "drop" };
            let tenant = match packet.expected {
                Outcome::Passed(tenant) | Outcome::Dropped(tenant, _) => tenant,
                _ => "",
            };
            let reason = packet.expected.reason().map_or("", DropReason::label);
            let what = packet.name;
            writeln!(table, "{},{number},{side},{verdict},{tenant},{reason},\"{what}\"", case.name)
                .expect("memory takes the row");
        }
    }
    table
}
