//! pcapng (draft-ietf-opsawg-pcapng): sections, each in its own byte order, of interfaces and packets.
//! Blocks and options that say nothing about a packet's bytes or time are passed over, whatever is in
//! them.

use std::io::BufRead;

use super::input::{ByteOrder, Fields, Input};
use super::{Problem, Record};

/// Block types. The section header's is the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete since 2007, and still found in old captures.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Type and length, before a block's body.
const HEAD_BYTES: usize = 8;
/// The length once more, behind it.
const TAIL_BYTES: usize = 4;

/// Options of an interface.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const TIME_RESOLUTION: u16 = 9;
    pub(super) const FCS_LENGTH: u16 = 13;
    pub(super) const TIME_OFFSET: u16 = 14;
}

const TOO_SHORT: Problem = Problem::Invalid("a block is too short for its fields");

/// The section that is being read.
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
}

struct Interface {
    link_type: u16,
    /// Bytes of a packet that were kept at most; 0: all.
    snapshot_bytes: u32,
    fcs_bytes: u32,
    ticks_per_second: u128,
    offset_seconds: i64,
}

impl Pcapng {
    /// Reads the first section's header, of which the type has been read.
    pub(super) fn open(input: &mut Input<impl BufRead>) -> Result<Self, Problem> {
        let mut section = Self { order: ByteOrder::Little, interfaces: Vec::new() };
        section.begin(input)?;
        Ok(section)
    }

    pub(super) fn next(&mut self, input: &mut Input<impl BufRead>) -> Result<Option<Record>, Problem> {
        while input.begin()? {
            let head = input.read_to(HEAD_BYTES, "a block's header")?;
            let block_type = Fields::new(head, self.order).u32().unwrap_or_default();
            if block_type == SECTION_HEADER {
                self.begin(input)?;
                continue;
            }
            let body = Fields::new(body(input, self.order)?, self.order);
            match block_type {
                INTERFACE_DESCRIPTION => self.interfaces.push(Interface::read(body).ok_or(TOO_SHORT)?),
                ENHANCED_PACKET | PACKET => return self.packet(block_type, body).map(Some),
                SIMPLE_PACKET => return self.simple_packet(body).map(Some),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Reads a section's header.
    fn begin(&mut self, input: &mut Input<impl BufRead>) -> Result<(), Problem> {
        let head = input.read_to(HEAD_BYTES + 4, "a section's header")?;
        self.order = match Fields::new(&head[HEAD_BYTES..], ByteOrder::Big).u32() {
            Some(BYTE_ORDER_MAGIC) => ByteOrder::Big,
            Some(magic) if magic.swap_bytes() == BYTE_ORDER_MAGIC => ByteOrder::Little,
            _ => return Err(Problem::Invalid("a section without a byte order")),
        };
        self.interfaces.clear();
        let mut fields = Fields::new(body(input, self.order)?, self.order);
        match fields.u32().and_then(|_magic| fields.u16()) {
            Some(1) => Ok(()),
            Some(_) => Err(Problem::Invalid("a section of another version than 1")),
            None => Err(TOO_SHORT),
        }
    }

    /// An enhanced packet, or an obsolete one, whose interface number has half the width.
    fn packet(&self, block_type: u32, mut body: Fields<'_>) -> Result<Record, Problem> {
        let interface = match block_type {
            PACKET => body.u16().zip(body.u16()).map(|(interface, _drops)| u32::from(interface)),
            _ => body.u32(),
        };
        let interface = self.interface(interface.ok_or(TOO_SHORT)?)?;
        let mut field = || body.u32().ok_or(TOO_SHORT);
        let ticks = u64::from(field()?) << 32 | u64::from(field()?);
        let (captured_bytes, wire_bytes) = (field()? as usize, field()?);
        if captured_bytes > body.rest().len() {
            return Err(Problem::Invalid("a packet is longer than its block"));
        }
        let start = HEAD_BYTES + 20;
        Ok(Record {
            at_ns: Some(interface.nanoseconds(ticks)),
            link_type: interface.link_type,
            wire_bytes,
            fcs_bytes: interface.fcs_bytes,
            captured: start..start + captured_bytes,
        })
    }

    /// A packet of the first interface, without a time.
    fn simple_packet(&self, mut body: Fields<'_>) -> Result<Record, Problem> {
        let interface = self.interface(0)?;
        let wire_bytes = body.u32().ok_or(TOO_SHORT)?;
        let kept = if interface.snapshot_bytes == 0 { u32::MAX } else { interface.snapshot_bytes };
        // The captured length is not written; the body is padded to four bytes.
        let captured_bytes = body.rest().len().min(wire_bytes.min(kept) as usize);
        let start = HEAD_BYTES + 4;
        Ok(Record {
            at_ns: None,
            link_type: interface.link_type,
            wire_bytes,
            fcs_bytes: interface.fcs_bytes,
            captured: start..start + captured_bytes,
        })
    }

    fn interface(&self, number: u32) -> Result<&Interface, Problem> {
        let interface = self.interfaces.get(number as usize);
        interface.ok_or(Problem::Invalid("a packet of an interface that was not described"))
    }
}

/// Reads the rest of a block, whose type and length have been read, and returns its body.
fn body(input: &mut Input<impl BufRead>, order: ByteOrder) -> Result<&[u8], Problem> {
    let length_at = |bytes: &[u8], at: usize| Fields::new(&bytes[at..], order).u32().unwrap_or_default();
    let length = length_at(input.record(), 4) as usize;
    if length < HEAD_BYTES + TAIL_BYTES || !length.is_multiple_of(4) || length < input.record().len() {
        return Err(Problem::Invalid("a block with an impossible length"));
    }
    let block = input.read_to(length, "a block")?;
    if length_at(block, length - TAIL_BYTES) as usize != length {
        return Err(Problem::Invalid("a block whose two lengths differ"));
    }
    Ok(&block[HEAD_BYTES..length - TAIL_BYTES])
}

impl Interface {
    fn read(mut body: Fields<'_>) -> Option<Self> {
        let link_type = body.u16()?;
        let _reserved = body.u16()?;
        let mut interface = Self {
            link_type,
            snapshot_bytes: body.u32()?,
            fcs_bytes: 0,
            ticks_per_second: 1_000_000,
            offset_seconds: 0,
        };
        // The end mark may be missing, and so may the last option's padding.
        while let (Some(code), Some(length)) = (body.u16(), body.u16()) {
            if code == option::END {
                break;
            }
            let length = usize::from(length);
            let Some(value) = body.take(length) else { break };
            interface.set(code, value);
            body.take(length.next_multiple_of(4) - length);
        }
        Some(interface)
    }

    /// Takes an option, if it is one that matters.
    fn set(&mut self, code: u16, mut value: Fields<'_>) {
        match (code, value.rest()) {
            (option::TIME_RESOLUTION, [exponent]) => self.ticks_per_second = ticks_per_second(*exponent),
            (option::FCS_LENGTH, [bytes]) => self.fcs_bytes = u32::from(*bytes),
            (option::TIME_OFFSET, _) => self.offset_seconds = value.i64().unwrap_or_default(),
            _ => {}
        }
    }

    /// A packet's time, since the Unix epoch.
    fn nanoseconds(&self, ticks: u64) -> u64 {
        // No overflow: 64 bits times 30, and another 64 times 30.
        let since_offset = u128::from(ticks) * 1_000_000_000 / self.ticks_per_second;
        let since_epoch = since_offset as i128 + i128::from(self.offset_seconds) * 1_000_000_000;
        u64::try_from(since_epoch.max(0)).unwrap_or(u64::MAX)
    }
}

/// The resolution's upper bit tells a power of two from a power of ten.
fn ticks_per_second(exponent: u8) -> u128 {
    match exponent {
        128.. => 1 << (exponent & 127),
        _ => 10_u128.checked_pow(u32::from(exponent)).unwrap_or(u128::MAX),
    }
}
