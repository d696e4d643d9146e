//! The last packets that were dropped, by tenant: evidence for whoever asks why.
//!
//! A few of each kind are kept, so that a tenant's flood does not push out the one packet that tells why
//! its mail is not delivered: those over the cap apart from those that a rule refused, and what the tenant
//! sent apart from what was sent to it.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;

use super::Headers;
use crate::dataplane::PacketSample;

/// Samples of one kind that are kept: 16 a tenant, which takes about 2 kB of memory.
const KEPT_OF_A_KIND: usize = 4;
const KINDS: usize = 4;

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Id of the tenant that it was held against; none: nobody's.
    pub tenant: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Which way it travelled.
    pub direction: Direction,
    /// Why it was dropped.
    pub reason: DropReason,
    /// Index of the interface that received it.
    pub ifindex: u32,
    /// Length of the Ethernet frame without FCS.
    pub frame_bytes: u32,
    /// What its headers say.
    pub headers: Headers,
}

impl Sample {
    /// What the programs reported, read.
    pub(super) fn of(
        tenant: Option<String>,
        at: Timestamp,
        direction: Direction,
        reason: DropReason,
        packet: &PacketSample,
    ) -> Self {
        let PacketSample { ifindex, frame_bytes, head } = packet;
        let headers = Headers::read(head, *frame_bytes);
        Self { tenant, at, direction, reason, ifindex: *ifindex, frame_bytes: *frame_bytes, headers }
    }
}

/// The last samples of every tenant.
#[derive(Debug, Default)]
pub struct Samples {
    by_tenant: HashMap<String, Kinds>,
    nobodys: Kinds,
}

/// By direction, then whether they were over the cap.
type Kinds = [[VecDeque<Sample>; 2]; 2];

impl Samples {
    pub(super) fn add(&mut self, sample: Sample) {
        let kinds = match &sample.tenant {
            Some(id) => self.by_tenant.entry(id.clone()).or_default(),
            None => &mut self.nobodys,
        };
        let is_over_cap = sample.reason == DropReason::OverCap;
        let kept = &mut kinds[sample.direction.index()][usize::from(is_over_cap)];
        if kept.len() == KEPT_OF_A_KIND {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// All samples of a tenant, the latest first.
    pub(super) fn of(&self, tenant: &str) -> Vec<Sample> {
        latest_first(self.by_tenant.get(tenant).into_iter().flat_map(each).cloned().collect())
    }

    /// Samples from an address or to it, whosever they are, the latest first and no more than a tenant
    /// may have.
    pub(super) fn about(&self, address: IpAddr) -> Vec<Sample> {
        let all = self.by_tenant.values().chain([&self.nobodys]).flat_map(each);
        let mut samples = latest_first(all.filter(|sample| sample.headers.has(address)).cloned().collect());
        samples.truncate(KINDS * KEPT_OF_A_KIND);
        samples
    }

    /// Forgets tenants.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.by_tenant.retain(|id, _| is_kept(id));
    }
}

fn each(kinds: &Kinds) -> impl Iterator<Item = &Sample> {
    kinds.iter().flatten().flatten()
}

fn latest_first(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by_key(|sample| Reverse(sample.at));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a frame that cannot be read.
    fn sample(tenant: Option<&str>, second: i64, direction: Direction, reason: DropReason) -> Sample {
        let at = Timestamp::from_second(second).unwrap();
        let packet = PacketSample { ifindex: 1, frame_bytes: 60, head: vec![0; 60] };
        Sample::of(tenant.map(Into::into), at, direction, reason, &packet)
    }

    fn seconds(samples: &[Sample]) -> Vec<i64> {
        samples.iter().map(|sample| sample.at.as_second()).collect()
    }

    #[test]
    fn a_flood_of_one_kind_pushes_out_no_other() {
        let mut samples = Samples::default();
        let mut add = |second, direction, reason| {
            samples.add(sample(Some("acme"), second, direction, reason));
        };
        add(1, Direction::Up, DropReason::SmtpBlocked);
        (2..100).for_each(|second| add(second, Direction::Up, DropReason::OverCap));
        (100..200).for_each(|second| add(second, Direction::Down, DropReason::SmtpBlocked));
        assert_eq!(seconds(&samples.of("acme")), [199, 198, 197, 196, 99, 98, 97, 96, 1]);
        assert_eq!(samples.of("beta"), []);
    }

    #[test]
    fn tenants_that_go_take_their_samples_along() {
        let mut samples = Samples::default();
        for tenant in ["acme", "beta"] {
            samples.add(sample(Some(tenant), 1, Direction::Up, DropReason::PortBlocked));
        }
        samples.retain(|id| id == "beta");
        assert_eq!(["acme", "beta"].map(|tenant| samples.of(tenant).len()), [0, 1]);
    }

    #[test]
    fn an_address_is_found_whosever_packets_it_is_in() {
        let address: IpAddr = "192.0.2.25".parse().unwrap();
        let mut samples = Samples::default();
        for (second, tenant) in (0..).zip([Some("acme"), None, Some("beta"), Some("gamma")]) {
            let mut sample = sample(tenant, second, Direction::Up, DropReason::PortBlocked);
            if tenant != Some("beta") {
                sample.headers.destination = Some(address);
            }
            samples.add(sample);
        }
        assert_eq!(seconds(&samples.about(address)), [3, 1, 0]);
    }
}
