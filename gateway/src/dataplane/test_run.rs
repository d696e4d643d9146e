//! Packets run through the programs one at a time, attached to nothing (`BPF_PROG_TEST_RUN`): for tests
//! and replays. Counters and buckets move as for any packet.

use aya::programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp};
use gateway_ebpf::DropReason;
use gateway_ebpf::abi::{InterfaceEntry, LastVerdict, program};
use gateway_ebpf::lookup::Slot;

use super::engine::Engine;
use super::error::{DataplaneError, chain};
use super::programs::{missing, program_of};
use crate::config::Side;

/// The shortest frame that the kernel runs: an Ethernet header.
pub const MIN_FRAME_BYTES: usize = 14;

/// The longest frame that is run: the largest IPv6 packet (RFC 8200, 4.5) behind two VLAN tags. The
/// kernel takes a first page and 17 more.
pub const MAX_FRAME_BYTES: usize = MIN_FRAME_BYTES + 2 * 4 + 40 + 65_535;

/// The interface that test runs are received on: the loopback device of every network namespace.
const IFINDEX: u32 = 1;

/// What a program said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the router's stack.
    Pass,
    /// Dropped.
    Drop,
    /// Dropped, and its sender told so.
    Refuse,
}

/// What became of a packet, and on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The tenant that it was counted for; none if it was nobody's.
    pub tenant: Option<Slot>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Let through: a tenant's, within its policy.
    Passed,
    /// Let through: control traffic of the link.
    LinkControl,
    /// Let through on the uplink: for no tenant.
    Unmatched,
    /// Let through on the tenant side: from no tenant, where the operator only counts them.
    UnknownSource,
    /// Dropped.
    Dropped(DropReason),
}

impl Engine {
    /// Sets the clock of programs that were loaded with a virtual one, in nanoseconds since the Unix
    /// epoch.
    pub fn set_clock(&self, now_ns: u64) {
        self.tables.set_clock(now_ns);
    }

    /// Whether the frames run from now on are judged by their VLAN tags too, as on an interface with
    /// `match_vlan`.
    pub fn set_match_vlan(&self, on: bool) {
        let flags = if on { InterfaceEntry::MATCH_VLAN } else { 0 };
        let slot = self.tables.interface_slot(IFINDEX);
        self.tables.set_interface(IFINDEX, InterfaceEntry { slot, flags, ..InterfaceEntry::default() });
    }

    /// Runs the program of one side on one Ethernet frame, as if it had been received on the loopback
    /// interface.
    ///
    /// # Errors
    /// If the kernel refuses the frame: shorter than [`MIN_FRAME_BYTES`], or longer than it can run.
    pub fn run(&self, side: Side, frame: &[u8]) -> Result<Verdict, DataplaneError> {
        // Nobody wants the frame back: without room for it, the kernel does not copy it out.
        self.test_run(program_of(side), frame, None).map(|(verdict, _)| verdict)
    }

    /// [`Self::run`], with the answer that the program made of the frame, if it refused it aloud.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_for_answer(
        &self,
        side: Side,
        frame: &[u8],
    ) -> Result<(Verdict, Option<Vec<u8>>), DataplaneError> {
        // An answer is at most 118 bytes long, but what is not one comes back as it was.
        let mut out = vec![0; frame.len() + 128];
        let (verdict, length) = self.test_run(program_of(side), frame, Some(&mut out))?;
        out.truncate(length);
        Ok((verdict, (verdict == Verdict::Refuse).then_some(out)))
    }

    /// What the programs read on the coarse clock, or the virtual one, in nanoseconds.
    pub(super) fn read_clock(&self) -> Result<u64, DataplaneError> {
        self.test_run(program::READ_CLOCK, &[0; MIN_FRAME_BYTES], None)?;
        Ok(self.tables.clock_ns())
    }

    fn test_run(
        &self,
        name: &str,
        frame: &[u8],
        out: Option<&mut [u8]>,
    ) -> Result<(Verdict, usize), DataplaneError> {
        let options = TestRunOptions { data_in: Some(frame), data_out: out, ..TestRunOptions::default() };
        let result = self.xdp(name)?.test_run(options).map_err(|error| refused(frame, &error))?;
        let verdict = match result.return_value {
            xdp_action::PASS => Verdict::Pass,
            xdp_action::DROP => Verdict::Drop,
            xdp_action::TX => Verdict::Refuse,
            other => {
                let cause = format!("verdict {other}");
                return Err(DataplaneError::new("running a frame", cause, "This is a bug; report it"));
            }
        };
        Ok((verdict, result.data_size_out as usize))
    }

    /// Runs the program of one side `repeat` times on one Ethernet frame, as [`Self::run`] does once: for
    /// whoever wants to know how long that takes.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_repeatedly(&self, side: Side, frame: &[u8], repeat: u32) -> Result<(), DataplaneError> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        self.xdp(program_of(side))?.test_run(options).map(drop).map_err(|error| refused(frame, &error))
    }

    /// The program of one side, for another program to hand packets to by a tail call.
    ///
    /// # Errors
    /// If it is not loaded.
    pub fn program_fd(&self, side: Side) -> Result<&ProgramFd, DataplaneError> {
        self.xdp(program_of(side))?.fd().map_err(|_| missing(program_of(side)))
    }

    fn xdp(&self, name: &str) -> Result<&Xdp, DataplaneError> {
        match self.object.program(name).map(<&Xdp>::try_from) {
            Some(Ok(program)) => Ok(program),
            _ => Err(missing(name)),
        }
    }

    /// What became of the frame that was run last; only programs on the virtual clock tell.
    pub fn last_judgement(&self) -> Judgement {
        self.tables.last_verdict().into()
    }

    /// The slots that tenants have in these tables, in the config's order.
    pub fn slots(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.tenants.iter().map(|(tenant, slot)| (tenant.id.as_str(), *slot))
    }
}

fn refused(frame: &[u8], error: &ProgramError) -> DataplaneError {
    DataplaneError::new(
        format!("running a frame of {} bytes", frame.len()),
        chain(error),
        format!("The kernel takes frames of {MIN_FRAME_BYTES} bytes to about 70 kB"),
    )
}

impl From<LastVerdict> for Judgement {
    fn from(last: LastVerdict) -> Self {
        let reason = DropReason::ALL.iter().find(|reason| reason.slot() == usize::from(last.reason));
        let outcome = match (reason, last.pass) {
            (Some(reason), _) => Outcome::Dropped(*reason),
            (None, LastVerdict::LINK_CONTROL) => Outcome::LinkControl,
            (None, LastVerdict::UNMATCHED) => Outcome::Unmatched,
            (None, LastVerdict::UNKNOWN_SOURCE) => Outcome::UnknownSource,
            (None, _) => Outcome::Passed,
        };
        Self { tenant: last.slot_plus_one.checked_sub(1).map(Slot), outcome }
    }
}

/// Verdicts of `linux/bpf.h`.
mod xdp_action {
    pub(super) const DROP: u32 = 1;
    pub(super) const PASS: u32 = 2;
    pub(super) const TX: u32 = 3;
}
