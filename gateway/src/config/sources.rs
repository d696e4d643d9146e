//! Where a configuration comes from: what a change of is worth a reload.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use super::pattern::FilePattern;

/// The files of a configuration, and the patterns that name more of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Every file that was read, the main file first.
    files: Vec<PathBuf>,
    patterns: Vec<FilePattern>,
}

/// How the files stood at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand(u64);

impl Sources {
    pub(super) fn add_file(&mut self, path: &Path) {
        self.files.push(path.to_owned());
    }

    pub(super) fn add_pattern(&mut self, pattern: FilePattern) {
        self.patterns.push(pattern);
    }

    /// Every file that was read, the main file first.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The same, wherever they are used; what cannot be made absolute is left out: the working directory is gone.
    #[must_use]
    pub fn absolute(&self) -> Self {
        let patterns = self.patterns.iter().filter_map(|pattern| pattern.absolute().ok());
        let files = self.files.iter().filter_map(|file| absolute(file).ok());
        Self { files: files.collect(), patterns: patterns.collect() }
    }

    /// The directories in which a change may concern the configuration.
    #[must_use]
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let searched =
            self.patterns.iter().map(FilePattern::directory).filter(|directory| directory.is_dir());
        let parents = self.files.iter().filter_map(|file| file.parent());
        parents.chain(searched).map(Path::to_owned).collect()
    }

    /// Whether a change of this path concerns the configuration: it was read, a pattern matches it, or it is a
    /// directory that is searched.
    #[must_use]
    pub fn hold(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file == path)
            || self.patterns.iter().any(|pattern| {
                let inside = || path.strip_prefix(pattern.directory()).is_ok();
                path == pattern.directory()
                    || pattern.matches(path)
                    // A directory that came or went may hold matches.
                    || (pattern.goes_deeper() && inside() && (path.is_dir() || !path.exists()))
            })
    }

    /// How the files stand now, by what the file system says of them without reading them: for file systems that
    /// report no changes, and links that lead elsewhere. Blocks on the file system.
    #[must_use]
    pub fn look(&self) -> Stand {
        let mut paths: BTreeSet<PathBuf> = self.files.iter().cloned().collect();
        for pattern in &self.patterns {
            paths.extend(pattern.search().into_iter().filter_map(Result::ok));
        }
        let mut hasher = DefaultHasher::new();
        for path in &paths {
            // Of the file that a link leads to.
            let seen = fs::metadata(path).ok().map(|file| {
                let modified = (file.mtime(), file.mtime_nsec());
                (file.dev(), file.ino(), file.len(), file.mode(), modified, (file.ctime(), file.ctime_nsec()))
            });
            (path, seen).hash(&mut hasher);
        }
        Stand(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sources(directory: &Path, patterns: &[&str]) -> Sources {
        let patterns = patterns.iter().map(|text| FilePattern::new(directory, text).unwrap()).collect();
        Sources { files: vec![directory.join("gateway.toml")], patterns }
    }

    #[test]
    fn only_the_configurations_own_files_count() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("tenants.d")).unwrap();
        let sources = sources(directory.path(), &["tenants.d/*.toml"]);
        assert_eq!(sources.directories(), BTreeSet::from([directory.path().to_owned(), at("tenants.d")]));
        assert!(sources.hold(&at("gateway.toml")));
        assert!(sources.hold(&at("tenants.d/new.toml")));
        assert!(sources.hold(&at("tenants.d")));
        assert!(!sources.hold(&at(".gateway.toml.swp")));
        assert!(!sources.hold(&at("tenants.d/export.log")));
        assert!(!sources.hold(&at("tenants.d/.new.toml.swp")));
    }

    #[test]
    fn directories_count_where_a_pattern_goes_deeper() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("tenants.d/new")).unwrap();
        fs::write(at("tenants.d/notes.txt"), "").unwrap();
        let sources = sources(directory.path(), &["tenants.d/**/*.toml"]);
        assert!(sources.hold(&at("tenants.d/new")));
        assert!(!sources.hold(&at("tenants.d/notes.txt")));
    }

    #[test]
    fn a_look_notices_what_no_event_reports() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (release, text) in [("releases/6", "six"), ("releases/7", "seven")] {
            fs::create_dir_all(at(release)).unwrap();
            fs::write(at(release).join("a.toml"), text).unwrap();
        }
        symlink("releases/6", at("current")).unwrap();
        let sources = sources(directory.path(), &["current/*.toml", "deep/**/*.toml"]);
        let before = sources.look();
        assert_eq!(sources.look(), before);
        symlink("releases/7", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        let switched = sources.look();
        assert_ne!(switched, before);
        fs::create_dir_all(at("deep/er")).unwrap();
        assert_eq!(sources.look(), switched, "a directory alone is no configuration");
        fs::write(at("deep/er/a.toml"), "").unwrap();
        assert_ne!(sources.look(), switched);
    }
}
