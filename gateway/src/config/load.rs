//! From files to a [`Config`]: the main file, then the tenant files that it names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::MatchOptions;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::check;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::main_file::MainFile;
use super::reader::read_file;
use super::source::{At, Source, Span};
use super::tenant::{WrittenTenant, read_tenant};
use super::{Config, Digest};

/// Hidden files are what editors and package managers leave behind, not configuration.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A configuration that was taken.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force from now on.
    pub config: Config,
    /// What the operator should look at; no errors among them.
    pub warnings: Diagnostics,
}

/// Reads `file` and the tenant files that it names, and checks everything. `now` decides which
/// exemptions have expired.
///
/// # Errors
/// Every mistake of every file, warnings included, if there is any error among them.
pub fn load(file: &Path, now: Timestamp) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader {
        now,
        sources: Vec::new(),
        seen: HashSet::new(),
        digest: Sha256::new(),
        tenants: Vec::new(),
        found: Diagnostics::default(),
    };
    let main = loader.read(file);
    loader.found.sort();
    match main {
        Some(main) if loader.found.errors() == 0 => Ok(loader.finish(file, main)),
        _ => Err(loader.found),
    }
}

/// What has been read so far.
struct Loader {
    now: Timestamp,
    /// Every file read and every directory searched.
    sources: Vec<PathBuf>,
    /// Canonical paths of the files read: two patterns may name the same one.
    seen: HashSet<PathBuf>,
    /// Over each file's length and bytes.
    digest: Sha256,
    tenants: Vec<WrittenTenant>,
    found: Diagnostics,
}

impl Loader {
    /// Reads and checks everything; none if the main file cannot be read, which is reported.
    fn read(&mut self, file: &Path) -> Option<MainFile> {
        let source = match self.open(file) {
            Ok(source) => source,
            Err(error) => {
                self.found.push(
                    Diagnostic::error(format!("cannot read {}: {error}", file.display())).help(
                        "name a main file that exists and may be read, such as /etc/fairway/gateway.toml",
                    ),
                );
                return None;
            }
        };
        let (main, tenants) = read_file(&source, &mut self.found, |root| {
            let main = MainFile::read(root);
            let tenants = root.tables("tenant", |table| read_tenant(table, &main, self.now));
            (main, tenants)
        });
        self.tenants = tenants;
        for pattern in &main.gateway.tenant_files {
            for path in self.matching(file.parent().unwrap_or(Path::new("")), pattern) {
                self.read_tenants(&path, &pattern.span, &main);
            }
        }
        // A file that did not parse may hold the tenants that are missed.
        if self.tenants.is_empty() && self.found.errors() == 0 {
            self.found.push(
                Diagnostic::warning("there are no tenants")
                    .at(&source.span(0..0), "neither here nor in files named by `tenants` in [gateway]")
                    .help("add [[tenant]] entries; until then every source on the tenant side is unknown"),
            );
        }
        check::duplicate_ids(&self.tenants, &mut self.found);
        check::limit(&self.tenants, main.gateway.tenant_limit.as_ref(), &mut self.found);
        check::overlapping_prefixes(&self.tenants, &mut self.found);
        Some(main)
    }

    fn read_tenants(&mut self, path: &Path, named_at: &Span, main: &MainFile) {
        match self.open(path) {
            Ok(source) => self.tenants.extend(read_file(&source, &mut self.found, |root| {
                root.refuse_sections(&MainFile::SECTIONS);
                root.tables("tenant", |table| read_tenant(table, main, self.now))
            })),
            Err(error) => self.found.push(
                Diagnostic::error(format!("cannot read {}: {error}", path.display()))
                    .at(named_at, "named here")
                    .help("mend or remove the file, or change the pattern"),
            ),
        }
    }

    /// Files that match `pattern`, relative to `directory`, and have not been read yet, by name.
    fn matching(&mut self, directory: &Path, pattern: &At<String>) -> Vec<PathBuf> {
        let escaped = glob::Pattern::escape(&directory.join("").to_string_lossy());
        let relative = if pattern.value.starts_with('/') { "" } else { escaped.as_str() };
        let found = match glob::glob_with(&format!("{relative}{}", pattern.value), MATCH) {
            Ok(found) => found,
            Err(error) => {
                self.found.push(
                    Diagnostic::error("not a pattern of file names")
                        .at(&pattern.span, error.msg)
                        .help("write for example \"tenants.d/*.toml\""),
                );
                return Vec::new();
            }
        };
        self.sources.push(directory.join(searched_directory(&pattern.value)));
        let mut paths = Vec::new();
        let mut matches = 0;
        for entry in found {
            matches += 1;
            match entry {
                Ok(path) => {
                    if !path.canonicalize().is_ok_and(|path| self.seen.contains(&path)) {
                        paths.push(path);
                    }
                }
                Err(error) => self.found.push(
                    Diagnostic::error(format!("cannot search {}: {}", error.path().display(), error.error()))
                        .at(&pattern.span, "asked for here")
                        .help("let fairway read the directory"),
                ),
            }
        }
        if matches == 0 {
            self.found.push(
                Diagnostic::warning(format!("no file matches \"{}\"", pattern.value))
                    .at(&pattern.span, "matches nothing")
                    .help("patterns are relative to this file's directory; hidden files are left out"),
            );
        }
        paths
    }

    /// Reads a file. Bytes that are not UTF-8 are reported, and the rest is taken.
    fn open(&mut self, path: &Path) -> std::io::Result<Arc<Source>> {
        let bytes = std::fs::read(path)?;
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(&bytes);
        self.seen.extend(path.canonicalize());
        let order = self.sources.len();
        self.sources.push(path.to_owned());
        let (text, wrong) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[offset];
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some((offset, byte)))
            }
        };
        let source = Source::new(order, path, text);
        if let Some((offset, byte)) = wrong {
            let span = source.span(offset..offset + char::REPLACEMENT_CHARACTER.len_utf8());
            self.found.push(
                Diagnostic::error(format!("{} is not UTF-8", path.display()))
                    .at(&span, format!("byte {byte:#04x}"))
                    .help("save the file as UTF-8, for example with iconv"),
            );
        }
        Ok(source)
    }

    fn finish(self, file: &Path, main: MainFile) -> Loaded {
        let mut tenants: Vec<_> = self.tenants.into_iter().map(|written| written.tenant).collect();
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
        let config = Config {
            file: file.to_owned(),
            sources: self.sources,
            digest: Digest(self.digest.finalize().into()),
            gateway: main.gateway.gateway,
            interfaces: main.interfaces,
            fair_use: main.fair_use.fair_use,
            smtp: main.smtp.smtp,
            closed_ports: main.closed_ports.ports,
            metrics: main.metrics,
            tenants,
        };
        Loaded { config, warnings: self.found }
    }
}

/// The directory that a pattern's matches lie under: everything before the first wildcard.
fn searched_directory(pattern: &str) -> &Path {
    let fixed = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
    Path::new(&fixed[..fixed.rfind('/').map_or(0, |slash| slash + 1)])
}
