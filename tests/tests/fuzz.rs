//! The fuzz targets in `tests/fuzz`, each for a short while. They need rustup's nightly compiler and
//! cargo-fuzz; without them the test says so and is over.
//!
//! To fuzz for longer: `cargo +nightly fuzz run --fuzz-dir tests/fuzz parser`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Long enough to go through the seeds and a million mutations of a frame.
const SECONDS: u32 = 20;

/// The compiler that the targets are built with.
const TOOLCHAIN: &str = "nightly";

#[test]
#[ignore = "takes minutes: builds the gateway with a nightly compiler"]
fn every_target_stands_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace");
    let Some(cargo_fuzz) = cargo_fuzz(&workspace) else {
        // Past the test harness, which shows what a test prints only if it fails.
        let lack = "`rustup toolchain install nightly` and `cargo install cargo-fuzz`";
        let _ = writeln!(std::io::stderr(), "SKIPPED: fuzzing needs {lack}");
        return;
    };
    for target in ["parser", "config", "capture", "abi"] {
        // What is found goes into the first directory, beside the build; the seeds stay as they are.
        let found = workspace.join("target/fuzz/corpus").join(target);
        std::fs::create_dir_all(&found).expect("a place for what is found");
        let seeds = workspace.join("tests/fuzz/corpus").join(target);
        assert!(seeds.read_dir().is_ok_and(|mut files| files.next().is_some()), "{target} has no seeds");
        let status = nightly(&cargo_fuzz)
            .current_dir(&workspace)
            .args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir", "target/fuzz", target])
            .args([&found, &seeds])
            .args([
                "--",
                &format!("-max_total_time={SECONDS}"),
                "-timeout=10",
                "-print_funcs=0",
                "-print_final_stats=1",
            ])
            .status()
            .expect("cargo-fuzz starts");
        assert!(status.success(), "{target}: {status}; the input lies in tests/fuzz/artifacts/{target}");
    }
}

/// cargo-fuzz of the workspace's tools or on PATH, if it runs under the nightly compiler.
fn cargo_fuzz(workspace: &Path) -> Option<PathBuf> {
    let own = workspace.join("target/tools/bin/cargo-fuzz");
    let runs = |file: &PathBuf| nightly(file).arg("--version").output().is_ok_and(|out| out.status.success());
    [own, "cargo-fuzz".into()].into_iter().find(runs)
}

/// A program under the nightly compiler, not the one that runs this test.
fn nightly(program: &Path) -> Command {
    let mut command = Command::new("rustup");
    ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"].iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(["run", TOOLCHAIN]).arg(program);
    command
}
