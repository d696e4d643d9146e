//! What the programs and the controller agree on byte for byte: maps, values, load-time constants.
//!
//! Every value is `repr(C)` and plain old data, which `bytemuck` only derives where there is no implicit
//! padding and any bytes are a valid value; it is in the byte order of the machine unless its type
//! says otherwise, and its size is asserted here. Any change of a layout, a map's meaning or a
//! number raises [`ABI_VERSION`]; a controller never uses pinned maps of another version.
//!
//! Values that belong to the policy exist in two banks. The controller writes the bank that is not
//! active and then changes [`Control::active_bank`], one aligned word that each packet reads once: a
//! packet is judged by the whole old policy or the whole new one.

use bytemuck::{Pod, Zeroable};

use crate::assignment::Assignments;
use crate::counter::{Carried, Carries, Counter};
use crate::lookup::{v4, v6};
use crate::parse::{Protocol, Tags};
use crate::policer::Cap;
use crate::policer::fair::Fair;
use crate::port::{Actions, PortClasses, PortFilter, ServiceClass};
use crate::{Direction, REASON_SLOTS};

/// Raised with every incompatible change; see the module's docs.
pub const ABI_VERSION: u32 = 13;

/// Banks of policy values.
pub const BANKS: u32 = 2;

/// Names of the programs in the object.
pub mod program {
    /// Judges packets received from tenants.
    pub const TENANT_SIDE: &str = "tenant_side";
    /// Judges packets received from the Internet.
    pub const UPLINK_SIDE: &str = "uplink_side";
    /// Attached to nothing: run by the controller, it writes the time that caps and detection go by to
    /// [`super::map::CLOCK`].
    pub const READ_CLOCK: &str = "read_clock";
}

/// Names of the maps in the object, with what their indexes mean.
pub mod map {
    /// `[Control; 1]`.
    pub const CONTROL: &str = "CONTROL";
    /// `[BankHeader; BANKS]`.
    pub const BANK_HEADERS: &str = "BANK_HEADERS";
    /// `[TenantState; 2 x tenants]`, by direction, then slot. Outlives reloads.
    pub const TENANTS: &str = "TENANTS";
    /// `[policer::fair::Fair; 2 x tenants]`, as [`TENANTS`]. Outlives reloads.
    pub const FAIR: &str = "FAIR";
    /// `[Assignments; BANKS x tenants / 16]`, bank-major: which policy each tenant has.
    pub const ASSIGNMENTS: &str = "ASSIGNMENTS";
    /// `[Policy; BANKS x policies]`, bank-major.
    pub const POLICIES: &str = "POLICIES";
    /// `[TagPair; BANKS x tenants]`, bank-major.
    pub const TAGS: &str = "TAGS";
    /// `[lookup::v4::Node; BANKS x nodes]`, bank-major.
    pub const V4_NODES: &str = "V4_NODES";
    /// `[lookup::v6::Entry; BANKS x entries]`, bank-major.
    pub const V6_ENTRIES: &str = "V6_ENTRIES";
    /// `[PortClasses; BANKS x 2]`, bank-major, then by protocol.
    pub const PORT_CLASSES: &str = "PORT_CLASSES";
    /// Longest-prefix match from `PeerKey` to `PeerGrant`; keys name their bank.
    pub const PEERS: &str = "PEERS";
    /// `[u64; tenants]`: theoretical arrival time of the next refusal that is sent to the tenant.
    pub const REFUSALS: &str = "REFUSALS";
    /// `[u64; tenants]`: when the last measure against one of the tenant's sources ends, on the coarse clock;
    /// see [`Assignment::is_measured`](crate::assignment::Assignment::is_measured).
    pub const MEASURES_END: &str = "MEASURES_END";
    /// `[Carried; 2 x tenants]`, by direction, then slot: what was carried from [`TenantState::passed`](super::TenantState::passed).
    pub const PASSED_CARRIED: &str = "PASSED_CARRIED";
    /// `[Counter; REASON_SLOTS x 2 x (tenants + 1)]`, by [`DropReason::slot`](crate::DropReason::slot), direction,
    /// slot; shared by all CPUs, changed atomically. Slot 0 of the reasons counts nothing but samples of
    /// packets that pass, and the slot after the last tenant's nothing but those of packets of no tenant.
    pub const DROPPED: &str = "DROPPED";
    /// `[Carried; REASON_SLOTS x 2 x (tenants + 1)]`: what was carried from there.
    pub const DROPPED_CARRIED: &str = "DROPPED_CARRIED";
    /// `[Carries; 1]`.
    pub const CARRIES: &str = "CARRIES";
    /// `[InterfaceEntry; ifindexes]`.
    pub const INTERFACES: &str = "INTERFACES";
    /// `[InterfaceTallies; (1 + CPUs) x INTERFACE_SLOTS]`, by stripe, then interface slot. Stripe 0 is the
    /// controller's, for what it carries over from older maps; CPU n has stripe n + 1.
    pub const INTERFACE_TALLIES: &str = "INTERFACE_TALLIES";
    /// Device map (hash) from the index of an interface to itself: those that the programs may send out of.
    pub const EGRESS: &str = "EGRESS";
    /// `[TenantId; tenants]`: whose slot it is. Written and read by controllers alone, so that a new
    /// one knows what its predecessor's counters belong to.
    pub const TENANT_IDS: &str = "TENANT_IDS";
    /// Ring buffer of [`Event`](super::Event)s, [`super::EVENT_RING_BYTES`] long.
    pub const EVENTS: &str = "EVENTS";
    /// `[EventTallies; 1 + CPUs]`, by stripe as above.
    pub const EVENT_TALLIES: &str = "EVENT_TALLIES";
    /// `[Clock; 1]`: the time. Where [`super::constant::NS_PER_JIFFY`] is 0, the programs take it from here.
    pub const CLOCK: &str = "CLOCK";
    /// `[detect::rules::Rules; BANKS x CLASSES]`, bank-major.
    pub const RULES: &str = "RULES";
    /// `[detect::record::Detection; 1]`. Outlives reloads, as do the next three.
    pub const DETECTION: &str = "DETECTION";
    /// `[detect::source::Source; sources]`, in sets of eight.
    pub const SOURCES: &str = "SOURCES";
    /// `[detect::contact::Set; regions x sets]`, region-major.
    pub const CONTACTS: &str = "CONTACTS";
    /// `[detect::record::Report; REPORTS]`: report n is at n modulo their number.
    pub const REPORTS: &str = "REPORTS";
    /// `[detect::sighting::Sighting; 1]` of each CPU. Written and read by programs alone.
    pub const SIGHTING: &str = "SIGHTING";
    /// `[LastVerdict; 1]`: only written in virtual time.
    pub const LAST_VERDICT: &str = "LAST_VERDICT";
}

/// Constants that the controller sets when it loads the object.
pub mod constant {
    /// `u32`: tenants' slots, a multiple of 16.
    pub const TENANT_CAPACITY: &str = "TENANT_CAPACITY";
    /// `u32`: policies per bank.
    pub const POLICY_CAPACITY: &str = "POLICY_CAPACITY";
    /// `u32`: IPv4 nodes per bank.
    pub const V4_NODE_CAPACITY: &str = "V4_NODE_CAPACITY";
    /// `u32`: IPv6 entries per bank, a power of two.
    pub const V6_ENTRY_CAPACITY: &str = "V6_ENTRY_CAPACITY";
    /// `u32`: sets of sources, a power of two.
    pub const SOURCE_SETS: &str = "SOURCE_SETS";
    /// `u32`: sets of contacts in a region, a power of two.
    pub const CONTACT_SETS: &str = "CONTACT_SETS";
    /// `u64`: length of a jiffy; 0: take the time from [`super::map::CLOCK`].
    pub const NS_PER_JIFFY: &str = "NS_PER_JIFFY";
    /// `u32`: 1: the programs forward what may pass, by way of [`super::map::EGRESS`]; 0: the router's stack does.
    pub const FORWARDING: &str = "FORWARDING";
}

/// Interfaces that have counters of their own; slot 0 is for packets of unregistered ones.
pub const INTERFACE_SLOTS: u32 = 64;

/// Room in [`map::EVENTS`]: some 6,000 events.
pub const EVENT_RING_BYTES: u32 = 1 << 20;

/// Length of [`Event::tail`]: room for two tags, IPv6 with some extension headers, and TCP.
pub const EVENT_TAIL_BYTES: usize = 128;

/// First word of [`Control`]: "FWAY" in memory order.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FWAY");

/// The switchboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Control {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`ABI_VERSION`] of whoever made the maps.
    pub abi_version: u32,
    /// The bank in force.
    pub active_bank: u32,
    /// 1 once packets are judged by these maps; a controller that finds it 0 finds an attempt that
    /// another one did not finish.
    pub live: u32,
}

/// What a bank says of all tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BankHeader {
    /// [`BankHeader::COUNT_UNKNOWN_ONLY`], and from [`BankHeader::REFUSE_SHIFT`] on a bit per service
    /// class whose closed ports are refused instead of dropped in silence.
    pub flags: u64,
    /// How to search the bank's IPv6 entries.
    pub v6: v6::Shape,
}

impl BankHeader {
    /// Unknown sources on the tenant side are counted and let through.
    pub const COUNT_UNKNOWN_ONLY: u64 = 1;
    /// There is a drop list.
    pub const HAS_DROP_LIST: u64 = 2;
    /// Where the bits of the service classes begin.
    pub const REFUSE_SHIFT: u32 = 16;

    /// The bit of `class` in [`Self::flags`].
    #[inline(always)]
    #[must_use]
    pub const fn refuse(class: ServiceClass) -> u64 {
        1 << (Self::REFUSE_SHIFT + class.number() as u32)
    }
}

/// What a bank says of the tenants that have an [`Assignment`](crate::assignment::Assignment) to it: one cache line,
/// which all tenants of a plan share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Policy {
    caps: [Cap; 2],
    actions: [Actions; 2],
    flags: u32,
    class: u32,
    classed_ports: [PortFilter; 2],
}

impl Policy {
    /// A policy; arrays in the order of [`Direction::ALL`].
    #[must_use]
    pub const fn new(caps: [Cap; 2], actions: [Actions; 2]) -> Self {
        Self { caps, actions, flags: 0, class: 0, classed_ports: [PortFilter::NONE; 2] }
    }

    /// The same, with the ports of each protocol that may have a [`ServiceClass`].
    #[must_use]
    pub const fn with_classed_ports(self, classed_ports: [PortFilter; 2]) -> Self {
        Self { classed_ports, ..self }
    }

    /// Whether a port of this protocol may have a class; if not, there is no need to look for it in
    /// [`PortClasses`].
    #[inline(always)]
    #[must_use]
    pub const fn may_be_classed(&self, protocol: Protocol, ports: [u16; 2]) -> bool {
        self.classed_ports[protocol as usize].may_have(ports)
    }

    /// The same, with these flags.
    #[must_use]
    pub const fn with_flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    /// Every fragment is dropped, not only those that could hide a port.
    pub const DROP_FRAGMENTS: u32 = 1;
    /// Some detector is on.
    pub const DETECTS: u32 = 2;
    /// Its tenants have VLAN tags, which are checked where the interface asks for it.
    pub const HAS_TAGS: u32 = 4;

    /// Where the [unit](crate::policer::fair::unit_bits) of the phantom queues begins; 0 there: the caps are plain
    /// buckets.
    const FAIR_UNIT_SHIFT: u32 = 8;
    const FAIR_UNIT_MASK: u32 = 0x1f << Self::FAIR_UNIT_SHIFT;

    /// The same with fair caps, whose queues count in units of 2^`unit_bits` ns.
    #[must_use]
    pub const fn with_fair_caps(self, unit_bits: u32) -> Self {
        let unit = unit_bits << Self::FAIR_UNIT_SHIFT & Self::FAIR_UNIT_MASK;
        Self { flags: self.flags & !Self::FAIR_UNIT_MASK | unit, ..self }
    }

    /// The unit of its phantom queues; 0: it has none.
    #[inline(always)]
    #[must_use]
    pub const fn fair_unit_bits(&self) -> u32 {
        (self.flags & Self::FAIR_UNIT_MASK) >> Self::FAIR_UNIT_SHIFT
    }

    /// Whether every fragment is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn drops_fragments(&self) -> bool {
        self.flags & Self::DROP_FRAGMENTS != 0
    }

    /// Whether some detector is on.
    #[inline(always)]
    #[must_use]
    pub const fn detects(&self) -> bool {
        self.flags & Self::DETECTS != 0
    }

    /// Whether its tenants have VLAN tags.
    #[inline(always)]
    #[must_use]
    pub const fn has_tags(&self) -> bool {
        self.flags & Self::HAS_TAGS != 0
    }

    /// The same in a class of its own for detection, below [`CLASSES`](crate::detect::rules::CLASSES).
    #[must_use]
    pub const fn with_class(self, class: u32) -> Self {
        Self { class, ..self }
    }

    /// Which of the bank's detection rules apply.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self) -> u32 {
        self.class
    }

    /// The cap of one direction.
    #[inline(always)]
    #[must_use]
    pub const fn cap(&self, direction: Direction) -> Cap {
        self.caps[direction.index()]
    }

    /// The port actions for connections opened in one direction.
    #[inline(always)]
    #[must_use]
    pub const fn actions(&self, direction: Direction) -> Actions {
        self.actions[direction.index()]
    }
}

/// VLAN tags that a tenant's packets carry; 0: any. Padded to a word, as the controller writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TagPair {
    /// The tags.
    pub tags: Tags,
    /// Zero.
    pub reserved: u32,
}

/// Key of the peers' longest-prefix match, after the prefix length: the first 64 bits always count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerKey {
    /// The tenant's slot, or [`PeerKey::WALLED_GARDEN`].
    pub slot: u32,
    /// The bank that the entry belongs to.
    pub bank: u8,
    /// [`Direction`] in which the connection is opened.
    pub direction: u8,
    /// [`ServiceClass`] of its port.
    pub class: u8,
    /// 4 or 6.
    pub family: u8,
    /// The peer, network byte order; IPv4 in the first four bytes.
    pub address: [u8; 16],
}

impl PeerKey {
    /// Bits before the address.
    pub const FIXED_BITS: u32 = 64;
    /// In the place of a slot: hosts that suspended tenants may still reach; direction and class are 0.
    pub const WALLED_GARDEN: u32 = u32::MAX;
    /// In the place of a slot: networks of the drop list; direction and class are 0.
    pub const DROP_LIST: u32 = u32::MAX - 1;
    /// In the place of a slot: sources that a detector leaves alone; the class is the number of its
    /// [`Kind`](crate::detect::Kind), the direction 0.
    pub const LEFT_ALONE: u32 = u32::MAX - 2;
}

/// What a listed peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerGrant {
    /// The first instant at which it may no longer, on the boot-time clock (the virtual clock where
    /// there is one); `u64::MAX`: never.
    pub expires_ns: u64,
}

/// What every packet that a tenant may send or receive changes, in its direction: a quarter of a cache line, so that
/// a processor's caches hold many tenants (see docs/performance.md). Shared by all CPUs, changed atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TenantState {
    /// Theoretical arrival time of the next packet.
    pub arrival_ns: u64,
    /// What was let through; its samples are none.
    pub passed: Counter,
}

/// Packets and bytes (Ethernet frames without FCS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What the programs know of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceEntry {
    /// Slot of its counters; 0: unregistered.
    pub slot: u32,
    /// [`InterfaceEntry::MATCH_VLAN`].
    pub flags: u32,
    /// Its Ethernet address when it was registered: what is sent to it, the router is to forward.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

impl InterfaceEntry {
    /// Tenants' VLAN tags are checked here.
    pub const MATCH_VLAN: u32 = 1;
}

/// Packets received on one interface that belong to no tenant, and those that the programs forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceTallies {
    /// Link control, let through.
    pub link_control: Tally,
    /// For no tenant (uplink), let through.
    pub unmatched: Tally,
    /// From no tenant (tenant side), let through because the operator only counts them.
    pub unknown_source_passed: Tally,
    /// Tenants' packets that the program sent on by itself, past the router's stack.
    pub forwarded: Tally,
    /// Dropped, by [`DropReason::slot`](crate::DropReason::slot).
    pub dropped: [Tally; REASON_SLOTS],
}

/// A record of one packet, for the controller to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Event {
    /// When, on the boot-time clock, or the virtual clock where there is one.
    pub time_ns: u64,
    /// What it records: [`Event::DROP`] or [`Event::SUSPECT`]. Numbers are never reused; readers pass over those that they do
    /// not know.
    pub kind: u16,
    /// [`Direction`] of the packet.
    pub direction: u8,
    /// [`DropReason`](crate::DropReason) by number; 0: it passed.
    pub reason: u8,
    /// Slot of the packet's tenant, plus one; 0: none.
    pub slot_plus_one: u32,
    /// Interface that received it.
    pub ifindex: u32,
    /// Length of the frame.
    pub frame_bytes: u32,
    /// How much of [`Self::tail`] is used; zeros follow.
    pub tail_bytes: u32,
    /// Zero.
    pub reserved: u32,
    /// What the kind says; for packets, the beginning of the frame.
    pub tail: [u8; EVENT_TAIL_BYTES],
}

impl Event {
    /// A dropped packet: one of many.
    pub const DROP: u16 = 1;
    /// A contact of a source that was not answered lately: one of many.
    pub const SUSPECT: u16 = 2;
}

/// Events that the controller never gets: a cache line for each CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct EventTallies {
    /// There was no room in the ring.
    pub lost: u64,
    /// Beyond the allowance of their tenant.
    pub suppressed: u64,
    /// When the CPU last found no room, on the clock of the caps.
    pub full_at_ns: u64,
    /// Zero.
    pub reserved: [u64; 5],
}

/// A tenant's id, padded with zeros; all zeros: the slot is free.
pub type TenantId = [u8; 64];

/// A time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Clock {
    /// Virtual time: nanoseconds since the Unix epoch. Else what [`program::READ_CLOCK`] read last: the
    /// coarse clock of [`TenantState::arrival_ns`] and of all of [detection](crate::detect).
    pub now_ns: u64,
}

/// What became of the last packet, for whoever runs packets one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LastVerdict {
    /// Slot of the tenant that it was counted for, plus one; 0: none.
    pub slot_plus_one: u32,
    /// [`DropReason`](crate::DropReason) by number; 0: it passed.
    pub reason: u16,
    /// Why a packet of no tenant passed: one of the constants below; else 0.
    pub pass: u16,
}

impl LastVerdict {
    /// Control traffic of the link.
    pub const LINK_CONTROL: u16 = 1;
    /// For no tenant, on the uplink.
    pub const UNMATCHED: u16 = 2;
    /// From no tenant, on the tenant side, where the operator only counts them.
    pub const UNKNOWN_SOURCE: u16 = 3;
}

const _: () = {
    assert!(size_of::<Control>() == 16);
    assert!(size_of::<BankHeader>() == 152);
    assert!(size_of::<Policy>() == 64);
    assert!(size_of::<TagPair>() == 8);
    assert!(size_of::<TenantState>() == 16);
    assert!(size_of::<Fair>() == 128);
    assert!(size_of::<Assignments>() == 64);
    assert!(size_of::<Counter>() == 8);
    assert!(size_of::<Carried>() == 8);
    assert!(size_of::<Carries>() == 16);
    assert!(size_of::<PortClasses>() == 32_768);
    assert!(size_of::<PeerKey>() == 24);
    assert!(size_of::<PeerGrant>() == 8);
    assert!(size_of::<Tally>() == 16);
    assert!(size_of::<InterfaceEntry>() == 16);
    assert!(size_of::<InterfaceTallies>() == 320);
    assert!(size_of::<v4::Node>() == 64);
    assert!(size_of::<v6::Entry>() == 24);
    assert!(size_of::<v6::Shape>() == 144);
    assert!(size_of::<Cap>() == 16);
    assert!(size_of::<LastVerdict>() == 8);
    assert!(size_of::<Event>() == 160);
    assert!(size_of::<EventTallies>() == 64);
};
