//! A Debian system with systemd as its first process, booted in a container on the kernel of this machine: a
//! router to install the package on.
//!
//! Everything is mounted in a mount namespace that ends with the container: the system (an overlay over the tree
//! that `cargo xtask` made) and a BPF file system of its own, so that nothing is left behind whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::TARGET;
use crate::cgroup::Cgroup;
use crate::gateway;
use crate::namespace::Namespace;
use crate::process::{Finished, Process};
use crate::run::{self, wait_for};

/// Long enough for a boot, an installation or a stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Arguments: the tree, the directory of the machine, its name, the path of its network namespace, and the control
/// groups to enter. Its name need not be known to the host's systemd, which build machines often lack.
const BOOT: &str = "\
tree=\"$1\" directory=\"$2\" name=\"$3\" network=\"$4\"
shift 4
for group; do echo $$ > \"$group\"; done
mount -t overlay overlay -o lowerdir=\"$tree\",upperdir=\"$directory/upper\",workdir=\"$directory/work\" \"$directory/root\"
mount -t bpf bpf -o mode=0700 \"$directory/bpf\"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory=\"$directory/root\" --machine=\"$name\" --register=no --keep-unit --boot \\
    --network-namespace-path=\"$network\" --capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON --system-call-filter='bpf perf_event_open @keyring' \\
    --bind=\"$directory/bpf\":/sys/fs/bpf
";

/// A Debian system; dropping it switches it off and removes what it has written.
pub struct Machine {
    suite: &'static str,
    name: String,
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    nspawn: Process,
    /// Its first process, as this machine numbers it.
    leader: String,
    _cgroup: Cgroup,
}

impl Machine {
    /// A fresh one, switched off.
    ///
    /// # Errors
    /// If its tree is not there.
    pub fn create(suite: &'static str) -> Result<Self> {
        run::sweep_stale();
        let tree = tree(suite);
        ensure!(
            Path::new(&tree).is_dir(),
            "{tree} is not there: `cargo xtask dist --for-tests` makes it, as root"
        );
        let directory = run::scratch_directory()?;
        for part in ["upper", "work", "root", "bpf"] {
            fs::create_dir(directory.path().join(part))?;
        }
        Ok(Self { suite, name: run::unique_name(suite), directory, running: None })
    }

    /// Boots it with the interfaces of a namespace, and waits until it has started everything.
    ///
    /// # Errors
    /// If a unit has failed; with the console.
    pub fn boot(&mut self, network: &Namespace) -> Result<()> {
        let (tree, netns) = (tree(self.suite), format!("{}/{}", run::NETNS, network.name()));
        let directory = self.directory.path().to_string_lossy();
        let unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", BOOT, "boot"];
        let cgroup = Cgroup::create(&self.name)?;
        let doors = cgroup.doors();
        let mut arguments = [&unshare[..], &[&tree, &directory, &self.name, &netns]].concat();
        arguments.extend(doors.iter().map(String::as_str));
        let mut nspawn = Process::start(&arguments)?;
        let mut leader = None;
        nspawn.wait_until_ready(PATIENCE, |nspawn| {
            leader = first_process(nspawn.pid());
            leader.is_some()
        })?;
        let leader = leader.context("it has a first process")?;
        self.running = Some(Running { nspawn, leader, _cgroup: cgroup });
        // Its bus and its manager have to be there to be asked.
        let mut state = String::new();
        let booted = wait_for("the boot", PATIENCE, || {
            state = self.start(&["systemctl", "is-system-running"]).ok()?.stdout;
            (!matches!(state.trim(), "" | "initializing" | "starting" | "offline")).then_some(())
        });
        booted.and_then(|()| self.assert_no_unit_failed()).with_context(|| self.console())
    }

    /// Runs a program in it and returns its standard output.
    ///
    /// # Errors
    /// If it fails; with its command line and what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.start(arguments)?.success().with_context(|| format!("{} on {}", arguments.join(" "), self.name))
    }

    /// Runs a program in it to its end, whatever that is.
    pub fn start(&self, arguments: &[&str]) -> Result<Finished> {
        let running = self.running.as_ref().context("the machine is switched off")?;
        let enter = ["nsenter", "--target", &running.leader, "--all", "--wdns=/root", "--", "env", "-i"];
        let environment = [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            "HOME=/root",
            "DEBIAN_FRONTEND=noninteractive",
            "SYSTEMD_COLORS=0",
        ];
        Process::start(&[&enter[..], &environment, arguments].concat())?.finish(PATIENCE)
    }

    /// Puts a file into root's home.
    pub fn copy(&self, file: &Path, name: &str) -> Result<()> {
        let target = self.path("root")?.join(name);
        fs::copy(file, &target)
            .map(drop)
            .with_context(|| format!("copying {} to {}", file.display(), target.display()))
    }

    /// Where this machine finds what the booted one has at `inside`, without its leading slash.
    ///
    /// # Errors
    /// If it is switched off.
    pub fn path(&self, inside: &str) -> Result<PathBuf> {
        let running = self.running.as_ref().context("the machine is switched off")?;
        Ok(Path::new("/proc").join(&running.leader).join("root").join(inside))
    }

    /// That systemd is content.
    pub fn assert_no_unit_failed(&self) -> Result<()> {
        let failed = self.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
        ensure!(failed.trim().is_empty(), "units have failed:\n{failed}{}", self.journal(&["--lines=50"])?);
        let state = self.start(&["systemctl", "is-system-running"])?.stdout;
        ensure!(state.trim() == "running", "the system is {state}");
        Ok(())
    }

    /// What the journal has of this boot, with its options.
    pub fn journal(&self, options: &[&str]) -> Result<String> {
        self.run(&[&["journalctl", "--boot", "--no-pager", "--quiet"], options].concat())
    }

    /// Switches it off in order. What is on its disk stays; its kernel forgets, as that of a router would.
    pub fn shut_down(&mut self) -> Result<()> {
        // The answer may get lost with the connection.
        self.start(&["systemctl", "poweroff"])?;
        let running = self.running.take().context("the machine is switched off")?;
        running.nspawn.finish(PATIENCE)?.success().map(drop).context("switching off")
    }

    fn console(&self) -> String {
        let written = self.running.as_ref().map(|running| running.nspawn.stdout() + &running.nspawn.stderr());
        format!("the console of {}:\n{}", self.name, written.unwrap_or_default())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Killed with its first process, before the files beneath it go.
        let Some(running) = self.running.take() else { return };
        let ended = running.leader.parse().map_err(anyhow::Error::from).and_then(|leader| {
            kill(Pid::from_raw(leader), Signal::SIGKILL)?;
            running.nspawn.finish(PATIENCE)
        });
        if let Err(error) = ended {
            eprintln!("switching off {}: {error:#}", self.name);
        }
    }
}

fn tree(suite: &str) -> String {
    format!("{TARGET}/machines/{suite}")
}

/// The child that is the first process of a namespace of its own.
fn first_process(nspawn: u32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_first = |child: &&str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1 && numbers.ends_with("\t1"))
    };
    children.split_whitespace().find(is_first).map(str::to_owned)
}

/// A package that `cargo xtask` has made for tests.
///
/// # Errors
/// If it is not there, or older than the program that it should hold.
pub fn package(version: &str) -> Result<PathBuf> {
    let (directory, prefix) = (Path::new(TARGET).join("dist"), format!("fairway_{version}_"));
    let is_it =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let files = fs::read_dir(&directory).ok().into_iter().flatten();
    let package = files.filter_map(|entry| Some(entry.ok()?.path())).find(is_it);
    let built = fs::metadata(gateway::binary()?)?.modified()?;
    let is_current = |file: &PathBuf| {
        fs::metadata(file).and_then(|found| found.modified()).is_ok_and(|packed| packed > built)
    };
    package.filter(is_current).with_context(|| {
        format!(
            "no package of this build in {}: `cargo xtask dist --for-tests` makes it",
            directory.display()
        )
    })
}
