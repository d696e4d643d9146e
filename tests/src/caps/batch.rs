//! Runs experiments at the same time.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bed::{Bed, Judge, SENDER, address, id};
use super::blast::{Blast, Stream};
use super::experiment::{Experiment, Source};
use super::line::{self, Counted, Lateness, Line, SLICE_NS};
use super::outcome::{Downloads, FRAME_PER_PAYLOAD, Outcome, busiest_second};
use super::sink::{Sink, UDP_PORT};
use super::source::{Download, Long, Senders};

/// Ports of long flows, below those that the kernel gives to downloads.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// What the line still holds when the senders have ended reaches its receivers.
const DRAIN: Duration = Duration::from_millis(250);

/// How long a batch runs.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The first seconds, in which connections start and bursts are used up.
    pub start: Duration,
    /// From the start to the end.
    pub whole: Duration,
}

/// What a batch gave.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In the order of its experiments.
    pub outcomes: Vec<Outcome>,
    /// Of the delay line: whether it can be believed.
    pub lateness: Lateness,
}

/// A flow with a port of its own.
#[derive(Clone, Copy, Debug)]
struct Flow {
    experiment: usize,
    source: Source,
    port: u16,
}

/// What has arrived and was sent again, by flow, at a moment.
struct Mark {
    at: Duration,
    arrived_bytes: Vec<u64>,
    retransmissions: Vec<u64>,
}

impl Judge<'_> {
    /// Runs these experiments, at most 254.
    ///
    /// # Errors
    /// If anything fails, and if a tenant's packets did not pass the gateway: then its cap was not what was measured.
    pub fn run(&self, experiments: &[Experiment], timing: Timing) -> Result<Batch> {
        self.configure(experiments)?;
        let flows = flows(experiments);
        let before = self.passed_bytes()?;
        let mut delays_ns = [0; 256];
        for (index, experiment) in experiments.iter().enumerate() {
            let tenant = usize::from(address(index).octets()[3]);
            delays_ns[tenant] = u64::from(experiment.round_trip_ms) * 1_000_000;
        }
        let Bed { senders, line, receivers, .. } = self.bed;
        let [near, far] = Bed::LINE;
        let sink = Sink::start(receivers)?;
        let start_ns = line::now_ns()?;
        let line = Line::start(line, near, far, delays_ns, start_ns)?;
        let started = Instant::now();
        let tcp = Senders::start(senders, &long(&flows), &downloads(experiments))?;
        let blast = Blast::start(senders, &streams(experiments, &flows))?;
        let mark = || mark(started, &flows, &sink, &line, &tcp);
        thread::sleep(timing.start.saturating_sub(started.elapsed()));
        let first = mark()?;
        thread::sleep(timing.whole.saturating_sub(started.elapsed()));
        let last = mark()?;
        blast.stop()?;
        let took = tcp.stop()?;
        thread::sleep(DRAIN);
        let counted = line.stop()?;
        sink.stop()?;
        self.assert_policed(experiments.len(), &before, &counted)?;
        let mut took = took.into_iter();
        let outcomes = experiments.iter().enumerate().map(|(index, experiment)| {
            let downloads = experiment.workload.sources.iter().find_map(|source| match source {
                Source::Downloads(_) => took.next().as_deref().and_then(Downloads::of),
                _ => None,
            });
            outcome(index, experiment, &flows, [&first, &last], &counted, downloads)
        });
        Ok(Batch { outcomes: outcomes.collect(), lateness: counted.lateness })
    }

    /// That what came out of the router went through the gateway.
    fn assert_policed(
        &self,
        experiments: usize,
        before: &std::collections::BTreeMap<String, u64>,
        counted: &Counted,
    ) -> Result<()> {
        let after = self.passed_bytes()?;
        for index in 0..experiments {
            let id = id(index);
            let passed =
                after.get(&id).copied().unwrap_or(0) - before.get(&id).copied().unwrap_or(0).min(after[&id]);
            let seen: u64 = counted.slices[usize::from(address(index).octets()[3])].iter().sum();
            ensure!(
                seen > 0 && passed >= seen,
                "{id}: the gateway let {passed} bytes pass, {seen} came out of the router"
            );
        }
        Ok(())
    }
}

/// Flows with ports at random, so that their queues are, too.
fn flows(experiments: &[Experiment]) -> Vec<Flow> {
    let mut taken = BTreeSet::new();
    let mut port = || loop {
        let port = fastrand::u16(PORTS);
        if taken.insert(port) {
            return port;
        }
    };
    let sources = experiments
        .iter()
        .enumerate()
        .flat_map(|(experiment, each)| each.workload.sources.iter().map(move |source| (experiment, *source)));
    sources.map(|(experiment, source)| Flow { experiment, source, port: port() }).collect()
}

fn long(flows: &[Flow]) -> Vec<Long> {
    let long = |flow: &Flow| match flow.source {
        Source::Tcp(control) => {
            Some(Long { control, from: SENDER, port: flow.port, to: address(flow.experiment) })
        }
        _ => None,
    };
    flows.iter().filter_map(long).collect()
}

fn downloads(experiments: &[Experiment]) -> Vec<Download> {
    let of = |(index, experiment): (usize, &Experiment)| {
        experiment.workload.sources.iter().find_map(|source| match source {
            Source::Downloads(control) => {
                Some(Download { control: *control, from: SENDER, to: address(index) })
            }
            _ => None,
        })
    };
    experiments.iter().enumerate().filter_map(of).collect()
}

fn streams(experiments: &[Experiment], flows: &[Flow]) -> Vec<Stream> {
    let stream = |flow: &Flow| match flow.source {
        Source::Udp { payload_bytes, percent } => Some(Stream {
            from: SocketAddrV4::new(SENDER, flow.port),
            to: SocketAddrV4::new(address(flow.experiment), UDP_PORT),
            payload_bytes,
            bytes_per_sec: experiments[flow.experiment].cap_bytes_per_sec() * f64::from(percent) / 100.0,
        }),
        _ => None,
    };
    flows.iter().filter_map(stream).collect()
}

fn mark(started: Instant, flows: &[Flow], sink: &Sink, line: &Line, tcp: &Senders) -> Result<Mark> {
    let resent = tcp.retransmissions()?;
    let arrived = |flow: &Flow| match flow.source {
        Source::Tcp(_) => sink.received(flow.port),
        Source::Udp { .. } => line.shared.bytes_by_port[usize::from(flow.port)].load(Relaxed),
        Source::Downloads(_) => 0,
    };
    let again =
        |flow: &Flow| resent.iter().find(|(port, _)| *port == flow.port).map_or(0, |(_, count)| *count);
    Ok(Mark {
        at: started.elapsed(),
        arrived_bytes: flows.iter().map(arrived).collect(),
        retransmissions: flows.iter().map(again).collect(),
    })
}

fn outcome(
    index: usize,
    experiment: &Experiment,
    flows: &[Flow],
    [first, last]: [&Mark; 2],
    counted: &Counted,
    downloads: Option<Downloads>,
) -> Outcome {
    let cap = experiment.cap_bytes_per_sec();
    let own: Vec<usize> = (0..flows.len()).filter(|flow| flows[*flow].experiment == index).collect();
    // As frames, in bytes.
    let frames = |mark: &Mark, flow: usize| {
        let arrived = mark.arrived_bytes[flow] as f64;
        if matches!(flows[flow].source, Source::Tcp(_)) { arrived * FRAME_PER_PAYLOAD } else { arrived }
    };
    let whole = last.at.as_secs_f64() * cap;
    let later = (last.at - first.at).as_secs_f64() * cap;
    let shares: Vec<f64> = own.iter().map(|flow| frames(last, *flow) / whole).collect();
    let at_first: f64 = own.iter().map(|flow| frames(first, *flow)).sum();
    let goodput = shares.iter().sum::<f64>();
    let tcp: Vec<usize> =
        own.iter().copied().filter(|flow| matches!(flows[*flow].source, Source::Tcp(_))).collect();
    let sum = |values: &[u64]| tcp.iter().map(|flow| values[*flow]).sum::<u64>() as f64;
    let per_mb = |resent: f64, bytes: f64| (bytes > 0.0).then(|| resent / (bytes / 1e6));
    let slices = &counted.slices[usize::from(address(index).octets()[3])];
    let slice_of = |at: Duration| {
        usize::try_from(at.as_nanos() / u128::from(SLICE_NS)).unwrap_or(usize::MAX).min(slices.len())
    };
    let (from, to) = (slice_of(first.at), slice_of(last.at));
    let seconds = (to - from) as f64 * SLICE_NS as f64 / 1e9;
    Outcome {
        goodput,
        goodput_later: (goodput * whole - at_first) / later,
        shares,
        retransmissions_per_mb: per_mb(sum(&last.retransmissions), sum(&last.arrived_bytes)),
        retransmissions_per_mb_later: per_mb(
            sum(&last.retransmissions) - sum(&first.retransmissions),
            sum(&last.arrived_bytes) - sum(&first.arrived_bytes),
        ),
        peak: busiest_second(&slices[..to]) as f64 / cap,
        peak_later: busiest_second(&slices[from..to]) as f64 / cap,
        rate_later: slices[from..to].iter().sum::<u64>() as f64 / seconds.max(1e-9) / cap,
        downloads,
    }
}
