//! The last packets that were dropped, by tenant: evidence for whoever asks why.
//!
//! A few of each kind are kept, so that a tenant's flood does not push out the one packet that tells why
//! its mail is not delivered: those over the cap apart from those that a rule refused, and what the tenant
//! sent apart from what was sent to it.

use std::collections::{HashMap, VecDeque};

use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;

use super::Headers;
use crate::dataplane::PacketSample;

/// Samples of one kind that are kept: 16 a tenant, which takes about 2 kB of memory.
const KEPT_OF_A_KIND: usize = 4;

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
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
    pub(super) fn of(at: Timestamp, direction: Direction, reason: DropReason, packet: &PacketSample) -> Self {
        let PacketSample { ifindex, frame_bytes, head } = packet;
        let headers = Headers::read(head, *frame_bytes);
        Self { at, direction, reason, ifindex: *ifindex, frame_bytes: *frame_bytes, headers }
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
    pub(super) fn add(&mut self, tenant: Option<String>, sample: Sample) {
        let kinds = match tenant {
            Some(id) => self.by_tenant.entry(id).or_default(),
            None => &mut self.nobodys,
        };
        let is_over_cap = sample.reason == DropReason::OverCap;
        let kept = &mut kinds[sample.direction.index()][usize::from(is_over_cap)];
        if kept.len() == KEPT_OF_A_KIND {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// The samples of a tenant, or of packets that were nobody's, the latest first.
    #[must_use]
    pub fn of(&self, tenant: Option<&str>) -> Vec<Sample> {
        let kinds = tenant.map_or(Some(&self.nobodys), |id| self.by_tenant.get(id));
        let mut samples: Vec<_> = kinds.into_iter().flatten().flatten().flatten().cloned().collect();
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.at));
        samples
    }

    /// Forgets tenants.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.by_tenant.retain(|id, _| is_kept(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, direction: Direction, reason: DropReason) -> Sample {
        let at = Timestamp::from_second(second).unwrap();
        Sample::of(at, direction, reason, &PacketSample { ifindex: 1, frame_bytes: 60, head: vec![0; 60] })
    }

    #[test]
    fn a_flood_of_one_kind_pushes_out_no_other() {
        let mut samples = Samples::default();
        let mut add =
            |second, direction, reason| samples.add(Some("acme".into()), sample(second, direction, reason));
        add(1, Direction::Up, DropReason::SmtpBlocked);
        (2..100).for_each(|second| add(second, Direction::Up, DropReason::OverCap));
        (100..200).for_each(|second| add(second, Direction::Down, DropReason::SmtpBlocked));
        let seconds: Vec<_> = samples.of(Some("acme")).iter().map(|sample| sample.at.as_second()).collect();
        assert_eq!(seconds, [199, 198, 197, 196, 99, 98, 97, 96, 1]);
        assert_eq!(samples.of(Some("beta")), []);
        assert_eq!(samples.of(None), []);
    }

    #[test]
    fn tenants_that_go_take_their_samples_along() {
        let mut samples = Samples::default();
        for tenant in [Some("acme"), Some("beta"), None] {
            samples.add(tenant.map(Into::into), sample(1, Direction::Up, DropReason::PortBlocked));
        }
        samples.retain(|id| id == "beta");
        let left = [Some("acme"), Some("beta"), None].map(|tenant| samples.of(tenant).len());
        assert_eq!(left, [0, 1, 1]);
    }
}
