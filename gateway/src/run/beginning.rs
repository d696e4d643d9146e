//! What the service starts with: the files, or if they are not to be used, the copy of those that were in force last.
//! After a reboot nothing enforces until there is a policy, and an older one is better than none.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{RunError, SharedLoader, load};
use crate::config::{self, Diagnostics, KeptError, KeptFiles, Loaded, Removals};
use crate::controller::ReloadError;
use tokio::task::spawn_blocking;

/// A configuration to start with.
pub(super) struct Beginning {
    pub(super) loaded: Loaded,
    /// Why the files were not used.
    pub(super) refused: Option<ReloadError>,
}

/// Reads the files; or else the copy, which is told loudly.
pub(super) async fn begin(loader: &SharedLoader, file: &Path) -> Result<Beginning, RunError> {
    let read = load(loader, file.into()).await?;
    let state_dir = match &read {
        Ok(loaded) => loaded.config.gateway.state_dir.clone(),
        Err(_) => state_dir_of(file),
    };
    let (of, main) = (state_dir.clone(), file.to_owned());
    let kept = spawn_blocking(move || KeptFiles::recall(&of, &main)).await?;
    let kept = match kept {
        Ok(kept) => {
            let loader = loader.clone();
            spawn_blocking(move || super::locked(&loader).load_kept(&kept)).await?.map_err(Unusable::Refused)
        }
        Err(error) => Err(Unusable::Kept(error)),
    };
    match (read, kept) {
        (Ok(loaded), Ok(kept)) => Ok(match Removals::too_many(&kept.config, &loaded.config) {
            None => Beginning { loaded, refused: None },
            Some(removals) => fall_back(kept, ReloadError::Removals(removals)),
        }),
        // The first start, or a copy of no use: what can be read is taken.
        (Ok(loaded), Err(Unusable::Kept(KeptError::Io(_)))) => Ok(Beginning { loaded, refused: None }),
        (Ok(loaded), Err(unusable)) => {
            tracing::warn!("{}", unusable.of(&state_dir));
            Ok(Beginning { loaded, refused: None })
        }
        (Err(diagnostics), Ok(kept)) => Ok(fall_back(kept, ReloadError::Config { diagnostics })),
        (Err(diagnostics), Err(Unusable::Kept(KeptError::Io(error))))
            if error.kind() == ErrorKind::NotFound =>
        {
            Err(RunError::Config(diagnostics))
        }
        (Err(diagnostics), Err(unusable)) => {
            tracing::error!("{}", unusable.of(&state_dir));
            Err(RunError::Config(diagnostics))
        }
    }
}

/// Why the copy is of no use.
enum Unusable {
    Kept(KeptError),
    Refused(Diagnostics),
}

impl Unusable {
    fn of(&self, state_dir: &Path) -> String {
        let cause = match self {
            Self::Kept(error) => error.to_string(),
            Self::Refused(diagnostics) => {
                format!("this release refuses it\n{}", diagnostics.render(false).trim_end())
            }
        };
        format!(
            "the copy of the configuration in force last, {}, cannot be used: {cause}",
            KeptFiles::path(state_dir).display()
        )
    }
}

fn fall_back(kept: Loaded, refused: ReloadError) -> Beginning {
    let since = kept.config.kept_since.unwrap_or_default();
    tracing::error!(
        %since,
        "the configuration's files are NOT in force: the ones that were in force last are taken instead. Mend them, then \
         `fairway reload`\n{refused}"
    );
    Beginning { loaded: kept, refused: Some(refused) }
}

/// The main file may not say, or be gone: then systemd does (`StateDirectory=`), or it is where it usually is.
fn state_dir_of(file: &Path) -> PathBuf {
    let by_systemd = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    config::locate(file).state_dir.or_else(by_systemd).unwrap_or_else(|| "/var/lib/fairway".into())
}
