//! What would this policy have done to that traffic? A capture, run packet by packet through the real
//! programs on a virtual clock that follows the capture's own.
//!
//! ```text
//! capture -> link (to Ethernet) -> networks (which side?) -> programs, at the packet's time -> report
//! ```
//!
//! Nothing is decided here but a packet's side. Without one being given, a packet from a tenant's address
//! runs on the tenant side and one to a tenant's on the uplink side; one between two tenants runs on the
//! tenant side and then, if it passed, on the uplink side, as it does when each hangs on a side of its own.
//! Packets of no tenant are counted, not run: nothing tells where they were seen.

mod capture;
mod compare;
mod ladders;
mod link;
mod networks;
mod report;
mod tally;

use std::io::BufRead;
use std::time::Duration;

use gateway_ebpf::detect::rules::CONFIRM_NS;
use jiff::Timestamp;

pub use capture::{Capture, CaptureError, Packet, Problem};
pub use compare::{Difference, differences};
pub use ladders::{Decided, Decision, Judgement, Reached, StandingDifference, standing_differences};
pub use report::{
    ByReason, DirectionReport, OffenceReport, PacketVerdict, Report, TenantReport, Verdict, timestamp,
};

use crate::config::{Config, Enforcement, Side};
use crate::dataplane::{DataplaneError, Engine, ProgramClock};
use crate::detect::{Offence, Second};
use crate::policy::Effective;
use link::Framer;
use networks::Networks;
use tally::{Fate, Tally};

/// Why a capture was not replayed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// It has packets, and none is Ethernet or IP.
    #[error(
        "no packet could be judged: link type {0}. Ethernet (1), raw IP (12, 14, 101, 228, 229), BSD \
         loopback (0, 108) and Linux cooked (113, 276) can"
    )]
    Unsupported(String),
}

/// One policy, and what became of the packets so far.
pub struct Replay {
    engine: Engine,
    networks: Networks,
    /// The side of every packet; none: by its addresses.
    side: Option<Side>,
    match_vlan: MatchVlan,
    framer: Framer,
    now_ns: u64,
    second: Second,
    offences: Vec<Offence>,
    tally: Tally,
    config_digest: String,
    enforcement: Enforcement,
}

impl Replay {
    /// Loads the programs under a policy, with the clock at `start`. With `per_packet`, the
    /// report will hold every verdict.
    ///
    /// # Errors
    /// If the kernel refuses the programs.
    pub fn new(
        policy: &Effective,
        side: Option<Side>,
        per_packet: bool,
        start: Timestamp,
    ) -> Result<Self, DataplaneError> {
        let config = policy.config();
        Ok(Self {
            engine: Engine::detached(policy, ProgramClock::Virtual)?,
            networks: Networks::of(config),
            side,
            match_vlan: MatchVlan::of(config),
            framer: Framer::default(),
            now_ns: u64::try_from(start.as_nanosecond()).unwrap_or(0),
            second: Second::default(),
            offences: Vec::new(),
            tally: Tally::new(per_packet),
            config_digest: config.digest.to_string(),
            enforcement: config.enforcement.clone(),
        })
    }

    /// Judges the next packet of a capture.
    ///
    /// # Errors
    /// If the kernel does not run it.
    pub fn packet(&mut self, packet: &Packet<'_>) -> Result<(), DataplaneError> {
        // A packet that was written out of order is judged at the time that the clock has reached.
        self.now_ns = self.now_ns.max(packet.at_ns.unwrap_or(0));
        self.tally.arrived(packet);
        self.look();
        let Some(frame) = self.framer.frame(packet) else {
            self.tally.unsupported(packet);
            return Ok(());
        };
        self.tally.truncated += u64::from(frame.is_truncated);
        let sides = match self.side {
            Some(side) => [Some(side), None],
            None => self.networks.sides(frame.bytes),
        };
        if sides == [None, None] {
            self.tally.not_run(packet);
        }
        self.engine.set_clock(self.now_ns);
        let mut fate = Fate::Unmatched;
        for side in sides.into_iter().flatten() {
            self.engine.set_match_vlan(frame.shows_tags && self.match_vlan.on(side));
            self.engine.run(side, frame.bytes)?;
            fate = self.tally.judged(packet, side, self.engine.last_judgement());
            if matches!(fate, Fate::Dropped(_)) {
                break;
            }
        }
        self.tally.end(fate);
        Ok(())
    }

    /// Does what the controller does every second, up to the present.
    fn look(&mut self) {
        let looks = self.second.looks_after_quiet_sources(Duration::from_nanos(self.now_ns));
        if !looks.is_empty() {
            self.offences.extend(self.engine.look(looks.into_iter().map(nanoseconds)));
        }
    }

    /// What became of all packets.
    pub fn report(mut self) -> Report {
        // What the last packets led to is still seen.
        self.offences.extend(self.engine.look([self.now_ns + CONFIRM_NS]));
        // An offence may be certain after the last packet.
        let last = self.tally.last_ns.map(timestamp);
        let end = self.offences.iter().map(|offence| offence.at).chain(last).max();
        let judged = ladders::judge(&self.offences, &self.enforcement, end);
        report::report(self.tally, &self.engine, self.offences, judged, self.config_digest)
    }
}

fn nanoseconds(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

/// Judges every packet of a capture by each of the policies. If the capture is broken, what is before
/// that place has been judged, and the error says where it is.
///
/// # Errors
/// If the kernel does not run a packet.
pub fn run<R: BufRead>(
    capture: &mut Capture<R>,
    replays: &mut [Replay],
) -> Result<Option<CaptureError>, DataplaneError> {
    loop {
        match capture.next_packet() {
            Ok(Some(packet)) => replays.iter_mut().try_for_each(|replay| replay.packet(&packet))?,
            Ok(None) => return Ok(None),
            Err(broken) => return Ok(Some(broken)),
        }
    }
}

/// Whether VLAN tags count on each side.
struct MatchVlan {
    tenant: bool,
    uplink: bool,
}

impl MatchVlan {
    /// As the interfaces say. One on a side that lets every tag pass is enough: the capture does not tell
    /// them apart.
    fn of(config: &Config) -> Self {
        let all = |side| {
            let mut interfaces = config.interfaces.iter().filter(|interface| interface.side == side);
            interfaces.all(|interface| interface.match_vlan)
        };
        Self { tenant: all(Side::Tenant), uplink: all(Side::Uplink) }
    }

    fn on(&self, side: Side) -> bool {
        match side {
            Side::Tenant => self.tenant,
            Side::Uplink => self.uplink,
        }
    }
}
