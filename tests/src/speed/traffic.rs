//! The programs that send (`gateway-ebpf/src/bin/bench_traffic.rs`), loaded and set up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use bytemuck::Zeroable as _;
use gateway::config::Side;
use gateway_ebpf::traffic::Traffic;

use crate::scale::{FIRST_V4, FIRST_V6, Scale, V4_STEP};

/// Programs of the object.
const PROGRAMS: [&str; 11] = [
    "empty",
    "dropping",
    "from_ipv4",
    "to_ipv4",
    "from_ipv6",
    "contact_ipv4",
    "clock_jiffies",
    "clock_coarse",
    "clock_nanoseconds",
    "add_plain",
    "add_by_swap",
];

/// The peer of the first contact; the others are those that follow.
const FIRST_PEER: u32 = 0x1400_0000;

/// Frames that a driver hands to the stack at once (NAPI's budget).
const BATCH: u32 = 64;

/// [`Traffic`] as words, which is what aya takes.
type Words = [u64; size_of::<Traffic>() / 8];

/// The loaded programs.
pub(crate) struct Generator {
    object: Ebpf,
    traffic: Array<MapData, Words>,
    next: ProgramArray<MapData>,
    /// Sets one run's sequence off from the last one's.
    seed: u64,
}

impl Generator {
    pub(crate) fn load() -> Result<Self> {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/bench-traffic.o"));
        let object =
            fs::read(file).with_context(|| format!("{}: `cargo xtask build` makes it", file.display()))?;
        let mut object = Ebpf::load(&object)?;
        for name in PROGRAMS {
            let program: &mut Xdp =
                object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
            program.load()?;
        }
        let mut map = |name: &str| object.take_map(name).with_context(|| format!("no map {name}"));
        let (traffic, next) = (map("TRAFFIC")?.try_into()?, map("NEXT")?.try_into()?);
        Ok(Self { object, traffic, next, seed: 0 })
    }

    /// Runs one of the programs that send nothing.
    pub(crate) fn run(&self, name: &str, frame: &[u8], repeat: u32) -> Result<()> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        self.program(name)?.test_run(options)?;
        Ok(())
    }

    /// The program that does nothing, to be handed the packets.
    pub(crate) fn empty(&self) -> Result<ProgramFd> {
        Ok(self.program("empty")?.fd()?.try_clone()?)
    }

    /// The program that drops everything.
    pub(crate) fn dropping(&self) -> Result<ProgramFd> {
        Ok(self.program("dropping")?.fd()?.try_clone()?)
    }

    /// Attaches that program to an interface of this thread's network namespace, for as long as this lives.
    pub(crate) fn attach_dropping(&mut self, interface: &str) -> Result<()> {
        let program: &mut Xdp =
            self.object.program_mut("dropping").context("no program dropping")?.try_into()?;
        program.attach(interface, XdpMode::Driver)?;
        Ok(())
    }

    /// Sends frames like `frame` from the networks of `scale`, one picked at random for each, to `next`.
    pub(crate) fn send(&mut self, frame: &[u8], scale: Scale, next: &ProgramFd, repeat: u32) -> Result<()> {
        let program = self.prepare(frame, scale, Side::Tenant, next)?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        self.program(program)?.test_run(options)?;
        Ok(())
    }

    /// As [`Self::send`], as if frames came in by the interface `ifindex` of this thread's network namespace; on
    /// the side of the uplink they go to the networks, and must be of IPv4.
    pub(crate) fn send_by(
        &mut self,
        (side, ifindex): (Side, u32),
        frame: &[u8],
        scale: Scale,
        next: &ProgramFd,
        repeat: u32,
    ) -> Result<()> {
        let program = self.prepare(frame, scale, side, next)?;
        let context = received_by(ifindex, frame);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat,
            ..TestRunOptions::default()
        };
        self.program(program)?.test_run(options)?;
        Ok(())
    }

    /// As [`Self::send`], but what the program lets pass goes on into the stack of this thread's network
    /// namespace, as if it had come in by the interface `ifindex`.
    pub(crate) fn send_live(
        &mut self,
        frame: &[u8],
        scale: Scale,
        next: &ProgramFd,
        repeat: u32,
        ifindex: u32,
    ) -> Result<()> {
        let program = self.prepare(frame, scale, Side::Tenant, next)?;
        let context = received_by(ifindex, frame);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        self.program(program)?.test_run(options)?;
        Ok(())
    }

    /// Makes `count` new contacts by frames like `frame`, of IPv4: number `first` and those that follow, from
    /// the first `sources` addresses of the networks in turn. Returns how long each took, by the kernel's
    /// measure: to set a run up takes as long as hundreds of contacts, which are too few to hide that.
    pub(crate) fn make_contacts(
        &mut self,
        frame: &[u8],
        sources: u32,
        first: u32,
        next: &ProgramFd,
        count: u32,
    ) -> Result<Duration> {
        let traffic = Traffic {
            first_address: FIRST_V4,
            address_step: 1,
            networks: sources,
            contacts: first,
            first_peer: FIRST_PEER,
            ..template(frame, &[5, 6, 7, 8, 9])?
        };
        self.set(traffic, next)?;
        let options = TestRunOptions { data_in: Some(frame), repeat: count, ..TestRunOptions::default() };
        Ok(self.program("contact_ipv4")?.test_run(options)?.duration)
    }

    fn prepare(&mut self, frame: &[u8], scale: Scale, side: Side, next: &ProgramFd) -> Result<&'static str> {
        let is_v4 = frame.get(12..14) == Some(&[0x08, 0x00]);
        let (program, written) = match (is_v4, side) {
            (true, Side::Tenant) => ("from_ipv4", [5, 6, 7]),
            (true, Side::Uplink) => ("to_ipv4", [5, 8, 9]),
            (false, _) => ("from_ipv6", [5, 6, 7]),
        };
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15).max(1);
        let traffic = Traffic {
            random: self.seed,
            first_address: if is_v4 { FIRST_V4 } else { FIRST_V6 },
            address_step: if is_v4 { V4_STEP } else { 1 },
            networks: scale.networks(),
            ..template(frame, &written)?
        };
        self.set(traffic, next)?;
        Ok(program)
    }

    fn set(&mut self, traffic: Traffic, next: &ProgramFd) -> Result<()> {
        self.traffic.set(0, bytemuck::cast::<_, Words>(traffic), 0)?;
        self.next.set(0, next, 0)?;
        Ok(())
    }

    fn program(&self, name: &str) -> Result<&Xdp> {
        Ok(self.object.program(name).with_context(|| format!("no program {name}"))?.try_into()?)
    }
}

/// Traffic like `frame`, of whose IPv4 header the words `written`, the checksum and addresses, are written anew.
fn template(frame: &[u8], written: &[usize]) -> Result<Traffic> {
    let mut bytes = [0; Traffic::HEADER_BYTES];
    bytes.copy_from_slice(frame.get(..Traffic::HEADER_BYTES).context("a frame of at least 64 bytes")?);
    let words = bytes[14..34].chunks_exact(2).enumerate();
    let rest = words.filter(|(index, _)| !written.contains(index));
    let checksum_rest = rest.map(|(_, word)| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    Ok(Traffic { header: bytemuck::cast(bytes), checksum_rest, ..Traffic::zeroed() })
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn received_by(ifindex: u32, frame: &[u8]) -> [u32; 6] {
    [0, frame.len() as u32, 0, ifindex, 0, 0]
}
