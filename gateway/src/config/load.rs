//! From files to a [`Config`]: the main file, then the tenant files that it names.

use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::check;
use super::detect::{read_drop_list, report_strangers};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::files::Files;
use super::main_file::MainFile;
use super::reader::read_file;
use super::source::Span;
use super::tenant::{WrittenTenant, read_tenant};
use super::{Config, Detection};

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
        files: Files::default(),
        tenants: Vec::new(),
        drop_lists: Vec::new(),
        listed: Vec::new(),
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
    files: Files,
    tenants: Vec<WrittenTenant>,
    drop_lists: Vec<PathBuf>,
    listed: Vec<IpNetwork>,
    found: Diagnostics,
}

impl Loader {
    /// Reads and checks everything; none if the main file cannot be read, which is reported.
    fn read(&mut self, file: &Path) -> Option<MainFile> {
        let source = match self.files.open(file, &mut self.found) {
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
            let main = MainFile::read(root, self.now);
            let tenants = root.tables("tenant", |table| read_tenant(table, &main, self.now));
            (main, tenants)
        });
        self.tenants = tenants;
        let directory = file.parent().unwrap_or(Path::new(""));
        for pattern in &main.gateway.tenant_files {
            for path in self.files.matching(directory, pattern, &mut self.found) {
                self.read_tenants(&path, &pattern.span, &main);
            }
        }
        for path in &main.detect.drop_lists {
            self.read_drop_list(&directory.join(&path.value), &path.span);
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
        let tenants = self.tenants.iter().map(|written| &written.tenant);
        report_strangers(&main.detect.allow, tenants, &mut self.found);
        Some(main)
    }

    fn read_tenants(&mut self, path: &Path, named_at: &Span, main: &MainFile) {
        match self.files.open(path, &mut self.found) {
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

    fn read_drop_list(&mut self, path: &Path, named_at: &Span) {
        match self.files.open(path, &mut self.found) {
            Ok(source) => {
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
        let mut tenants: Vec<_> = self.tenants.into_iter().map(|written| written.tenant).collect();
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
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
            gateway: main.gateway.settings,
            interfaces: main.interfaces,
            fair_use: main.fair_use.settings,
            smtp: main.smtp.settings,
            closed_ports: main.closed_ports.ports,
            walled_garden: main.walled_garden,
            detection,
            evidence: main.evidence,
            metrics: main.metrics,
            written: main.written,
            tenants,
        };
        Loaded { config, warnings: self.found }
    }
}
