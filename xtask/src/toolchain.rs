//! The compiler and linker of the eBPF side.
//!
//! `bpfel-unknown-none` has no prebuilt `core`, so the compiler must come with the source of its own and
//! accept `-Z build-std`. Two do, tried in this order: a rustup nightly with the component rust-src, and
//! Debian's rustc-web, a stable compiler that is told to behave as a nightly one.
//!
//! bpf-linker reads the compiler's LLVM bitcode. LLVM reads bitcode of older versions, never of newer
//! ones: a compiler on a newer LLVM than [`LLVM`] is passed over.

use std::path::PathBuf;
use std::process::Command;

use crate::command;

/// Major version of the LLVM that bpf-linker is built with.
pub(crate) const LLVM: u32 = 22;
/// Minor version of the oldest compiler that the workspace declares (`rust-version`).
const OLDEST_RUST_MINOR: u32 = 95;
/// Debian's packages of the second compiler, and why.
pub(crate) const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("rustc-web", "a compiler for the eBPF target; a rustup nightly with rust-src would do as well"),
    ("cargo-web", "the cargo that belongs to it"),
    ("rust-web-src", "the source of core, which has no prebuilt form for eBPF"),
];

/// A compiler for the eBPF side.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// For people.
    pub(crate) name: String,
    /// Directory of cargo, rustc and, if installed, clippy.
    bin: PathBuf,
    /// Whether it must be told that unstable options are meant.
    stable: bool,
}

impl Toolchain {
    /// The first that fits; otherwise why each that was found does not.
    pub(crate) fn find() -> Result<Self, Vec<String>> {
        let mut rejected = Vec::new();
        let debian = Self { name: "Debian's rustc-web".into(), bin: "/usr/bin".into(), stable: true };
        for candidate in rustup_nightlies().into_iter().chain([debian]) {
            match candidate.check() {
                Ok(()) => return Ok(candidate),
                Err(why) => rejected.push(format!("{}: {why}", candidate.name)),
            }
        }
        Err(rejected)
    }

    fn check(&self) -> Result<(), String> {
        let rustc = self.bin.join("rustc");
        let Some(version) = command::stdout_of(command::program(&rustc).arg("-vV")) else {
            return Err(format!("{} is not there or does not run", rustc.display()));
        };
        let minor = field(&version, "release: 1.").ok_or("rustc does not tell its version")?;
        if minor < OLDEST_RUST_MINOR {
            return Err(format!("Rust 1.{minor} is older than 1.{OLDEST_RUST_MINOR}"));
        }
        let llvm = field(&version, "LLVM version: ").ok_or("rustc does not tell its LLVM's version")?;
        if llvm > LLVM {
            return Err(format!("its LLVM {llvm} is newer than bpf-linker's, {LLVM}"));
        }
        let core = self.bin.with_file_name("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !core.is_file() {
            return Err("the source of core (rust-src) is not installed".into());
        }
        Ok(())
    }

    /// Cargo of this toolchain, for unstable options.
    pub(crate) fn cargo(&self) -> Command {
        self.command("cargo")
    }

    /// Whether its linter comes as a Debian package.
    pub(crate) fn is_debian(&self) -> bool {
        self.stable
    }

    /// Clippy of this toolchain, if it is installed.
    pub(crate) fn clippy(&self) -> Option<Command> {
        self.bin.join("clippy-driver").is_file().then(|| {
            // Straight, not through cargo: cargo would prefer the cargo-clippy of rustup's default toolchain.
            let mut clippy = self.command("cargo-clippy");
            clippy.arg("clippy").env("CARGO", self.bin.join("cargo"));
            clippy
        })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = command::program(self.bin.join(name));
        command.env("RUSTC", self.bin.join("rustc")).env_remove("RUSTUP_TOOLCHAIN");
        if self.stable {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

/// The number that follows `label` in the output of `rustc -vV`.
fn field(version: &str, label: &str) -> Option<u32> {
    let digits = version.lines().find_map(|line| line.strip_prefix(label))?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `cargo miri` of a rustup nightly that has it.
///
/// # Errors
/// If none has; with what to install.
pub(crate) fn miri() -> Result<Command, &'static str> {
    let has = |toolchain: &Toolchain| {
        let sources = toolchain.bin.with_file_name("lib/rustlib/src/rust/library");
        ["cargo-miri", "miri"].iter().all(|name| toolchain.bin.join(name).is_file()) && sources.is_dir()
    };
    let nightly = rustup_nightlies().into_iter().find(has);
    let nightly = nightly.ok_or("it needs `rustup toolchain install nightly --component miri,rust-src`")?;
    let mut command = command::program("rustup");
    // They name the toolchain that runs this task.
    ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"].iter().for_each(|name| {
        command.env_remove(name);
    });
    command
        .arg("run")
        .args(nightly.bin.parent().and_then(std::path::Path::file_name))
        .args(["cargo", "miri"]);
    Ok(command)
}

/// Whether rustup has the plain nightly, not one of a certain day.
pub(crate) fn has_nightly() -> bool {
    rustup_nightlies().iter().any(|toolchain| !toolchain.name.contains("nightly-2"))
}

/// Installed nightlies, the plain `nightly` first, then the dated ones from the newest.
fn rustup_nightlies() -> Vec<Toolchain> {
    let home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(std::env::home_dir()?.join(".rustup"))) else { return Vec::new() };
    let Ok(entries) = home.join("toolchains").read_dir() else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("nightly-"))
        .collect();
    // Letters, with which the plain one goes on, sort after the digits of dates.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let toolchain = |name: String| Toolchain {
        bin: home.join("toolchains").join(&name).join("bin"),
        name: format!("rustup's {name}"),
        stable: false,
    };
    names.into_iter().map(toolchain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_versions_that_rustc_prints() {
        let nightly =
            "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(field(nightly, "release: 1."), Some(97));
        assert_eq!(field(nightly, "LLVM version: "), Some(22));
        assert_eq!(field("release: 2.0.0\n", "release: 1."), None);
    }
}
