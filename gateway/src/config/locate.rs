//! Where a gateway's socket, pins and state are, by its main file, however much else is wrong with the configuration:
//! a tenant is suspended while a colleague's slip is in another tenant's file.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::files::Contents;
use super::gateway::read_paths;
use super::reader::read_file;
use super::syntax::{ColumnNames, Syntax};

/// Paths of one gateway; none: the file does not say for certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// `gateway.control_socket`.
    pub control_socket: Option<PathBuf>,
    /// `gateway.pin_dir`.
    pub pin_dir: Option<PathBuf>,
    /// `gateway.state_dir`.
    pub state_dir: Option<PathBuf>,
}

/// Reads the paths from a main file. Defaults are taken only from a file that is whole: what is missing from another
/// may stand in the part that is torn.
#[must_use]
pub fn locate(file: &Path) -> Paths {
    let Ok(contents) = Contents::read(0, file) else { return Paths::default() };
    // What is wrong is for those to report that need it.
    let mut ignored = Diagnostics::default();
    let source = contents.into_source(&mut ignored);
    read_file(&source, (Syntax::Toml, &ColumnNames::default()), &mut ignored, read_paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn located(text: &str) -> Paths {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        fs::write(&file, text).unwrap();
        locate(&file)
    }

    #[test]
    fn mistakes_elsewhere_do_not_matter() {
        let paths =
            located("[gateway]\nname = \"edge1\"\ncontrol_socket = \"/run/s\"\ntenants = 7\n[nonsense]\n");
        assert_eq!(paths.control_socket, Some("/run/s".into()));
        assert_eq!(paths.pin_dir, Some("/sys/fs/bpf/fairway/edge1".into()));
        assert_eq!(paths.state_dir, Some("/var/lib/fairway".into()));
    }

    #[test]
    fn a_torn_file_is_believed_in_what_it_says_alone() {
        let paths = located("[gateway]\nname = \"edge1\"\ncontrol_socket = \"/run/s\"\n[[tenant]\n");
        assert_eq!(paths, Paths { control_socket: Some("/run/s".into()), ..Paths::default() });
    }

    #[test]
    fn a_path_that_is_wrong_is_not_known() {
        let paths = located("[gateway]\nname = \"edge1\"\ncontrol_socket = \"run/s\"\n");
        assert_eq!(paths.control_socket, None);
        assert_eq!(locate(Path::new("/nowhere/gateway.toml")), Paths::default());
    }
}
