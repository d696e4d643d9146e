//! A generic cell rate algorithm in virtual scheduling form (ITU-T I.371, annex A): one 64-bit theoretical
//! arrival time limits the rate of whatever is counted in time: bytes of a tenant, refusals, offences.
//!
//! An event conforms while the work already accepted reaches no further than the burst into the
//! future; accepting it pushes the theoretical arrival time on by what the event costs. That time is kept in
//! nanoseconds, so the long-run rate is exact however coarse the clock is: a clock that ticks every 4 ms only
//! coarsens when the burst ends.

/// The theoretical arrival time after an event of `cost_ns` that happens at `now_ns`, or `None` if it
/// does not conform to a burst of `burst_ns`.
///
/// The backlog is compared before the packet is added: a jumbo frame longer than the whole burst still
/// passes once the backlog has drained, and pays for itself afterwards.
#[inline(always)]
#[must_use]
pub const fn admit(arrival_ns: u64, now_ns: u64, cost_ns: u64, burst_ns: u64) -> Option<u64> {
    let start_ns = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    if start_ns - now_ns > burst_ns {
        return None;
    }
    Some(start_ns + cost_ns)
}
