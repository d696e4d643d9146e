//! Files of tenants, read: several at once, and those that have not changed not at all.
//!
//! What a file says depends on its text and on the main file; while neither has changed, what was made of it
//! before is taken again.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::diagnostic::Diagnostics;
use super::files::{Contents, FileDigest};
use super::kept::KeptFile;
use super::main_file::MainFile;
use super::open::open_regular;
use super::reader::read_file;
use super::source::{Source, Span};
use super::syntax::Syntax;
use super::tenant::{WrittenTenant, read_tenant};

/// What was made of a file of tenants.
pub(super) struct TenantsFile {
    source: Arc<Source>,
    pub(super) digest: FileDigest,
    pub(super) tenants: Vec<WrittenTenant>,
    pub(super) found: Diagnostics,
}

impl TenantsFile {
    fn read(contents: Contents, main: &MainFile) -> Self {
        let mut found = Diagnostics::default();
        let digest = contents.digest();
        let syntax = Syntax::of(&contents.path);
        let source = contents.into_source(&mut found);
        let tenants = read_file(&source, (syntax, &main.columns), &mut found, |root| {
            root.refuse_sections(&MainFile::SECTIONS);
            root.tables("tenant", |table| read_tenant(table, main))
        });
        Self { source, digest, tenants, found }
    }

    pub(super) fn copy(&self) -> KeptFile {
        (&self.source).into()
    }

    /// Whether the file reads the same as before. It is compared piece by piece: memory for all of it, which is
    /// new each time, would take the kernel as long to make as the file takes to read.
    fn still_says(&self, path: &Path) -> io::Result<bool> {
        let mut file = open_regular(path)?;
        let mut piece = vec![0; 64 * 1024];
        let mut rest = self.source.text().as_bytes();
        loop {
            let length = file.read(&mut piece)?;
            match rest.strip_prefix(&piece[..length]) {
                None => return Ok(false),
                Some(rest) if length == 0 => return Ok(rest.is_empty()),
                Some(behind) => rest = behind,
            }
        }
    }
}

/// Files as they were read last, under one main file.
#[derive(Default)]
pub(super) struct Cache {
    main_text: String,
    files: HashMap<PathBuf, Arc<TenantsFile>>,
}

/// A file that is to be read.
pub(super) struct Named {
    /// Its rank among the files read.
    pub(super) order: usize,
    pub(super) path: PathBuf,
    /// Where the main file names it.
    pub(super) named_at: Span,
    /// What is taken for its text; none: it is read.
    pub(super) text: Option<Arc<str>>,
}

impl Cache {
    /// Forgets everything that was read under another main file.
    pub(super) fn keep_if_under(&mut self, main_text: &str) {
        if self.main_text != main_text {
            self.files.clear();
            main_text.clone_into(&mut self.main_text);
        }
    }

    /// What these files say, in their order; it is kept for the next time.
    pub(super) fn read(
        &mut self,
        named: Vec<Named>,
        main: &MainFile,
    ) -> Vec<(Named, io::Result<Arc<TenantsFile>>)> {
        let before = &self.files;
        let read = |Named { order, path, text, .. }: &Named| {
            if let Some(text) = text {
                let bytes = text.as_bytes().to_vec();
                let contents = Contents { order: *order, path: path.clone(), bytes };
                return Ok(Arc::new(TenantsFile::read(contents, main)));
            }
            Ok(match before.get(path) {
                Some(file) if file.still_says(path)? => {
                    file.source.set_order(*order);
                    Arc::clone(file)
                }
                _ => Arc::new(TenantsFile::read(Contents::read(*order, path)?, main)),
            })
        };
        let files = in_parallel(named, |named| {
            let file = read(&named);
            (named, file)
        });
        let kept = files.iter().filter_map(|(named, file)| Some((named, file.as_ref().ok()?)));
        self.files = kept.map(|(named, file)| (named.path.clone(), Arc::clone(file))).collect();
        files
    }
}

/// Does `work` on all of them, on as many processors as there are; the results are in their order.
fn in_parallel<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(all.len());
    let all: Vec<_> = all.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        while let Some((index, one)) = {
            let index = next.fetch_add(1, Relaxed);
            all.get(index).map(|one| (index, one))
        } {
            let one = one.lock().unwrap_or_else(PoisonError::into_inner).take();
            done.extend(one.map(|one| (index, work(one))));
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take_turns)).collect();
        let mut done = take_turns();
        for other in others {
            match other.join() {
                Ok(theirs) => done.extend(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::in_parallel;

    #[test]
    fn results_come_in_order() {
        let doubled = in_parallel((0..1_000).collect(), |number: u32| number * 2);
        assert_eq!(doubled, (0..1_000).map(|number| number * 2).collect::<Vec<_>>());
        assert!(in_parallel(Vec::<u32>::new(), |number| number).is_empty());
    }
}
