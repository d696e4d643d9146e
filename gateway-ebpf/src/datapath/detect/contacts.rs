//! The table of contacts in the kernel: [`gateway_ebpf::detect::contact`] over an array.

use gateway_ebpf::bounded;
use gateway_ebpf::detect::contact::{self, Entry, Found, State, WAYS};
use gateway_ebpf::detect::record::{Detection, region};
use gateway_ebpf::detect::sighting::Sighting;
use gateway_ebpf::detect::source::Family;

use super::sources;
use crate::datapath::maps::{CONTACTS, DETECTION, contact_sets};
use crate::datapath::{atomic, clock};

/// Marks contacts made by odd segments, which are counted apart.
pub const ODD: u16 = 1 << 8;
/// Marks hosts, which have no port.
const HOST: u64 = 1 << 32;
const MAIL_HOST: u64 = 2 << 32;

/// The keys, and where totals are kept.
pub struct Tables {
    pub detection: *mut Detection,
}

impl Tables {
    #[inline(always)]
    pub fn new() -> Option<Self> {
        Some(Self { detection: DETECTION.get_ptr_mut(0)? })
    }

    /// The hash of words.
    #[inline(always)]
    pub fn hash(&self, words: [u64; 5]) -> u64 {
        // SAFETY: a live, aligned map value; programs do not write the keys.
        unsafe { (*self.detection).keys.hash(words) }
    }

    /// The hash of a contact: who, whom, which port, over what.
    #[inline(always)]
    pub fn contact(&self, s: &Sighting, protocol: u16) -> u64 {
        let port = u64::from(s.peer_port) | u64::from(protocol) << 16;
        self.hash([s.source[0], s.source_low, s.peer[0], s.peer[1], port])
    }

    /// The hash of a contact that the peer would have made with the source's port.
    #[inline(always)]
    pub fn reversed(&self, s: &Sighting, protocol: u16) -> u64 {
        let port = u64::from(s.source_port) | u64::from(protocol) << 16;
        self.hash([s.peer[0], sources::key(s.peer).low, s.source[0], s.source[1], port])
    }

    /// The hash of a contact's host.
    #[inline(always)]
    pub fn host(&self, s: &Sighting, family: Family) -> u64 {
        self.hash([s.source[0], s.source_low, s.peer[0], s.peer[1], HOST | family as u64])
    }

    /// The hash of a mail host.
    #[inline(always)]
    pub fn mail_host(&self, s: &Sighting) -> u64 {
        self.hash([s.source[0], s.source_low, s.peer[0], s.peer[1], MAIL_HOST])
    }

    /// Adds one to a total.
    #[inline(always)]
    pub fn count(&self, which: impl FnOnce(&mut Detection) -> *mut u64) {
        // SAFETY: a live, aligned map value, whose totals are only added to atomically.
        unsafe { atomic::add(which(&mut *self.detection), 1) };
    }
}

/// Begins to fetch the set of a contact that is soon looked up.
#[inline(always)]
pub fn fetch(which: usize, hash: u64) {
    if let Some(set) = CONTACTS.get(set_of(which as u32, hash)) {
        // SAFETY: a reference to a live map value is valid and aligned.
        unsafe { (&raw const set.0[0]).read_volatile() };
    }
}

/// Looks a contact up, in line.
#[inline(always)]
pub fn find(which: usize, hash: u64, second: u32) -> Looked {
    Looked { hash, packed: find_packed(which as u32, hash, second) }
}

/// The same by a call, for all but the lookups that every TCP contact makes.
#[inline(always)]
pub fn find_by_call(which: usize, hash: u64, second: u32) -> Looked {
    Looked { hash, packed: find_contact(which as u32, hash, second) }
}

#[inline(always)]
fn set_of(which: u32, hash: u64) -> u32 {
    which * contact_sets() + (hash as u32 & (contact_sets() - 1))
}

/// [`contact::state`] in a region.
#[inline(always)]
pub fn state(which: usize, hash: u64, second: u32) -> Option<State> {
    let set = CONTACTS.get(set_of(which as u32, hash))?;
    // SAFETY: a reference to a live map value is valid and aligned; the way is below the set's length.
    contact::state(hash, second, |way| unsafe { (&raw const set.0[way]).read_volatile() })
}

/// [`find_packed`] as a global function (Linux 5.6), verified once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_contact(which: u32, hash: u64, second: u32) -> u64 {
    find_packed(which, hash, second)
}

/// [`contact::find`] in a region: [`Found`] 8 bits, [`State`] 8, the number of the word 32, the mark 8.
#[inline(always)]
fn find_packed(which: u32, hash: u64, second: u32) -> u64 {
    let which = which & (region::COUNT as u32 - 1);
    let index = set_of(which, hash);
    let Some(set) = CONTACTS.get(index) else { return Found::Full as u64 };
    // SAFETY: a reference to a live map value is valid and aligned; the way is below the set's length.
    let place = contact::find(hash, second, |way| unsafe { (&raw const set.0[way]).read_volatile() });
    if place.found == Found::Full {
        crowded(which);
    }
    let word = u64::from(index * WAYS as u32 + place.way);
    place.found as u64 | (place.word & 0xf) << 8 | word << 16 | u64::from(place.entry().mark()) << 48
}

/// A contact that might still have been answered is about to be pushed out.
#[inline(always)]
fn crowded(which: u32) {
    let Some(tables) = Tables::new() else { return };
    let which = bounded::masked::<{ region::COUNT as u32 - 1 }>(which);
    tables.count(|detection| &raw mut detection.crowded[which]);
    // SAFETY: a live, aligned map value; this word is only stored whole.
    unsafe { (&raw mut (*tables.detection).crowded_ns[which]).write_volatile(clock::coarse_ns()) };
}

/// A contact that was looked up: there, or with a place for it.
#[derive(Clone, Copy)]
pub struct Looked {
    pub hash: u64,
    packed: u64,
}

impl Looked {
    #[inline(always)]
    pub fn is_known(&self) -> bool {
        self.packed as u8 == Found::Known as u8
    }

    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.is_known() && (self.packed >> 8) as u8 == State::PENDING.number()
    }

    /// Whether it was answered, and the connection began with a number of this [mark](contact::mark).
    #[inline(always)]
    pub fn is_answered_at(&self, mark: u8) -> bool {
        self.is_known()
            && (self.packed >> 8) as u8 == State::ANSWERED.number()
            && (self.packed >> 48) as u8 == mark
    }

    /// Puts the contact in its place, seen now, in this state.
    #[inline(always)]
    pub fn put(&self, second: u32, state: State) {
        self.put_marked(second, state, 0);
    }

    /// The same of a connection whose beginning has this [mark](contact::mark).
    #[inline(always)]
    pub fn put_marked(&self, second: u32, state: State, mark: u8) {
        let word = (self.packed >> 16) as u32;
        if let Some(set) = CONTACTS.get_ptr_mut(word / WAYS as u32) {
            let entry = Entry::new(self.hash, second, state).marked(mark);
            // SAFETY: a word of a live, aligned map value; an aligned 64-bit store is atomic. Two CPUs
            // that write to one word lose one of two contacts, which is then counted again.
            unsafe { (&raw mut (*set).0[word as usize & (WAYS - 1)]).write_volatile(entry.word()) };
        }
    }

    /// Says that a contact is still in use.
    #[inline(always)]
    pub fn refresh(&self, second: u32) {
        self.put(second, State::from_number((self.packed >> 8) as u8));
    }
}
