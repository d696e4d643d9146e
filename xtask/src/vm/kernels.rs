//! The kernels that are tried, and where their images come from.
//!
//! The archive is the one that the machine's own apt sources name; only the suite is another. apt works with lists and a
//! cache of its own, so that nothing on the machine changes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, announce, program};

/// The one list: tests boot them, `fairway doctor`, README and docs name them.
const LIST: &str = include_str!("../../kernels.csv");

/// What every suite calls its newest kernel for virtual machines.
const NEWEST: &str = "linux-image-cloud-amd64";

/// What the guest needs beside what is built in, in the order of loading.
const MODULES: [&str; 1] = ["veth"];

/// A kernel of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Major and minor number.
    pub(crate) release: &'static str,
    /// The Debian suite that has it.
    suite: &'static str,
}

/// A kernel's files.
pub(crate) struct Image {
    pub(crate) vmlinuz: PathBuf,
    /// In the order of loading.
    pub(crate) modules: Vec<PathBuf>,
}

/// The list, the oldest first.
pub(crate) fn all() -> Vec<Kernel> {
    let fields = LIST.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    fields.map(|fields| Kernel { release: fields[0], suite: fields[1] }).collect()
}

/// Those that the arguments name, or all.
pub(crate) fn chosen(releases: &[String]) -> Result<Vec<Kernel>> {
    let all = all();
    if releases.is_empty() {
        return Ok(all);
    }
    let find = |release: &String| {
        let known = || all.iter().map(|kernel| kernel.release).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|kernel| kernel.release == *release)
            .copied()
            .with_context(|| format!("no kernel {release} in xtask/kernels.csv, which has {}", known()))
    };
    releases.iter().map(find).collect()
}

impl Kernel {
    /// Its files, fetched if they are not there.
    pub(crate) fn image(self) -> Result<Image> {
        let directory = super::directory().join("kernels").join(self.release);
        let image = Image {
            vmlinuz: directory.join("vmlinuz"),
            modules: MODULES.iter().map(|name| directory.join(format!("{name}.ko"))).collect(),
        };
        if !image.vmlinuz.is_file() || !image.modules.iter().all(|module| module.is_file()) {
            self.fetch(&directory).with_context(|| format!("fetching Linux {}", self.release))?;
        }
        Ok(image)
    }

    fn fetch(self, directory: &Path) -> Result<()> {
        announce(
            &format!("the newest kernel of {}, unpacked into target/vm", self.suite),
            &format!("the tests run on Linux {} in a virtual machine", self.release),
        );
        let work = directory.with_extension("partial");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        let apt = Apt::new(&work.join("apt"), self.suite)?;
        let packages = apt.packages()?;
        let tree = work.join("tree");
        for package in &packages {
            apt.download(package, &work)?;
        }
        for entry in fs::read_dir(&work)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("deb")) {
                command::run(program("dpkg-deb").arg("-x").arg(path).arg(&tree))?;
            }
        }
        let files = files_below(&tree)?;
        let find = |what: &str, is_it: &dyn Fn(&str) -> bool| {
            let name = |path: &&PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(is_it);
            files.iter().find(name).with_context(|| format!("no {what} in {}", packages.join(", ")))
        };
        let vmlinuz = find("vmlinuz", &|name| name.starts_with("vmlinuz"))?;
        ensure!(
            vmlinuz.to_string_lossy().contains(&format!("{}.", self.release)),
            "{} has {packages:?} now: correct xtask/kernels.csv, README.md and docs/doctor.md",
            self.suite
        );
        fs::copy(vmlinuz, work.join("vmlinuz"))?;
        for name in MODULES {
            let module = find(name, &|file| file.split('.').next() == Some(name))?;
            let plain = work.join(format!("{name}.ko"));
            if module.extension() == Some(OsStr::new("xz")) {
                let text = program("xz").args(["--decompress", "--stdout"]).arg(module).output()?;
                ensure!(text.status.success(), "xz cannot decompress {}", module.display());
                fs::write(plain, text.stdout)?;
            } else {
                fs::copy(module, plain)?;
            }
        }
        fs::remove_dir_all(&tree)?;
        fs::remove_dir_all(work.join("apt"))?;
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::rename(&work, directory).with_context(|| format!("making {}", directory.display()))
    }
}

/// apt over one suite, apart from the machine's own.
struct Apt(Vec<String>);

impl Apt {
    fn new(directory: &Path, suite: &str) -> Result<Self> {
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        let archive = archive_of(suite)?;
        let sources = directory.join("sources.list");
        fs::write(&sources, format!("deb {archive} {suite} main\n"))?;
        let place = |option: &str, path: &Path| format!("-oDir::{option}={}", path.display());
        let apt = Self(vec![
            place("Etc::sourcelist", &sources),
            place("State::lists", &directory.join("lists")),
            place("Cache", &directory.join("cache")),
            "-oDir::Etc::sourceparts=-".into(),
            "-oAcquire::Languages=none".into(),
            // The lists are in a directory of this workspace, which apt's own user need not be able to enter.
            "-oAPT::Sandbox::User=root".into(),
        ]);
        command::run(apt.program("apt-get").args(["--quiet", "update"]))?;
        Ok(apt)
    }

    fn program(&self, name: &str) -> Command {
        let mut apt = program(name);
        apt.args(&self.0);
        apt
    }

    /// What the newest kernel consists of: one package, or since 6.19 several.
    fn packages(&self) -> Result<Vec<String>> {
        let mut packages = Vec::new();
        let mut wanted = vec![NEWEST.to_owned()];
        while let Some(package) = wanted.pop() {
            let depends =
                command::stdout_of(self.program("apt-cache").args(["depends", "--important", &package]));
            let depends = depends.with_context(|| format!("apt knows no {package}"))?;
            let depends = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
            for name in depends.filter(|name| is_part(name)).map(str::to_owned) {
                if !packages.contains(&name) {
                    wanted.push(name.clone());
                    packages.push(name);
                }
            }
        }
        ensure!(!packages.is_empty(), "{NEWEST} depends on no kernel");
        Ok(packages)
    }

    /// Downloads a package, or where the signed one is not there yet, the same unsigned.
    fn download(&self, package: &str, to: &Path) -> Result<()> {
        let download =
            |name: &str| command::run(self.program("apt-get").current_dir(to).args(["download", name]));
        download(package).or_else(|_| download(&format!("{package}-unsigned")))
    }
}

/// Whether a package is a part of one kernel, not of whichever is the newest.
fn is_part(package: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|prefix| {
        package.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Where the machine gets such a suite from: security updates lie in an archive of their own.
fn archive_of(suite: &str) -> Result<String> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
    let targets = command::stdout_of(program("apt-get").args(format)).unwrap_or_default();
    let is_wanted = |release: &str| release.ends_with("-security") == suite.ends_with("-security");
    let known = |release: &str| {
        ["bookworm", "trixie", "stable", "oldstable", "testing", "unstable", "sid"]
            .iter()
            .any(|codename| release.starts_with(codename))
    };
    let mut pairs = targets.lines().filter_map(|line| line.split_once(' '));
    match pairs.find(|(_, release)| known(release) && is_wanted(release)) {
        Some((archive, _)) => Ok(archive.to_owned()),
        None => bail!("this machine's apt sources name no Debian archive that could have {suite}"),
    }
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_release() {
        let releases = |kernels: Vec<Kernel>| kernels.iter().map(|kernel| kernel.release).collect::<Vec<_>>();
        let all = releases(all());
        assert_eq!(releases(chosen(&[]).unwrap()), all);
        assert_eq!(releases(chosen(&[all[1].to_owned()]).unwrap()), [all[1]]);
        assert!(chosen(&["2.6".into()]).unwrap_err().to_string().contains("no kernel 2.6"));
    }

    #[test]
    fn parts_of_a_kernel_carry_its_number() {
        let names =
            ["linux-image-6.1.0-57-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64", "linux-base"];
        assert_eq!(names.map(is_part), [true, true, false]);
        assert!(!is_part("linux-modules-cloud-amd64"));
    }
}
