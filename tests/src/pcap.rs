//! Writing captures: pcap (draft-ietf-opsawg-pcap), little-endian.

/// The link type of Ethernet frames.
pub const ETHERNET: u32 = 1;

/// A packet to be written: its time, and what of it was captured of how much.
#[derive(Clone, Debug)]
pub struct Written {
    at_ns: u64,
    captured: Vec<u8>,
    wire_bytes: usize,
}

/// Captured in full, this many nanoseconds after 1970.
#[must_use]
pub fn at(at_ns: u64, bytes: Vec<u8>) -> Written {
    Written { at_ns, wire_bytes: bytes.len(), captured: bytes }
}

impl Written {
    /// Keeps only so many bytes, as a snapshot length does.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.captured.truncate(bytes);
        self
    }
}

/// How fine the times in a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// What every tool reads.
    Microseconds,
    /// What most tools read.
    Nanoseconds,
}

/// A file of packets of one link type.
#[must_use]
pub fn file(resolution: Resolution, link_type: u32, packets: &[Written]) -> Vec<u8> {
    const SECOND_NS: u64 = 1_000_000_000;
    /// Claimed, not kept to: readers do not care.
    const SNAPSHOT_BYTES: u32 = 65_535;
    let (magic, tick_ns) = match resolution {
        Resolution::Microseconds => (0xa1b2_c3d4, 1_000),
        Resolution::Nanoseconds => (0xa1b2_3c4d, 1),
    };
    let mut file = Vec::new();
    let mut words = |words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    words(&[magic, 2 | 4 << 16, 0, 0, SNAPSHOT_BYTES, link_type]);
    for packet in packets {
        let time = [(packet.at_ns / SECOND_NS) as u32, (packet.at_ns % SECOND_NS / tick_ns) as u32];
        let lengths = [packet.captured.len() as u32, packet.wire_bytes as u32];
        file.extend([time, lengths].concat().iter().flat_map(|word| word.to_le_bytes()));
        file.extend(&packet.captured);
    }
    file
}
