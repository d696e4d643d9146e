//! Detection (policy rules M4, S1, S2): what a packet says about its source is counted, judged and acted
//! on here, in the kernel, so that it goes on while no controller runs. The method is in
//! [`gateway_ebpf::detect`].
//!
//! The packets of established TCP connections cost a look at their flags. UDP costs one at the table of
//! contacts. Only new contacts and first answers go further.
//!
//! All of this is in global functions (Linux 5.6), which the verifier checks once and by themselves; what
//! the packet said is handed to them in a value of this CPU, [`SIGHTING`].

mod contacts;
mod datagrams;
mod measures;
mod sources;
mod verdict;

use aya_ebpf::bindings::xdp_md;
use gateway_ebpf::detect::Kind;
use gateway_ebpf::detect::contact::{self, State};
use gateway_ebpf::detect::record::region;
use gateway_ebpf::detect::sighting::{self, Sighting, Sign};
use gateway_ebpf::detect::source::{Contact, Family, Target, track};
use gateway_ebpf::parse::{self, Address, Frame as _, Ip, Opening, Payload, Protocol, Transport};
use gateway_ebpf::port::ServiceClass;
use gateway_ebpf::{Direction, DropReason};

use super::identify::Tenant;
use super::maps::{PORT_CLASSES, SIGHTING};
use super::packet::{self, Packet};
use super::{clock, events};
use contacts::Tables;
use verdict::Question;

/// Protocol numbers, as evidence names them.
const TCP: u16 = 6;
const UDP: u16 = 17;
const ICMP: u16 = 1;

const SECOND_NS: u64 = 1_000_000_000;

/// What a packet is to detection, once its policy lets it pass.
#[inline(always)]
pub fn sign(
    packet: &Packet,
    direction: Direction,
    ip: &Ip,
    payload: &Payload,
    transport: Option<Transport>,
    tenant: &Tenant,
) -> Sign {
    if !tenant.policy.detects() {
        return Sign::NONE;
    }
    let v6 = matches!(ip.source, Address::V6(..));
    let sign = match transport {
        Some(transport) => match transport.protocol {
            Protocol::Tcp => sign_of_segment(packet, direction, payload, &transport),
            Protocol::Udp => sign_of_datagram(direction, ip, &transport),
        },
        None if payload.protocol == if v6 { 58 } else { 1 } => match packet.be16(payload.at) {
            Some(type_and_code) => Sign::of_icmp(direction, v6, (type_and_code >> 8) as u8),
            None => Sign::NONE,
        },
        None => Sign::NONE,
    };
    if sign != Sign::NONE && note(sign, ip, transport, tenant).is_none() {
        return Sign::NONE;
    }
    sign
}

/// Puts down what a packet with a sign says in [`SIGHTING`], while its headers are at hand: in registers to where it
/// is needed it would take more of the stack than there is, and to read them again takes 30 ns.
#[inline(always)]
fn note(sign: Sign, ip: &Ip, transport: Option<Transport>, tenant: &Tenant) -> Option<()> {
    let sighting = sighting_mut()?;
    let (from, to) = (halves(ip.source), halves(ip.destination));
    let (source_port, destination_port) = transport.map_or((0, 0), |t| (t.source, t.destination));
    if sign.is_answer() || sign == Sign::DATAGRAM_IN {
        (sighting.source, sighting.peer) = (to, from);
        (sighting.source_port, sighting.peer_port) = (destination_port, source_port);
    } else {
        (sighting.source, sighting.peer) = (from, to);
        (sighting.source_port, sighting.peer_port) = (source_port, destination_port);
    }
    sighting.sign = sign.number();
    sighting.slot = tenant.slot.0;
    sighting.bank = tenant.bank;
    sighting.class = tenant.policy.class();
    sighting.is_mail = 0;
    Some(())
}

/// [`Sign::of_segment`] of a packet, with where it stands in its connection if that is of interest.
#[inline(always)]
fn sign_of_segment(packet: &Packet, direction: Direction, payload: &Payload, transport: &Transport) -> Sign {
    let sign = Sign::of_segment(direction, transport.flags);
    if matches!(sign, Sign::ACCEPT | Sign::END | Sign::ABORT) {
        let (Some(sighting), Some((end, awaited))) = (sighting_mut(), parse::sequence(packet, payload))
        else {
            return Sign::NONE;
        };
        sighting.sequence = if sign == Sign::ACCEPT { awaited } else { end };
    }
    sign
}

/// [`datagrams::sign`] of a packet.
#[inline(always)]
fn sign_of_datagram(direction: Direction, ip: &Ip, transport: &Transport) -> Sign {
    let (source, peer, peer_port) = match direction {
        Direction::Up => (ip.source, ip.destination, transport.destination),
        Direction::Down => (ip.destination, ip.source, transport.source),
    };
    datagrams::sign(direction, sources::key(halves(source)), halves(peer), peer_port)
}

/// Takes note of a packet with a sign that is about to pass; an error if it must not after all.
#[inline(always)]
pub fn observe(packet: &Packet, direction: Direction, sign: Sign, tenant: &Tenant) -> Result<(), DropReason> {
    let question = match sign {
        Sign::NONE => return Ok(()),
        Sign::FIRST_DATAGRAM => datagrams::observe_first_datagram(),
        Sign::DATAGRAM | Sign::DATAGRAM_IN => datagrams::observe_datagram(),
        Sign::ODD => observe_odd_segment(),
        Sign::END | Sign::ABORT => observe_end(),
        sign if sign.is_answer() => observe_answer(),
        _ => observe_attempt(),
    };
    if question == 0 {
        return Ok(());
    }
    match verdict::judge(question) {
        verdict::SUSPECT => {
            events::suspect(packet.context(), tenant.slot.0, direction);
            Ok(())
        }
        reason => verdict::result(reason),
    }
}

/// What a packet with this sign is looked up as: over what, as which protocol, where.
#[inline(always)]
const fn looked_up_as(sign: Sign) -> (Family, u16, usize) {
    match sign {
        Sign::ECHO | Sign::ECHO_REPLY => (Family::Ping, ICMP, region::DATAGRAM),
        Sign::ODD => (Family::Tcp, TCP | contacts::ODD, region::TCP),
        _ => (Family::Tcp, TCP, region::TCP),
    }
}

/// What [`note`] has put down of a packet that turns to a peer, or answers, over TCP or ICMP, if that counts; with
/// the rest of what is to be known of it.
#[inline(always)]
fn counted(tables: &Tables) -> Option<&'static Sighting> {
    let sighting = sighting_mut()?;
    if !sighting::counts(sighting.source, sighting.peer) {
        return None;
    }
    look_at_the_clock(sighting);
    fetch(sighting, tables);
    sighting.is_mail = is_mail(sighting.bank, sighting.peer_port) as u32;
    Some(sighting)
}

/// Sets the time of a sighting. Its second takes a division, which is made once a jiffy.
#[inline(always)]
fn look_at_the_clock(sighting: &mut Sighting) {
    let now_ns = clock::coarse_ns();
    if sighting.now_ns != now_ns {
        sighting.now_ns = now_ns;
        sighting.second = (now_ns / SECOND_NS) as u32;
    }
}

/// Hashes the contact, its host and the source, once, and begins to fetch the sets of the first two, so that these
/// misses of the caches overlap with that of the source.
#[inline(always)]
fn fetch(sighting: &mut Sighting, tables: &Tables) {
    let (family, protocol, region) = looked_up_as(Sign::from_number(sighting.sign));
    let key = sources::key(sighting.source);
    sighting.source_low = key.low;
    // In a row, for most terms of these sums are the same.
    let (contact, host, claim) =
        (tables.contact(sighting, protocol), tables.host(sighting, family), sources::claim_of(tables, key));
    contacts::fetch(region, contact);
    contacts::fetch(region::HOSTS, host);
    (sighting.contact, sighting.host, sighting.claim) = (contact, host, claim);
}

#[inline(always)]
fn is_mail(bank: u32, port: u16) -> bool {
    let class = PORT_CLASSES.get(bank * 2 + Protocol::Tcp as u32).map(|classes| classes.get(port));
    matches!(class, Some(ServiceClass::RELAY | ServiceClass::SUBMISSION))
}

/// What the packet said.
#[inline(always)]
fn sighting() -> Option<&'static Sighting> {
    // SAFETY: a live, aligned value of this CPU, and bottom halves are off: nobody else has it. Who writes it, by
    // `sighting_mut`, does so before anybody reads it.
    Some(unsafe { &*SIGHTING.get_ptr_mut(0)? })
}

/// The same, to be written.
#[inline(always)]
fn sighting_mut() -> Option<&'static mut Sighting> {
    // SAFETY: as above; no other reference to it is used after this was called.
    Some(unsafe { &mut *SIGHTING.get_ptr_mut(0)? })
}

/// An address as two words, IPv4 as IPv4-mapped.
#[inline(always)]
fn halves(address: Address) -> [u64; 2] {
    match address {
        Address::V4(v4) => [0, sighting::MAPPED | u64::from(v4)],
        Address::V6(high, low) => [high, low],
    }
}

/// An error if the source of an outbound packet is under a measure that forbids it. Even in quarantine it
/// keeps what suspended tenants keep, which is for the caller to see to.
#[inline(always)]
pub fn hold(
    packet: &Packet,
    network: usize,
    direction: Direction,
    tenant: &Tenant,
) -> Result<(), DropReason> {
    if direction == Direction::Down {
        return Ok(());
    }
    if !tenant.assignment.is_measured() {
        return Ok(());
    }
    verdict::result(held(packet.context(), network as u32, tenant.slot.0, tenant.bank))
}

/// The measure in force for a packet of a tenant some of whose sources are under one: the number of a
/// reason, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn held(context: *mut xdp_md, network: u32, slot: u32, bank: u32) -> u32 {
    let now_ns = clock::coarse_ns();
    if measures::have_ended(slot, now_ns) {
        return 0;
    }
    let packet = Packet::new(context);
    let Some(ip) = packet::ip_header(&packet, network) else { return 0 };
    let Some(index) = sources::find(sources::key(halves(ip.source))) else { return 0 };
    let Ok(payload) = parse::payload(&packet, &ip) else { return 0 };
    let transport = parse::transport(&packet, &payload).ok().flatten();
    let (what, mail) = match transport {
        None => (Traffic::Other, false),
        Some(transport) => match transport.protocol {
            Protocol::Udp => (Traffic::Udp, false),
            Protocol::Tcp if transport.opening() == Opening::Yes => {
                (Traffic::Syn, is_mail(bank, transport.destination))
            }
            Protocol::Tcp => (Traffic::Other, is_mail(bank, transport.destination)),
        },
    };
    sources::get(index).map_or(0, |source| verdict::holding(source, what, mail, now_ns))
}

/// What measures tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Syn,
    Udp,
    Other,
}

/// Takes note of a SYN, or an echo request. Like the others of its kind, it returns a [`Question`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn observe_attempt() -> u64 {
    let Some(tables) = Tables::new() else { return 0 };
    let Some(sighting) = counted(&tables) else { return 0 };
    let now_ns = sighting.now_ns;
    let is_syn = sighting.sign == Sign::OPEN.number();
    let (family, region, question, kind) = if is_syn {
        (Family::Tcp, region::TCP, Question::Contact, Kind::ScanHorizontal)
    } else {
        (Family::Ping, region::DATAGRAM, Question::Ping, Kind::ScanPing)
    };
    let Some(index) = sources::find_or_open(&tables, sighting, now_ns) else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    sources::fetch(source);
    let second = sighting.second;
    let contact = contacts::find(region, sighting.contact, second);
    let is_throttled =
        !contact.is_known() && !source.afford(family, now_ns) && !sources::is_left_alone(sighting, kind);
    if is_syn && (!is_throttled || source.is_starved(now_ns)) {
        source.syns.add(2, verdict::fine_per_second(sighting, Kind::SynFlood), now_ns);
    }
    if contact.is_known() {
        return if is_syn { Question::SynFlood.of(index) } else { 0 };
    }
    if is_throttled {
        tables.count(|detection| &raw mut detection.throttled);
        return question.of(index) | Question::THROTTLED;
    }
    contact.put(second, State::PENDING);
    tables.count(|detection| &raw mut detection.attempted);
    question.of(index) | Question::MADE
}

/// Counts a new contact of a source, and who it was with.
#[inline(always)]
fn count_attempt(index: u32) -> u32 {
    let Some(sighting) = sighting() else { return 0 };
    let second = sighting.second;
    let family = match Sign::from_number(sighting.sign) {
        Sign::OPEN => Family::Tcp,
        Sign::FIRST_DATAGRAM => Family::Udp,
        _ => Family::Ping,
    };
    let first_of_host = count_host(sighting, index, family, second);
    if family == Family::Udp {
        // Mail is sent over TCP, and drop lists are for connections and pings.
        return 0;
    }
    let Some(source) = sources::get(index) else { return 0 };
    if sighting.is_mail != 0 {
        let Some(tables) = Tables::new() else { return 0 };
        let mail_host = contacts::find_by_call(region::HOSTS, tables.mail_host(sighting), second);
        if !mail_host.is_known() {
            mail_host.put(second, State::PENDING);
            source.count(track::MAIL_HOSTS, second);
        }
    }
    if first_of_host && sources::is_listed_peer(sighting) {
        source.count(track::LISTED, second);
    }
    0
}

/// Counts a new contact, and says whether it is the first with its host.
#[inline(always)]
fn count_host(sighting: &Sighting, index: u32, family: Family, second: u32) -> bool {
    let host = contacts::find(region::HOSTS, sighting.host, second);
    let first_of_host = !host.is_known();
    if first_of_host {
        host.put(second, State::PENDING);
    }
    let made = Contact { family, host: host.hash, port: sighting.peer_port, first_of_host };
    if let Some(source) = sources::get(index) {
        source.attempt(&made, second);
        let protocol = match family {
            Family::Tcp => TCP,
            Family::Udp => UDP,
            Family::Ping => ICMP,
        };
        source.note_target(target(sighting, protocol, second));
    }
    first_of_host
}

/// Takes note of a segment that no TCP sends.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn observe_odd_segment() -> u64 {
    let Some(tables) = Tables::new() else { return 0 };
    let Some(sighting) = counted(&tables) else { return 0 };
    let now_ns = sighting.now_ns;
    let second = sighting.second;
    let contact = contacts::find_by_call(region::TCP, sighting.contact, second);
    if contact.is_known() {
        return 0;
    }
    let Some(index) = sources::find_or_open(&tables, sighting, now_ns) else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    contact.put(second, State::PENDING);
    source.count(track::STEALTH, second);
    source.note_target(target(sighting, TCP, second));
    Question::Stealth.of(index)
}

/// Takes note of a SYN-ACK, a reset or an echo reply.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn observe_answer() -> u64 {
    let Some(tables) = Tables::new() else { return 0 };
    let Some(sighting) = counted(&tables) else { return 0 };
    let second = sighting.second;
    let sign = Sign::from_number(sighting.sign);
    let (family, region) = match sign {
        Sign::ECHO_REPLY => (Family::Ping, region::DATAGRAM),
        _ => (Family::Tcp, region::TCP),
    };
    let contact = contacts::find_by_call(region, sighting.contact, second);
    if !contact.is_known() {
        return 0;
    }
    let Some(index) = sources::find_sighted(sighting) else { return 0 };
    if contact.is_pending() {
        let rejected = sign == Sign::REJECT;
        if rejected {
            contact.put(second, State::REJECTED);
        } else {
            contact.put_marked(second, State::ANSWERED, contact::mark(sighting.sequence));
        }
        credit_answer(index, sighting, &tables, family, rejected, second);
    }
    if sign != Sign::ACCEPT {
        return 0;
    }
    let Some(source) = sources::get(index) else { return 0 };
    source.syns.relieve(3);
    if sighting.is_mail == 0 {
        return 0;
    }
    source.smtp_connection(second);
    Question::SmtpRate.of(index)
}

/// Takes note of a FIN or a reset from a tenant: a contact of its own that ends where it began was only probed. Any
/// other reset refuses one who asked.
///
/// Every connection ends by one of them, so it takes no more than it needs.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn observe_end() -> u64 {
    let (Some(tables), Some(sighting)) = (Tables::new(), sighting_mut()) else { return 0 };
    look_at_the_clock(sighting);
    let key = sources::key(sighting.source);
    sighting.source_low = key.low;
    let second = sighting.second;
    let hash = tables.contact(sighting, TCP);
    match contacts::state(region::TCP, hash, second) {
        None if sighting.sign == Sign::ABORT.number() => {
            sighting.turn();
            sighting.sign = Sign::REJECT.number();
            return observe_answer();
        }
        Some(State::ANSWERED) => {}
        _ => return 0,
    }
    let contact = contacts::find_by_call(region::TCP, hash, second);
    if !contact.is_answered_at(contact::mark(sighting.sequence)) {
        return 0;
    }
    sighting.claim = sources::claim_of(&tables, key);
    let Some(index) = sources::find_sighted(sighting) else { return 0 };
    contact.put(second, State::PROBED);
    if let Some(source) = sources::get(index) {
        source.probe(sighting.peer_port, second);
    }
    0
}

/// Counts the first answer to a contact, and to its host.
#[inline(always)]
fn credit_answer(
    index: u32,
    sighting: &Sighting,
    tables: &Tables,
    family: Family,
    rejected: bool,
    second: u32,
) {
    let host = contacts::find_by_call(region::HOSTS, sighting.host, second);
    let first_of_host = host.is_pending();
    // A host that refuses one port may still accept another.
    if first_of_host && !rejected {
        host.put(second, State::ANSWERED);
    }
    let made = Contact { family, host: host.hash, port: sighting.peer_port, first_of_host };
    if let Some(source) = sources::get(index) {
        source.answer(&made, rejected, second);
    }
    if !rejected {
        tables.count(|detection| &raw mut detection.answered);
    }
}

#[inline(always)]
fn target(sighting: &Sighting, protocol: u16, second: u32) -> Target {
    Target { high: sighting.peer[0], low: sighting.peer[1], port: sighting.peer_port, protocol, second }
}
