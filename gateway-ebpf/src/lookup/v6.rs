//! IPv6: binary search on prefix lengths over one hash table (Waldvogel, Varghese, Turner and
//! Plattner, SIGCOMM 1997).
//!
//! The lengths in use are searched by halves: an entry found at a length means that something at
//! least as long exists, so the search goes on among the longer ones, else among the shorter. Prefixes
//! leave markers at the shorter lengths on their search path; an entry carries the best match known at
//! its length, so the search never goes back. Three lengths in use cost two probes, all 128 cost eight.
//!
//! The table is open-addressed with linear probing over at most [`PROBES`] neighbours; the controller
//! builds it with a seed and size for which that is enough.

use super::Slot;

/// Different prefix lengths that a table can hold: 1 to 128.
pub const LEVELS: usize = 128;
/// Steps of the search over [`LEVELS`] lengths.
pub const SEARCH_STEPS: u32 = 8;
/// Neighbouring entries that a probe looks at.
pub const PROBES: u32 = 8;

/// One entry of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Entry {
    /// Upper half of the masked address, host byte order.
    pub high: u64,
    /// Lower half.
    pub low: u64,
    /// Prefix length; 0: the entry is free.
    pub length: u32,
    /// Slot of the longest match at this length, plus one; 0: none.
    pub best: u32,
}

/// What an entry says about a masked address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the address's: the slot plus one of its best match, or 0.
    Best(u32),
    /// It is free, so the address has none.
    Nothing,
    /// It is another's, and the address's may be among the next.
    Elsewhere,
}

impl Entry {
    /// What it says about a masked address.
    #[inline(always)]
    #[must_use]
    pub const fn answers(&self, high: u64, low: u64, length: u32) -> Answer {
        if self.length == 0 {
            Answer::Nothing
        } else if self.length == length && self.high == high && self.low == low {
            Answer::Best(self.best)
        } else {
            Answer::Elsewhere
        }
    }
}

/// How to search one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Shape {
    /// Seeds the hash, so that nobody outside can aim at one chain.
    pub seed: u64,
    /// Table size minus one; the size is a power of two.
    pub mask: u32,
    /// Lengths in use.
    pub levels: u32,
    /// The lengths in use, ascending.
    pub lengths: [u8; LEVELS],
}

impl Shape {
    /// A table without prefixes.
    pub const EMPTY: Self = Self { seed: 0, mask: 0, levels: 0, lengths: [0; LEVELS] };
}

/// Where entries are read from: a map in the kernel, a slice on the host.
pub trait Table {
    /// Entry number `index`; `None` outside the table.
    fn entry(&self, index: u32) -> Option<&Entry>;

    /// What the entry for this masked address says: the slot plus one of its best match, or 0; `None`
    /// if there is no such entry. It is [`probe`], unless the table has a better way to call it.
    #[inline(always)]
    fn best(&self, shape: &Shape, high: u64, low: u64, length: u32) -> Option<u32> {
        probe(self, shape.seed, shape.mask, high, low, length)
    }
}

/// `address` with all but the first `length` bits (1 to 128) cleared.
#[inline(always)]
#[must_use]
pub const fn masked(high: u64, low: u64, length: u32) -> (u64, u64) {
    if length <= 64 {
        (high & (u64::MAX << ((64 - length) & 63)), 0)
    } else {
        (high, low & (u64::MAX << ((128 - length) & 63)))
    }
}

/// Where the probe for a masked address starts, before masking to the table's size.
#[inline(always)]
#[must_use]
pub const fn hash(seed: u64, high: u64, low: u64, length: u32) -> u32 {
    // Multiply and fold, with MurmurHash3's constants, a round more than there are words: a product
    // carries no bit downwards, so the upper bits of `low` count only once they are folded and
    // multiplied again.
    let mut x = (high ^ seed).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 32;
    x = (x ^ low ^ length as u64).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^= x >> 32;
    (x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32) as u32
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Lengths from here on...
    pub from: u32,
    /// ...and before here are not ruled out, as indexes into [`Shape::lengths`].
    pub to: u32,
    /// Slot of the longest match so far, plus one; 0: none.
    pub best: u32,
}

impl Search {
    /// Nothing ruled out.
    #[inline(always)]
    #[must_use]
    pub const fn new(shape: &Shape) -> Self {
        Self { from: 0, to: shape.levels, best: 0 }
    }

    /// Looks at the middle one of at most so many lengths, one after the other.
    #[inline(always)]
    #[must_use]
    pub fn go_on(self, table: &impl Table, shape: &Shape, high: u64, low: u64, steps: u32) -> Self {
        let Self { mut from, mut to, mut best } = self;
        for _ in 0..steps {
            if from >= to {
                break;
            }
            let middle = (from + to) / 2;
            let length = u32::from(shape.lengths[middle as usize & (LEVELS - 1)]);
            let (masked_high, masked_low) = masked(high, low, length);
            match table.best(shape, masked_high, masked_low, length) {
                Some(found) => {
                    if found != 0 {
                        best = found;
                    }
                    from = middle + 1;
                }
                None => to = middle,
            }
        }
        Self { from, to, best }
    }

    /// Whether all lengths are ruled out.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(self) -> bool {
        self.from >= self.to
    }

    /// The longest match so far.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> Option<Slot> {
        if self.best == 0 { None } else { Some(Slot(self.best - 1)) }
    }
}

/// The tenant that the address (host byte order halves) belongs to.
#[inline(always)]
pub fn find(table: &impl Table, shape: &Shape, high: u64, low: u64) -> Option<Slot> {
    Search::new(shape).go_on(table, shape, high, low, SEARCH_STEPS).slot()
}

/// Looks for the entry of a masked address; see [`Table::best`].
#[inline(always)]
pub fn probe(
    table: &(impl Table + ?Sized),
    seed: u64,
    mask: u32,
    high: u64,
    low: u64,
    length: u32,
) -> Option<u32> {
    let start = hash(seed, high, low, length);
    for step in 0..PROBES {
        let entry = table.entry(start.wrapping_add(step) & mask)?;
        match entry.answers(high, low, length) {
            Answer::Best(best) => return Some(best),
            Answer::Nothing => return None,
            Answer::Elsewhere => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_at_every_edge() {
        let all = u64::MAX;
        assert_eq!(masked(all, all, 1), (1 << 63, 0));
        assert_eq!(masked(all, all, 63), (all << 1, 0));
        assert_eq!(masked(all, all, 64), (all, 0));
        assert_eq!(masked(all, all, 65), (all, 1 << 63));
        assert_eq!(masked(all, all, 128), (all, all));
    }

    #[test]
    fn every_bit_of_the_address_moves_the_hash() {
        let base = hash(1, 0x2001_0db8 << 32, 5, 64) & 1023;
        let same = |bit: u32| {
            let (high, low) = if bit < 64 { (1_u64 << bit, 0) } else { (0, 1_u64 << (bit - 64)) };
            hash(1, 0x2001_0db8 << 32 ^ high, 5 ^ low, 64) & 1023 == base
        };
        // A random function would keep the place for one bit in 1,024.
        assert!((0..128).filter(|bit| same(*bit)).count() <= 2);
    }
}
