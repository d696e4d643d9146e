//! One policy in two minds: the programs' and the model's.

use std::collections::HashMap;

use fairway_tests::bench::{self, Bench, suspending};
use fairway_tests::model::{Arrival, Model};
use fairway_tests::outcome::Outcome;
use gateway::config::{Config, Side};
use gateway::dataplane::{QueueDrops, Verdict};
use gateway::domain::Scope;
use gateway::policy::Effective;
use gateway_ebpf::DropReason;

use crate::compared::Compared;
use crate::difference::{Difference, counted};
use crate::policies::Policy;

/// Bytes of a test run's frame that its first buffer holds, where headers can be read: a page of 4,096,
/// less headroom (256) and the kernel's own part (320).
const FIRST_BUFFER: usize = 3_520;

/// Longer than any bucket takes to drain: 10 s of burst, and one frame of 64 kB at 8 kbit/s.
pub(crate) const DRAIN_NS: u64 = 100_000_000_000;

/// The scopes of each tenant's suspensions.
type Suspensions = HashMap<String, Vec<Scope>>;

/// Every scope, two together, and none, in turn.
fn suspensions(policy: &Policy, config: &Config) -> Suspensions {
    let (everything, outbound, mail) = (Scope::Everything, Scope::Outbound, Scope::Mail);
    let scopes = [vec![everything], vec![outbound], vec![mail], vec![], vec![mail, outbound]];
    let suspended = config.tenants.iter().zip(scopes.into_iter().cycle()).filter(|_| policy.suspends);
    suspended.map(|(tenant, scopes)| (tenant.id.clone(), scopes)).collect()
}

/// A configuration under such suspensions.
fn under(config: &Config, suspensions: &Suspensions) -> Effective {
    let each =
        suspensions.iter().flat_map(|(tenant, scopes)| scopes.iter().map(move |scope| (tenant, *scope)));
    suspending(config, each)
}

/// A policy's configuration. Detection is off: the model looks at one packet, not at what a source did before.
fn configuration(policy: &Policy) -> Config {
    bench::config(&format!("{}\n[detect]\nmode = \"off\"\n", policy.toml))
}

/// A packet to come.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) side: Side,
    pub(crate) at_ns: u64,
    pub(crate) frame: Vec<u8>,
}

impl Packet {
    fn arrival(&self, match_vlan: bool) -> Arrival<'_> {
        let readable = self.frame.len().min(FIRST_BUFFER);
        Arrival { side: self.side, match_vlan, now_ns: self.at_ns, frame: &self.frame, readable }
    }
}

/// The programs and the model under one policy.
pub(crate) struct World {
    name: String,
    config: Config,
    match_vlan: bool,
    suspensions: Suspensions,
    bench: Bench,
    model: Model,
    compared: Compared,
}

impl World {
    pub(crate) fn new(policy: &Policy) -> Self {
        let config = configuration(policy);
        let mut bench = Bench::of(config.clone());
        bench.register(|interface| interface.match_vlan = policy.match_vlan);
        let suspensions = suspensions(policy, &config);
        bench.engine().apply(&under(&config, &suspensions)).expect("the same with suspensions");
        let model = Model::new(config.clone(), suspensions.clone());
        let (name, match_vlan, compared) = (policy.name.clone(), policy.match_vlan, Compared::default());
        Self { name, config, match_vlan, suspensions, bench, model, compared }
    }

    /// Puts another policy in force, with none of this one's tenants: on programs of its own if it does
    /// not fit the tables.
    pub(crate) fn replace(&mut self, policy: &Policy) {
        let config = configuration(policy);
        let suspensions = suspensions(policy, &config);
        if self.bench.engine().apply(&under(&config, &suspensions)).is_err() {
            *self = Self { compared: self.compared(), ..Self::new(policy) };
            return;
        }
        self.bench.register(|interface| interface.match_vlan = policy.match_vlan);
        self.name.clone_from(&policy.name);
        self.match_vlan = policy.match_vlan;
        self.suspensions = suspensions;
        self.model = Model::new(config.clone(), self.suspensions.clone());
        self.config = config;
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Everything that agreed so far.
    pub(crate) fn compared(&self) -> Compared {
        self.compared.clone()
    }

    /// Changes what the model takes for the policy.
    pub(crate) fn misunderstand(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.model = Model::new(self.config.clone(), self.suspensions.clone());
    }

    /// Compares the verdict of each packet, and every counter at the end. The batch begins after all
    /// buckets have drained, so that it can be run again.
    pub(crate) fn compare(&mut self, packets: &[Packet]) -> Result<(), Box<Difference>> {
        let before = self.bench.engine().snapshot();
        let mut wanted = before.clone();
        let queue_drops: Vec<_> = self.model.queue_drops().collect();
        let mut verdicts_agree = true;
        for packet in packets {
            let (outcome, verdict) = self.judge(packet);
            outcome.count(&mut wanted, packet.side, packet.arrival(self.match_vlan).bytes());
            verdicts_agree &= outcome.passes() == (verdict == Verdict::Pass);
        }
        // The model counts from its beginning, the programs from theirs.
        for ((tenant, was), is) in wanted.tenants.iter_mut().zip(queue_drops).zip(self.model.queue_drops()) {
            for (counters, (was, is)) in
                [&mut tenant.up, &mut tenant.down].into_iter().zip(was.into_iter().zip(is))
            {
                counters.queue_drops +=
                    QueueDrops { signals: is.signals - was.signals, full: is.full - was.full };
            }
        }
        if verdicts_agree && self.bench.engine().snapshot() == wanted {
            self.compared += Compared::between(&before, &wanted);
            return Ok(());
        }
        Err(self.find_difference(packets))
    }

    fn judge(&mut self, packet: &Packet) -> (Outcome<usize>, Verdict) {
        let outcome = self.model.judge(&packet.arrival(self.match_vlan));
        let engine = self.bench.engine();
        engine.set_clock(packet.at_ns);
        (outcome, engine.run(packet.side, &packet.frame).unwrap())
    }

    /// Runs the batch again, later, looking at all counters after each packet.
    fn find_difference(&mut self, packets: &[Packet]) -> Box<Difference> {
        let times = packets.iter().map(|packet| packet.at_ns);
        let (first, last) = times.fold((u64::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        for (index, packet) in packets.iter().enumerate() {
            let later = Packet { at_ns: packet.at_ns + (last - first) + DRAIN_NS, ..packet.clone() };
            let before = self.bench.engine().snapshot();
            let (model, verdict) = self.judge(&later);
            let after = self.bench.engine().snapshot();
            let programs = counted(&before, &after, &packet.arrival(self.match_vlan));
            if programs != Some(model) || model.passes() != (verdict == Verdict::Pass) {
                let counted = programs.map_or("counters that make no sense".into(), |found| self.told(found));
                return self.difference(index, packet, self.told(model), format!("{verdict:?}, {counted}"));
            }
        }
        let last = packets.len() - 1;
        self.difference(
            last,
            &packets[last],
            "another sum".into(),
            "the same, when run again one by one".into(),
        )
    }

    fn told(&self, outcome: Outcome<usize>) -> String {
        let label = outcome.reason().map_or("", DropReason::label);
        format!("{:?} {label}", outcome.map(|index| &self.config.tenants[index].id))
    }

    fn difference(&self, index: usize, packet: &Packet, model: String, programs: String) -> Box<Difference> {
        let (policy, packet) = (self.name.clone(), packet.clone());
        Box::new(Difference { policy, seed: 0, batch: 0, number: index + 1, packet, model, programs })
    }
}
