//! One virtual machine, from its start to its power-off.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::guest::{STARTED, SUCCESS};
use super::kernels::{Image, Kernel};
use crate::command::{self, program};

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Enough for the programs, which lie in memory twice while they are unpacked, and their tables.
const MEMORY_MIB: &str = "1536";

/// What a guest said.
pub(crate) struct Report {
    /// All lines.
    pub(crate) lines: Vec<String>,
    /// From start to power-off.
    pub(crate) took: Duration,
}

/// Boots a kernel with a file system and waits for its end; `limit` bounds a guest that hangs.
///
/// # Errors
/// If it does not print [`SUCCESS`]. QEMU's own exit code says nothing: it is 0 after a panic as well.
pub(crate) fn boot(kernel: Kernel, image: &Image, archive: &Path, limit: Duration) -> Result<Report> {
    let mut report = attempt(kernel, image, archive, limit)?;
    if !report.lines.iter().any(|line| line == STARTED) {
        eprintln!("Linux {}: the guest did not come up; once more", kernel.release);
        report = attempt(kernel, image, archive, limit)?;
    }
    if !report.lines.iter().any(|line| line == SUCCESS) {
        let tail = &report.lines[report.lines.len().saturating_sub(60)..];
        bail!(
            "Linux {}: no success after {:.0} s; its console ends in\n{}",
            kernel.release,
            report.took.as_secs_f32(),
            tail.join("\n")
        );
    }
    Ok(report)
}

fn attempt(kernel: Kernel, image: &Image, archive: &Path, limit: Duration) -> Result<Report> {
    let started = Instant::now();
    let mut machine = program("timeout");
    machine.arg(limit.as_secs().to_string()).arg(QEMU);
    arguments(&mut machine, image, archive);
    let mut qemu = machine.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting QEMU")?;
    let console = qemu.stdout.take().context("QEMU has no console")?;
    let mut log = fs::File::create(archive.with_file_name("console"))?;
    let mut lines = Vec::new();
    for line in BufReader::new(console).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        writeln!(log, "{line}")?;
        lines.push(line);
    }
    let status = qemu.wait()?;
    ensure!(status.code() != Some(127), "QEMU cannot be run: {}", command::line(&machine));
    if status.code() == Some(124) {
        eprintln!("Linux {}: stopped after {} s", kernel.release, limit.as_secs());
    }
    Ok(Report { lines, took: started.elapsed() })
}

/// Of the processor all but `cmpxchg16b`, which QEMU 7.2 emulates so that one kernel in six oopsed; one thread for all of
/// the guest's processors, for several were slower and flaky. No zeroing of what the kernel allocates: the verifier
/// allocates all the time, and it takes a sixth of its work. No check whether the timer works: on a busy host the
/// emulated one seems not to, and the kernel panics; nor may its complaints about that stand between a test's words.
fn arguments(qemu: &mut Command, image: &Image, archive: &Path) {
    // The device alone proves nothing.
    let has_kvm = ["kvm_intel", "kvm_amd"].iter().any(|name| Path::new("/sys/module").join(name).exists());
    let acceleration: [&str; 4] = if has_kvm {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=single", "-cpu", "max,-cx16"]
    };
    qemu.args(acceleration)
        .args(["-machine", "q35", "-m", MEMORY_MIB, "-smp", "2", "-kernel"])
        .arg(&image.vmlinuz)
        .arg("-initrd")
        .arg(archive)
        .args([
            "-append",
            "console=ttyS0 panic=-1 oops=panic mitigations=off init_on_alloc=0 no_timer_check loglevel=1",
        ])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-monitor", "none"])
        .arg("-no-reboot");
}
