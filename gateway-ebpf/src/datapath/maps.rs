//! The maps, and typed access to them. Sizes are set at load time; the ones here are placeholders.
//!
//! Arrays are memory-mapped by the controller (`BPF_F_MMAPABLE`, Linux 5.5), so that writing a policy
//! for 100,000 tenants, or reading their counters, takes no system calls.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMapHash, LpmTrie, PerCpuArray, RingBuf};
use gateway_ebpf::Direction;
use gateway_ebpf::abi::{
    BankHeader, Clock, Control, EVENT_RING_BYTES, EventTallies, InterfaceEntry, InterfaceTallies,
    LastVerdict, PeerGrant, PeerKey, Policy, TagPair, TenantId, TenantState,
};
use gateway_ebpf::assignment::{ASSIGNMENTS_BITS, Assignment, Assignments};
use gateway_ebpf::counter::{Carried, Carries, Counter};
use gateway_ebpf::detect::contact;
use gateway_ebpf::detect::record::{Detection, REPORTS as REPORT_COUNT, Report};
use gateway_ebpf::detect::rules::Rules;
use gateway_ebpf::detect::sighting::Sighting;
use gateway_ebpf::detect::source::Source;
use gateway_ebpf::lookup::v6::Answer;
use gateway_ebpf::lookup::{Slot, v4, v6};
use gateway_ebpf::policer::fair::Fair;
use gateway_ebpf::port::PortClasses;

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static BANK_HEADERS: Array<BankHeader> = Array::with_max_entries(2, BPF_F_MMAPABLE);
#[map]
pub static TENANTS: Array<TenantState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static FAIR: Array<Fair> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static ASSIGNMENTS: Array<Assignments> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static POLICIES: Array<Policy> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static TAGS: Array<TagPair> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static V4_NODES: Array<v4::Node> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static V6_ENTRIES: Array<v6::Entry> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PORT_CLASSES: Array<PortClasses> = Array::with_max_entries(4, BPF_F_MMAPABLE);
#[map]
pub static PEERS: LpmTrie<PeerKey, PeerGrant> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
pub static REFUSALS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static MEASURES_END: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PASSED_CARRIED: Array<Carried> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static DROPPED: Array<Counter> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static DROPPED_CARRIED: Array<Carried> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static CARRIES: Array<Carries> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static INTERFACES: Array<InterfaceEntry> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static INTERFACE_TALLIES: Array<InterfaceTallies> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static EGRESS: DevMapHash = DevMapHash::with_max_entries(1, 0);
#[map]
pub static TENANT_IDS: Array<TenantId> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
#[map]
pub static EVENT_TALLIES: Array<EventTallies> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static CLOCK: Array<Clock> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static LAST_VERDICT: Array<LastVerdict> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static RULES: Array<Rules> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static DETECTION: Array<Detection> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static SOURCES: Array<Source> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static CONTACTS: Array<contact::Set> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static REPORTS: Array<Report> = Array::with_max_entries(REPORT_COUNT, BPF_F_MMAPABLE);
/// What the program hands on to detection, which is verified by itself.
#[map]
pub static SIGHTING: PerCpuArray<Sighting> = PerCpuArray::with_max_entries(1, 0);

macro_rules! constants {
    ($($(#[doc = $doc:literal])+ $getter:ident = $name:ident: $type:ty;)+) => {$(
        #[unsafe(no_mangle)]
        static $name: $type = 0;

        $(#[doc = $doc])+
        #[inline(always)]
        pub fn $getter() -> $type {
            // SAFETY: an aligned, initialised static. Volatile, because its value is only known once
            // the object is loaded; it then lies in a frozen map, and the verifier treats it as a
            // constant and drops the branches that it rules out.
            unsafe { core::ptr::read_volatile(&raw const $name) }
        }
    )+};
}

constants! {
    /// Tenants' slots, a multiple of 16.
    tenant_capacity = TENANT_CAPACITY: u32;
    /// Policies per bank.
    policy_capacity = POLICY_CAPACITY: u32;
    /// IPv4 nodes per bank.
    v4_node_capacity = V4_NODE_CAPACITY: u32;
    /// IPv6 entries per bank.
    v6_entry_capacity = V6_ENTRY_CAPACITY: u32;
    /// Sets of sources, a power of two.
    source_sets = SOURCE_SETS: u32;
    /// Sets of contacts in a region, a power of two.
    contact_sets = CONTACT_SETS: u32;
    /// Length of a jiffy; 0: virtual time.
    ns_per_jiffy = NS_PER_JIFFY: u64;
    /// 1: the programs forward what may pass; 0: the router's stack does.
    forwarding = FORWARDING: u32;
}

/// Where a bank, or a direction, starts in a table of two, of so many entries each. A mask, because a multiplication takes three
/// times as long and everything waits for it.
#[inline(always)]
pub fn start(bank: u32, capacity: u32) -> u32 {
    capacity & bank.wrapping_neg()
}

/// What a bank says of the tenant in a slot.
#[inline(always)]
pub fn assignment(bank: u32, slot: Slot) -> Option<*mut Assignment> {
    let index = start(bank, tenant_capacity()) + slot.0;
    let assignments = ASSIGNMENTS.get_ptr_mut(index >> ASSIGNMENTS_BITS)?;
    let within = (index & ((1 << ASSIGNMENTS_BITS) - 1)) as usize;
    // SAFETY: a live map value, and a place within it.
    Some(unsafe { assignments.cast::<Assignment>().add(within) })
}

/// Where a tenant's state in one direction is in [`TENANTS`] and [`FAIR`], and what was carried from it in [`PASSED_CARRIED`].
#[inline(always)]
pub fn state_index(slot: Slot, direction: Direction) -> u32 {
    let first = if direction == Direction::Up { 0 } else { tenant_capacity() };
    first + slot.0
}

/// Where in [`DROPPED`], and [`DROPPED_CARRIED`], is what was dropped of a tenant in one direction for the reason with
/// this slot; packets of no tenant have the slot after the last.
#[inline(always)]
pub fn drops_index(reason_slot: u32, direction: Direction, slot: u32) -> u32 {
    let row = reason_slot * 2 + direction.index() as u32;
    row * (tenant_capacity() + 1) + slot
}

/// One bank of the IPv4 trie: its first node.
pub struct V4Bank(u32);

impl V4Bank {
    #[inline(always)]
    pub fn new(bank: u32) -> Self {
        Self(start(bank, v4_node_capacity()))
    }
}

impl v4::Nodes for V4Bank {
    #[inline(always)]
    fn entry(&self, node: u32, index: u8) -> Option<v4::Entry> {
        V4_NODES.get(self.0 + node).map(|node| node[index as usize])
    }
}

/// One bank of the IPv6 table.
pub struct V6Bank(pub u32);

impl v6::Table for V6Bank {
    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&v6::Entry> {
        V6_ENTRIES.get(start(self.0, v6_entry_capacity()) + index)
    }

    #[inline(always)]
    fn best(&self, shape: &v6::Shape, high: u64, low: u64, length: u32) -> Option<u32> {
        // Half of the table is free: seldom is it not the first that answers.
        match self.entry(v6::hash(shape.seed, high, low, length) & shape.mask)?.answers(high, low, length) {
            Answer::Best(best) => return Some(best),
            Answer::Nothing => return None,
            Answer::Elsewhere => {}
        }
        let found = probe_v6(self.0, high, low, length);
        if found & FOUND != 0 { Some(found as u32) } else { None }
    }
}

/// Set in the result of [`probe_v6`] where there is an entry.
const FOUND: u64 = 1 << 32;

/// [`v6::probe`] as a global function (Linux 5.6), which the verifier checks once and by itself: inlined
/// into the search, loop within loop, it took 200,000 of the million instructions that a program may
/// take to verify.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn probe_v6(bank: u32, high: u64, low: u64, length: u32) -> u64 {
    let Some(header) = BANK_HEADERS.get(bank) else { return 0 };
    match v6::probe(&V6Bank(bank), header.v6.seed, header.v6.mask, high, low, length) {
        Some(best) => FOUND | u64::from(best),
        None => 0,
    }
}
