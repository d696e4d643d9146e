//! Writing captures.

use fairway_tests::frames::Packet;
use fairway_tests::pcap::{self, Resolution};
pub(crate) use fairway_tests::pcap::{ETHERNET, Written, at};

/// 2026-11-01T00:00:00Z, in nanoseconds.
pub(crate) const START_NS: u64 = 1_793_491_200_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A pcap file with times in nanoseconds.
pub(crate) fn pcap(link_type: u32, packets: &[Written]) -> Vec<u8> {
    pcap::file(Resolution::Nanoseconds, link_type, packets)
}

/// A pcap file of Ethernet frames, a millisecond apart.
pub(crate) fn ethernet(packets: &[Packet]) -> Vec<u8> {
    let frames = (START_NS..).step_by(1_000_000).zip(packets);
    pcap(ETHERNET, &frames.map(|(at_ns, packet)| at(at_ns, packet.frame())).collect::<Vec<_>>())
}
