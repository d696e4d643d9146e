//! What Fairway tells Prometheus; `docs/metrics.md` is the reference.
//!
//! The gateway's own figures go through the Prometheus library. The series per tenant, of which there
//! can be a million, are written straight to the scraper as they are read, without a copy in memory.

mod endpoint;
mod family;
mod gateway;
mod offences;
mod ranking;
mod tenants;

pub use endpoint::Endpoint;

use std::io::{self, Write};

use gateway_ebpf::restriction::Restriction;

use crate::clock;
use crate::controller::Observation;
use crate::enforcement::Standing;
use ranking::Shown;
use tenants::{Cap, Series};

/// Content type of the text exposition format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes every metric in the text exposition format 0.0.4.
fn write(out: &mut impl Write, observation: &Observation, shown: &Shown) -> io::Result<()> {
    gateway::write(out, observation)?;
    offences::write(out, observation, clock::wall())?;
    let (policy, counters) = (&observation.policy.effective, &observation.snapshot.tenants);
    let tenant = |&index: &usize| {
        let tenant = policy.tenant_at(index);
        let restriction = tenant.restriction();
        let standing = observation.standings.get(&tenant.configured().id).copied().unwrap_or_default();
        Series { counters: &counters[index], cap: Some(Cap::of(&tenant)), restriction, standing }
    };
    let others = shown.others.as_ref();
    let others = others.map(|others| Series {
        counters: others,
        cap: None,
        restriction: Restriction::NONE,
        standing: Standing::Good,
    });
    let series: Vec<Series<'_>> = shown.tenants.iter().map(tenant).chain(others).collect();
    tenants::write(out, &series)
}
