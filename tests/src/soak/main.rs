//! The soak: kills the controller at random moments, a thousand times.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use fairway_tests::run;
use fairway_tests::soak::{Report, plan, seed, soak};

#[derive(Parser)]
#[command(name = "cargo xtask soak", about = "Kills the controller at random moments under load")]
struct Arguments {
    /// How many controllers to kill
    #[arg(long, default_value_t = 1_000)]
    rounds: u64,
    /// Repeat a soak, as far as timing allows
    #[arg(long)]
    seed: Option<u64>,
}

fn all() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    run::sweep_stale();
    let topology = plan().build()?;
    let seed = arguments.seed.map_or_else(seed, Ok)?;
    eprintln!("{} rounds, seed {seed}", arguments.rounds);
    let started = Instant::now();
    let Report { kills, acknowledged, cut_off, reloads, entries } = soak(&topology, arguments.rounds, seed)?;
    println!(
        "{kills} controllers killed in {:.0} s: {acknowledged} acts answered, none lost or doubled; {cut_off} cut off; \
         {reloads} reloads answered; {entries} entries of the ledger verify",
        started.elapsed().as_secs_f32()
    );
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    run::exit_code(all())
}
