//! From files to a [`Config`]: the main file, then the tenant files that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::advice::advice;
use super::check;
use super::detect::{read_drop_list, report_strangers};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::files::{Contents, Files};
use super::kept::{KeptFile, KeptFiles};
use super::main_file::MainFile;
use super::reader::read_file;
use super::source::Span;
use super::syntax::{ColumnNames, Syntax};
use super::tenant::{WrittenTenant, read_tenant};
use super::tenants_file::{Cache, Named, TenantsFile};
use super::{Config, Detection, Tenant};

/// A configuration that was taken.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force from now on.
    pub config: Config,
    /// What the operator should look at, whatever the time; no errors among them.
    pub warnings: Diagnostics,
    /// The files that it was read from.
    pub files: KeptFiles,
}

impl Loaded {
    /// All that the operator should look at, [`advice()`] at `now` included.
    #[must_use]
    pub fn warnings_at(&self, now: Timestamp) -> Diagnostics {
        let mut warnings = advice(&self.config, now);
        warnings.extend(&self.warnings);
        warnings.sort();
        warnings
    }
}

/// Reads `file` and the tenant files that it names, and checks everything. The result depends on the bytes
/// of the files alone: what has expired is in it, and [`advice()`] tells of it.
///
/// # Errors
/// Every mistake of every file, warnings included, if there is any error among them.
pub fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    Loader::default().load(file)
}

/// Reads configurations again and again: files of tenants that have not changed are not parsed again.
#[derive(Default)]
pub struct Loader {
    cache: Cache,
}

impl Loader {
    /// As [`load()`].
    ///
    /// # Errors
    /// As those of [`load()`].
    pub fn load(&mut self, file: &Path) -> Result<Loaded, Diagnostics> {
        self.load_from(file, None)
    }

    /// Reads a copy of files instead.
    ///
    /// # Errors
    /// As those of [`load()`]: what one release takes, another may not.
    pub fn load_kept(&mut self, kept: &KeptFiles) -> Result<Loaded, Diagnostics> {
        self.load_from(&kept.main.path, Some(kept)).map(|mut loaded| {
            loaded.config.kept_since = Some(kept.at());
            loaded
        })
    }

    fn load_from(&mut self, file: &Path, kept: Option<&KeptFiles>) -> Result<Loaded, Diagnostics> {
        let mut reading = Reading {
            kept,
            files: Files::default(),
            copies: Copies::default(),
            tenants: Vec::new(),
            drop_lists: Vec::new(),
            listed: Vec::new(),
            found: Diagnostics::default(),
        };
        let main = reading.read(file, &mut self.cache);
        reading.found.sort();
        match main {
            Some(main) if reading.found.errors() == 0 => Ok(reading.finish(file, main)),
            _ => Err(reading.found),
        }
    }
}

/// What has been read so far.
struct Reading<'k> {
    /// What is read in the place of the files; none: the files are.
    kept: Option<&'k KeptFiles>,
    files: Files,
    copies: Copies,
    /// Of all files; sorted by id, those with the same id as they were written.
    tenants: Vec<Arc<Tenant>>,
    drop_lists: Vec<PathBuf>,
    listed: Vec<IpNetwork>,
    found: Diagnostics,
}

/// Copies of the files that were read.
#[derive(Default)]
struct Copies {
    main: Option<KeptFile>,
    tenants: Vec<KeptFile>,
    drop_lists: Vec<KeptFile>,
}

impl Reading<'_> {
    /// Reads and checks everything; none if the main file cannot be read, which is reported.
    fn read(&mut self, file: &Path, cache: &mut Cache) -> Option<MainFile> {
        let contents = match self.contents(file, |kept| std::slice::from_ref(&kept.main)) {
            Ok(contents) => contents,
            Err(error) => {
                self.found.push(
                    Diagnostic::error(format!("cannot read {}: {error}", file.display())).help(
                        "name a main file that exists and may be read, such as /etc/fairway/gateway.toml",
                    ),
                );
                return None;
            }
        };
        self.files.see(file);
        let source = contents.into_source(&mut self.found);
        self.copies.main = Some((&source).into());
        let (main, own_tenants) =
            read_file(&source, (Syntax::Toml, &ColumnNames::default()), &mut self.found, |root| {
                let main = MainFile::read(root);
                let tenants = root.tables("tenant", |table| read_tenant(table, &main));
                (main, tenants)
            });
        cache.keep_if_under(source.text());
        let directory = file.parent().unwrap_or(Path::new(""));
        let tenant_files = self.read_tenant_files(directory, &main, cache);
        for path in &main.detect.drop_lists {
            self.read_drop_list(&directory.join(&path.value), &path.span);
        }
        let mut tenants: Vec<&WrittenTenant> =
            own_tenants.iter().chain(tenant_files.iter().flat_map(|file| &file.tenants)).collect();
        // A file that did not parse may hold the tenants that are missed.
        if tenants.is_empty() && self.found.errors() == 0 {
            self.found.push(
                Diagnostic::warning("there are no tenants")
                    .at(&source.span(0..0), "neither here nor in files named by `tenants` in [gateway]")
                    .help("add [[tenant]] entries; until then every source on the tenant side is unknown"),
            );
        }
        check::limit(&tenants, main.gateway.tenant_limit.as_ref(), &mut self.found);
        check::overlapping_prefixes(&tenants, &mut self.found);
        // Stable: of two with the same id, the one that was written first comes first.
        tenants.sort_by(|a, b| a.tenant.id.cmp(&b.tenant.id));
        check::duplicate_ids(&tenants, &mut self.found);
        report_strangers(&main.detect.allow, tenants.iter().map(|written| &*written.tenant), &mut self.found);
        self.tenants = tenants.into_iter().map(|written| Arc::clone(&written.tenant)).collect();
        Some(main)
    }

    /// The bytes of a file, or of the copy of it among some that are kept.
    fn contents(&mut self, path: &Path, among: fn(&KeptFiles) -> &[KeptFile]) -> std::io::Result<Contents> {
        let Some(kept) = self.kept else { return self.files.read(path) };
        let kept = among(kept).iter().find(|kept| kept.path == path).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(self.files.take(path, kept.text.as_bytes()))
    }

    /// Reads all files that the main file's patterns name.
    fn read_tenant_files(
        &mut self,
        directory: &Path,
        main: &MainFile,
        cache: &mut Cache,
    ) -> Vec<Arc<TenantsFile>> {
        let mut named = Vec::new();
        if let (Some(kept), Some(pattern)) = (self.kept, main.gateway.tenant_files.first()) {
            for copy in &kept.tenants {
                let order = self.files.next_rank();
                let text = Some(Arc::clone(&copy.text));
                named.push(Named { order, path: copy.path.clone(), named_at: pattern.span.clone(), text });
            }
        }
        for pattern in main.gateway.tenant_files.iter() {
            // Where files are to be looked for later on is known from copies as well.
            let paths = self.files.matching(directory, pattern, self.kept.is_none(), &mut self.found);
            for path in paths.into_iter().filter(|_| self.kept.is_none()) {
                let order = self.files.next_rank();
                named.push(Named { order, path, named_at: pattern.span.clone(), text: None });
            }
        }
        let mut files = Vec::with_capacity(named.len());
        for (Named { path, named_at, .. }, file) in cache.read(named, main) {
            match file {
                Ok(file) => {
                    self.files.include(&path, &file.digest);
                    self.copies.tenants.push(file.copy());
                    self.found.extend(&file.found);
                    files.push(file);
                }
                Err(error) => self.found.push(
                    Diagnostic::error(format!("cannot read {}: {error}", path.display()))
                        .at(&named_at, "named here")
                        .help("mend or remove the file, or change the pattern"),
                ),
            }
        }
        files
    }

    fn read_drop_list(&mut self, path: &Path, named_at: &Span) {
        match self.contents(path, |kept| &kept.drop_lists) {
            Ok(contents) => {
                let source = contents.into_source(&mut self.found);
                self.copies.drop_lists.push((&source).into());
                self.listed.extend(read_drop_list(&source, &mut self.found));
                self.drop_lists.push(path.to_owned());
            }
            Err(error) => self.found.push(
                Diagnostic::error(format!("cannot read {}: {error}", path.display()))
                    .at(named_at, "named here")
                    .help("fetch the list, or take it out; an empty file lists nothing"),
            ),
        }
    }

    fn finish(self, file: &Path, main: MainFile) -> Loaded {
        let mut listed = self.listed;
        listed.sort_unstable();
        listed.dedup();
        let allow = main.detect.allow.into_iter().map(|(allowance, _)| allowance).collect();
        let detection = Detection { drop_lists: self.drop_lists, listed, allow, ..main.detect.settings };
        let (sources, digest) = self.files.finish();
        let config = Config {
            file: file.to_owned(),
            sources,
            digest,
            kept_since: None,
            gateway: main.gateway.settings,
            interfaces: main.interfaces,
            fair_use: main.fair_use.settings,
            smtp: main.smtp.settings,
            closed_ports: main.closed_ports.ports,
            walled_garden: main.walled_garden,
            detection,
            enforcement: main.enforcement,
            evidence: main.evidence,
            metrics: main.metrics,
            written: main.written,
            tenants: self.tenants,
        };
        let Copies { main, tenants, drop_lists } = self.copies;
        // Without a main file there is nothing to finish.
        let main = main.unwrap_or_else(|| KeptFile { path: file.to_owned(), text: "".into() });
        Loaded { config, warnings: self.found, files: KeptFiles::new(main, tenants, drop_lists) }
    }
}
