//! The kernel that runs the programs: how old it may be, and which ones were tried.

use nix::sys::utsname::uname;

use super::error::DataplaneError;

/// Major and minor number of a release.
pub type Version = (u32, u32);

/// XDP programs for frames in several buffers and `bpf_xdp_get_buff_len` came with it (bpf(2) before it refuses the
/// flag without a word why).
pub const OLDEST: Version = (5, 18);

/// The one list of kernels that were tried: release, Debian suite, and what it is to people.
const TRIED: &str = include_str!("../../../xtask/kernels.csv");

/// Releases that the programs were tried on, the oldest first.
pub fn tried() -> impl Iterator<Item = &'static str> {
    TRIED.lines().skip(1).filter_map(|line| line.split(',').next())
}

/// [`tried`] as a phrase: "6.1, 6.12 and 7.3".
#[must_use]
pub fn tried_phrase() -> String {
    let releases: Vec<&str> = tried().collect();
    match releases.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The numbers in a release as `uname -r` prints it.
#[must_use]
pub fn version(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The release of the running kernel.
pub(super) fn release() -> String {
    uname().map_or_else(|_| "unknown".to_owned(), |uname| uname.release().to_string_lossy().into_owned())
}

/// Refuses a kernel that cannot run the programs by its name, before its verifier does so by an instruction.
///
/// # Errors
/// If it is older than [`OLDEST`].
pub(super) fn require(release: &str) -> Result<(), DataplaneError> {
    let (major, minor) = OLDEST;
    match version(release) {
        Some(version) if version < OLDEST => Err(DataplaneError::new(
            "loading the programs",
            format!("this kernel is Linux {release}, and they need Linux {major}.{minor} or later"),
            format!("Boot a newer kernel; Fairway was tried on Linux {}", tried_phrase()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_by_name() {
        let refusal = require("5.10.0-32-amd64").unwrap_err().to_string();
        assert!(refusal.contains("Linux 5.10.0-32-amd64") && refusal.contains("5.18"), "{refusal}");
        for release in ["5.18.0", "6.1.0-57-cloud-amd64", "7.3.4+deb13-cloud-amd64", "mine"] {
            assert!(require(release).is_ok(), "{release}");
        }
    }

    #[test]
    fn the_list_is_in_order_and_can_run_the_programs() {
        let versions: Vec<Version> = tried().map(|release| version(release).unwrap()).collect();
        assert!(versions.len() >= 3 && versions.is_sorted() && versions[0] >= OLDEST, "{versions:?}");
        assert!(
            tried_phrase().starts_with("6.1, ") && tried_phrase().contains(" and "),
            "{}",
            tried_phrase()
        );
    }

    #[test]
    fn the_documents_name_the_kernels_that_were_tried() {
        for (file, text) in [
            ("README.md", include_str!("../../../README.md")),
            ("docs/doctor.md", include_str!("../../../docs/doctor.md")),
        ] {
            let phrase = format!("Linux {}", tried_phrase());
            assert!(text.contains(&phrase), "{file} does not say \"{phrase}\"");
        }
    }
}
