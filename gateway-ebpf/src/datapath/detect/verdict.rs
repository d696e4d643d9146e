//! From counts to offences, and from offences to measures.

use gateway_ebpf::DropReason;
use gateway_ebpf::bounded;
use gateway_ebpf::detect::record::{self, REPORTS as REPORT_COUNT, Report, region};
use gateway_ebpf::detect::rules::{self, CLASSES, Rule, Rules};
use gateway_ebpf::detect::sighting::{Sighting, Sign};
use gateway_ebpf::detect::source::Source;
use gateway_ebpf::detect::{KIND_SLOTS, Kind, MEASURE_SLOTS, Measure};
use gateway_ebpf::gcra;

use super::contacts::Tables;
use super::{Traffic, count_attempt, measures, sighting, sources};
use crate::datapath::atomic;
use crate::datapath::maps::{REPORTS, RULES, SOURCES};

/// A reason by number as a result; 0 is none.
#[inline(always)]
pub fn result(number: u32) -> Result<(), DropReason> {
    match number {
        0 => Ok(()),
        n if n == DropReason::Quarantined as u32 => Err(DropReason::Quarantined),
        n if n == DropReason::MailClosed as u32 => Err(DropReason::MailClosed),
        n if n == DropReason::Flood as u32 => Err(DropReason::Flood),
        _ => Err(DropReason::Throttled),
    }
}

/// The measure that forbids a packet, as the number of a reason; else 0.
#[inline(always)]
pub fn holding(source: &Source, what: Traffic, is_mail: bool, now_ns: u64) -> u32 {
    if source.is_under(Measure::Quarantine, now_ns) {
        DropReason::Quarantined as u32
    } else if is_mail && source.is_under(Measure::CloseSmtp, now_ns) {
        DropReason::MailClosed as u32
    } else if (what == Traffic::Syn && source.is_under(Measure::DropSyn, now_ns))
        || (what == Traffic::Udp && source.is_under(Measure::DropUdp, now_ns))
    {
        DropReason::Flood as u32
    } else {
        0
    }
}

/// The rules of the tenant's class.
#[inline(always)]
fn rules_of(sighting: &Sighting) -> Option<&'static Rules> {
    RULES.get(sighting.bank * CLASSES + (sighting.class & (CLASSES - 1)))
}

/// What a flood detector takes for fine, in packets a second.
#[inline(always)]
pub fn fine_per_second(sighting: &Sighting, kind: Kind) -> u32 {
    rules_of(sighting).map_or(0, |rules| rules.get(kind).limits[Rule::SHORT])
}

/// What is to be judged after a sighting. It is handed back to the entry point, and judged from there:
/// called from where it arises, the chain of calls would take more than the 512 bytes of stack.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum Question {
    /// After a TCP contact, made or throttled.
    Contact = 1,
    /// After a SYN to a known contact.
    SynFlood = 2,
    /// After an odd segment.
    Stealth = 3,
    /// After an SMTP connection was set up.
    SmtpRate = 4,
    /// After a UDP contact, made or throttled.
    Datagram = 5,
    /// After a sampled datagram.
    UdpFlood = 6,
    /// After an echo request to a new host, made or throttled.
    Ping = 7,
}

impl Question {
    /// Set where the packet is dropped whatever the answer.
    pub const THROTTLED: u64 = 1 << 8;
    /// Set where a contact is to be counted before.
    pub const MADE: u64 = 1 << 9;

    /// About a source.
    #[inline(always)]
    pub const fn of(self, index: u32) -> u64 {
        self as u64 | (index as u64) << 32
    }
}

/// Answers a [`Question`]: the number of a reason if the packet must not pass, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge(question: u64) -> u32 {
    let index = (question >> 32) as u32;
    if question & Question::MADE != 0 {
        count_attempt(index);
    }
    let kind = offence(question, index);
    let reason = if kind == 0 { 0 } else { offend(index, kind) };
    if kind != 0 {
        spend(index, kind);
    }
    match reason {
        0 if question & Question::THROTTLED != 0 => DropReason::Throttled as u32,
        0 if sources::get(index).is_some_and(|source| source.is_suspect()) => SUSPECT,
        reason => reason,
    }
}

/// In the place of a reason: the packet passes, and is worth a sample.
pub const SUSPECT: u32 = 1 << 8;

macro_rules! first_offence {
    ($judged:expr, [$($kind:ident),+], confirmed [$($confirmed:ident),*]) => {{
        let (source, rules, now_ns) = $judged;
        $(if commits(source, rules, Kind::$kind, false, now_ns) { return Kind::$kind as u32; })+
        $(if commits(source, rules, Kind::$confirmed, true, now_ns) { return Kind::$confirmed as u32; })*
        0
    }};
}

/// The first kind of offence that a source commits now, by number; 0: none. All kinds are in line: with a call for
/// each, a TCP contact took 100 ns more.
#[inline(always)]
fn offence(question: u64, index: u32) -> u32 {
    const CONTACT: u8 = Question::Contact as u8;
    const SYN_FLOOD: u8 = Question::SynFlood as u8;
    const STEALTH: u8 = Question::Stealth as u8;
    const SMTP_RATE: u8 = Question::SmtpRate as u8;
    const DATAGRAM: u8 = Question::Datagram as u8;
    const PING: u8 = Question::Ping as u8;
    let Some(sighting) = sighting() else { return 0 };
    let (Some(rules), Some(source)) = (rules_of(sighting), sources::get(index)) else { return 0 };
    let judged = (source, rules, sighting.now_ns);
    match question as u8 {
        CONTACT if is_crowded(region::OF_CONNECTIONS) => 0,
        CONTACT => first_offence!(
            judged, [ScanVertical, BulkMail, ListedContact, SynFlood],
            confirmed [ScanSensitive, ScanHorizontal, ScanBlock]
        ),
        PING if is_crowded(region::OF_PINGS) => 0,
        PING => first_offence!(judged, [ListedContact], confirmed[ScanPing]),
        SYN_FLOOD => first_offence!(judged, [SynFlood], confirmed []),
        STEALTH => first_offence!(judged, [ScanStealth], confirmed []),
        SMTP_RATE => first_offence!(judged, [SmtpRate], confirmed []),
        DATAGRAM if is_crowded(region::OF_DATAGRAMS) => 0,
        DATAGRAM => first_offence!(judged, [ScanVertical], confirmed[ScanUdp]),
        _ => first_offence!(judged, [UdpFlood], confirmed []),
    }
}

/// Whether a source commits an offence of a kind now.
#[inline(always)]
fn commits(source: &mut Source, rules: &Rules, kind: Kind, confirm: bool, now_ns: u64) -> bool {
    rules::is_offence(source, rules.get(kind), kind, confirm, now_ns)
}

/// The index of a kind.
#[inline(always)]
fn masked(kind: Kind) -> usize {
    bounded::masked::<{ KIND_SLOTS as u32 - 1 }>(kind.slot() as u32)
}

/// Whether one of these tables of contacts was too small a short while ago.
#[inline(always)]
fn is_crowded(regions: &[usize]) -> bool {
    let (Some(tables), Some(sighting)) = (Tables::new(), sighting()) else { return true };
    let now_ns = sighting.now_ns;
    regions.iter().any(|region| {
        // SAFETY: a live, aligned map value; the word is only stored whole.
        let crowded_ns = unsafe {
            (&raw const (*tables.detection).crowded_ns[*region & (region::COUNT - 1)]).read_volatile()
        };
        record::is_crowded(crowded_ns, now_ns)
    })
}

/// An offence: it is reported, once, and its measure taken, unless the source is left alone or the
/// breaker holds it. Returns the number of a reason if the packet must not pass.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offend(index: u32, kind: u32) -> u32 {
    let Some(kind) = Kind::from_number(kind as u8) else { return 0 };
    let Some(sighting) = sighting() else { return 0 };
    let now_ns = sighting.now_ns;
    let Some(rules) = rules_of(sighting) else { return 0 };
    let Some(tables) = Tables::new() else { return 0 };
    let Some(source) = sources::get(index) else { return 0 };
    let kind_slot = masked(kind);
    let rule = &rules.0[kind_slot];
    let until_ns = rule.until_ns(now_ns);
    source.reported_ns[kind_slot] = until_ns;
    source.armed_ns[kind_slot] = 0;
    if sources::is_left_alone(sighting, kind) {
        return 0;
    }
    let mut measure = rule.measure();
    let mut flags = 0;
    if measure != Measure::None && !breaker_admits(&tables, now_ns) {
        (measure, flags) = (Measure::None, Report::HELD);
        source.reported_ns[kind_slot] = now_ns + rules::HELD_FOR_NS;
    }
    if measure != Measure::None {
        let measure_slot = bounded::masked::<{ MEASURE_SLOTS as u32 - 1 }>(measure.slot() as u32);
        if source.measures_ns[measure_slot] < until_ns {
            source.measures_ns[measure_slot] = until_ns;
        }
        measures::begin(sighting.slot, until_ns);
    }
    report(&tables, source, rule, kind, measure, flags, now_ns);
    let what = match Sign::from_number(sighting.sign) {
        Sign::OPEN => Traffic::Syn,
        Sign::DATAGRAM | Sign::FIRST_DATAGRAM => Traffic::Udp,
        _ => Traffic::Other,
    };
    holding(source, what, sighting.is_mail != 0, now_ns)
}

/// Forgets what an offence was judged by: without new misuse there is no new offence.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn spend(index: u32, kind: u32) -> u32 {
    let Some(kind) = Kind::from_number(kind as u8) else { return 0 };
    let Some(source) = SOURCES.get_ptr_mut(index) else { return 0 };
    let (first, count) = Source::words_of(kind);
    let mut offset = 0;
    while offset < count {
        // In a form that the verifier can follow: it does not know what the compiler does of the kinds.
        let word = core::hint::black_box(first + offset);
        if word >= size_of::<Source>() / 8 {
            return 0;
        }
        // SAFETY: a word of a live, aligned map value, which is stored whole.
        unsafe { source.cast::<u64>().add(word).write_volatile(0) };
        offset += 1;
    }
    0
}

/// Takes one measure from what the breaker allows: a fault of ours, or an outage that looks like
/// everybody's scan, must not cut everybody off.
#[inline(always)]
fn breaker_admits(tables: &Tables, now_ns: u64) -> bool {
    let detection = tables.detection;
    // SAFETY: a live, aligned map value: settings that the controller stores whole, and one word that is
    // only replaced atomically.
    unsafe {
        if now_ns < (&raw const (*detection).frozen_until_ns).read_volatile() {
            return false;
        }
        let interval_ns = (&raw const (*detection).breaker_interval_ns).read_volatile();
        if interval_ns == 0 {
            return true;
        }
        let burst_ns = (&raw const (*detection).breaker_burst_ns).read_volatile();
        let word = &raw mut (*detection).breaker_ns;
        let arrival_ns = word.read_volatile();
        match gcra::admit(arrival_ns, now_ns, interval_ns, burst_ns) {
            Some(next_ns) => atomic::replace(word, arrival_ns, next_ns),
            None => false,
        }
    }
}

/// Writes a report where the controller finds it.
#[inline(always)]
fn report(
    tables: &Tables,
    source: &Source,
    rule: &Rule,
    kind: Kind,
    measure: Measure,
    flags: u8,
    at_ns: u64,
) {
    // SAFETY: a live, aligned map value; the word is only added to atomically.
    let number = unsafe { atomic::advance(&raw mut (*tables.detection).reports, 1) };
    let Some(place) = REPORTS.get_ptr_mut(number as u32 & (REPORT_COUNT - 1)) else { return };
    let (window, detail, rests_on) = record::evidence(source, rule, kind);
    // SAFETY: a live, aligned map value; the number, which says that the rest is whole, comes last.
    unsafe {
        (&raw mut (*place).number).write_volatile(0);
        (*place).at_ns = at_ns;
        (*place).until_ns = rule.until_ns(at_ns);
        (*place).key = source.key;
        (*place).slot = source.slot;
        (*place).kind = kind as u8;
        (*place).measure = measure as u8;
        (*place).flags = flags | rests_on;
        (*place).window = window;
        (*place).detail = detail;
        (*place).probed = record::probed(source, kind);
        let (from, to) =
            ((&raw const source.targets).cast::<u64>(), (&raw mut (*place).targets).cast::<u64>());
        let mut word = 0;
        while word < size_of_val(&source.targets) / 8 {
            to.add(word).write_volatile(from.add(word).read_volatile());
            word += 1;
        }
        (&raw mut (*place).number).write_volatile(number);
    }
}
