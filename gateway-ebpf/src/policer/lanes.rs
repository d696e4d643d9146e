//! Four backlogs in a 64-bit word: lanes of 16 bits, each at most [`MOST`], all changed at once without a branch.
//!
//! The verifier follows every branch, so a loop that branches on 32 backlogs takes more than the million
//! instructions that a program may take. A lane's top bit stays free to show where a subtraction borrows. Lanes
//! beyond [`MOST`] cannot be made by one CPU; those that several make at once lose their top bit.

/// Lanes of a word.
pub(super) const PER_WORD: u32 = 4;

/// The largest backlog that a lane holds.
pub(super) const MOST: u64 = 0x7fff;

/// Bits of a lane.
const BITS: u32 = 16;
/// The lowest bit of each lane.
const ONES: u64 = 0x0001_0001_0001_0001;
/// The topmost bit of each lane.
const TOPS: u64 = 0x8000_8000_8000_8000;

/// One lane.
#[inline(always)]
#[must_use]
pub(super) const fn get(word: u64, lane: u32) -> u64 {
    (word >> (lane * BITS)) & 0xffff
}

/// What to add to a word to add `units` to one of its lanes.
#[inline(always)]
#[must_use]
pub(super) const fn addend(units: u64, lane: u32) -> u64 {
    units << (lane * BITS)
}

/// How many lanes are not 0.
#[inline(always)]
#[must_use]
pub(super) const fn occupied(word: u64) -> u64 {
    sum((word.wrapping_add(!TOPS) & TOPS) >> (BITS - 1))
}

/// Every lane less `share`, at most [`MOST`], but never less than 0.
#[inline(always)]
#[must_use]
pub(super) const fn subtract(word: u64, share: u64) -> u64 {
    let difference = (word | TOPS).wrapping_sub(share.wrapping_mul(ONES));
    // The top bit is left where nothing was borrowed; there, 0x8000 - 1 keeps the rest.
    let kept = difference & TOPS;
    difference & (kept - (kept >> (BITS - 1)))
}

/// The sum of all lanes, if it fits into one.
#[inline(always)]
#[must_use]
pub(super) const fn sum(word: u64) -> u64 {
    word.wrapping_mul(ONES) >> (64 - BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(lanes: [u64; 4]) -> u64 {
        lanes.iter().zip(0..).fold(0, |word, (units, lane)| word + addend(*units, lane))
    }

    fn lanes(word: u64) -> [u64; 4] {
        [0, 1, 2, 3].map(|lane| get(word, lane))
    }

    proptest! {
        #[test]
        fn lanes_do_not_touch_each_other(
            before in any::<[u16; 4]>().prop_map(|lanes| lanes.map(|lane| u64::from(lane) & MOST)),
            share in 0..=MOST,
        ) {
            let packed = word(before);
            prop_assert_eq!(lanes(packed), before);
            prop_assert_eq!(lanes(subtract(packed, share)), before.map(|lane| lane.saturating_sub(share)));
            prop_assert_eq!(occupied(packed), before.iter().filter(|lane| **lane > 0).count() as u64);
            let small = before.map(|lane| lane / 4);
            prop_assert_eq!(sum(word(small)), small.iter().sum::<u64>());
        }
    }

    #[test]
    fn the_edges_of_a_lane() {
        for lane in [0, 1, MOST - 1, MOST] {
            for share in [0, 1, MOST - 1, MOST] {
                assert_eq!(lanes(subtract(word([lane; 4]), share)), [lane.saturating_sub(share); 4]);
            }
        }
        assert_eq!((occupied(0), occupied(word([1, 0, MOST, 0]))), (0, 2));
    }
}
