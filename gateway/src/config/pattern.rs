//! Patterns of file names, such as `tenants.d/*.toml`.

use std::io;
use std::path::{Path, PathBuf, absolute};

use glob::{MatchOptions, Pattern, PatternError};
use walkdir::{DirEntry, WalkDir};

/// Hidden files are what editors and package managers leave behind, not configuration.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Entries that a search for `**` looks at. Links to each other make a few directories into billions of paths.
const MOST_ENTRIES: usize = 1_000_000;

/// A pattern that names files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePattern {
    /// What it can match lies in here: everything before the first wildcard. May be empty, for here.
    directory: PathBuf,
    /// The pattern below the directory.
    below: Pattern,
}

/// A directory that cannot be searched.
pub(super) struct SearchError {
    pub(super) path: PathBuf,
    pub(super) cause: io::Error,
}

impl FilePattern {
    /// A pattern relative to `directory`.
    pub(super) fn new(directory: &Path, written: &str) -> Result<Self, PatternError> {
        let wildcard = written.find(['*', '?', '[']).unwrap_or(written.len());
        let (fixed, below) = written.split_at(written[..wildcard].rfind('/').map_or(0, |slash| slash + 1));
        // Without `.` and slashes at the end, as the system reports paths of changes.
        Ok(Self { directory: directory.join(fixed).components().collect(), below: Pattern::new(below)? })
    }

    /// The directory that matches lie under.
    pub(super) fn directory(&self) -> &Path {
        if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory }
    }

    /// Makes it mean the same wherever it is used.
    pub(super) fn absolute(&self) -> io::Result<Self> {
        Ok(Self { directory: absolute(self.directory())?, below: self.below.clone() })
    }

    /// Whether a path is one of those.
    pub(super) fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.directory).is_ok_and(|below| self.below.matches_path_with(below, MATCH))
    }

    /// Whether directories below [`Self::directory`] hold matches as well.
    pub(super) fn goes_deeper(&self) -> bool {
        self.below.as_str().contains('/')
    }

    /// Everything that matches, by name.
    pub(super) fn search(&self) -> Vec<Result<PathBuf, SearchError>> {
        if self.below.as_str().contains("**") {
            return self.walk();
        }
        let pattern = Pattern::escape(&self.directory.join("").to_string_lossy()) + self.below.as_str();
        let Ok(paths) = glob::glob_with(&pattern, MATCH) else { return Vec::new() };
        let failed = |error: glob::GlobError| SearchError { path: error.path().into(), cause: error.into() };
        paths.map(|path| path.map_err(failed)).collect()
    }

    /// Any depth, and links on the way are followed, but never into a directory that they lie in.
    fn walk(&self) -> Vec<Result<PathBuf, SearchError>> {
        // Names of the directory itself are no matter of the pattern.
        let is_hidden =
            |entry: &DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
        let mut entries = WalkDir::new(self.directory())
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| !is_hidden(entry));
        let mut found = Vec::new();
        for entry in entries.by_ref().take(MOST_ENTRIES) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => {
                    let path = entry.path().strip_prefix("./").unwrap_or(entry.path());
                    found.extend(self.matches(path).then(|| Ok(path.to_owned())));
                }
                // As with patterns of one level, a directory that is not there holds nothing.
                Err(error)
                    if error.depth() == 0
                        && error.io_error().is_some_and(|io| io.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(self.directory()).to_owned();
                    let cause = match error.loop_ancestor() {
                        Some(ancestor) => {
                            io::Error::other(format!("a link leads back to {}", ancestor.display()))
                        }
                        None => error.into(),
                    };
                    found.push(Err(SearchError { path, cause }));
                }
            }
        }
        if entries.next().is_some() {
            let cause = io::Error::other(format!("more than {MOST_ENTRIES} files and directories"));
            found.push(Err(SearchError { path: self.directory().to_owned(), cause }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(pattern: &FilePattern, below: &Path) -> (Vec<String>, Vec<String>) {
        let (mut paths, mut errors) = (Vec::new(), Vec::new());
        for entry in pattern.search() {
            match entry {
                Ok(path) => paths.push(path.strip_prefix(below).unwrap().display().to_string()),
                Err(error) => errors.push(error.cause.to_string()),
            }
        }
        (paths, errors)
    }

    #[test]
    fn what_is_searched_is_a_directory_that_can_be_watched() {
        let searched = |directory: &str, pattern: &str| {
            FilePattern::new(Path::new(directory), pattern).unwrap().directory().to_owned()
        };
        assert_eq!(searched("/etc/fairway", "tenants.d/*.toml"), Path::new("/etc/fairway/tenants.d"));
        assert_eq!(searched("/etc/fairway", "tenants.d/**/*.toml"), Path::new("/etc/fairway/tenants.d"));
        assert_eq!(searched("/etc/fairway", "/srv/t*/a.toml"), Path::new("/srv"));
        assert_eq!(searched("/etc/fairway", "one.toml"), Path::new("/etc/fairway"));
        assert_eq!(searched("/etc/fairway", "./tenants.d/*.toml"), Path::new("/etc/fairway/tenants.d"));
        assert_eq!(searched("", "*.toml"), Path::new("."));
    }

    #[test]
    fn links_that_lead_back_are_named_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("d/e")).unwrap();
        fs::create_dir(at("d/.git")).unwrap();
        for file in ["d/a.toml", "d/e/b.toml", "d/e/.hidden.toml", "d/.git/c.toml", "d/e/notes.txt"] {
            fs::write(at(file), "").unwrap();
        }
        // Followed to the depth that the system allows, the two of them make 2^40 paths.
        symlink("..", at("d/e/one")).unwrap();
        symlink("..", at("d/e/two")).unwrap();
        let pattern = FilePattern::new(directory.path(), "d/**/*.toml").unwrap();
        let (paths, errors) = found(&pattern, directory.path());
        assert_eq!(paths, ["d/a.toml", "d/e/b.toml"]);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("a link leads back to "), "{errors:?}");
        assert!(pattern.goes_deeper());
    }

    #[test]
    fn linked_directories_are_searched() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("releases/7")).unwrap();
        fs::write(at("releases/7/a.toml"), "").unwrap();
        symlink("releases/7", at("current")).unwrap();
        for (text, deeper) in [("current/*.toml", false), ("current/**/*.toml", true)] {
            let pattern = FilePattern::new(directory.path(), text).unwrap();
            let expected = (vec!["current/a.toml".to_owned()], Vec::new());
            assert_eq!(found(&pattern, directory.path()), expected, "{text}");
            assert_eq!(pattern.goes_deeper(), deeper);
        }
        let nowhere = FilePattern::new(directory.path(), "nowhere/**/*.toml").unwrap();
        assert_eq!(found(&nowhere, directory.path()), (Vec::new(), Vec::new()));
    }
}
