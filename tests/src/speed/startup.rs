//! From starting `fairway run` to enforcing, and the memory of the kernel's tables.

use anyhow::{Context, Result};
use fairway_tests::topology::Plan;

use crate::figure::{Aim, Figure};
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns};
use crate::provider::Provider;
use crate::scale::LARGE;

const ROUNDS: usize = 5;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let topology = Plan::default().build()?;
    let mut provider = Provider::start(&topology, LARGE)?;
    let status = provider.gateway.status()?;
    let tables = status["tables"]["bytes"].as_f64().context("the tables' size")?;
    let start = || {
        provider.gateway.stop()?;
        let (took, ()) = elapsed(|| provider.gateway.launch())?;
        Ok(took.as_secs_f64() * 1e3)
    };
    let mut trials: [Trial<'_>; 1] = [Box::new(start)];
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    Ok(vec![
        Figure::less("startup/100,000 tenants, from nothing to enforcing", "ms", Spread::of(&values[0])),
        Figure::less(
            "startup/100,000 tenants, memory of the kernel's tables",
            "MB",
            Spread::of(&[tables / 1e6]),
        )
        .aim(Aim::AtMost(300.0)),
    ])
}
