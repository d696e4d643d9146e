//! What runs in the guest: test programs, what they call, and a script that runs them one after the other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::kernels::Image;
use crate::command::{self, cargo, program};
use crate::workspace;

/// The last line of a guest in which every program succeeded; nothing else prints it.
pub(crate) const SUCCESS: &str = "fairway-vm: every program succeeded";

/// The first line of a guest that came up.
pub(crate) const STARTED: &str = "fairway-vm: started";

/// Programs of the host that the tests call.
const CALLED: [&str; 3] = ["ip", "ethtool", "setpriv"];

/// Shell commands of the script.
const APPLETS: [&str; 6] = ["sh", "mount", "mkdir", "insmod", "cat", "poweroff"];

/// Data that the tests read, below the workspace's root.
const DATA: [&str; 3] = ["tests/golden", "tests/evasion", "docs"];

/// Emulation is this much slower than what the tests' patience is made for, on a busy machine.
const PATIENCE: u32 = 20;

/// A test program and what is run of it.
pub(crate) struct Run {
    /// The name of the test target.
    pub(crate) program: &'static str,
    /// What the names of its tests contain, one of these; all where there is none.
    pub(crate) filters: &'static [&'static str],
    /// Its environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

/// Builds the test programs and returns the files of those that are run.
pub(crate) fn programs(runs: &[Run]) -> Result<Vec<PathBuf>> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--locked", "--no-run"]).stdout(Stdio::null());
    // Of the whole workspace, so that they are the very ones that `cargo xtask test` has built.
    build.args(runs.iter().flat_map(|run| ["--test", run.program]));
    let built = build.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let told = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "building the tests:\n{told}");
    // "  Executable tests/verdicts/main.rs (target/debug/deps/verdicts-0123456789abcdef)"
    let files: Vec<&str> = told
        .lines()
        .filter(|line| line.trim_start().starts_with("Executable"))
        .filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'))
        .collect();
    let find = |run: &Run| {
        let is_it = |file: &&&str| {
            let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
            stem.and_then(|stem| stem.rsplit_once('-')).is_some_and(|(name, _)| name == run.program)
        };
        let file =
            files.iter().find(is_it).with_context(|| format!("cargo built no test {}", run.program))?;
        Ok(workspace::root().join(file))
    };
    runs.iter().map(find).collect()
}

/// Writes the guest's file system, an archive that the kernel unpacks into memory.
pub(crate) fn archive(
    directory: &Path,
    image: &Image,
    runs: &[Run],
    tests: &[PathBuf],
    fairway: &Path,
) -> Result<PathBuf> {
    let tree = directory.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for mount_point in ["proc", "sys", "dev", "tmp", "run", "bin", "modules"] {
        fs::create_dir_all(tree.join(mount_point))?;
    }
    let mut linked = Vec::new();
    for (run, file) in runs.iter().zip(tests) {
        let to = tree.join("bin").join(run.program);
        // Several runs may be of one program.
        if !to.exists() {
            strip(file, &to)?;
            linked.push(to);
        }
    }
    strip(fairway, &tree.join("bin/fairway"))?;
    linked.push(tree.join("bin/fairway"));
    for name in CALLED {
        let file = command::find(name).with_context(|| format!("{name} is not on this machine"))?;
        fs::copy(&file, tree.join("bin").join(name))?;
        linked.push(file);
    }
    for library in libraries(&linked)? {
        copy(&library, &tree)?;
    }
    let busybox = command::find("busybox").context("busybox is not on this machine")?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    APPLETS.iter().try_for_each(|name| symlink("busybox", tree.join("bin").join(name)))?;
    for module in &image.modules {
        fs::copy(module, tree.join("modules").join(module.file_name().context("a module without a name")?))?;
    }
    for data in DATA.map(|data| workspace::root().join(data)).iter().chain(&captures()) {
        copy_below(data, &tree)?;
    }
    let init = tree.join("init");
    fs::write(&init, script(image, runs))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    pack(&tree, &directory.join("initrd"))
}

/// Captures that others published, where the tests look for them; they are skipped, aloud, where there are none.
fn captures() -> Option<PathBuf> {
    let named = std::env::var_os("FAIRWAY_PCAPS").map(PathBuf::from);
    named
        .or_else(|| Some(workspace::root().parent()?.join("shared/pcaps")))
        .filter(|directory| directory.is_dir())
}

/// The guest's first process.
fn script(image: &Image, runs: &[Run]) -> String {
    let mut script = String::from(
        "#!/bin/sh\n\
         mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev\n\
         mount -t tmpfs none /tmp; mount -t tmpfs none /run; mount -t bpf none /sys/fs/bpf\n",
    );
    script += &format!("echo '{STARTED}'\ncat /proc/sys/kernel/osrelease\n");
    for module in image.modules.iter().filter_map(|module| module.file_name()) {
        script += &format!("insmod /modules/{}\n", module.to_string_lossy());
    }
    script += &format!(
        "export PATH=/bin HOME=/tmp FAIRWAY_BIN=/bin/fairway FAIRWAY_PATIENCE={PATIENCE}\nfailed=0\n"
    );
    if let Some(captures) = captures() {
        script += &format!("export FAIRWAY_PCAPS={}\n", captures.display());
    }
    for run in runs {
        let environment: String =
            run.environment.iter().map(|(key, value)| format!("{key}={value} ")).collect();
        script += &format!(
            "{environment}/bin/{} --include-ignored --test-threads=1 {} || failed=1\n",
            run.program,
            run.filters.join(" ")
        );
    }
    script + &format!("[ $failed = 0 ] && echo '{SUCCESS}'\npoweroff -f\n")
}

/// Copies a program without what only a debugger reads, which is most of it.
fn strip(from: &Path, to: &Path) -> Result<()> {
    command::run(program("strip").arg("--strip-debug").arg("-o").arg(to).arg(from))
}

/// What programs are linked with, as the loader of this machine finds it.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let told =
        command::stdout_of(program("ldd").args(programs)).context("ldd does not tell the libraries")?;
    Ok(told
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

/// Copies a file to the same place below a tree.
fn copy(file: &Path, tree: &Path) -> Result<()> {
    let to = tree.join(file.strip_prefix("/")?);
    fs::create_dir_all(to.parent().context("a file in no directory")?)?;
    fs::copy(file, &to).with_context(|| format!("copying {}", file.display()))?;
    Ok(())
}

fn copy_below(directory: &Path, tree: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() { copy_below(&path, tree)? } else { copy(&path, tree)? }
    }
    Ok(())
}

/// Packs a tree as the kernel reads it: `cpio`'s newc format, not compressed, for that takes the emulator longer than
/// to read it.
fn pack(tree: &Path, archive: &Path) -> Result<PathBuf> {
    let mut names = Vec::new();
    names_below(tree, Path::new("."), &mut names)?;
    let mut cpio = program("cpio")
        .current_dir(tree)
        .args(["--create", "--format=newc", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(archive)?)
        .spawn()
        .context("starting cpio")?;
    let mut stdin = cpio.stdin.take().context("cpio takes no input")?;
    stdin.write_all(names.join("\n").as_bytes())?;
    drop(stdin);
    ensure!(cpio.wait()?.success(), "cpio failed");
    Ok(archive.to_owned())
}

/// Directories before what is in them.
fn names_below(tree: &Path, below: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(tree.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        names.push(name.to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            names_below(tree, &name, names)?;
        }
    }
    Ok(())
}
