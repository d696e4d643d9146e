//! Reading records from a stream, with their offset, and fields from records.

use std::io::{BufRead, ErrorKind};

use super::Problem;

/// Longer records are not believed; libpcap draws the line at the same place. The longest link-layer
/// packet that anything captures is a hundredth of it.
const LONGEST: usize = 16 << 20;

/// A stream, cut into records.
pub(super) struct Input<R> {
    reader: R,
    /// Where the record begins.
    offset: u64,
    record: Vec<u8>,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, offset: 0, record: Vec::new() }
    }

    /// Begins a record after the last one; false at the end of the stream.
    pub(super) fn begin(&mut self) -> Result<bool, Problem> {
        self.offset += self.record.len() as u64;
        self.record.clear();
        Ok(!self.reader.fill_buf()?.is_empty())
    }

    /// The first four bytes of the record, which begins with them.
    pub(super) fn magic(&mut self) -> Result<[u8; 4], Problem> {
        let mut magic = [0; 4];
        magic.copy_from_slice(self.read_to(4, "its first four bytes")?);
        Ok(magic)
    }

    /// The record's first `length` bytes; reads what of them has not been read yet.
    pub(super) fn read_to(&mut self, length: usize, what: &'static str) -> Result<&[u8], Problem> {
        if length > LONGEST {
            return Err(Problem::TooLong { what, bytes: length, most: LONGEST });
        }
        let known = self.record.len();
        if length > known {
            self.record.resize(length, 0);
            self.reader.read_exact(&mut self.record[known..]).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Problem::CutOff(what),
                _ => Problem::Unreadable(error),
            })?;
        }
        Ok(&self.record[..length])
    }

    /// The record, as far as it was read.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Where the record begins, in bytes from the stream's start.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// Order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Fields of a record, one after the other.
pub(super) struct Fields<'r> {
    rest: &'r [u8],
    order: ByteOrder,
}

impl<'r> Fields<'r> {
    pub(super) fn new(bytes: &'r [u8], order: ByteOrder) -> Self {
        Self { rest: bytes, order }
    }

    /// What follows.
    pub(super) fn rest(&self) -> &'r [u8] {
        self.rest
    }

    /// The next `length` bytes, as fields of their own.
    pub(super) fn take(&mut self, length: usize) -> Option<Self> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Self { rest: taken, order: self.order })
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| match self.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(|bytes| match self.order {
            ByteOrder::Little => i64::from_le_bytes(bytes),
            ByteOrder::Big => i64::from_be_bytes(bytes),
        })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }
}
