//! Everything that decides about the packets of one address, read at one moment.

use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::{Policy, Sample, Samples};
use crate::config::Config;
use crate::dataplane::Plane;
use crate::detect::Watched;
use crate::domain::{Backlog, TenantCounters};

/// Why the packets of an address pass or are dropped.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The address.
    pub address: IpAddr,
    /// When this was read.
    pub at: Timestamp,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// Whose it is; none: nobody's.
    pub owner: Option<Owner>,
    /// The last dropped packets, the latest first: those of the owner, whatever their address, or if there
    /// is none, those of anybody from this address or to it.
    pub samples: Vec<Sample>,
}

/// The tenant of an address.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its place among the policy's tenants.
    pub index: usize,
    /// Which of its networks the address is in.
    pub prefix: IpNetwork,
    /// What it sent and received.
    pub counters: TenantCounters,
    /// Where its caps stand, up and down; none if that cannot be read.
    pub backlogs: Option<[Backlog; 2]>,
    /// What detection knows of the address; none if nothing.
    pub watched: Option<Watched>,
}

impl Explained {
    pub(super) fn new(
        address: IpAddr,
        at: Timestamp,
        policy: &Arc<Policy>,
        samples: &Samples,
        plane: &dyn Plane,
    ) -> Self {
        let owner = find(&policy.config, address).and_then(|(index, prefix)| {
            let id = &policy.config.tenants[index].id;
            let backlogs = plane.backlogs(id).inspect_err(|error| tracing::warn!(%error, "reading caps"));
            Some(Owner {
                index,
                prefix,
                counters: plane.counters(id)?,
                backlogs: backlogs.ok().flatten(),
                watched: plane.watched(address),
            })
        });
        let samples = match &owner {
            Some(owner) => samples.of(&owner.counters.id),
            None => samples.about(address),
        };
        Self { address, at, policy: Arc::clone(policy), owner, samples }
    }
}

/// The tenant whose network holds an address, and the narrowest such network.
fn find(config: &Config, address: IpAddr) -> Option<(usize, IpNetwork)> {
    config.tenants.iter().enumerate().find_map(|(index, tenant)| {
        let holding = tenant.prefixes.iter().filter(|prefix| prefix.contains(address));
        holding.max_by_key(|prefix| prefix.prefix()).map(|prefix| (index, *prefix))
    })
}
