//! The gateway's directory on a BPF file system: what outlives the controller.
//!
//! ```text
//! <pin_dir>/maps-3/CONTROL, TENANTS...    one generation of tables
//! <pin_dir>/link-7-native                 the program attached to interface index 7
//! ```
//!
//! A generation is replaced by the next when a config outgrows its tables. Two are only found together
//! if a controller died in between; the one that is marked live and has the highest number counts.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use gateway_ebpf::abi::{BANKS, Control, map};
use gateway_ebpf::detect::{place, record::region};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::capacity::Capacity;
use super::error::{DataplaneError, chain};
use super::reading::{self, Foreign};
use crate::config::Mode;

/// Where systemd mounts a BPF file system.
const USUAL: &str = "/sys/fs/bpf";
const GENERATION_PREFIX: &str = "maps-";
const LINK_PREFIX: &str = "link-";

/// What is to be said of a pin directory before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinPlace {
    /// On a BPF file system, or can be made on one.
    Ready,
    /// Below /sys/fs/bpf, where none is mounted yet.
    NotMounted,
    /// On another file system.
    Elsewhere,
}

/// Where a pin directory lies, whether it exists or not.
#[must_use]
pub fn pin_place(dir: &Path) -> PinPlace {
    let existing = dir.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
    match is_bpffs(existing) {
        true => PinPlace::Ready,
        false if dir.starts_with(USUAL) => PinPlace::NotMounted,
        false => PinPlace::Elsewhere,
    }
}

/// Interface indexes that a gateway polices, each with the id of its program.
///
/// # Errors
/// If the links may not be read; without any, there is none.
pub fn pinned_programs(dir: &Path) -> Result<HashMap<u32, u32>, DataplaneError> {
    let Some(pins) = Pins::find(dir)? else { return Ok(HashMap::new()) };
    let program = |pin: LinkPin| {
        let link = PinnedLink::from_pin(&pin.path).and_then(|link| FdLink::from(link).info());
        link.map(|link| (pin.ifindex, link.program_id()))
            .map_err(|error| cannot_use(&pin.path, chain(&error)))
    };
    pins.links()?.into_iter().map(program).collect()
}

/// The directory of one gateway.
#[derive(Clone)]
pub(super) struct Pins {
    dir: PathBuf,
    /// Keeps a second controller off, whatever socket it serves.
    _lock: Option<Arc<Flock<File>>>,
}

/// One set of pinned tables.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    pub(super) dir: PathBuf,
}

/// One pinned link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) ifindex: u32,
    pub(super) mode: String,
    pub(super) path: PathBuf,
}

impl Pins {
    /// Opens the directory, making it, and mounting a BPF file system below /sys/fs/bpf, if need be.
    pub(super) fn open(dir: &Path) -> Result<Self, DataplaneError> {
        match pin_place(dir) {
            PinPlace::Ready => {}
            PinPlace::NotMounted => mount_bpffs()?,
            PinPlace::Elsewhere => return Err(cannot_use(dir, "not on a BPF file system")),
        }
        fs::create_dir_all(dir).map_err(|error| cannot_use(dir, error))?;
        let opened = File::open(dir).map_err(|error| cannot_use(dir, error))?;
        let lock = Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            DataplaneError::new(
                format!("locking the pin directory {}", dir.display()),
                error,
                "Another controller polices with the same [gateway] name and pin_dir; stop it, or give this one its own",
            )
        })?;
        Ok(Self { dir: dir.to_owned(), _lock: Some(Arc::new(lock)) })
    }

    /// The directory, if there is one with anything in it; nothing is made.
    ///
    /// # Errors
    /// If it may not be looked at: what may not be seen may well be there.
    pub(super) fn find(dir: &Path) -> Result<Option<Self>, DataplaneError> {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() && is_bpffs(dir) => {
                Ok(Some(Self { dir: dir.to_owned(), _lock: None }))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(DataplaneError::new(
                format!("looking for what is pinned at {}", dir.display()),
                error,
                "Run as root: what is attached is unknown until then",
            )),
        }
    }

    /// All generations, the newest first.
    pub(super) fn generations(&self) -> Result<Vec<Generation>, DataplaneError> {
        let numbered = self.entries()?.into_iter().filter_map(|(name, dir)| {
            let number = name.strip_prefix(GENERATION_PREFIX)?.parse().ok()?;
            Some(Generation { number, dir })
        });
        let mut generations: Vec<_> = numbered.collect();
        generations.sort_by_key(|generation| std::cmp::Reverse(generation.number));
        Ok(generations)
    }

    /// Makes the directory of the generation after `generations`.
    pub(super) fn make_generation(&self, generations: &[Generation]) -> Result<Generation, DataplaneError> {
        let number = generations.first().map_or(1, |newest| newest.number + 1);
        let dir = self.dir.join(format!("{GENERATION_PREFIX}{number}"));
        fs::create_dir(&dir).map_err(|error| cannot_use(&dir, error))?;
        Ok(Generation { number, dir })
    }

    /// All pinned links.
    pub(super) fn links(&self) -> Result<Vec<LinkPin>, DataplaneError> {
        let links = self.entries()?.into_iter().filter_map(|(name, path)| {
            let (ifindex, mode) = name.strip_prefix(LINK_PREFIX)?.split_once('-')?;
            Some(LinkPin { ifindex: ifindex.parse().ok()?, mode: mode.to_owned(), path })
        });
        Ok(links.collect())
    }

    /// Where the link of an interface belongs.
    pub(super) fn link(&self, ifindex: u32, mode: Mode) -> LinkPin {
        let mode = mode_name(mode).to_owned();
        let path = self.dir.join(format!("{LINK_PREFIX}{ifindex}-{mode}"));
        LinkPin { ifindex, mode, path }
    }

    /// Removes the directory if nothing is left in it.
    pub(super) fn remove_if_empty(&self) {
        // Not empty, or not ours to remove: then it stays, which harms nobody.
        let _ = fs::remove_dir(&self.dir);
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, DataplaneError> {
        let read = || -> io::Result<Vec<(String, PathBuf)>> {
            fs::read_dir(&self.dir)?
                .map(|entry| {
                    entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
                })
                .collect()
        };
        read().map_err(|error| cannot_use(&self.dir, error))
    }
}

impl Generation {
    /// The switchboard of pinned tables; `None` if they were never finished.
    ///
    /// # Errors
    /// If they are not of this controller's ABI, with how to go on.
    pub(super) fn control(&self) -> Result<Option<Control>, DataplaneError> {
        let Ok(data) = MapData::from_pin(self.dir.join(map::CONTROL)) else { return Ok(None) };
        let control =
            Map::from_map_data(data).and_then(Array::<_, [u32; 4]>::try_from).and_then(|map| map.get(&0, 0));
        let words = control.map_err(|error| cannot_use(&self.dir, chain(&error)))?;
        reading::control(words).map_err(|foreign| {
            let meanwhile = match foreign {
                Foreign::Version(_) => "It goes on enforcing its old policy",
                Foreign::Signature(_) | Foreign::Bank(_) => "What is attached stays as it is",
            };
            DataplaneError::new(
                format!("taking over the data plane pinned in {}", self.dir.display()),
                foreign,
                format!(
                    "{meanwhile}. To replace it, run `fairway detach --config FILE` (traffic flows unpoliced from \
                     then on) and start again"
                ),
            )
        })
    }

    /// What pinned tables were sized for, read off the maps themselves.
    pub(super) fn capacity(&self) -> Result<Capacity, DataplaneError> {
        let entries = |name: &str| {
            let info = MapData::from_pin(self.dir.join(name)).and_then(|map| map.info());
            info.map(|info| info.max_entries())
                .map_err(|error| cannot_use(&self.dir.join(name), chain(&error)))
        };
        let tenants = entries(map::TENANT_IDS)?;
        Ok(Capacity {
            tenants,
            policies: entries(map::POLICIES)? / BANKS,
            v4_nodes: entries(map::V4_NODES)? / BANKS,
            v6_entries: entries(map::V6_ENTRIES)? / BANKS,
            source_sets: entries(map::SOURCES)? / place::WAYS,
            contact_sets: entries(map::CONTACTS)? / region::COUNT as u32,
            stripes: entries(map::EVENT_TALLIES)?,
        })
    }

    /// Unpins everything of this generation; the kernel frees the tables with the last program that
    /// uses them.
    pub(super) fn remove(&self) {
        let remove_maps = || -> io::Result<()> {
            // Listed before the first is removed: a listing that changes under the reader may skip some.
            let maps: Vec<_> = fs::read_dir(&self.dir)?.collect::<io::Result<_>>()?;
            maps.iter().try_for_each(|map| fs::remove_file(map.path()))?;
            fs::remove_dir(&self.dir)
        };
        if let Err(error) = remove_maps() {
            tracing::warn!(dir = %self.dir.display(), %error, "could not remove old tables; they take up memory");
        }
    }
}

/// A mode as the config and the pins spell it.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Native => "native",
        Mode::Generic => "generic",
        Mode::Offload => "offload",
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_bpffs() -> Result<(), DataplaneError> {
    mount(Some("bpf"), USUAL, Some("bpf"), MsFlags::empty(), Some("mode=0700")).map_err(|error| {
        DataplaneError::new(
            format!("mounting a BPF file system on {USUAL}"),
            error,
            "Run as root, or mount it at boot: `mount -t bpf bpf /sys/fs/bpf`",
        )
    })?;
    tracing::info!("mounted a BPF file system on {USUAL}");
    Ok(())
}

fn cannot_use(path: &Path, cause: impl std::fmt::Display) -> DataplaneError {
    DataplaneError::new(
        format!("using the pin directory {}", path.display()),
        cause,
        "It must lie on a BPF file system (`mount -t bpf bpf /sys/fs/bpf`) and belong to the \
         user that polices (fairway, for the packaged service); see [gateway] pin_dir",
    )
}
