//! The package as a file.

use std::process::Command;

use fairway_tests::machine::package;

use crate::router::VERSIONS;

#[test]
#[ignore = "needs root, under which `cargo xtask test` makes the packages"]
fn lintian_finds_nothing() {
    let lintian = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"])
        .arg(package(VERSIONS[0]).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&lintian.stdout);
    assert!(
        lintian.status.success() && told.is_empty(),
        "{told}{}",
        String::from_utf8_lossy(&lintian.stderr)
    );
}
