//! The copy of the files that were in force last, for a start at which they are broken or missing.
//!
//! Its first line is the SHA-256 of the rest, which is JSON: a copy that is damaged is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Digest;
use super::open::read_regular;
use super::source::Source;

const FILE: &str = "config-in-force";
const VERSION: u32 = 1;

/// The files of a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptFiles {
    version: u32,
    /// When they were put into force.
    at: Timestamp,
    pub(super) main: KeptFile,
    pub(super) tenants: Vec<KeptFile>,
    pub(super) drop_lists: Vec<KeptFile>,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptFile {
    pub(super) path: PathBuf,
    #[serde(with = "shared_text")]
    pub(super) text: Arc<str>,
}

/// Shared text as text, which serde does only with a feature for all that is shared.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

/// Why there is no copy to take.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is none, or it may not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It is of another release, or of another gateway.
    #[error("it is {0}")]
    Foreign(String),
}

impl KeptFiles {
    pub(super) fn new(main: KeptFile, tenants: Vec<KeptFile>, drop_lists: Vec<KeptFile>) -> Self {
        Self { version: VERSION, at: Timestamp::UNIX_EPOCH, main, tenants, drop_lists }
    }

    /// When they were put into force.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Where the copy lies.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Keeps them as the ones in force since `at`: whole or not at all, and on the disk before it returns.
    ///
    /// # Errors
    /// If they cannot be written; the copy before stays.
    pub fn keep(&self, state_dir: &Path, at: Timestamp) -> io::Result<()> {
        let body = serde_json::to_vec(&Self { at, ..self.clone() })?;
        let (path, partial) = (Self::path(state_dir), state_dir.join(format!("{FILE}.partial")));
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // It names customers. What is new is no link that somebody laid there.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        writeln!(file, "{}", Digest(Sha256::digest(&body).into()))?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(state_dir)?.sync_all()
    }

    /// The copy of `main`'s configuration.
    ///
    /// # Errors
    /// If there is none that can be trusted.
    pub fn recall(state_dir: &Path, main: &Path) -> Result<Self, KeptError> {
        let bytes = read_regular(&Self::path(state_dir))?;
        let newline = bytes.iter().position(|&byte| byte == b'\n').ok_or(KeptError::Damaged)?;
        let (digest, body) = (&bytes[..newline], &bytes[newline + 1..]);
        if digest != Digest(Sha256::digest(body).into()).to_string().as_bytes() {
            return Err(KeptError::Damaged);
        }
        let kept: Self = serde_json::from_slice(body)
            .map_err(|error| KeptError::Foreign(format!("of another release ({error})")))?;
        if kept.main.path != main {
            return Err(KeptError::Foreign(format!("the copy of {}", kept.main.path.display())));
        }
        Ok(kept)
    }
}

impl From<&Arc<Source>> for KeptFile {
    fn from(source: &Arc<Source>) -> Self {
        Self { path: source.path().to_owned(), text: source.shared_text() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files() -> KeptFiles {
        let file = |path: &str, text: &str| KeptFile { path: path.into(), text: text.into() };
        KeptFiles::new(file("/etc/a.toml", "# main"), vec![file("/etc/t.toml", "# tenants")], Vec::new())
    }

    #[test]
    fn what_is_kept_is_recalled_and_is_nobody_elses() {
        let state = tempfile::tempdir().unwrap();
        let at = Timestamp::from_second(1_000).unwrap();
        // What an earlier try left behind.
        fs::write(state.path().join("config-in-force.partial"), "half").unwrap();
        for _ in 0..2 {
            files().keep(state.path(), at).unwrap();
        }
        let kept = KeptFiles::recall(state.path(), Path::new("/etc/a.toml")).unwrap();
        assert_eq!((kept.at(), &*kept.tenants[0].text), (at, "# tenants"));
        let path = KeptFiles::path(state.path());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        let other = KeptFiles::recall(state.path(), Path::new("/etc/b.toml")).unwrap_err();
        assert_eq!(other.to_string(), "it is the copy of /etc/a.toml");
    }

    #[test]
    fn a_damaged_copy_is_none() {
        let state = tempfile::tempdir().unwrap();
        let recalled = || KeptFiles::recall(state.path(), Path::new("/etc/a.toml"));
        assert!(matches!(recalled(), Err(KeptError::Io(_))));
        files().keep(state.path(), Timestamp::UNIX_EPOCH).unwrap();
        let path = KeptFiles::path(state.path());
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", &[&whole[..70], b"x", &whole[71..]].concat()] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(recalled(), Err(KeptError::Damaged)), "{:?}", recalled());
        }
    }
}
