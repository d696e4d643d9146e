//! The file of the control socket: one controller at a time, no moment at which others may connect.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid};

use super::peer::Access;
use crate::limits;

/// Holds the control socket's name; dropping it removes the file.
///
/// A lock on the file `<socket>.lock` tells a live controller from one that died and left its socket
/// behind. The lock file stays: removing it would let two controllers hold locks on different files of
/// the same name.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
    _lock: File,
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another controller holds it.
    #[error(
        "a controller is already running (pid {pid}) on {path}. Stop it first (systemctl stop fairway), \
         or give this one another gateway.control_socket"
    )]
    AlreadyRunning {
        /// The other's process.
        pid: String,
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{path} is {what}, and is left as it is. {remedy}")]
    Occupied {
        /// The name.
        path: PathBuf,
        /// What is there.
        what: &'static str,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// `gateway.control_group` names no group.
    #[error("there is no group {0:?}. Create it (groupadd --system {0}) or correct gateway.control_group")]
    UnknownGroup(String),
    /// The file system refused.
    #[error("cannot {what} {path}: {source}. {remedy}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What the operator can do.
        remedy: &'static str,
    },
}

impl ControlSocket {
    /// Takes the socket, also over from a controller that died, and listens on it. Makes the directory
    /// if it is missing. `group` may use it besides the owner; none: the owner's own group.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn claim(
        path: &Path,
        group: Option<&str>,
    ) -> Result<(Self, tokio::net::UnixListener, Access), SocketError> {
        let group = group.map_or_else(|| Ok(Gid::effective()), find_group)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.map_err(MAKE_DIRECTORY.failed(parent))?;
        let lock = lock(path)?;
        must_be_free(path)?;
        let listener = bind(path, group)?;
        let file = fs::symlink_metadata(path).map_err(BIND.failed(path))?;
        let socket = Self { path: path.into(), file: (file.dev(), file.ino()), _lock: lock };
        listener.set_nonblocking(true).map_err(BIND.failed(path))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(BIND.failed(path))?;
        Ok((socket, listener, Access { owner: Uid::effective(), group }))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_ours = |file: &Metadata| (file.dev(), file.ino()) == self.file;
        let removed = fs::symlink_metadata(&self.path).and_then(|file| match is_ours(&file) {
            true => fs::remove_file(&self.path),
            false => Err(io::Error::other("another file has taken its place")),
        });
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

/// What can fail on the way, and what the operator can do about it.
struct Step {
    what: &'static str,
    remedy: &'static str,
}

const MAKE_DIRECTORY: Step = Step {
    what: "make the directory",
    remedy: "Run as root, or set gateway.control_socket to a directory that this user may write to",
};
const LOCK: Step = Step { what: "lock", remedy: MAKE_DIRECTORY.remedy };
const BIND: Step = Step {
    what: "bind the control socket",
    remedy: "Set gateway.control_socket to a shorter path, in a directory that this user may write to",
};
const HAND_OVER: Step = Step {
    what: "give gateway.control_group the control socket",
    remedy: "Run with CAP_CHOWN or as a member of the group, or leave gateway.control_group out",
};

impl Step {
    fn failed(&self, path: &Path) -> impl Fn(io::Error) -> SocketError {
        let Self { what, remedy } = *self;
        move |source| {
            let remedy = limits::remedy(&source).unwrap_or(remedy);
            SocketError::Io { what, path: path.into(), source, remedy }
        }
    }
}

fn find_group(name: &str) -> Result<Gid, SocketError> {
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid).ok_or_else(|| SocketError::UnknownGroup(name.into()))
}

fn lock(socket: &Path) -> Result<File, SocketError> {
    let path = beside(socket, "lock");
    let failed = LOCK.failed(&path);
    // For nobody else: whoever may open it could hold the lock and keep the gateway from starting.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(&failed)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(&failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(&failed)?;
            Err(SocketError::AlreadyRunning { pid, path: socket.into() })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Refuses a name that something else has than the socket of a controller that died: it would be replaced.
fn must_be_free(path: &Path) -> Result<(), SocketError> {
    const RENAME: &str = "Correct gateway.control_socket, or move it away";
    let occupied = |what, remedy| Err(SocketError::Occupied { path: path.into(), what, remedy });
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BIND.failed(path)(error)),
    };
    if !found.file_type().is_socket() {
        return occupied("no socket", RENAME);
    }
    if found.uid() != Uid::effective().as_raw() && !Uid::effective().is_root() {
        return occupied("another user's socket", RENAME);
    }
    // A controller would hold the lock.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => occupied("a socket that another program serves", RENAME),
        Err(error) => Err(BIND.failed(path)(error)),
    }
}

/// Binds in a directory of our own and moves the socket to its place when mode and group are right: in
/// between, nobody else reaches it.
fn bind(path: &Path, group: Gid) -> Result<UnixListener, SocketError> {
    let failed = BIND.failed(path);
    let private = beside(path, "new");
    if private.exists() {
        fs::remove_dir_all(&private).map_err(&failed)?;
    }
    DirBuilder::new().mode(0o700).create(&private).map_err(&failed)?;
    let bound = (|| {
        let staged = private.join("s");
        let listener = UnixListener::bind(&staged).map_err(&failed)?;
        chown(&staged, None, Some(group.as_raw())).map_err(HAND_OVER.failed(path))?;
        fs::set_permissions(&staged, Permissions::from_mode(0o660)).map_err(&failed)?;
        fs::rename(&staged, path).map_err(&failed)?;
        Ok(listener)
    })();
    fs::remove_dir_all(&private).map_err(&failed)?;
    bound
}

/// `/run/fairway/control.sock` -> `/run/fairway/control.sock.lock`
fn beside(socket: &Path, extension: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn owner_and_group_may_connect_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/control.sock");
        let socket = ControlSocket::claim(&path, None).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o660);
        assert_eq!(metadata.gid(), Gid::effective().as_raw());
        let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["control.sock", "control.sock.lock"], "nothing else is left behind");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_controller_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _first = ControlSocket::claim(&path, None).unwrap();
        let second = ControlSocket::claim(&path, None).unwrap_err().to_string();
        assert!(second.contains(&format!("already running (pid {})", std::process::id())), "{second}");
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_controller_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        fs::create_dir(beside(&path, "new")).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        let _socket = ControlSocket::claim(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_of_ours_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let refused = |name: &str| ControlSocket::claim(&at(name), None).unwrap_err().to_string();
        fs::write(at("notes"), "of great value").unwrap();
        assert!(refused("notes").contains("is no socket, and is left as it is"), "{}", refused("notes"));
        symlink("notes", at("link")).unwrap();
        assert!(refused("link").contains("is no socket"));
        assert_eq!(fs::read_to_string(at("link")).unwrap(), "of great value");
        fs::create_dir(at("directory")).unwrap();
        assert!(refused("directory").contains("is no socket"));
        let _other = UnixListener::bind(at("served")).unwrap();
        assert!(refused("served").contains("a socket that another program serves"));
        UnixStream::connect(at("served")).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_took_its_place_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let socket = ControlSocket::claim(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }

    #[tokio::test]
    async fn errors_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let error = ControlSocket::claim(&path, Some("no-such-group")).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no group \"no-such-group\". Create it (groupadd --system no-such-group) or correct \
             gateway.control_group"
        );
        let long = directory.path().join("x".repeat(120));
        let error = ControlSocket::claim(&long, None).unwrap_err().to_string();
        assert!(error.contains("Set gateway.control_socket to a shorter path"), "{error}");
        assert!(!beside(&long, "new").exists());
    }
}
