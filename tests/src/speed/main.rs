//! The bench: what a packet costs, what a reload and a scrape take, and what others take for the same.
//!
//! Whatever is measured is measured beside its baseline, in the same run, in turns, so that a machine that
//! slows down slows both. Every run of packets is checked against the gateway's own counters: a figure
//! of packets that took another path than the one meant is an error, not a figure.

mod caps;
mod controller;
mod cpus;
mod detection;
mod figure;
mod htb;
mod measure;
mod notation;
mod packet;
mod peers;
mod plot;
mod provider;
mod reload;
mod results;
mod router;
mod scale;
mod scrape;
mod startup;
mod traffic;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use figure::Figure;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures Fairway beside its baselines (needs root)")]
struct Arguments {
    /// One part only; without one, every part but caps
    section: Option<Section>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Fewer and shorter rounds: to see that everything works, not to compare figures
    #[arg(long)]
    quick: bool,
    /// Keep the results: write them, and their plot, where the next runs compare themselves with them
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// What one packet costs, over a program that does nothing
    Packet,
    /// What detection adds to a packet
    Detection,
    /// The same policy in nftables and tc
    Peers,
    /// A change of the policy
    Reload,
    /// A scrape by Prometheus
    Scrape,
    /// Acts, suspensions beside reloads and scrapes, and looks at everybody
    Controller,
    /// All processors on one tenant
    Cpus,
    /// The start, and the tables' memory
    Startup,
    /// What caps do to TCP, UDP and downloads, beside the kernel's queues: half an hour, and only by itself
    Caps,
}

impl Section {
    fn measure(self, effort: measure::Effort) -> Result<Vec<Figure>> {
        match self {
            Self::Packet => packet::measure(effort),
            Self::Detection => detection::measure(effort),
            Self::Peers => peers::measure(effort),
            Self::Reload => reload::measure(effort),
            Self::Scrape => scrape::measure(effort),
            Self::Controller => controller::measure(effort),
            Self::Startup => startup::measure(effort),
            Self::Cpus => cpus::measure(effort),
            Self::Caps => anyhow::bail!("caps has a report of its own"),
        }
    }
}

fn main() -> ExitCode {
    fairway_tests::run::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    fairway_tests::run::sweep_stale();
    let effort = measure::Effort { quick: arguments.quick };
    if arguments.section == Some(Section::Caps) {
        return caps::run(effort, arguments.json, arguments.keep);
    }
    let sections = arguments.section.as_ref().map_or(Section::value_variants(), std::slice::from_ref);
    let mut figures = Vec::new();
    for section in sections.iter().filter(|section| **section != Section::Caps) {
        eprintln!("measuring: {section:?}");
        figures.extend(section.measure(effort).with_context(|| format!("{section:?}"))?);
    }
    let results = results::Results::of_this_machine(figures);
    let kept = results::kept()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        println!("{}", results::table(&results, kept.as_ref()));
    }
    if arguments.keep {
        let all = results.over(kept);
        results::keep(&all)?;
        plot::write(&all)?;
    }
    Ok(())
}
