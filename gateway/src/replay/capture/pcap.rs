//! pcap (draft-ietf-opsawg-pcap): one header, then packets of one link type.

use std::io::BufRead;

use super::input::{ByteOrder, Fields, Input};
use super::{Problem, Record};

const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;

/// In the link-type field: the upper four bits are the FCS's length in units of 16 bits.
const FCS_LENGTH_IS_KNOWN: u32 = 1 << 26;

/// How to read the packets of a file.
pub(super) struct Pcap {
    order: ByteOrder,
    /// Of the smaller part of a time: microseconds or nanoseconds.
    ns_per_tick: u64,
    link_type: u16,
    fcs_bytes: u32,
}

impl Pcap {
    /// Reads the header of a file that begins with `magic`.
    pub(super) fn open(magic: [u8; 4], input: &mut Input<impl BufRead>) -> Result<Self, Problem> {
        let (order, ns_per_tick) = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => (ByteOrder::Big, 1_000),
            0xa1b2_3c4d => (ByteOrder::Big, 1),
            0xd4c3_b2a1 => (ByteOrder::Little, 1_000),
            0x4d3c_b2a1 => (ByteOrder::Little, 1),
            _ => return Err(Problem::NotACapture(magic)),
        };
        let header = input.read_to(FILE_HEADER_BYTES, "the file's header")?;
        let link = Fields::new(&header[20..], order).u32().unwrap_or_default();
        let fcs_bytes = if link & FCS_LENGTH_IS_KNOWN != 0 { (link >> 28) * 2 } else { 0 };
        Ok(Self { order, ns_per_tick, link_type: link as u16, fcs_bytes })
    }

    pub(super) fn next(&self, input: &mut Input<impl BufRead>) -> Result<Option<Record>, Problem> {
        if !input.begin()? {
            return Ok(None);
        }
        let header = input.read_to(PACKET_HEADER_BYTES, "a packet's header")?;
        let mut fields = Fields::new(header, self.order);
        let [seconds, ticks, captured_bytes, wire_bytes] = [(); 4].map(|()| fields.u32().unwrap_or_default());
        let end = PACKET_HEADER_BYTES + captured_bytes as usize;
        input.read_to(end, "a packet")?;
        Ok(Some(Record {
            at_ns: Some(u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * self.ns_per_tick),
            link_type: self.link_type,
            wire_bytes,
            fcs_bytes: self.fcs_bytes,
            captured: PACKET_HEADER_BYTES..end,
        }))
    }
}
