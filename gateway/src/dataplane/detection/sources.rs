//! The table of sources, and measures that are taken or lifted by hand.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use gateway_ebpf::detect::place;
use gateway_ebpf::detect::record::Detection;
use gateway_ebpf::detect::source::{Source, SourceKey, track};
use gateway_ebpf::detect::window::Track;
use gateway_ebpf::detect::{Kind, MEASURE_SLOTS, Measure};
use ipnetwork::IpNetwork;

use super::DetectionTables;
use crate::detect::source_of;
use crate::domain;

/// An address as two words, IPv4 as IPv4-mapped.
pub(in crate::dataplane) fn halves(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// The source that an address belongs to.
pub(in crate::dataplane) fn key_of(address: IpAddr) -> SourceKey {
    let [high, low] = halves(address);
    SourceKey { high, low: if address.is_ipv4() { low } else { 0 } }
}

/// The address of a source; of an IPv6 /64, the first.
pub(super) fn address(key: SourceKey) -> IpAddr {
    address_of([key.high, key.low])
}

/// The opposite of [`halves`].
pub(super) fn address_of([high, low]: [u64; 2]) -> IpAddr {
    let v6 = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

const CLAIM: usize = offset_of!(Source, claim) / 8;
const KEY: usize = offset_of!(Source, key) / 8;
const SEEN: usize = offset_of!(Source, seen_ns) / 8;
const SLOT: usize = offset_of!(Source, slot) / 8;
const REPORTED: usize = offset_of!(Source, reported_ns) / 8;
const MEASURES: usize = offset_of!(Source, measures_ns) / 8;

/// Words of what is judged by answers, and of what was judged by them.
const FAILURES: [Range<usize>; 3] = [
    offset_of!(Source, armed_ns) / 8..offset_of!(Source, credits) / 8,
    TRACKS + track::TCP_HOSTS * size_of::<Track>() / 8..offset_of!(Source, smtp) / 8,
    offset_of!(Source, syns) / 8..offset_of!(Source, targets) / 8,
];
const TRACKS: usize = offset_of!(Source, tracks) / 8;

/// A measure as the table of sources has it.
pub(in crate::dataplane) struct HeldBySource {
    /// The tenant's.
    pub(in crate::dataplane) slot: u32,
    pub(in crate::dataplane) source: IpNetwork,
    /// The offence that it was taken for, as long as the programs remember.
    pub(in crate::dataplane) kind: Option<Kind>,
    pub(in crate::dataplane) measure: Measure,
    pub(in crate::dataplane) until_ns: u64,
}

impl DetectionTables {
    /// Indexes of the sources that are known.
    pub(super) fn occupied(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.sources.len())
            .filter(|index| place::is_taken(self.sources.words(*index)[CLAIM].load(Relaxed)))
    }

    /// What is known of a source.
    pub(in crate::dataplane) fn source(&self, address: IpAddr) -> Option<Source> {
        self.place(key_of(address), false).map(|index| self.sources.get(index))
    }

    /// Where a source is; with `make`, where it may be put.
    fn place(&self, key: SourceKey, make: bool) -> Option<u32> {
        let claim = place::claim(self.detection.get(0).keys.hash([key.high, key.low, 0, 0, 0]));
        let sets = self.sources.len() / place::WAYS;
        let mut ways = (0..place::WAYS).map(|tries| place::index(claim, tries, sets));
        let known = ways.clone().find(|index| {
            let words = self.sources.words(*index);
            words[CLAIM].load(Relaxed) == claim
                && words[KEY].load(Relaxed) == key.high
                && words[KEY + 1].load(Relaxed) == key.low
        });
        if known.is_some() || !make {
            return known;
        }
        let free = ways.find(|index| {
            let word = &self.sources.words(*index)[CLAIM];
            let free = word.load(Relaxed);
            !place::is_taken(free) && word.compare_exchange(free, claim, Relaxed, Relaxed).is_ok()
        })?;
        let words = self.sources.words(free);
        words[CLAIM + 1..].iter().for_each(|word| word.store(0, Relaxed));
        words[KEY].store(key.high, Relaxed);
        words[KEY + 1].store(key.low, Relaxed);
        Some(free)
    }

    /// Takes a measure against a source of the tenant with this slot; false if its set is full.
    pub(in crate::dataplane) fn impose(
        &self,
        source: IpNetwork,
        slot: u32,
        measure: domain::Measure,
        now_ns: u64,
        until_ns: u64,
    ) -> bool {
        let Some(index) = self.place(key_of(source.network()), true) else { return false };
        let words = self.sources.words(index);
        // The lower half is the slot, the upper a count of contacts, which starts at zero.
        words[SLOT].store(u64::from(slot), Relaxed);
        words[MEASURES + Measure::from(measure).slot()].fetch_max(until_ns, Relaxed);
        // Where it made a contact, that stands.
        let _ = words[SEEN].compare_exchange(0, now_ns, Relaxed, Relaxed);
        true
    }

    /// Forgets sources of the tenant with this slot, and with them every measure against them.
    pub(in crate::dataplane) fn forget(&self, slot: u32, source: Option<IpNetwork>) {
        let wanted = source.map(|source| key_of(source.network()));
        let sources: Vec<_> = self
            .occupied()
            .filter(|index| {
                let source = self.sources.get(*index);
                source.slot == slot && wanted.is_none_or(|key| source.key == key)
            })
            .collect();
        // What is left over is cleared by whoever gets the place: programs may write to it until then.
        sources
            .into_iter()
            .for_each(|index| self.sources.words(index)[CLAIM].store(place::GIVEN_UP, Relaxed));
    }

    /// Forgets failures, and what is not to be reported again: contacts that an outage left without an
    /// answer speak against nobody. Mail, drop lists and measures have nothing to do with answers and stay.
    pub(in crate::dataplane) fn forget_failures(&self) {
        for index in self.occupied() {
            let words = self.sources.words(index);
            FAILURES.iter().flat_map(|range| &words[range.clone()]).for_each(|word| word.store(0, Relaxed));
        }
    }

    /// Measures that hold at `now_ns`.
    pub(in crate::dataplane) fn held(&self, now_ns: u64) -> Vec<HeldBySource> {
        let mut held = Vec::new();
        for index in self.occupied() {
            let words = self.sources.words(index);
            for measure in Measure::ALL.iter().copied().filter(|measure| *measure != Measure::None) {
                let until_ns = words[MEASURES + measure.slot()].load(Relaxed);
                if until_ns > now_ns {
                    // The programs set both to the same moment.
                    let reported = |kind: &Kind| words[REPORTED + kind.slot()].load(Relaxed) == until_ns;
                    let key = SourceKey { high: words[KEY].load(Relaxed), low: words[KEY + 1].load(Relaxed) };
                    let slot = words[SLOT].load(Relaxed) as u32;
                    let kind = Kind::ALL.iter().copied().find(reported);
                    held.push(HeldBySource {
                        slot,
                        source: source_of(address(key)),
                        kind,
                        measure,
                        until_ns,
                    });
                }
            }
        }
        held
    }

    /// When the last measure against a tenant's sources ends; 0: there is none.
    pub(in crate::dataplane) fn measures_end_ns(&self, slot: u32) -> u64 {
        let of_slot =
            self.occupied().filter(|index| self.sources.words(*index)[SLOT].load(Relaxed) as u32 == slot);
        let ends = of_slot.flat_map(|index| {
            let words = self.sources.words(index);
            words[MEASURES + Measure::Quarantine.slot()..MEASURES + MEASURE_SLOTS]
                .iter()
                .map(|word| word.load(Relaxed))
        });
        ends.max().unwrap_or(0)
    }

    /// Takes over what older tables know of sources, whose slots may be others here.
    pub(in crate::dataplane) fn adopt(&self, old: &Self, slot_of: impl Fn(u32) -> Option<u32>) {
        for index in old.occupied() {
            let source = old.sources.get(index);
            let Some(slot) = slot_of(source.slot) else { continue };
            if let Some(place) = self.place(source.key, true) {
                let claim = self.sources.words(place)[CLAIM].load(Relaxed);
                self.sources.set(place, &Source { claim, slot, ..source });
            }
        }
        if self.contacts.len() == old.contacts.len() {
            // The keys must go with what was hashed by them; see `share_keys`.
            (0..self.contacts.len()).for_each(|index| self.contacts.set(index, &old.contacts.get(index)));
        }
    }

    /// Takes over the keys and totals of older tables; before anything is hashed here.
    pub(in crate::dataplane) fn share_keys(&self, old: &Self) {
        let Detection { breaker_interval_ns, breaker_burst_ns, .. } = self.detection.get(0);
        let state = Detection { breaker_interval_ns, breaker_burst_ns, ..old.detection.get(0) };
        self.detection.set(0, &state);
        (0..self.reports.len()).for_each(|index| self.reports.set(index, &old.reports.get(index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_what_is_judged_by_answers() {
        let mut words = [u64::MAX; size_of::<Source>() / 8];
        FAILURES.iter().flat_map(|range| range.clone()).for_each(|word| words[word] = 0);
        let source: Source = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words));
        assert_eq!((source.armed_ns, source.reported_ns), Default::default());
        for which in track::TCP_HOSTS..=track::SENSITIVE {
            assert_eq!(source.tracks[which], Track::default());
        }
        for which in [track::STEALTH, track::MAIL_HOSTS, track::LISTED] {
            assert_eq!(source.tracks[which].windows[1].attempted, u32::MAX);
        }
        assert_eq!(source.sensitive_day, Default::default());
        assert_eq!((source.ports, source.candidates), Default::default());
        assert_eq!((source.syns, source.datagrams), Default::default());
        assert_eq!((source.claim, source.key.low, source.measures_ns), (u64::MAX, u64::MAX, [u64::MAX; 8]));
        assert_eq!((source.smtp[0].attempted, source.targets[0].port), (u32::MAX, u16::MAX));
    }
}
