//! The files of a configuration: found, read, remembered.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Digest;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::encoding::{Decoded, Wrong, decode};
use super::open::read_regular;
use super::pattern::{FilePattern, SearchError};
use super::source::{At, Source};
use super::sources::Sources;

/// What has been read so far.
#[derive(Default)]
pub(super) struct Files {
    sources: Sources,
    /// Canonical paths of the files named: two patterns may name the same one.
    seen: HashSet<PathBuf>,
    /// Over the digest of each file.
    digest: Sha256,
    /// How many files have a rank.
    ranked: usize,
}

impl Files {
    /// Files that match `pattern`, relative to `directory`, and were not named before, by name; none if they are not
    /// searched for.
    pub(super) fn matching(
        &mut self,
        directory: &Path,
        pattern: &At<String>,
        is_searched: bool,
        found: &mut Diagnostics,
    ) -> Vec<PathBuf> {
        let files = match FilePattern::new(directory, &pattern.value) {
            Ok(files) => files,
            Err(error) => {
                found.push(
                    Diagnostic::error("not a pattern of file names")
                        .at(&pattern.span, error.msg)
                        .help("write for example \"tenants.d/*.toml\""),
                );
                return Vec::new();
            }
        };
        if !is_searched {
            self.sources.add_pattern(files);
            return Vec::new();
        }
        let mut paths = Vec::new();
        let mut matches = 0;
        for entry in files.search() {
            matches += 1;
            match entry {
                Ok(path) => {
                    // What has no canonical path cannot be opened either, which is told then.
                    if path.canonicalize().map_or(true, |canonical| self.seen.insert(canonical)) {
                        paths.push(path);
                    }
                }
                Err(SearchError { path, cause }) => found.push(
                    Diagnostic::error(format!("cannot search {}: {cause}", path.display()))
                        .at(&pattern.span, "asked for here")
                        .help("let fairway read the directory, or change the pattern"),
                ),
            }
        }
        self.sources.add_pattern(files);
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

    /// Takes what is known of a file as read.
    pub(super) fn take(&mut self, path: &Path, bytes: &[u8]) -> Contents {
        let contents = Contents { order: self.next_rank(), path: path.to_owned(), bytes: bytes.to_vec() };
        self.include(path, &contents.digest());
        contents
    }

    /// The rank of the next file.
    pub(super) fn next_rank(&mut self) -> usize {
        self.ranked += 1;
        self.ranked
    }

    /// Makes a file that was read a part of the configuration, after those before it.
    pub(super) fn include(&mut self, path: &Path, digest: &FileDigest) {
        self.digest.update(digest);
        self.sources.add_file(path);
    }

    /// Remembers a file that no pattern named.
    pub(super) fn see(&mut self, path: &Path) {
        self.seen.extend(path.canonicalize());
    }

    /// What a change of is worth a reload, and the version of it all.
    pub(super) fn finish(self) -> (Sources, Digest) {
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
        Ok(Self { order, path: path.to_owned(), bytes: read_regular(path)? })
    }

    pub(super) fn digest(&self) -> FileDigest {
        Sha256::digest(&self.bytes).into()
    }

    /// Its text. What is not valid in it is reported, and the rest is taken.
    pub(super) fn into_source(self, found: &mut Diagnostics) -> Arc<Source> {
        let Decoded { text, wrong } = decode(self.bytes);
        let source = Source::new(self.order, &self.path, text);
        if let Some(Wrong { offset, unit, encoding }) = wrong {
            let span = source.span(offset..offset + char::REPLACEMENT_CHARACTER.len_utf8());
            let kind = if unit > 0xff { "unit" } else { "byte" };
            found.push(
                Diagnostic::error(format!("{} is not {encoding}", self.path.display()))
                    .at(&span, format!("{kind} {unit:#04x}"))
                    .help("save the file as UTF-8, for example with iconv"),
            );
        }
        source
    }
}
