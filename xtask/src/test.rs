//! Proves the tree: formatting, lints, docs, licences, and every test, stopping at the first that fails;
//! last of all, that the pure logic of the data plane does nothing that Rust leaves undefined.
//!
//! Tests that need root are marked `#[ignore]` with that reason: without root they are counted as skipped,
//! aloud; with root they are run like all others. Where CI=true, a skip is a failure.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, Profile};
use crate::command::{self, cargo, program};
use crate::dist;
use crate::setup::{self, BpfTools, Scope};
use crate::summary::Summary;
use crate::toolchain;
use crate::vm;

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the tests that need root: real programs, real traffic
    #[arg(long)]
    quick: bool,
    /// Run only tests whose name contains this, and no checks
    filter: Option<String>,
}

/// Runs all of it. The summary is the last line, whatever happened before; where tests failed, what they
/// said stands right above it, for logs are often kept by their end only.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut summary = Summary::default();
    let result = stages(options, &mut summary);
    if let Err(error) = &result {
        eprintln!("\nerror: {error:#}");
        // A check before the tests, or something around them, may be what failed.
        summary.failed = summary.failed.max(1);
    }
    for line in &summary.failures {
        println!("{line}");
    }
    println!("\n{} passed, {} failed, {} skipped", summary.passed, summary.failed, summary.skipped);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stages(options: &Options, summary: &mut Summary) -> Result<()> {
    let with_root = command::is_root() && !options.quick;
    let checks = options.filter.is_none();
    let scope = Scope {
        lints: checks,
        traffic: with_root,
        fuzzer: with_root,
        packaging: with_root,
        machines: with_root,
        // Only root can install an emulator; anybody can run one that is there.
        kernels: checks && with_root && command::find("apt-get").is_some(),
    };
    let tools = stage("set-up", || setup::prepare(scope))?;
    if checks {
        stage("rustfmt", || command::run(cargo().args(["fmt", "--all", "--check"])))?;
    }
    stage("build", || {
        build::bpf(&tools)?;
        build::host(Profile::Dev)
    })?;
    if checks {
        stage("clippy", || {
            let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"];
            command::run(cargo().args(lint))
        })?;
        stage("clippy, eBPF side", || clippy_bpf(&tools))?;
        stage("docs", || {
            let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
            command::run(cargo().args(doc).env("RUSTDOCFLAGS", "-Dwarnings"))
        })?;
        stage("licences, bans, sources", deny)?;
    }
    if with_root {
        // Building the tests links the program anew, with what they need of its libraries: that one is packed.
        stage("Debian packages", || {
            command::run(cargo().args(["test", "--workspace", "--locked", "--no-run"]))?;
            dist::for_tests()
        })?;
    }
    stage("tests", || tests(options, with_root, summary))?;
    if checks && !options.quick {
        stage("other kernels", || kernels(summary))?;
    }
    if summary.skipped > 0 && !options.quick {
        ensure!(!is_ci(), "{} tests were skipped, and CI is here to run them", summary.skipped);
        eprintln!(
            "\nSKIPPED: {} tests that need root (network namespaces, BPF programs) or QEMU (other kernels)",
            summary.skipped
        );
    }
    if checks {
        stage("Miri", miri)?;
    }
    Ok(())
}

fn stage<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\n== {name}");
    let start = Instant::now();
    let result = work().with_context(|| format!("{name} failed"));
    eprintln!(
        "== {name}: {} after {:.1} s",
        if result.is_ok() { "ok" } else { "FAILED" },
        start.elapsed().as_secs_f32()
    );
    result
}

fn clippy_bpf(tools: &BpfTools) -> Result<()> {
    let Some(mut clippy) = tools.toolchain.clippy() else {
        ensure!(!is_ci(), "{} has no clippy", tools.toolchain.name);
        eprintln!("SKIPPED: {} has no clippy; add its component clippy", tools.toolchain.name);
        return Ok(());
    };
    command::run(build::bpf_options(&mut clippy, tools).args(["--", "-Dwarnings"]))
}

fn deny() -> Result<()> {
    let program_file = setup::cargo_deny()?;
    let check = |network: &str, what: &[&str]| {
        command::run(program(&program_file).args(["--workspace", network, "check"]).args(what))
    };
    check("--locked", &["licenses", "bans", "sources"])?;
    if !has_advisory_database() {
        eprintln!("SKIPPED: known vulnerabilities: no advisory database here; `cargo deny fetch` gets one");
        return Ok(());
    }
    check("--frozen", &["advisories"])
}

/// Whether cargo-deny has fetched its database of vulnerabilities.
fn has_advisory_database() -> bool {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let Some(home) = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))) else { return false };
    home.join("advisory-dbs").read_dir().is_ok_and(|mut databases| databases.next().is_some())
}

/// Runs the tests of the logic that the kernel runs in the interpreter that finds undefined behaviour.
///
/// Few machines have it, so a lack of it is told, last before the summary, and never a failure: the fuzz
/// targets take the same parsers under the address sanitiser.
fn miri() -> Result<()> {
    let mut miri = match toolchain::miri() {
        Ok(miri) => miri,
        Err(lack) => {
            eprintln!("SKIPPED: undefined behaviour in the pure logic of gateway-ebpf: {lack}");
            return Ok(());
        }
    };
    // A thousand times slower than the processor, so with a few cases of each property; the documented
    // tables that some tests read lie outside of the isolation.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    command::run(miri.args(["test", "--package", "gateway-ebpf", "--lib", "--locked"]))
}

/// Runs the tests on the oldest and the newest kernel that Fairway is tested on.
fn kernels(summary: &mut Summary) -> Result<()> {
    if let Some(lack) = vm::lack() {
        eprintln!("SKIPPED: other kernels: {lack}");
        summary.skipped += 1;
        return Ok(());
    }
    vm::test(summary)
}

fn tests(options: &Options, with_root: bool, summary: &mut Summary) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--workspace", "--locked", "--no-fail-fast", "--"]);
    test.args(with_root.then_some("--include-ignored")).args(&options.filter);
    let success = tee(&mut test, |line| summary.add(line))?;
    // A test binary that dies has no closing line, but cargo tells.
    ensure!(success && summary.failed == 0, "{} tests failed", summary.failed.max(1));
    ensure!(summary.passed > 0, "no test ran");
    Ok(())
}

/// Runs it, passing its output through and showing each line to `see`; tells whether it succeeded.
fn tee(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        see(&line);
    }
    Ok(child.wait()?.success())
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
