//! Charges a packet to its tenant's cap (policy rule B1), by one of two algorithms: a plain bucket, or
//! [fair phantom queues](fair).

use gateway_ebpf::parse::{Address, Frame as _, Ip, Payload, number};
use gateway_ebpf::policer::fair::{self, Fair, Refused, Shared};
use gateway_ebpf::policer::flow;
use gateway_ebpf::{Direction, DropReason};

use super::identify::Tenant;
use super::maps::{FAIR, TENANTS, state_index};
use super::packet::Packet;
use super::{atomic, clock};

/// Attempts at the compare-and-swap before the packet is charged without a look at the backlog.
const ATTEMPTS: usize = 4;

/// The flow that a packet belongs to, found where its headers are read again: few packets need it, and what is
/// kept for them takes up the stack of all.
pub struct Flow<'a> {
    pub packet: &'a Packet,
    pub network: usize,
    pub ip: &'a Ip,
    pub payload: &'a Payload,
}

impl Flow<'_> {
    #[inline(always)]
    fn queue(&self) -> u32 {
        let protocol = self.payload.protocol;
        let has_ports = protocol == number::TCP || protocol == number::UDP;
        let ports = if has_ports && self.is_whole() { self.packet.be32(self.payload.at) } else { None };
        flow::queue(self.ip.source, self.ip.destination, protocol, ports.unwrap_or(0))
    }

    /// Whether the ports count: of all fragments only the first has some, and it goes where the others go. In IPv6,
    /// any extension header before the ports is taken for a fragment's.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        let Some(word) = self.packet.be16(self.network + 6) else { return false };
        match self.ip.source {
            Address::V4(_) => word & 0x3fff == 0,
            Address::V6(..) => (word >> 8) as u8 == self.payload.protocol,
        }
    }
}

/// Charges `bytes` to the tenant, if they fit.
///
/// Most packets are decided by one word and change it at the first attempt; the rest is out of line, for the
/// stack's sake (512 bytes for a chain of calls).
#[inline(always)]
pub fn charge(tenant: &Tenant, direction: Direction, bytes: u32, flow: &Flow<'_>) -> Result<(), DropReason> {
    let cap = tenant.policy.cap(direction);
    let unit_bits = tenant.policy.fair_unit_bits();
    let (cost_ns, burst_ns) = (cap.cost_ns(bytes), cap.burst_ns());
    let now_ns = clock::coarse_ns();
    // SAFETY: a live, aligned map value, which programs only touch through this word's atomics.
    let word = unsafe { &raw mut (*tenant.state).arrival_ns };
    // SAFETY: as above; an aligned 64-bit load is atomic.
    let arrival_ns = unsafe { word.read_volatile() };
    let start_ns = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    let free_ns = if unit_bits == 0 { burst_ns } else { fair::near_ns(burst_ns) };
    if start_ns - now_ns <= free_ns {
        // SAFETY: as above.
        if unsafe { atomic::replace(word, arrival_ns, start_ns + cost_ns) } {
            return Ok(());
        }
    } else if unit_bits == 0 {
        return Err(DropReason::OverCap);
    }
    let index = state_index(tenant.slot, direction);
    match charge_slowly(index, cost_ns, burst_ns, flow.queue() | unit_bits << 8) {
        0 => Ok(()),
        _ => Err(DropReason::OverCap),
    }
}

/// Charges a packet to the tenant whose state is at `index`, where it is near its cap or other CPUs are at it too:
/// 0, or the number of a [`Refused`]. A global function (Linux 5.6), which the verifier checks once and by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_slowly(index: u32, cost_ns: u64, burst_ns: u64, queue_and_unit: u32) -> u32 {
    let (queue, unit_bits) = (queue_and_unit & (flow::QUEUES - 1), queue_and_unit >> 8 & 0x1f);
    let (Some(state), Some(fair)) = (TENANTS.get_ptr_mut(index), FAIR.get_ptr_mut(index)) else { return 0 };
    let now_ns = clock::coarse_ns();
    // SAFETY: a live, aligned map value, which programs only touch through this word's atomics.
    let word = unsafe { &raw mut (*state).arrival_ns };
    // SAFETY: as above; an aligned 64-bit load is atomic.
    let mut arrival_ns = unsafe { word.read_volatile() };
    if unit_bits != 0 {
        let ahead_ns = arrival_ns.saturating_sub(now_ns);
        // First: under a flood, nothing else is touched.
        if ahead_ns > fair::credit_ns(burst_ns) {
            return Refused::Credit as u32;
        }
        if ahead_ns > fair::near_ns(burst_ns) {
            let queues = Queues(fair);
            if let Err(refused) = fair::admit(&queues, now_ns, ahead_ns, burst_ns, unit_bits, queue) {
                return refused as u32;
            }
            // The arrival time lies ahead and only grows, so it takes no comparison. What other CPUs let pass in the
            // same moment is charged as well: the burst may grow by a packet of each, the long-run rate stays exact.
            // SAFETY: as above.
            let after_ns = unsafe { atomic::advance(word, cost_ns) };
            fair::charge(&queues, after_ns.wrapping_sub(cost_ns), cost_ns, unit_bits, queue);
            return 0;
        }
    }
    for _ in 0..ATTEMPTS {
        let start_ns = if arrival_ns > now_ns { arrival_ns } else { now_ns };
        if start_ns - now_ns > burst_ns {
            return Refused::Credit as u32;
        }
        // SAFETY: as above.
        let held_ns = unsafe { atomic::exchange(word, arrival_ns, start_ns + cost_ns) };
        if held_ns == arrival_ns {
            return 0;
        }
        arrival_ns = held_ns;
    }
    // Other CPUs won every time. The packet conformed a moment ago: let it pass, and charge it all the
    // same, so that the long-run rate stays exact.
    // SAFETY: as above.
    unsafe { atomic::add(word, cost_ns) };
    0
}

/// A tenant's queues in the map.
struct Queues(*mut Fair);

impl Queues {
    #[inline(always)]
    fn word(&self, index: usize) -> *mut u64 {
        // SAFETY: a live, aligned map value of 16 words; `fair` names only those.
        unsafe { self.0.cast::<u64>().add(index) }
    }

    #[inline(always)]
    fn level_of(&self, queue: u32) -> *mut u8 {
        // SAFETY: as above; as many levels as there are queues.
        unsafe { (&raw mut (*self.0).levels).cast::<u8>().add(queue as usize & (flow::QUEUES as usize - 1)) }
    }
}

impl Shared for Queues {
    #[inline(always)]
    fn load(&self, word: usize) -> u64 {
        // SAFETY: within the value, see `Queues::word`; an aligned 64-bit load is atomic.
        unsafe { self.word(word).read_volatile() }
    }

    #[inline(always)]
    fn exchange(&self, word: usize, old: u64, new: u64) -> u64 {
        // SAFETY: as above; programs only change these words by atomic operations.
        unsafe { atomic::exchange(self.word(word), old, new) }
    }

    #[inline(always)]
    fn add(&self, word: usize, value: u64) {
        // SAFETY: as above.
        unsafe { atomic::add(self.word(word), value) };
    }

    #[inline(always)]
    fn level(&self, queue: u32) -> u8 {
        // SAFETY: within the value, see `Queues::level_of`.
        unsafe { self.level_of(queue).read_volatile() }
    }

    #[inline(always)]
    fn set_level(&self, queue: u32, level: u8) {
        // SAFETY: as above. Not atomic: of two CPUs' levels, either will do.
        unsafe { self.level_of(queue).write_volatile(level) };
    }
}
