//! The delay line: holds each frame back for the round trip of its tenant, counts what passes, and measures by how much
//! it is late.
//!
//! A program of its own in a namespace between router and receivers, with a packet socket at each end. The kernel
//! stamps frames when the router hands them over, so what this thread wakes up too late for is known. It runs under
//! `SCHED_FIFO` where that is allowed.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns, SndBufForce};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime};

use crate::namespace::Namespace;

/// Bytes are counted by slices of so much, from which the busiest second is found.
pub(super) const SLICE_NS: u64 = 10_000_000;

/// A frame of 1500 bytes and its header, and some room.
const FRAME_BYTES: usize = 1_536;
/// Buffers of the sockets, in which frames wait for this thread.
const SOCKET_BYTES: usize = 32 << 20;
/// How long the thread sleeps when nothing is held.
const IDLE_NS: u64 = 20_000_000;
/// Frames read before what is due is looked at again.
const AT_ONCE: usize = 32;

/// Positions in an Ethernet frame with IPv4 without options.
const ADDRESS_LAST: usize = 33;
const SOURCE_PORT: usize = 34;

/// How late frames left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lateness {
    /// Over all frames.
    pub mean_ms: f64,
    /// What one frame in a hundred exceeds.
    pub percentile_99_ms: f64,
    /// Frames that this is about.
    pub frames: u64,
}

/// What the line is to do, and what it counts while it runs.
pub(super) struct Shared {
    /// By the last byte of a tenant's address: how long its frames are held, in ns.
    pub(super) delays_ns: [u64; 256],
    /// When slices begin, on the realtime clock.
    pub(super) start_ns: u64,
    /// By source port: bytes of frames that came out of the router.
    pub(super) bytes_by_port: Vec<AtomicU64>,
    is_over: AtomicBool,
}

/// What the line has counted.
pub(super) struct Counted {
    /// By the last byte of a tenant's address: bytes of frames in each slice.
    pub(super) slices: Vec<Vec<u64>>,
    pub(super) lateness: Lateness,
}

/// A running line.
pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Counted>>>,
}

impl Line {
    /// Starts it between two interfaces of `namespace`.
    pub(super) fn start(
        namespace: &Namespace,
        near: &str,
        far: &str,
        delays_ns: [u64; 256],
        start_ns: u64,
    ) -> Result<Self> {
        let near = packet_socket(namespace, near, SockProtocol::EthIp)?;
        // Without a protocol, nothing is received by it.
        let far = packet_socket(namespace, far, None)?;
        setsockopt(&near, ReceiveTimestampns, &true)?;
        setsockopt(&near, RcvBufForce, &SOCKET_BYTES)?;
        setsockopt(&far, SndBufForce, &SOCKET_BYTES)?;
        let bytes_by_port = (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { delays_ns, start_ns, bytes_by_port, is_over: AtomicBool::new(false) });
        let thread = thread::Builder::new().name("line".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                hurry();
                Worker::new(&shared, near, far).run()
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Stops it; what it still holds is lost.
    pub(super) fn stop(mut self) -> Result<Counted> {
        self.end().context("it was stopped before")?
    }

    fn end(&mut self) -> Option<Result<Counted>> {
        self.shared.is_over.store(true, Relaxed);
        let thread = self.thread.take()?;
        Some(thread.join().unwrap_or_else(|_| Err(anyhow!("the delay line fell over"))))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            eprintln!("the delay line: {error:#}");
        }
    }
}

/// The clock of the kernel's stamps.
pub(super) fn now_ns() -> Result<u64> {
    Ok(u64::try_from(clock_gettime(ClockId::CLOCK_REALTIME)?.num_nanoseconds())?)
}

/// Puts this thread before all others. Where that is refused, lateness tells what came of it.
fn hurry() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("chrt").args(["--fifo", "--pid", "10", &thread]).status();
}

fn packet_socket(
    namespace: &Namespace,
    interface: &str,
    protocol: impl Into<Option<SockProtocol>>,
) -> Result<OwnedFd> {
    let protocol = protocol.into();
    let open = || -> Result<OwnedFd> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)?;
        let addresses = nix::ifaddrs::getifaddrs()?.filter(|each| each.interface_name == interface);
        let link = addresses.filter_map(|each| each.address).find_map(|each| each.as_link_addr().copied());
        bind(socket.as_raw_fd(), &link.context("it has no address")?)?;
        Ok(socket)
    };
    namespace.enter(open)?.with_context(|| format!("a packet socket on {interface}"))
}

struct Held {
    due_ns: u64,
    length: usize,
    /// A whole buffer; the frame is its first `length` bytes.
    frame: Vec<u8>,
}

struct Worker<'a> {
    shared: &'a Shared,
    near: OwnedFd,
    far: OwnedFd,
    /// In order of their times, since each has its own delay.
    queues: Vec<(u64, VecDeque<Held>)>,
    /// Frames to be filled again.
    spare: Vec<Vec<u8>>,
    slices: Vec<Vec<u64>>,
    lateness: Histogram,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, near: OwnedFd, far: OwnedFd) -> Self {
        let mut delays = shared.delays_ns.to_vec();
        delays.sort_unstable();
        delays.dedup();
        let queues = delays.into_iter().map(|delay| (delay, VecDeque::new())).collect();
        let slices = vec![Vec::new(); 256];
        Self { shared, near, far, queues, spare: Vec::new(), slices, lateness: Histogram::new() }
    }

    fn run(mut self) -> Result<Counted> {
        while !self.shared.is_over.load(Relaxed) {
            self.send_due()?;
            if !self.receive()? {
                self.sleep()?;
            }
        }
        Ok(Counted { slices: self.slices, lateness: self.lateness.summary() })
    }

    /// Sends whatever is due.
    fn send_due(&mut self) -> Result<()> {
        for (_, queue) in &mut self.queues {
            while let Some(first) = queue.front() {
                let now = now_ns()?;
                if first.due_ns > now {
                    break;
                }
                match send(self.far.as_raw_fd(), &first.frame[..first.length], MsgFlags::MSG_DONTWAIT) {
                    // A full queue of the kernel loses a frame, as on a line.
                    Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
                    Err(error) => return Err(error).context("sending a frame"),
                }
                self.lateness.add(now - first.due_ns);
                self.spare.extend(queue.pop_front().map(|held| held.frame));
            }
        }
        Ok(())
    }

    /// Reads some frames; says whether there may be more.
    fn receive(&mut self) -> Result<bool> {
        let mut control = nix::cmsg_space!(TimeSpec);
        for _ in 0..AT_ONCE {
            let mut frame = self.spare.pop().unwrap_or_else(|| vec![0; FRAME_BYTES]);
            let mut parts = [IoSliceMut::new(&mut frame)];
            let received =
                recvmsg::<()>(self.near.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT);
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.spare.push(frame);
                    return Ok(false);
                }
                Err(error) => return Err(error).context("receiving a frame"),
            };
            let stamp = message.cmsgs()?.find_map(|each| match each {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                _ => None,
            });
            let arrived_ns = u64::try_from(stamp.context("a frame without a stamp")?.num_nanoseconds())?;
            let length = message.bytes;
            self.hold(arrived_ns, length, frame);
        }
        Ok(true)
    }

    fn hold(&mut self, arrived_ns: u64, length: usize, frame: Vec<u8>) {
        let tenant = usize::from(frame[ADDRESS_LAST]);
        let port = u16::from_be_bytes([frame[SOURCE_PORT], frame[SOURCE_PORT + 1]]);
        self.shared.bytes_by_port[usize::from(port)].fetch_add(length as u64, Relaxed);
        if let Some(since_start) = arrived_ns.checked_sub(self.shared.start_ns) {
            let slice = usize::try_from(since_start / SLICE_NS).unwrap_or(usize::MAX);
            let slices = &mut self.slices[tenant];
            if slices.len() <= slice {
                slices.resize(slice + 1, 0);
            }
            slices[slice] += length as u64;
        }
        let delay_ns = self.shared.delays_ns[tenant];
        if let Some((_, queue)) = self.queues.iter_mut().find(|(delay, _)| *delay == delay_ns) {
            queue.push_back(Held { due_ns: arrived_ns + delay_ns, length, frame });
        }
    }

    /// Until a frame arrives or one is due.
    fn sleep(&self) -> Result<()> {
        let due = self.queues.iter().filter_map(|(_, queue)| Some(queue.front()?.due_ns)).min();
        let now = now_ns()?;
        let pause_ns = due.map_or(IDLE_NS, |due| due.saturating_sub(now).min(IDLE_NS));
        let timeout = TimeSpec::nanoseconds(i64::try_from(pause_ns)?);
        match ppoll(&mut [PollFd::new(self.near.as_fd(), PollFlags::POLLIN)], Some(timeout), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("waiting for a frame"),
        }
    }
}

/// Times by steps of 20 us.
struct Histogram {
    counts: Vec<u64>,
    sum_ns: u64,
}

impl Histogram {
    const STEP_NS: u64 = 20_000;
    const STEPS: usize = 5_000;

    fn new() -> Self {
        Self { counts: vec![0; Self::STEPS + 1], sum_ns: 0 }
    }

    fn add(&mut self, ns: u64) {
        self.sum_ns += ns;
        let step = usize::try_from(ns / Self::STEP_NS).unwrap_or(Self::STEPS).min(Self::STEPS);
        self.counts[step] += 1;
    }

    fn summary(&self) -> Lateness {
        let frames: u64 = self.counts.iter().sum();
        let mut beyond = frames / 100;
        let mut step = Self::STEPS;
        while step > 0 && self.counts[step] <= beyond {
            beyond -= self.counts[step];
            step -= 1;
        }
        Lateness {
            mean_ms: self.sum_ns as f64 / frames.max(1) as f64 / 1e6,
            percentile_99_ms: ((step as u64 + 1) * Self::STEP_NS) as f64 / 1e6,
            frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_what_one_frame_in_a_hundred_exceeds() {
        let mut histogram = Histogram::new();
        (0..198).for_each(|_| histogram.add(1_000));
        (0..2).for_each(|_| histogram.add(5_000_000));
        let Lateness { mean_ms, percentile_99_ms, frames } = histogram.summary();
        assert_eq!((percentile_99_ms, frames), (0.02, 200));
        assert!((mean_ms - 0.051).abs() < 0.001, "{mean_ms}");
        histogram.add(5_000_000);
        assert!(histogram.summary().percentile_99_ms >= 5.0);
    }
}
