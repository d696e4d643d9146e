//! Makes the Debian package: `xtask/packaging/Cargo.toml` says what is in it.
//!
//! What cargo-deb packs is staged in `target/dist`, so that one recipe serves packages of every profile: the
//! tests' hold the programs that are built for all other tests, and take seconds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::command::{self, announce, program};
use crate::setup::{self, Scope};
use crate::workspace;

/// Versions of the packages that tests install one over the other; lower than any release's.
const TEST_VERSIONS: [&str; 2] = ["0~test1", "0~test2"];

/// Sets up, builds and packs: for tests, or else with optimisation for routers.
pub(crate) fn run(is_for_tests: bool) -> Result<()> {
    if is_for_tests {
        let tools = setup::prepare(Scope { packaging: true, machines: true, ..Scope::BUILD })?;
        build::bpf(&tools)?;
        build::packaged(Profile::Dev)?;
        return for_tests();
    }
    let tools = setup::prepare(Scope { packaging: true, ..Scope::BUILD })?;
    build::bpf(&tools)?;
    build::packaged(Profile::Release)?;
    let package = pack(Profile::Release, env!("CARGO_PKG_VERSION"))?;
    lint(&package)?;
    announce(
        &format!("made {}", package.display()),
        "install it with `apt install ./FILE`; the README goes on from there",
    );
    Ok(())
}

/// Packs what is built for tests, twice, as two versions.
pub(crate) fn for_tests() -> Result<()> {
    TEST_VERSIONS.iter().try_for_each(|version| pack(Profile::Dev, version).map(drop))
}

/// Packs the programs of a profile as built.
fn pack(profile: Profile, version: &str) -> Result<PathBuf> {
    let stage = workspace::dist();
    fs::create_dir_all(stage.join("release")).with_context(|| format!("making {}", stage.display()))?;
    let built = profile.directory();
    fs::copy(built.join("fairway"), stage.join("release/fairway"))
        .with_context(|| format!("copying {}/fairway", built.display()))?;
    command::run(program(built.join("packaging")).arg(stage.join("pages")))?;
    fs::write(stage.join("changelog"), changelog(version)?)?;

    let architecture = command::stdout_of(program("dpkg").arg("--print-architecture"));
    let architecture = architecture.context("asking dpkg for the architecture")?;
    let package = stage.join(format!("fairway_{version}_{}.deb", architecture.trim()));
    let mut cargo_deb = program(setup::cargo_deb()?);
    cargo_deb
        .args([
            "--quiet",
            "--no-build",
            "--package",
            "packaging",
            "--strip",
            "--deb-version",
            version,
            "--output",
        ])
        .arg(&package)
        // cargo-deb looks for programs beneath it.
        .env("CARGO_TARGET_DIR", &stage);
    if profile == Profile::Dev {
        cargo_deb.arg("--fast");
    }
    command::run(&mut cargo_deb)?;
    Ok(package)
}

/// Debian's form of CHANGELOG.md, whose text it refers to.
fn changelog(version: &str) -> Result<String> {
    // Of the commit that is packed, for packages that come out the same each time.
    let mut last_commit = program("git");
    last_commit.args(["log", "-1", "--format=%cD"]);
    let date = command::stdout_of(&mut last_commit).context("asking git for the date of the last commit")?;
    Ok(format!(
        "fairway ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n -- The Fairway \
         maintainers <maintainers@fairway.example>  {date}"
    ))
}

/// Checks a package against Debian's policy; a warning is a failure.
fn lint(package: &Path) -> Result<()> {
    let mut lintian = program("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(package);
    command::run(&mut lintian).context("the package is against Debian's policy")
}
