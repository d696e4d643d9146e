//! The files of a configuration: found, read, remembered.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::MatchOptions;
use sha2::{Digest as _, Sha256};

use super::Digest;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{At, Source};

/// Hidden files are what editors and package managers leave behind, not configuration.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// What has been read so far.
#[derive(Default)]
pub(super) struct Files {
    /// Every file read and every directory searched.
    sources: Vec<PathBuf>,
    /// Canonical paths of the files named: two patterns may name the same one.
    seen: HashSet<PathBuf>,
    /// Over the digest of each file.
    digest: Sha256,
    /// How many files have a rank.
    ranked: usize,
}

impl Files {
    /// Files that match `pattern`, relative to `directory`, and were not named before, by name.
    pub(super) fn matching(
        &mut self,
        directory: &Path,
        pattern: &At<String>,
        found: &mut Diagnostics,
    ) -> Vec<PathBuf> {
        let escaped = glob::Pattern::escape(&directory.join("").to_string_lossy());
        let relative = if pattern.value.starts_with('/') { "" } else { escaped.as_str() };
        let entries = match glob::glob_with(&format!("{relative}{}", pattern.value), MATCH) {
            Ok(entries) => entries,
            Err(error) => {
                found.push(
                    Diagnostic::error("not a pattern of file names")
                        .at(&pattern.span, error.msg)
                        .help("write for example \"tenants.d/*.toml\""),
                );
                return Vec::new();
            }
        };
        self.sources.push(searched_directory(directory, &pattern.value));
        let mut paths = Vec::new();
        let mut matches = 0;
        for entry in entries {
            matches += 1;
            match entry {
                Ok(path) => {
                    // What has no canonical path cannot be opened either, which is told then.
                    if path.canonicalize().map_or(true, |canonical| self.seen.insert(canonical)) {
                        paths.push(path);
                    }
                }
                Err(error) => found.push(
                    Diagnostic::error(format!("cannot search {}: {}", error.path().display(), error.error()))
                        .at(&pattern.span, "asked for here")
                        .help("let fairway read the directory"),
                ),
            }
        }
        if matches == 0 {
            found.push(
                Diagnostic::warning(format!("no file matches \"{}\"", pattern.value))
                    .at(&pattern.span, "matches nothing")
                    .help("patterns are relative to this file's directory; hidden files are left out"),
            );
        }
        paths
    }

    /// Reads a file.
    pub(super) fn read(&mut self, path: &Path) -> std::io::Result<Contents> {
        let contents = Contents::read(self.next_rank(), path)?;
        self.include(path, &contents.digest());
        Ok(contents)
    }

    /// The rank of the next file.
    pub(super) fn next_rank(&mut self) -> usize {
        self.ranked += 1;
        self.ranked
    }

    /// Makes a file that was read a part of the configuration, after those before it.
    pub(super) fn include(&mut self, path: &Path, digest: &FileDigest) {
        self.digest.update(digest);
        self.sources.push(path.to_owned());
    }

    /// Remembers a file that no pattern named.
    pub(super) fn see(&mut self, path: &Path) {
        self.seen.extend(path.canonicalize());
    }

    /// What a change of is worth a reload, and the version of it all.
    pub(super) fn finish(self) -> (Vec<PathBuf>, Digest) {
        (self.sources, Digest(self.digest.finalize().into()))
    }
}

/// SHA-256 of a file.
pub(super) type FileDigest = [u8; 32];

/// A file that was read.
pub(super) struct Contents {
    /// Rank among the files read.
    pub(super) order: usize,
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Contents {
    pub(super) fn read(order: usize, path: &Path) -> std::io::Result<Self> {
        Ok(Self { order, path: path.to_owned(), bytes: std::fs::read(path)? })
    }

    pub(super) fn digest(&self) -> FileDigest {
        Sha256::digest(&self.bytes).into()
    }

    /// Its text. Bytes that are not UTF-8 are reported, and the rest is taken.
    pub(super) fn into_source(self, found: &mut Diagnostics) -> Arc<Source> {
        let (text, wrong) = match String::from_utf8(self.bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[offset];
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some((offset, byte)))
            }
        };
        let source = Source::new(self.order, &self.path, text);
        if let Some((offset, byte)) = wrong {
            let span = source.span(offset..offset + char::REPLACEMENT_CHARACTER.len_utf8());
            found.push(
                Diagnostic::error(format!("{} is not UTF-8", self.path.display()))
                    .at(&span, format!("byte {byte:#04x}"))
                    .help("save the file as UTF-8, for example with iconv"),
            );
        }
        source
    }
}

/// The directory that a pattern's matches lie under: everything before the first wildcard.
fn searched_directory(directory: &Path, pattern: &str) -> PathBuf {
    let fixed = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
    let searched = directory.join(&fixed[..fixed.rfind('/').map_or(0, |slash| slash + 1)]);
    if searched.as_os_str().is_empty() { PathBuf::from(".") } else { searched.components().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_a_directory_that_can_be_watched() {
        let searched = |directory: &str, pattern: &str| searched_directory(Path::new(directory), pattern);
        assert_eq!(searched("/etc/fairway", "tenants.d/*.toml"), Path::new("/etc/fairway/tenants.d"));
        assert_eq!(searched("/etc/fairway", "tenants.d/**/*.toml"), Path::new("/etc/fairway/tenants.d"));
        assert_eq!(searched("/etc/fairway", "/srv/t*/a.toml"), Path::new("/srv"));
        assert_eq!(searched("/etc/fairway", "one.toml"), Path::new("/etc/fairway"));
        assert_eq!(searched("", "*.toml"), Path::new("."));
    }
}
