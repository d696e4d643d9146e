//! Fair phantom queues with early signals: a cap that is shared like a link with a queue for each flow, and holds
//! nothing back.
//!
//! Each tenant and direction has 32 phantom queues: backlogs of packets that have already passed, as they would
//! wait in a real queue. The cap drains all that are not empty at the same rate, so flows share it evenly whatever
//! their senders do. Three things end in a drop:
//!
//! - The tenant's credit, 1.5 bursts in all, is used up: the sum over all flows is exact, by the arrival time of
//!   [`gcra`](crate::gcra).
//! - The flow's queue is full. Its limit is twice the credit that is left: one burst for a flow alone, less for each of many
//!   (dynamic thresholds: Choudhury, Hahne 1998).
//! - A signal: one packet when the queue grows past a level, long before it is full, so that TCP slows down after
//!   one loss instead of many. A level lies a sixth of the way to the limit above where the queue was lowest of late.
//!   That is one signal for each cycle of a sender at any round trip, without knowing it.
//!
//! Below a sixteenth of the burst nothing here is touched. There are no timers: whoever comes first in a tick
//! of the clock drains for all. All is time at the cap's rate, so nothing changes here when the cap does; all zero is a
//! valid start. The measurements behind the parameters are in docs/caps.md.

use bytemuck::{Pod, Zeroable};

use super::flow::QUEUES;
use super::lanes;
use crate::branchless::ones_if_equal;

/// The least unit that backlogs are counted in, as a power of two of nanoseconds: 16.4 us.
const LEAST_UNIT_BITS: u32 = 14;

/// Levels are kept in so many units.
const LEVEL_UNITS: u64 = 128;

/// Times are kept in 48 bits of units, and wrap.
const TIME_MASK: u64 = (1 << 48) - 1;

/// Bits below the time in [`Fair::header`].
const CARRY_BITS: u32 = 16;

const WORDS: usize = (QUEUES / lanes::PER_WORD) as usize;

/// Phantom queues of a tenant in one direction: two cache lines. Shared by all CPUs; words are changed atomically,
/// levels are not, for a signal more or less does no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Fair {
    /// When it was last drained, in units, and below that what was not shared out then.
    pub header: u64,
    /// Packets dropped as signals.
    pub signals: u64,
    /// Packets dropped because their queue was full.
    pub queue_full: u64,
    /// Zero.
    pub reserved: u64,
    /// By queue: the next signal is at this backlog, in `LEVEL_UNITS`.
    pub levels: [u8; QUEUES as usize],
    /// By queue: its backlog in units, four in a word.
    pub backlogs: [u64; WORDS],
}

const _: () = assert!(size_of::<Fair>() == 128);

/// Indexes among the 64-bit words of [`Fair`].
pub mod word {
    /// [`Fair::header`](super::Fair::header).
    pub const HEADER: usize = 0;
    /// [`Fair::signals`](super::Fair::signals).
    pub const SIGNALS: usize = 1;
    /// [`Fair::queue_full`](super::Fair::queue_full).
    pub const QUEUE_FULL: usize = 2;
    /// The first of [`Fair::backlogs`](super::Fair::backlogs).
    pub const BACKLOGS: usize = 8;
}

impl Fair {
    /// Backlog of each queue, in units of 2^`unit_bits` ns at the cap's rate, when it was last drained.
    pub fn queues(&self) -> impl Iterator<Item = u64> + '_ {
        self.backlogs.iter().flat_map(|word| (0..lanes::PER_WORD).map(|lane| lanes::get(*word, lane)))
    }
}

/// A [`Fair`] that other CPUs may be changing.
pub trait Shared {
    /// One of its [`word`]s.
    fn load(&self, word: usize) -> u64;
    /// Stores `new` if the word still is `old`; returns what it was.
    fn exchange(&self, word: usize, old: u64, new: u64) -> u64;
    /// Adds to a word.
    fn add(&self, word: usize, value: u64);
    /// The level of a queue.
    fn level(&self, queue: u32) -> u8;
    /// Changes it.
    fn set_level(&self, queue: u32, level: u8);
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refused {
    /// The tenant's credit is used up.
    Credit = 1,
    /// The flow's queue is full.
    Queue = 2,
    /// A signal to the flow's sender.
    Signal = 3,
}

/// How far a tenant may be ahead of its cap before its queues are looked at.
#[inline(always)]
#[must_use]
pub const fn near_ns(burst_ns: u64) -> u64 {
    burst_ns / 16
}

/// How far all its flows together may be ahead.
#[inline(always)]
#[must_use]
pub const fn credit_ns(burst_ns: u64) -> u64 {
    burst_ns + burst_ns / 2
}

/// The unit for a burst, as a power of two of nanoseconds: the least in which a queue can hold the whole credit.
#[must_use]
pub const fn unit_bits(burst_ns: u64) -> u32 {
    let mut bits = LEAST_UNIT_BITS;
    while credit_ns(burst_ns) >> bits > lanes::MOST {
        bits += 1;
    }
    bits
}

/// Whether a packet of the flow in `queue` passes, `ahead_ns` being how far the tenant is ahead of its cap, no more
/// than [`credit_ns`].
///
/// # Errors
/// Why it does not.
#[inline(always)]
pub fn admit(
    shared: &impl Shared,
    now_ns: u64,
    ahead_ns: u64,
    burst_ns: u64,
    unit_bits: u32,
    queue: u32,
) -> Result<(), Refused> {
    drain(shared, now_ns >> unit_bits);
    let limit = (2 * (credit_ns(burst_ns) - ahead_ns)) >> unit_bits;
    let backlog = lanes::get(shared.load(word_of(queue)), lane_of(queue));
    if backlog > limit {
        shared.add(word::QUEUE_FULL, 1);
        return Err(Refused::Queue);
    }
    // A sixth of the way: fine near the limit, coarse far from it.
    let gap = at_least_a_level(((limit - backlog) * 43) >> 8);
    let fallen = backlog + gap + gap / 4;
    let kept = u64::from(shared.level(queue)) * LEVEL_UNITS;
    let level = if fallen < kept { fallen } else { kept };
    // 0.14 of the limit: earlier signals would end slow start before it has filled a far link.
    let first = (limit * 36) >> 8;
    if backlog > level && backlog > first {
        shared.set_level(queue, rounded(backlog + gap));
        shared.add(word::SIGNALS, 1);
        return Err(Refused::Signal);
    }
    if fallen < kept {
        shared.set_level(queue, rounded(fallen));
    }
    Ok(())
}

/// Adds a packet to its flow's queue, whose tenant was ahead of its cap up to `start_ns` and now is by `cost_ns` more.
///
/// What is added is the units that end within the packet: exact in sum, so that packets far below a unit
/// count right.
#[inline(always)]
pub fn charge(shared: &impl Shared, start_ns: u64, cost_ns: u64, unit_bits: u32, queue: u32) {
    let units = ((start_ns + cost_ns) >> unit_bits) - (start_ns >> unit_bits);
    if units == 0 {
        return;
    }
    let room = lanes::MOST.saturating_sub(lanes::get(shared.load(word_of(queue)), lane_of(queue)));
    let units = if units < room { units } else { room };
    shared.add(word_of(queue), lanes::addend(units, lane_of(queue)));
}

/// Drains every queue by its share of what the cap let through since the last tick; `now` in units.
#[inline(always)]
fn drain(shared: &impl Shared, now: u64) {
    let now = now & TIME_MASK;
    let header = shared.load(word::HEADER);
    let elapsed = now.wrapping_sub(header >> CARRY_BITS) & TIME_MASK;
    // In the same tick, or one that this CPU saw before another one drained. Far in the past, on the other hand, is a
    // header in another unit, of another burst: then all is drained.
    if elapsed == 0 || elapsed > TIME_MASK - lanes::MOST {
        return;
    }
    if shared.exchange(word::HEADER, header, now << CARRY_BITS) != header {
        return;
    }
    let mut occupied = 0;
    for index in word::BACKLOGS..word::BACKLOGS + WORDS {
        occupied += lanes::occupied(shared.load(index));
    }
    if occupied == 0 {
        return;
    }
    let due = elapsed + (header & ((1 << CARRY_BITS) - 1));
    let (due, share) = if due < lanes::MOST { (due, due / occupied) } else { (lanes::MOST, lanes::MOST) };
    let (mut taken, mut left) = (0, 0);
    for index in word::BACKLOGS..word::BACKLOGS + WORDS {
        let (word_taken, word_left) = drain_word(shared, index, share);
        taken += word_taken;
        left |= word_left;
    }
    // The rest of the division, and what empty queues did not need: for the others, a tick later.
    if left != 0 && taken < due {
        shared.add(word::HEADER, due - taken);
    }
}

/// Drains four queues; returns what that took, and what is left. If another CPU changes the word at the same moment,
/// that takes nothing, and what was due is left for the next tick.
///
/// Without a branch: the verifier follows both ways of each, and this is done eight times in a row.
#[inline(always)]
fn drain_word(shared: &impl Shared, index: usize, share: u64) -> (u64, u64) {
    let before = shared.load(index);
    let after = lanes::subtract(before, share);
    let is_done = ones_if_equal(shared.exchange(index, before, after), before);
    (lanes::sum(before.wrapping_sub(after)) & is_done, after | (before & !is_done))
}

#[inline(always)]
const fn word_of(queue: u32) -> usize {
    // Masks that the verifier needs where it does not know the range.
    word::BACKLOGS + ((queue / lanes::PER_WORD) as usize & (WORDS - 1))
}

#[inline(always)]
const fn lane_of(queue: u32) -> u32 {
    queue % lanes::PER_WORD
}

#[inline(always)]
const fn at_least_a_level(units: u64) -> u64 {
    if units < LEVEL_UNITS { LEVEL_UNITS } else { units }
}

/// A level as it is kept.
#[inline(always)]
const fn rounded(units: u64) -> u8 {
    let level = (units + LEVEL_UNITS / 2) / LEVEL_UNITS;
    if level < 255 { level as u8 } else { 255 }
}

#[cfg(test)]
mod tests;
