//! Captures, read packet by packet: pcap and pcapng, in either byte order.
//!
//! The readers are our own, because the libraries refuse what other tools read, or misread it: pcap-file
//! 2.0 refuses a pcapng file for an interface with a time zone, for options without an end mark, for a
//! comment that is not UTF-8; pcap-parser 0.17 takes the time offset of a big-endian section for little-
//! endian and knows no binary time resolutions. Neither tells where in the file it gave up, and a broken
//! capture is still evidence up to that byte.

mod input;
mod pcap;
mod pcapng;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use input::Input;
use pcap::Pcap;
use pcapng::Pcapng;

/// A file of captured packets.
pub struct Capture<R> {
    input: Input<R>,
    format: Format,
    /// Packets that were read.
    packets: u64,
    /// What was read ahead of [`Self::next_packet`].
    ahead: Option<Result<Option<Record>, CaptureError>>,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// One captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'c> {
    /// Counting from 1, as Wireshark does.
    pub number: u64,
    /// When it was captured, in nanoseconds since the Unix epoch; none for a pcapng simple packet.
    pub at_ns: Option<u64>,
    /// What it begins with: a LINKTYPE_ number.
    pub link_type: u16,
    /// Its length on the wire in bytes, without FCS, as the capture tells.
    pub wire_bytes: usize,
    /// As much of it as was captured.
    pub captured: &'c [u8],
}

/// Where in the input's record a packet is, and what the capture tells of it.
#[derive(Clone, Debug)]
struct Record {
    at_ns: Option<u64>,
    link_type: u16,
    wire_bytes: u32,
    /// At the packet's end, captured or not.
    fcs_bytes: u32,
    captured: Range<usize>,
}

/// Why, and where, a capture cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("the capture cannot be read beyond byte {offset}, after {packets} packets: {problem}")]
pub struct CaptureError {
    /// Where the header, packet or block begins that cannot be read, in bytes from the file's start.
    pub offset: u64,
    /// Packets before it.
    pub packets: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another kind of file.
    #[error("it is neither pcap nor pcapng (it begins with {0:02x?})")]
    NotACapture([u8; 4]),
    /// It was cut off.
    #[error("the file ends within {0}")]
    CutOff(&'static str),
    /// A length that cannot be.
    #[error("{what} claims {bytes} bytes; more than {most} are not believed")]
    TooLong {
        /// What.
        what: &'static str,
        /// Claimed length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// Fields that contradict the format or each other.
    #[error("{0}")]
    Invalid(&'static str),
    /// The file could be opened, but not read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

impl Capture<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened, or does not begin like a capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        // Large enough that system calls do not show beside one per packet.
        const BUFFER_BYTES: usize = 256 << 10;
        let file = File::open(path).map_err(|error| CaptureError {
            offset: 0,
            packets: 0,
            problem: Problem::Unreadable(error),
        })?;
        Self::new(BufReader::with_capacity(BUFFER_BYTES, file))
    }
}

impl<R: BufRead> Capture<R> {
    /// Reads a capture from its first byte on.
    ///
    /// # Errors
    /// If it does not begin like one.
    pub fn new(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        match Format::recognise(&mut input) {
            Ok(format) => Ok(Self { input, format, packets: 0, ahead: None }),
            Err(problem) => Err(CaptureError { offset: 0, packets: 0, problem }),
        }
    }

    /// When the next packet was captured, if there is one and it tells.
    pub fn next_at_ns(&mut self) -> Option<u64> {
        let ahead = self.advance();
        let at_ns = ahead.as_ref().ok().and_then(|record| record.as_ref()?.at_ns);
        self.ahead = Some(ahead);
        at_ns
    }

    /// The next packet; none at the end of the capture.
    ///
    /// # Errors
    /// If the capture is broken here; nothing beyond can be read.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        let Some(record) = self.advance()? else { return Ok(None) };
        self.packets += 1;
        let captured = &self.input.record()[record.captured];
        // An FCS that the snapshot length cut off is not there to be removed.
        let wire_bytes = record.wire_bytes.saturating_sub(record.fcs_bytes) as usize;
        let has_fcs = captured.len() == record.wire_bytes as usize;
        let captured = if has_fcs { &captured[..wire_bytes] } else { captured };
        Ok(Some(Packet {
            number: self.packets,
            at_ns: record.at_ns,
            link_type: record.link_type,
            wire_bytes,
            captured,
        }))
    }

    fn advance(&mut self) -> Result<Option<Record>, CaptureError> {
        if let Some(ahead) = self.ahead.take() {
            return ahead;
        }
        let record = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.input),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.input),
        };
        record.map_err(|problem| CaptureError { offset: self.input.offset(), packets: self.packets, problem })
    }
}

impl Format {
    /// Reads the file's header: all of it for pcap, the first section's for pcapng.
    fn recognise(input: &mut Input<impl BufRead>) -> Result<Self, Problem> {
        if !input.begin()? {
            return Err(Problem::Invalid("the file is empty"));
        }
        let magic = input.magic()?;
        if magic == pcapng::SECTION_HEADER.to_be_bytes() {
            return Pcapng::open(input).map(Self::Pcapng);
        }
        Pcap::open(magic, input).map(Self::Pcap)
    }
}

#[cfg(test)]
mod tests;
