//! Where sources are kept: sets of eight places, in which each source is looked for from a place of its own on.
//!
//! The first word of a place, its claim, says whose it is. A place that was taken once never looks untouched again,
//! and nobody is put behind an untouched one. So the search for a source that is not there ends at the first untouched
//! place, mostly the first of all: without that rule it takes eight misses of the caches.

/// Places in a set.
pub const WAYS: u32 = 8;

/// The claim of a place that nobody ever had; all of it is zero.
pub const UNTOUCHED: u64 = 0;

/// The claim of a place whose source was forgotten. What else is in it is left over.
pub const GIVEN_UP: u64 = 2;

/// The claim of a source with this hash: odd, as no other is.
#[inline(always)]
#[must_use]
pub const fn claim(hash: u64) -> u64 {
    hash | 1
}

/// Whether a place with this claim is a source's.
#[inline(always)]
#[must_use]
pub const fn is_taken(claim: u64) -> bool {
    claim & 1 != 0
}

/// Where a source with this claim is looked for, so many `tries` after the first, among so many `sets`, a power of
/// two. It begins anywhere in the set, so that most sources are where they are looked for first: the processor, which
/// runs ahead, then fetches the right ones.
#[inline(always)]
#[must_use]
pub const fn index(claim: u64, tries: u32, sets: u32) -> u32 {
    let first = ((claim >> 32) as u32 & (sets - 1)) * WAYS;
    first + ((claim >> 29) as u32).wrapping_add(tries) % WAYS
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_source_is_looked_for_in_every_place_of_one_set() {
        for hash in [0, 7 << 29, 0x1234_5678_9abc_def0, u64::MAX] {
            let places: BTreeSet<_> = (0..WAYS).map(|tries| index(claim(hash), tries, 64)).collect();
            let first = *places.first().unwrap();
            assert_eq!((first % WAYS, places.len()), (0, 8), "{hash:#x}");
            assert_eq!(*places.last().unwrap(), first + WAYS - 1, "{hash:#x}");
            assert!(first < 64 * WAYS);
        }
    }

    #[test]
    fn sources_alone_have_odd_claims() {
        assert!(is_taken(claim(UNTOUCHED)) && is_taken(claim(GIVEN_UP)));
        assert!(!is_taken(UNTOUCHED) && !is_taken(GIVEN_UP));
    }
}
