//! The table of sources in the kernel, and the lists that concern them.

use core::mem::offset_of;

use gateway_ebpf::abi::{BankHeader, PeerKey};
use gateway_ebpf::detect::Kind;
use gateway_ebpf::detect::place::{self, GIVEN_UP, UNTOUCHED, WAYS};
use gateway_ebpf::detect::sighting::{self, Sighting};
use gateway_ebpf::detect::source::{Source, SourceKey};
use gateway_ebpf::parse::Address;

use super::contacts::Tables;
use crate::datapath::atomic;
use crate::datapath::decide::{PeerScope, is_listed};
use crate::datapath::maps::{BANK_HEADERS, SOURCES, source_sets};

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;

/// A source without contacts for this long gives its place up to another, unless it is under a measure.
const IDLE_NS: u64 = 600_000_000_000;

/// The key of the source that an address belongs to.
#[inline(always)]
pub const fn key(address: [u64; 2]) -> SourceKey {
    if sighting::is_v4(address) {
        SourceKey { high: address[0], low: address[1] }
    } else {
        SourceKey { high: address[0], low: 0 }
    }
}

/// The source at an index.
#[inline(always)]
pub fn get(index: u32) -> Option<&'static mut Source> {
    // SAFETY: a live, aligned map value. Other CPUs may write it too; each word is loaded and stored
    // whole, no value of any word makes an index that is not masked, and the verifier holds every access
    // of the emitted program to the value's bounds.
    SOURCES.get_ptr_mut(index).map(|source| unsafe { &mut *source })
}

/// What a source is looked for by.
#[inline(always)]
pub fn claim_of(tables: &Tables, key: SourceKey) -> u64 {
    place::claim(tables.hash([key.high, key.low, 0, 0, 0]))
}

/// [`place::index`] in this table.
#[inline(always)]
fn place(claim: u64, tries: u32) -> u32 {
    place::index(claim, tries, source_sets())
}

/// Begins to fetch a source, so that the misses of the caches overlap: a contact needs most of it, but for the
/// evidence, which it only writes and does not wait for.
#[inline(always)]
pub fn fetch(source: &Source) {
    let words = (&raw const *source).cast::<u64>();
    let mut line = 1;
    while line < offset_of!(Source, targets) / LINE_BYTES {
        // SAFETY: an aligned word within the value. Volatile, as what it says is of no interest.
        unsafe { words.add(line * LINE_BYTES / 8).read_volatile() };
        line += 1;
    }
}

/// Where a source is.
#[inline(always)]
pub fn find(key: SourceKey) -> Option<u32> {
    somewhere(find_source(claim_of(&Tables::new()?, key), key.high, key.low))
}

#[inline(always)]
fn somewhere(index: u32) -> Option<u32> {
    if index == NOWHERE { None } else { Some(index) }
}

/// The index of a source with this claim, or [`NOWHERE`]; a global function (Linux 5.6), verified once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_source(claim: u64, high: u64, low: u64) -> u32 {
    let mut tries = 0;
    while tries < WAYS {
        let index = place(claim, tries);
        if is_at(index, claim, SourceKey { high, low }) {
            return index;
        }
        tries += 1;
    }
    NOWHERE
}

#[inline(always)]
fn is_at(index: u32, claim: u64, key: SourceKey) -> bool {
    SOURCES.get(index).is_some_and(|source| source.claim == claim && source.key == key)
}

/// Whether the source of a sighting is where it is looked for first, and that place. Most are there: no call for
/// them.
#[inline(always)]
fn first_place(sighting: &Sighting) -> (bool, u32) {
    let first = place(sighting.claim, 0);
    let key = SourceKey { high: sighting.source[0], low: sighting.source_low };
    (is_at(first, sighting.claim, key), first)
}

/// Where the source of a sighting is.
#[inline(always)]
pub fn find_sighted(sighting: &Sighting) -> Option<u32> {
    match first_place(sighting) {
        (true, first) => Some(first),
        (false, _) => somewhere(find_source(sighting.claim, sighting.source[0], sighting.source_low)),
    }
}

/// The same, if need be from now on.
#[inline(always)]
pub fn find_or_open(tables: &Tables, sighting: &Sighting, now_ns: u64) -> Option<u32> {
    let index = match first_place(sighting) {
        (true, first) => first,
        (false, _) => find_or_make(sighting.claim, sighting.source[0], sighting.source_low, now_ns),
    };
    if index == NOWHERE {
        tables.count(|detection| &raw mut detection.sources_full);
        return None;
    }
    let source = get(index)?;
    source.seen_ns = now_ns;
    source.slot = sighting.slot;
    Some(index)
}

const NOWHERE: u32 = u32::MAX;

/// The index of a source that is not where it is looked for first, for which a place is made if it is not known;
/// [`NOWHERE`] if its set is full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_or_make(claim: u64, high: u64, low: u64, now_ns: u64) -> u32 {
    // Mostly this place is untouched, and soon the source's.
    if let Some(first) = SOURCES.get(place(claim, 0)) {
        fetch(first);
    }
    let key = SourceKey { high, low };
    let (mut best, mut best_seen_ns, mut best_claim) = (NOWHERE, u64::MAX, UNTOUCHED);
    let mut tries = 0;
    while tries < WAYS {
        let index = place(claim, tries);
        if is_at(index, claim, key) {
            return index;
        }
        if let Some(source) = SOURCES.get(index) {
            if source.claim == UNTOUCHED {
                (best, best_claim) = (index, UNTOUCHED);
                break;
            }
            let seen_ns = if source.claim == GIVEN_UP { 0 } else { source.seen_ns };
            let is_free = source.claim == GIVEN_UP
                || (now_ns.saturating_sub(seen_ns) > IDLE_NS && source.measures_end_ns() <= now_ns);
            if is_free && seen_ns < best_seen_ns {
                (best, best_seen_ns, best_claim) = (index, seen_ns, source.claim);
            }
        }
        tries += 1;
    }
    if best == NOWHERE {
        return NOWHERE;
    }
    let Some(source) = SOURCES.get_ptr_mut(best) else { return NOWHERE };
    // SAFETY: the first word of a live, aligned map value, only ever replaced atomically.
    if !unsafe { atomic::replace(source.cast(), best_claim, claim) } {
        // Another CPU was faster, perhaps for the same source: this contact goes uncounted.
        return NOWHERE;
    }
    if best_claim != UNTOUCHED {
        let words = source.cast::<u64>();
        let mut word = 1;
        while word < size_of::<Source>() / 8 {
            // SAFETY: within the value. A loop of volatile stores, as a call of memset could not be linked.
            unsafe { words.add(word).write_volatile(0) };
            word += 1;
        }
    }
    if let Some(source) = get(best) {
        source.key = key;
        source.open(now_ns);
    }
    best
}

/// Whether the operator told a detector to leave this source alone.
#[inline(always)]
pub fn is_left_alone(sighting: &Sighting, kind: Kind) -> bool {
    let scope = PeerScope { slot: PeerKey::LEFT_ALONE, bank: sighting.bank, direction: 0, class: kind as u8 };
    is_listed(scope, address(sighting.source))
}

/// Whether the peer is on the drop list.
#[inline(always)]
pub fn is_listed_peer(sighting: &Sighting) -> bool {
    let listing = BANK_HEADERS.get(sighting.bank).is_some_and(|h| h.flags & BankHeader::HAS_DROP_LIST != 0);
    let scope = PeerScope { slot: PeerKey::DROP_LIST, bank: sighting.bank, direction: 0, class: 0 };
    listing && is_listed(scope, address(sighting.peer))
}

#[inline(always)]
fn address(halves: [u64; 2]) -> Address {
    if sighting::is_v4(halves) { Address::V4(halves[1] as u32) } else { Address::V6(halves[0], halves[1]) }
}
