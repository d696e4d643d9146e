//! Which contacts were made lately: sets of eight words, one word a contact, the least recent replaced.
//!
//! A word is 32 bits of the contact's hash, 8 that mark where its connection began, 20 of the second it was last
//! seen in, 4 of its state. The set is chosen by other bits of the hash, so two contacts are taken for one
//! another with a probability of 2^-29 a lookup; that costs one uncounted contact. One word is one atomic
//! write: CPUs need no lock.

use bytemuck::{Pod, Zeroable};

/// Contacts in a set: one cache line.
pub const WAYS: usize = 8;

/// One cache line of contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Set(pub [u64; WAYS]);

/// A contact is forgotten after this time: then it is a new one again.
pub const LIFETIME_S: u32 = 3_600;

/// A contact replaced sooner than this may still have been answered: the table is too small for what
/// happens, and its failures do not count (see [`Found::Full`]).
pub const LEAST_AGE_S: u32 = 3;

/// What became of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// Tried, and no answer yet.
    pub const PENDING: Self = Self(1);
    /// Answered.
    pub const ANSWERED: Self = Self(2);
    /// Refused.
    pub const REJECTED: Self = Self(3);
    /// The peer turned to the source first.
    pub const INBOUND: Self = Self(4);
    /// Answered, and ended by the source, which had sent nothing: it only looked whether somebody is there.
    pub const PROBED: Self = Self(5);

    /// Its number, as an entry holds it.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The state with this number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        Self(number & 0xf)
    }
}

const MARK_BITS: u32 = 8;
const TIME_BITS: u32 = 20;
const STATE_BITS: u32 = 4;
const TIME_MASK: u32 = (1 << TIME_BITS) - 1;

/// Marks the sequence number of a connection's first byte, so that it can be told whether the connection ended
/// there. Of other numbers one in 256 has the same mark: mixed well (the middle of MurmurHash3's finaliser), so that
/// there is no length of requests for which it is many.
#[inline(always)]
#[must_use]
pub const fn mark(sequence: u32) -> u8 {
    let mixed = (sequence ^ sequence >> 16).wrapping_mul(0x85eb_ca6b);
    (((mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35)) >> (32 - MARK_BITS)) as u8
}

/// A contact as it is stored; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    /// A contact seen at `second`.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, second: u32, state: State) -> Self {
        Self(tag(hash) | ((second & TIME_MASK) as u64) << STATE_BITS | state.0 as u64)
    }

    /// The word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Its state.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> State {
        State((self.0 & 0xf) as u8)
    }

    /// The same with a [`mark`], of a contact that had none.
    #[inline(always)]
    #[must_use]
    pub const fn marked(self, mark: u8) -> Self {
        Self(self.0 | (mark as u64) << (TIME_BITS + STATE_BITS))
    }

    /// Its mark; 0 if it has none.
    #[inline(always)]
    #[must_use]
    pub const fn mark(self) -> u8 {
        (self.0 >> (TIME_BITS + STATE_BITS)) as u8
    }
}

/// The upper 32 bits; sets are chosen by the lower ones.
#[inline(always)]
const fn tag(hash: u64) -> u64 {
    hash & !((1 << (MARK_BITS + TIME_BITS + STATE_BITS)) - 1)
}

/// Seconds since a stored word was written. The stored second wraps after twelve days; the age of an
/// older contact is then wrong, which only keeps it a little longer.
#[inline(always)]
const fn age_s(word: u64, second: u32) -> u32 {
    second.wrapping_sub((word >> STATE_BITS) as u32) & TIME_MASK
}

/// Where a contact is, or may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which word of the set.
    pub way: u32,
    /// What it holds now.
    pub word: u64,
    /// What is to be made of it.
    pub found: Found,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Found {
    /// The contact is there.
    Known = 1,
    /// It is not; the word is empty, or of no more use.
    New = 2,
    /// It is not, and the word is of a contact that may still be answered.
    Full = 3,
}

/// The state of a contact in the words of its set, as `load` reads them; `None` if it is not there. Cheaper
/// than [`find`], for it looks for no place.
#[inline(always)]
pub fn state(hash: u64, second: u32, load: impl Fn(usize) -> u64) -> Option<State> {
    let mut index = 0;
    while index < WAYS {
        let word = load(index);
        if tag(word) == tag(hash) && word != 0 && age_s(word, second) <= LIFETIME_S {
            return Some(Entry(word).state());
        }
        index += 1;
    }
    None
}

/// Looks a contact up in the words of its set, as `load` reads them.
#[inline(always)]
pub fn find(hash: u64, second: u32, load: impl Fn(usize) -> u64) -> Place {
    // The word to replace: empty, else the least recent.
    let (mut way, mut word, mut greatest_age) = (0, 0, 0);
    let mut index = 0;
    while index < WAYS {
        let candidate = load(index);
        let age = if candidate == 0 { u32::MAX } else { age_s(candidate, second) };
        if candidate != 0 && tag(candidate) == tag(hash) && age <= LIFETIME_S {
            return Place { way: index as u32, word: candidate, found: Found::Known };
        }
        if age >= greatest_age {
            (way, word, greatest_age) = (index as u32, candidate, age);
        }
        index += 1;
    }
    let found = if greatest_age < LEAST_AGE_S { Found::Full } else { Found::New };
    Place { way, word, found }
}

impl Place {
    /// The contact that was found.
    #[inline(always)]
    #[must_use]
    pub const fn entry(&self) -> Entry {
        Entry(self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: u64 = 0x1234_5678_9abc_def0;

    fn put(set: &mut Set, hash: u64, second: u32, state: State) -> Found {
        let place = find(hash, second, |way| set.0[way]);
        set.0[place.way as usize] = Entry::new(hash, second, state).word();
        place.found
    }

    #[test]
    fn a_contact_is_new_once_an_hour() {
        let mut set = Set([0; WAYS]);
        assert_eq!(put(&mut set, HASH, 10, State::PENDING), Found::New);
        let place = find(HASH, 3_610, |way| set.0[way]);
        assert_eq!(place.found, Found::Known);
        assert_eq!(place.entry().state(), State::PENDING);
        assert_eq!(find(HASH, 3_611, |way| set.0[way]).found, Found::New);
    }

    #[test]
    fn the_least_recent_is_replaced() {
        let mut set = Set([0; WAYS]);
        for n in 0..8 {
            assert_eq!(put(&mut set, n << 32 | 1 << 60, 100 + n as u32, State::PENDING), Found::New);
        }
        let place = find(9 << 32 | 1 << 60, 110, |way| set.0[way]);
        assert_eq!((place.found, place.word), (Found::New, Entry::new(1 << 60, 100, State::PENDING).word()));
    }

    #[test]
    fn replacing_the_young_is_told() {
        let mut set = Set([0; WAYS]);
        (0..8).for_each(|n| _ = put(&mut set, n << 32 | 1 << 60, 100, State::PENDING));
        assert_eq!(find(HASH, 102, |way| set.0[way]).found, Found::Full);
        assert_eq!(find(HASH, 103, |way| set.0[way]).found, Found::New);
    }

    #[test]
    fn states_times_and_marks_do_not_touch_the_rest() {
        let entry = Entry::new(HASH, u32::MAX, State::PROBED).marked(0xff);
        assert_eq!((entry.state(), entry.mark(), tag(entry.word())), (State::PROBED, 0xff, tag(HASH)));
        assert_eq!(find(HASH, TIME_MASK, |_| entry.word()).found, Found::Known);
        // The clock wraps; ages do not.
        assert_eq!(age_s(Entry::new(HASH, TIME_MASK, State::PENDING).word(), TIME_MASK + 5), 5);
    }

    #[test]
    fn a_mark_tells_the_first_byte_from_those_that_follow() {
        let firsts = (0..4_096_u32).map(|n| n.wrapping_mul(0x0102_0407));
        for sent in (1..64).chain([68, 128, 256, 377, 512, 610, 987, 1_024, 1_460, 1_597, 4_096, 65_536]) {
            let taken_for =
                firsts.clone().filter(|first| mark(first.wrapping_add(sent)) == mark(*first)).count();
            assert!(taken_for <= 48, "{sent} bytes: {taken_for} of 4,096");
        }
    }
}
