//! `cargo xtask`: one entry for everything a developer does.
//!
//! Each task first sets up what it needs and says what it installs and why; what is there already is
//! found by looking at files, so that a second run starts at once. Nothing is installed outside the
//! workspace's `target` directory except Debian packages.

mod bench;
mod build;
mod command;
mod debian;
mod dist;
mod eval;
mod lab;
mod machines;
mod setup;
mod soak;
mod summary;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sets up, builds and proves Fairway")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install whatever the other tasks need and this machine lacks
    Setup,
    /// Build the eBPF programs and the `fairway` binary
    Build {
        /// Optimise the host programs too
        #[arg(long)]
        release: bool,
    },
    /// Check formatting, lints, docs and licences, then run every test
    Test(test::Options),
    /// Measure what packets, reloads and scrapes cost, beside their baselines (needs root)
    Bench {
        /// Arguments of the bench itself: a section, --json, --quick, --keep
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Police real traffic between network namespaces and show what happened (needs root)
    Lab {
        /// Arguments of the lab itself, such as --hold
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill the controller at random moments under load: is anything lost that was answered? (needs root)
    Soak {
        /// Arguments of the soak itself, such as --rounds 100
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make the Debian package, target/dist/fairway_VERSION_ARCHITECTURE.deb, and check it against Debian's policy
    Dist {
        /// Make the packages that tests install instead, of an unoptimised build
        #[arg(long)]
        for_tests: bool,
    },
    /// Boot the kernels that Fairway is tested on in virtual machines, and run tests in each
    Vm(vm::Options),
    /// Measure how well scans are detected, and who is detected wrongly (needs root)
    Eval {
        /// Arguments of the evaluation itself, such as --runs 10
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => {
            setup::prepare(setup::Scope { machines: command::is_root(), ..setup::Scope::ALL }).map(drop)?
        }
        Task::Build { release } => build::all(build::Profile::of(release))?,
        Task::Test(options) => return Ok(test::run(&options)),
        Task::Bench { arguments } => bench::run(&arguments)?,
        Task::Vm(options) => vm::run(&options)?,
        Task::Lab { arguments } => lab::run(&arguments)?,
        Task::Eval { arguments } => eval::run(&arguments)?,
        Task::Dist { for_tests } => dist::run(for_tests)?,
        Task::Soak { arguments } => soak::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    run(Arguments::parse().task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
