//! How well detection works: scanners over a grid of rates and shares of hosts that answer, and ordinary
//! programs for an hour each, all through the real programs on a virtual clock.
//!
//! Everything is drawn from a seed, so that a run can be repeated.

mod attack;
mod benign;
mod plot;
mod report;
mod scaled;
mod wire;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use attack::{Cell, Shape};
use clap::Parser;
use fastrand::Rng;
use report::{CellResult, Evaluation};
use world::World;

#[derive(Parser)]
#[command(
    name = "cargo xtask eval",
    about = "Measures how well scans are detected, and who is detected wrongly"
)]
struct Arguments {
    /// Runs of each cell of the grid
    #[arg(long, default_value_t = 100)]
    runs: u32,
    /// Simulated seconds of each ordinary program
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only scans of these shapes, and no ordinary programs
    #[arg(long, value_enum)]
    shape: Vec<Shape>,
    /// Scanners that keep their kernels from resetting what answers, as a packet filter on their own host can
    #[arg(long)]
    silent: bool,
    /// Print the results as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Write tables, plot and JSON into this directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// Leave out the runs with other thresholds, which the plot is made of
    #[arg(long)]
    no_plot: bool,
}

const RATES: [f64; 7] = [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0];
const ANSWERED: [u8; 5] = [0, 10, 30, 50, 70];

fn main() -> ExitCode {
    fairway_tests::run::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut rng = Rng::with_seed(arguments.seed);
    let mut world = World::new()?;
    let mut cells = Vec::new();
    configure_grid(&mut world, "")?;
    let shapes = if arguments.shape.is_empty() { &Shape::ALL[..] } else { &arguments.shape };
    for &shape in shapes {
        eprintln!("{shape:?}: {} runs of each of {} cells", arguments.runs, RATES.len() * ANSWERED.len());
        for per_second in RATES {
            for answered_percent in ANSWERED {
                let cell = Cell { shape, per_second, answered_percent, silent: arguments.silent };
                cells.push(grid_cell(&mut world, cell, arguments.runs, &mut rng)?);
            }
        }
    }
    let mut hours = Vec::new();
    for program in benign::PROGRAMS.iter().filter(|_| arguments.shape.is_empty()) {
        eprintln!("{}: {} s", program.name, arguments.seconds);
        hours.push(benign::run(&mut world, program, "", arguments.seconds, &mut rng)?);
    }
    let scaled = match arguments.no_plot {
        true => Vec::new(),
        false => scaled::run(&mut world, &mut rng)?,
    };
    let evaluation = Evaluation { seed: arguments.seed, runs: arguments.runs, cells, hours, scaled };
    if let Some(directory) = &arguments.out {
        evaluation.write(directory).with_context(|| format!("writing to {}", directory.display()))?;
    }
    println!("{}", if arguments.json { evaluation.json()? } else { evaluation.tables() });
    Ok(())
}

/// Sets up the grid, with `more` settings. Without the breaker: every run is a scanner of its own, and none is to
/// be spared for the others.
fn configure_grid(world: &mut World, more: &str) -> Result<()> {
    world.configure(&format!("[detect]\nmax_measures_per_minute = 10_000\n{more}"))
}

/// Runs of one cell, each from a source of its own.
fn grid_cell(world: &mut World, cell: Cell, runs: u32, rng: &mut Rng) -> Result<CellResult> {
    let runs = (0..runs).map(|_| attack::run(world, cell, rng)).collect::<Result<Vec<_>>>()?;
    Ok(CellResult::new(cell, &runs))
}
