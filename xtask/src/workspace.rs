//! Where things lie in the workspace.
//!
//! The tools and the eBPF objects are always beneath `target`, also when CARGO_TARGET_DIR sends the
//! host's build elsewhere: the build script of `gateway` and the test bed look for them there.

use std::path::{Path, PathBuf};

/// The workspace's own directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Tools that setup installs; its `bin` holds the programs.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The eBPF build: cargo's own directories, and the staged objects (`NAME.o`).
pub(crate) fn bpf() -> PathBuf {
    root().join("target/bpf")
}

/// The Debian packages, and what they are made of.
pub(crate) fn dist() -> PathBuf {
    root().join("target/dist")
}

/// The Debian systems that tests boot, each a directory with its suite's name.
pub(crate) fn machines() -> PathBuf {
    root().join("target/machines")
}

/// A program of [`tools`].
pub(crate) fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(name)
}
