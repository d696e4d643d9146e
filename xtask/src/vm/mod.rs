//! Several kernels, each in a virtual machine: the programs are verified, attached and tried on all that the documents
//! name. Needs neither root nor hardware support.

mod guest;
mod kernels;
mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::build::{self, Profile};
use crate::command;
use crate::setup::{self, Scope};
use crate::summary::Summary;
use crate::workspace;
use guest::Run;
use kernels::{Image, Kernel};
use machine::Report;

#[derive(Args)]
pub(crate) struct Options {
    /// Releases out of xtask/kernels.csv; all if none is named
    kernels: Vec<String>,
    /// Only what `cargo xtask test` runs
    #[arg(long)]
    short: bool,
    /// Write what the verifiers did to docs/performance/verifier.csv
    #[arg(long)]
    keep: bool,
}

/// Emulated, one load of the programs takes some seconds; the short form does without most.
const SHORT: [Run; 4] = [
    Run { program: "verifier", filters: &["the_running_kernel"], environment: &[] },
    Run { program: "verdicts", filters: &["malformed::"], environment: &[] },
    Run { program: "evasion", filters: &[], environment: &[] },
    Run { program: "e2e", filters: &["anywhere::"], environment: &[] },
];

const LONG: [Run; 6] = [
    Run { program: "verifier", filters: &["the_running_kernel"], environment: &[] },
    Run { program: "verdicts", filters: &[], environment: &[] },
    Run { program: "evasion", filters: &[], environment: &[] },
    Run { program: "replay", filters: &[], environment: &[] },
    Run {
        program: "differential",
        filters: &["generated_packets", "a_wrong_model"],
        environment: &[("FAIRWAY_DIFFERENTIAL_PACKETS", "100000")],
    },
    Run { program: "e2e", filters: &["anywhere::"], environment: &[] },
];

/// How long a guest may take. On a quiet machine the short form takes a minute or two, the long one ten.
const SHORT_LIMIT: Duration = Duration::from_secs(1_200);
const LONG_LIMIT: Duration = Duration::from_secs(7_200);

/// Guests at once.
const AT_ONCE: usize = 2;

/// Where images and guests are kept.
fn directory() -> PathBuf {
    workspace::root().join("target/vm")
}

/// `cargo xtask vm`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tools = setup::prepare(Scope { kernels: true, ..Scope::BUILD })?;
    build::bpf(&tools)?;
    build::host(Profile::Dev)?;
    let kernels = kernels::chosen(&options.kernels)?;
    let reports = boot_all(&kernels, options.short)?;
    let mut summary = Summary::default();
    for (kernel, report) in kernels.iter().zip(&reports) {
        summary.add_all(&report.lines);
        println!("Linux {}: {:.0} s", kernel.release, report.took.as_secs_f32());
    }
    println!("{} passed, {} failed, {} skipped", summary.passed, summary.failed, summary.skipped);
    if options.keep {
        keep(&kernels, &reports)?;
    }
    Ok(())
}

/// The short form, on the oldest and the newest kernel, as a part of all tests; adds to their counts.
pub(crate) fn test(summary: &mut Summary) -> Result<()> {
    let all = kernels::all();
    let (Some(oldest), Some(newest)) = (all.first(), all.last()) else {
        bail!("no kernels in xtask/kernels.csv")
    };
    for report in boot_all(&[*oldest, *newest], true)? {
        summary.add_all(&report.lines);
    }
    Ok(())
}

/// Why there can be no virtual machine here; none if there can.
pub(crate) fn lack() -> Option<String> {
    command::find(machine::QEMU).is_none().then(|| format!("{} is not on this machine", machine::QEMU))
}

fn boot_all(kernels: &[Kernel], short: bool) -> Result<Vec<Report>> {
    let (runs, limit): (&[Run], Duration) = if short { (&SHORT, SHORT_LIMIT) } else { (&LONG, LONG_LIMIT) };
    let tests = guest::programs(runs)?;
    let fairway = Profile::Dev.directory().join("fairway");
    // One after the other, as apt and the tree are.
    let guests = kernels.iter().map(|kernel| {
        let image = kernel.image()?;
        let directory = directory().join("guests").join(kernel.release);
        fs::create_dir_all(&directory)?;
        let archive = guest::archive(&directory, &image, runs, &tests, &fairway)?;
        Ok((*kernel, image, archive))
    });
    let guests = guests.collect::<Result<Vec<(Kernel, Image, PathBuf)>>>()?;
    let mut reports = Vec::new();
    for together in guests.chunks(AT_ONCE) {
        let booted: Vec<Result<Report>> = std::thread::scope(|scope| {
            let boot = |(kernel, image, archive): &'_ (Kernel, Image, PathBuf)| {
                machine::boot(*kernel, image, archive, limit)
            };
            let machines: Vec<_> = together.iter().map(|guest| scope.spawn(move || boot(guest))).collect();
            machines.into_iter().map(|machine| machine.join().expect("a thread that did not panic")).collect()
        });
        for report in booted {
            reports.push(report?);
        }
    }
    for (kernel, report) in kernels.iter().zip(&reports) {
        let mut summary = Summary::default();
        summary.add_all(&report.lines);
        ensure!(summary.passed > 0 && summary.failed == 0, "Linux {}: {summary:?}", kernel.release);
        let took = report.took.as_secs_f32();
        eprintln!("Linux {}: {} tests passed after {took:.0} s", kernel.release, summary.passed);
    }
    Ok(reports)
}

/// Of docs/performance/verifier.csv. Frames on the stack are the program's, then each function's.
const COLUMNS: &str = "kernel,program,instructions,total_states,peak_states,max_states_per_insn,stack_frames";

/// Writes the verifiers' work beside what is kept of the other kernels.
fn keep(kernels: &[Kernel], reports: &[Report]) -> Result<()> {
    let file = workspace::root().join("docs/performance/verifier.csv");
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let mut rows: BTreeMap<(String, String), String> = BTreeMap::new();
    let key = |line: &str| {
        let mut fields = line.splitn(3, ',').map(str::to_owned);
        Some(((fields.next()?, fields.next()?), fields.next()?))
    };
    rows.extend(kept.lines().skip(1).filter_map(key));
    for (kernel, report) in kernels.iter().zip(reports) {
        // "verified: PROGRAM,INSTRUCTIONS,...", as tests/tests/verifier.rs prints it.
        let work: Vec<&str> = report
            .lines
            .iter()
            .filter_map(|line| line.split_once("verified: ").map(|(_, work)| work))
            .collect();
        ensure!(!work.is_empty(), "Linux {}: the verifier's work was not printed", kernel.release);
        rows.extend(work.iter().filter_map(|work| key(&format!("{},{work}", kernel.release))));
    }
    let lines: String =
        rows.iter().map(|((kernel, program), work)| format!("{kernel},{program},{work}\n")).collect();
    fs::write(&file, format!("{COLUMNS}\n{lines}")).with_context(|| format!("writing {}", file.display()))
}
