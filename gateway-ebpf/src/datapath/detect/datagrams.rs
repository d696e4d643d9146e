//! UDP, which does not say who turned to whom: the table of contacts does.

use gateway_ebpf::Direction;
use gateway_ebpf::detect::Kind;
use gateway_ebpf::detect::contact::State;
use gateway_ebpf::detect::record::region;
use gateway_ebpf::detect::sighting::{SAMPLE, Sighting, Sign, counts, is_sampled, is_traceroute};
use gateway_ebpf::detect::source::{Family, SourceKey};

use super::contacts::{self, Tables};
use super::verdict::Question;
use super::{UDP, credit_answer, look_at_the_clock, sighting, sighting_mut, sources, verdict};

/// The sign of a datagram: [`Sign::NONE`] where nothing is to be noted, as it is neither the first of a contact, nor
/// the first answer, nor the one in so many that stands for the others.
///
/// Most datagrams end here, so it takes no more than it needs, in registers, and calls nothing: to read the
/// headers again into [`SIGHTING`] and to look for a place as well would cost three times as much
/// (docs/performance.md).
#[inline(always)]
pub fn sign(direction: Direction, source: SourceKey, peer: [u64; 2], peer_port: u16) -> Sign {
    let (Some(sighting), Some(tables)) = (sighting_mut(), Tables::new()) else { return Sign::NONE };
    let port = u64::from(peer_port) | u64::from(UDP) << 16;
    let hash = tables.hash([source.high, source.low, peer[0], peer[1], port]);
    look_at_the_clock(sighting);
    let second = sighting.second;
    sighting.ticks = sighting.ticks.wrapping_add(1);
    let is_first = match contacts::state(region::DATAGRAM, hash, second) {
        Some(state)
            if !is_sampled(sighting.ticks) && (direction == Direction::Up || state != State::PENDING) =>
        {
            return Sign::NONE;
        }
        Some(_) => false,
        None => match contacts::state(region::INBOUND, hash, second) {
            Some(_) if !is_sampled(sighting.ticks) => return Sign::NONE,
            state => state.is_none(),
        },
    };
    sighting.contact = hash;
    Sign::of_datagram(direction, is_first)
}

/// Takes note of a datagram of a known contact, or of a peer's first one to a tenant.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observe_datagram() -> u64 {
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
    } else if !is_out {
        inbound.put(second, State::INBOUND);
    }
    0
}

/// Takes note of a tenant's first datagram to a peer that did not turn to it before: a new contact, unless it answers
/// another tenant, whose contact it then is. What it needs is in line but for what is rare (docs/decisions/0013).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observe_first_datagram() -> u64 {
    let (Some(sighting), Some(tables)) = (sighting_mut(), Tables::new()) else { return 0 };
    if is_traceroute(sighting.peer_port) || !counts(sighting.source, sighting.peer) {
        return 0;
    }
    hash_source(sighting, &tables);
    let reversed = tables.reversed(sighting, UDP);
    contacts::fetch(region::HOSTS, sighting.host);
    let (now_ns, second) = (sighting.now_ns, sighting.second);
    if contacts::state(region::DATAGRAM, reversed, second).is_some() {
        return answers_a_tenant(reversed);
    }
    let Some(index) = sources::find_or_open(&tables, sighting, now_ns) else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    sources::fetch(source);
    if !source.afford(Family::Udp, now_ns) && !sources::is_left_alone(sighting, Kind::ScanUdp) {
        tables.count(|detection| &raw mut detection.throttled);
        return Question::Datagram.of(index) | Question::THROTTLED;
    }
    contacts::find(region::DATAGRAM, sighting.contact, second).put(second, State::PENDING);
    tables.count(|detection| &raw mut detection.attempted);
    Question::Datagram.of(index) | Question::MADE
}

/// A datagram that answers another tenant's contact, of this hash.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answers_a_tenant(reversed: u64) -> u64 {
    let Some(sighting) = sighting_mut() else { return 0 };
    let second = sighting.second;
    contacts::find_by_call(region::INBOUND, sighting.contact, second).put(second, State::INBOUND);
    let other = contacts::find_by_call(region::DATAGRAM, reversed, second);
    if other.is_pending() {
        other.put(second, State::ANSWERED);
        sighting.turn();
        answered();
    }
    0
}

/// Hashes the host of a datagram's contact, and its source.
#[inline(always)]
fn hash_source(sighting: &mut Sighting, tables: &Tables) {
    let key = sources::key(sighting.source);
    sighting.source_low = key.low;
    let (host, claim) = (tables.host(sighting, Family::Udp), sources::claim_of(tables, key));
    (sighting.host, sighting.claim) = (host, claim);
}

/// The first answer to a contact.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answered() -> u64 {
    let (Some(sighting), Some(tables)) = (sighting_mut(), Tables::new()) else { return 0 };
    hash_source(sighting, &tables);
    if let Some(index) = sources::find_sighted(sighting) {
        credit_answer(index, sighting, &tables, Family::Udp, false, sighting.second);
    }
    0
}

/// One datagram in [`SAMPLE`] of known contacts, which stands for all of them: a flood has no answers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sampled() -> u64 {
    let (Some(sighting), Some(tables)) = (sighting_mut(), Tables::new()) else { return 0 };
    hash_source(sighting, &tables);
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
