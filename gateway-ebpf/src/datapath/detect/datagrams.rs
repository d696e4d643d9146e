//! UDP, which does not say who turned to whom: the table of contacts does.

use gateway_ebpf::Direction;
use gateway_ebpf::detect::Kind;
use gateway_ebpf::detect::contact::State;
use gateway_ebpf::detect::record::region;
use gateway_ebpf::detect::sighting::{SAMPLE, Sign, counts, is_sampled, is_traceroute};
use gateway_ebpf::detect::source::{Family, SourceKey};

use super::contacts::{self, Looked, Tables};
use super::verdict::Question;
use super::{
    UDP, complete, count_host, credit_answer, look_at_the_clock, sighting, sighting_mut, sources, verdict,
};

/// Whether nothing is to be noted of a datagram: neither is it the first of a contact, nor the first answer,
/// nor the one in so many that stands for the others.
///
/// Most datagrams end here, so it takes no more than it needs, in registers, and calls nothing: to read the
/// headers again into [`SIGHTING`] and to look for a place as well would cost three times as much
/// (docs/performance.md).
#[inline(always)]
pub fn is_settled(direction: Direction, source: SourceKey, peer: [u64; 2], peer_port: u16) -> bool {
    let Some(sighting) = sighting_mut() else { return false };
    sighting.ticks = sighting.ticks.wrapping_add(1);
    if is_sampled(sighting.ticks) {
        return false;
    }
    let Some(tables) = Tables::new() else { return false };
    let port = u64::from(peer_port) | u64::from(UDP) << 16;
    let hash = tables.hash([source.high, source.low, peer[0], peer[1], port]);
    look_at_the_clock(sighting);
    let second = sighting.second;
    match contacts::state(region::DATAGRAM, hash, second) {
        Some(state) => direction == Direction::Up || state != State::PENDING,
        None => contacts::state(region::INBOUND, hash, second).is_some(),
    }
}

/// Takes note of a datagram.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observe_datagram() -> u64 {
    prepare();
    let Some(sighting) = sighting() else { return 0 };
    let second = sighting.second;
    let contact = contacts::find_by_call(region::DATAGRAM, sighting.contact, second);
    let is_out = Sign::from_number(sighting.sign) == Sign::DATAGRAM;
    if contact.is_known() {
        if !is_out && contact.is_pending() {
            contact.put(second, State::ANSWERED);
            return answered();
        }
        if is_sampled(sighting.ticks) {
            contact.refresh(second);
            return sampled();
        }
        return 0;
    }
    let inbound = contacts::find_by_call(region::INBOUND, sighting.contact, second);
    if inbound.is_known() {
        if is_sampled(sighting.ticks) {
            inbound.refresh(second);
        }
        return 0;
    }
    if !is_out {
        inbound.put(second, State::INBOUND);
        return 0;
    }
    if is_traceroute(sighting.peer_port) || !counts(sighting.source, sighting.peer) {
        return 0;
    }
    turned_to_a_peer(contact.packed(), inbound.packed())
}

/// [`complete`] for a datagram: from anybody it may be an answer, so that is to be told from a contact before it is
/// asked whether it counts. A global function, for there is not enough stack for it where it is called.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn prepare() -> u32 {
    let (Some(sighting), Some(tables)) = (sighting_mut(), Tables::new()) else { return 0 };
    complete(sighting, &tables);
    sighting.is_mail = 0;
    0
}

/// A first datagram to a peer that did not turn to the source before: a new contact, unless it answers
/// another tenant, whose contact it then is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn turned_to_a_peer(contact: u64, inbound: u64) -> u64 {
    if answers_a_tenant(inbound) != 0 {
        return 0;
    }
    let Some(sighting) = sighting() else { return 0 };
    let Some(tables) = Tables::new() else { return 0 };
    let now_ns = sighting.now_ns;
    let Some(index) = sources::find_or_open(&tables, sighting, now_ns) else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    sources::fetch(source);
    if !source.afford(Family::Udp, now_ns) && !sources::is_left_alone(sighting, Kind::ScanUdp) {
        tables.count(|detection| &raw mut detection.throttled);
        return Question::Datagram.of(index) | Question::THROTTLED;
    }
    tables.count(|detection| &raw mut detection.attempted);
    Looked::of(sighting.contact, contact).put(sighting.second, State::PENDING);
    count_datagram(index);
    Question::Datagram.of(index)
}

/// Whether a datagram answers another tenant's contact: 1, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answers_a_tenant(inbound: u64) -> u32 {
    let Some(sighting) = sighting_mut() else { return 0 };
    let second = sighting.second;
    let other = contacts::find_by_call(region::DATAGRAM, sighting.reversed, second);
    if !other.is_known() {
        return 0;
    }
    Looked::of(sighting.contact, inbound).put(second, State::INBOUND);
    if other.is_pending() {
        other.put(second, State::ANSWERED);
        core::mem::swap(&mut sighting.source, &mut sighting.peer);
        core::mem::swap(&mut sighting.source_port, &mut sighting.peer_port);
        prepare();
        answered();
    }
    1
}

/// Counts a new contact of a source.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_datagram(index: u32) -> u32 {
    let Some(sighting) = sighting() else { return 0 };
    count_host(sighting, index, Family::Udp, sighting.second);
    0
}

/// The first answer to a contact.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answered() -> u64 {
    let Some(sighting) = sighting() else { return 0 };
    let Some(tables) = Tables::new() else { return 0 };
    if let Some(index) = sources::find_sighted(sighting) {
        credit_answer(index, sighting, &tables, Family::Udp, false, sighting.second);
    }
    0
}

/// One datagram in [`SAMPLE`] of known contacts, which stands for all of them: a flood has no answers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sampled() -> u64 {
    let Some(sighting) = sighting() else { return 0 };
    let Some(index) = sources::find_sighted(sighting) else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    if Sign::from_number(sighting.sign) == Sign::DATAGRAM_IN {
        source.datagrams.relieve(u64::from(SAMPLE) * 4);
        return 0;
    }
    let fine = verdict::fine_per_second(sighting, Kind::UdpFlood);
    source.datagrams.add(u64::from(SAMPLE) * 2, fine, sighting.now_ns);
    Question::UdpFlood.of(index)
}
