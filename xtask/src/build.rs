//! Builds the eBPF objects first, then the host's programs, which embed them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};

use crate::command;
use crate::setup::{self, BpfTools, Scope};
use crate::workspace;

/// The programs of `gateway-ebpf`: the gateway's own, those on the links of the test bed, and the ones that
/// send what the bench measures with, or stand in for what others would run.
const OBJECTS: [&str; 4] = ["fairway-ebpf", "lab-link", "bench-traffic", "bench-classifier"];

const TARGET: &str = "bpfel-unknown-none";

/// How the host's programs are compiled. The eBPF side is always optimised: unoptimised programs do not
/// pass the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

impl Profile {
    /// By a command-line flag.
    pub(crate) fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    /// The directory of its programs.
    pub(crate) fn directory(self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        workspace::root().join(target).join(match self {
            Self::Dev => "debug",
            Self::Release => "release",
        })
    }
}

/// Sets up and builds everything.
pub(crate) fn all(profile: Profile) -> Result<()> {
    let tools = setup::prepare(Scope::BUILD)?;
    bpf(&tools)?;
    host(profile)
}

/// Builds the eBPF objects and stages them in [`workspace::bpf`].
pub(crate) fn bpf(tools: &BpfTools) -> Result<()> {
    command::run(bpf_options(tools.toolchain.cargo().arg("build"), tools))
        .with_context(|| format!("building the eBPF programs with {}", tools.toolchain.name))?;
    let built = workspace::bpf().join(TARGET).join("release");
    OBJECTS.iter().try_for_each(|name| stage(&built.join(name), &workspace::bpf().join(format!("{name}.o"))))
}

/// Adds what selects and compiles the eBPF programs.
pub(crate) fn bpf_options<'a>(command: &'a mut Command, tools: &BpfTools) -> &'a mut Command {
    let flags = [
        format!("-Clinker={}", tools.linker.display()),
        // v3 (Linux 5.12) has the atomic compare-and-swap that the caps are built on.
        "-Ctarget-cpu=v3".into(),
        // BTF names types and lines in the verifier's messages and in bpftool; it is made from debug info.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
    ];
    command
        .args(["--package", "gateway-ebpf", "--bins", "--features", "programs", "--release", "--locked"])
        .args(["--target", TARGET, "-Zbuild-std=core", "--target-dir"])
        .arg(workspace::bpf())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
}

/// Builds the host's programs.
pub(crate) fn host(profile: Profile) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--workspace", "--locked"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}

/// Builds the programs that the Debian package is made of, and with.
pub(crate) fn packaged(profile: Profile) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "gateway", "--package", "packaging", "--bins", "--locked"]);
    command::run(cargo.args((profile == Profile::Release).then_some("--release")))
}

/// Copies `from` without its DWARF over `to` if they differ, so that an unchanged object causes no rebuild of its users,
/// and by renaming, so that no user ever reads half of one.
fn stage(from: &Path, to: &Path) -> Result<()> {
    let object = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    let object = without_dwarf(&object).with_context(|| format!("stripping {}", from.display()))?;
    if fs::read(to).is_ok_and(|staged| staged == object) {
        return Ok(());
    }
    let partial = to.with_extension("o.partial");
    fs::write(&partial, object).with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, to).with_context(|| format!("writing {}", to.display()))
}

/// An object without the debug info that BTF was made of: nothing reads it, and it is four fifths of the object.
fn without_dwarf(object: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        // ".debug_info", ".rel.debug_info"
        section.delete = section.name.windows(6).any(|part| part == b"debug_");
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
