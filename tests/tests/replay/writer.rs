//! Writing captures.

use fairway_tests::frames::Packet;

/// 2026-11-01T00:00:00Z, in nanoseconds.
pub(crate) const START_NS: u64 = 1_793_491_200_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

pub(crate) const ETHERNET: u32 = 1;

/// A packet to be written: its time, and what of it was captured of how much.
pub(crate) struct Written {
    at_ns: u64,
    captured: Vec<u8>,
    wire_bytes: usize,
}

/// Captured in full.
pub(crate) fn at(at_ns: u64, bytes: Vec<u8>) -> Written {
    Written { at_ns, wire_bytes: bytes.len(), captured: bytes }
}

impl Written {
    /// Keeps only so many bytes, as a snapshot length does.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.captured.truncate(bytes);
        self
    }
}

/// A pcap file with times in nanoseconds.
pub(crate) fn pcap(link_type: u32, packets: &[Written]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut words = |words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    words(&[0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 262_144, link_type]);
    for packet in packets {
        let time = [(packet.at_ns / SECOND_NS) as u32, (packet.at_ns % SECOND_NS) as u32];
        let lengths = [packet.captured.len() as u32, packet.wire_bytes as u32];
        file.extend([time, lengths].concat().iter().flat_map(|word| word.to_le_bytes()));
        file.extend(&packet.captured);
    }
    file
}

/// A pcap file of Ethernet frames, a millisecond apart.
pub(crate) fn ethernet(packets: &[Packet]) -> Vec<u8> {
    let frames = (START_NS..).step_by(1_000_000).zip(packets);
    pcap(ETHERNET, &frames.map(|(at_ns, packet)| at(at_ns, packet.frame())).collect::<Vec<_>>())
}
