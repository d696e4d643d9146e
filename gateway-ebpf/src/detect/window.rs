//! Counts of contacts within windows of time.

use bytemuck::{Pod, Zeroable};

use crate::bounded::masked;

/// Lengths of the windows that contacts are counted in, in seconds. A window opens with the first
/// contact after the last one closed, so that a burst seldom falls across two.
pub const WINDOWS_S: [u32; 2] = [300, 3_600];

/// Length of the window for the slowest scans, in seconds.
pub const DAY_S: u32 = 86_400;

/// Contacts of one kind within one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Window {
    /// Second in which it opened.
    pub start_s: u32,
    /// New contacts.
    pub attempted: u32,
    /// Of these, answered.
    pub answered: u32,
    /// Of these, refused.
    pub rejected: u32,
}

impl Window {
    /// Contacts that were not answered, as yet.
    #[inline(always)]
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.attempted.saturating_sub(self.answered)
    }

    /// Whether at least this share failed.
    #[inline(always)]
    #[must_use]
    pub const fn fails(&self, percent: u32) -> bool {
        self.failed() as u64 * 100 >= self.attempted as u64 * percent as u64
    }

    /// Opens a window anew if its time is over.
    #[inline(always)]
    fn turn(&mut self, length_s: u32, second: u32) {
        if second.wrapping_sub(self.start_s) >= length_s {
            *self = Self { start_s: second, attempted: 0, answered: 0, rejected: 0 };
        }
    }

    /// Counts a new contact.
    #[inline(always)]
    pub(super) fn attempt(&mut self, length_s: u32, second: u32) {
        self.turn(length_s, second);
        self.attempted += 1;
    }

    /// Counts an answer.
    #[inline(always)]
    pub(super) fn answer(&mut self, rejected: bool) {
        if rejected {
            self.rejected += 1;
        } else {
            self.answered += 1;
        }
    }
}

/// Contacts of one kind, in a shorter window and a longer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Track {
    /// By [`WINDOWS_S`].
    pub windows: [Window; 2],
}

impl Track {
    #[inline(always)]
    pub(super) fn attempt(&mut self, second: u32) {
        self.windows[0].attempt(WINDOWS_S[0], second);
        self.windows[1].attempt(WINDOWS_S[1], second);
    }

    #[inline(always)]
    pub(super) fn answer(&mut self, rejected: bool) {
        self.windows[0].answer(rejected);
        self.windows[1].answer(rejected);
    }
}

/// Which ports contacts went to, within a window: one bit for each of 256 residues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ports {
    bits: [u64; 4],
    /// Second in which the window opened.
    start_s: u32,
    /// Distinct ones.
    pub distinct: u32,
}

impl Ports {
    #[inline(always)]
    pub(super) fn note(&mut self, port: u16, length_s: u32, second: u32) {
        if second.wrapping_sub(self.start_s) >= length_s {
            *self = Self { bits: [0; 4], start_s: second, distinct: 0 };
        }
        let residue = u32::from((port ^ port >> 8) & 0xff);
        let (word, bit) = (masked::<3>(residue >> 6), 1_u64 << (residue & 63));
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.distinct += 1;
        }
    }
}
