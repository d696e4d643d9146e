//! What Prometheus gets: every tenant active, all series.

use anyhow::{Result, ensure};
use fairway_tests::topology::Plan;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns};
use crate::provider::Provider;
use crate::scale::LARGE;

const ROUNDS: usize = 9;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let topology = Plan::default().build()?;
    let provider = Provider::start(&topology, LARGE)?;
    provider.settle();
    let before = provider.memory_mb("RssAnon")?;
    let scrape = || {
        let (took, text) = elapsed(|| provider.gateway.metrics_text())?;
        let lines = text.lines().filter(|line| line.starts_with("fairway_tenant_")).count();
        ensure!(lines > LARGE.tenants as usize, "only {lines} series of tenants");
        Ok(took.as_secs_f64() * 1e3)
    };
    let mut trials: [Trial<'_>; 1] = [Box::new(scrape)];
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    let after = provider.memory_mb("RssAnon")?;
    Ok(vec![
        Figure::less("scrape/100,000 tenants", "ms", Spread::of(&values[0])).aim(Aim::AtMost(1_000.0)),
        Figure::less("scrape/memory of the controller, after", "MB", Spread::of(&[after]))
            .beside("before", Spread::of(&[before])),
    ])
}
