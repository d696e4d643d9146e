//! The corpus as files that others can use.

use std::fmt::Write as _;
use std::time::Duration;

use gateway::config::Side;
use gateway_ebpf::DropReason;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{Endianness, TsResolution};

use super::Case;
use crate::outcome::Outcome;

/// 2026-11-01, noon UTC; packets follow each other by a millisecond.
const START: Duration = Duration::from_secs(1_793_534_400);

/// The packets of a case as a capture of Ethernet frames.
///
/// # Panics
/// Never: it is written to memory.
#[must_use]
pub fn capture(case: &Case) -> Vec<u8> {
    let header = PcapHeader {
        endianness: Endianness::Little,
        ts_resolution: TsResolution::MicroSecond,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).expect("memory takes the header");
    for (packet, number) in case.packets.iter().zip(0..) {
        let length = packet.frame.len() as u32;
        let packet = PcapPacket::new(START + Duration::from_millis(number), length, &packet.frame);
        writer.write_packet(&packet).expect("memory takes the packet");
    }
    writer.into_writer()
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
