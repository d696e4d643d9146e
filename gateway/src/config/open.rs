//! Opens the files of a configuration: regular files of bounded size, and nothing that lets the reader wait.
//!
//! What stands under a file's name may be anything: a FIFO blocks until somebody writes, `/dev/zero` never
//! ends, opening `/dev/watchdog` reboots the machine. Links are followed, since releases are switched by them.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// A million tenants as CSV take 100 MB; parsed as TOML, a file of this size takes 3 GB of memory.
const LARGEST: u64 = 256 << 20;

/// Opens a regular file of at most [`LARGEST`] bytes, without waiting.
///
/// # Errors
/// What the system says, or what is there instead.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a device may have effects.
    must_be_regular(fs::metadata(path)?.file_type())?;
    // Something else may stand there by now.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    must_be_regular(metadata.file_type())?;
    if metadata.len() > LARGEST { Err(too_large(LARGEST)) } else { Ok(file) }
}

/// Reads a whole file that [`open_regular`] opens.
///
/// # Errors
/// As there; also for a file that grows over the bound meanwhile.
pub(super) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    read_at_most(file, size, LARGEST)
}

/// Files of the kernel have size 0 and may be without an end, so the size that was seen is a hint alone.
fn read_at_most(file: impl Read, size: u64, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(0))?;
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest { Err(too_large(largest)) } else { Ok(bytes) }
}

fn too_large(largest: u64) -> io::Error {
    let message = format!("it is larger than {} MiB, the most that is read of a file", largest >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

fn must_be_regular(file_type: FileType) -> io::Result<()> {
    let is = match () {
        () if file_type.is_file() => return Ok(()),
        () if file_type.is_dir() => "a directory",
        () if file_type.is_fifo() => "a FIFO (named pipe)",
        () if file_type.is_socket() => "a socket",
        () if file_type.is_char_device() || file_type.is_block_device() => "a device",
        () => "something else",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {is}, not a regular file")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_called_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let refused = |name: &str| read_regular(&at(name)).unwrap_err().to_string();
        assert_eq!(refused("fifo"), "it is a FIFO (named pipe), not a regular file");
        assert_eq!(refused("socket"), "it is a socket, not a regular file");
        assert_eq!(refused("directory"), "it is a directory, not a regular file");
        assert_eq!(refused("zero"), "it is a device, not a regular file");
        assert!(refused("loop").starts_with("Too many levels of symbolic links"), "{}", refused("loop"));
    }

    #[test]
    fn links_to_regular_files_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "text").unwrap();
        symlink("file", directory.path().join("link")).unwrap();
        assert_eq!(read_regular(&directory.path().join("link")).unwrap(), b"text");
    }

    #[test]
    fn a_file_of_gigabytes_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        let refused = read_regular(&large).unwrap_err().to_string();
        assert_eq!(refused, "it is larger than 256 MiB, the most that is read of a file");
    }

    #[test]
    fn a_file_without_an_end_is_left_at_the_bound() {
        assert!(read_at_most(io::repeat(0), 0, 1 << 20).is_err());
        assert_eq!(read_at_most(io::repeat(0).take(1 << 20), 0, 1 << 20).unwrap().len(), 1 << 20);
    }
}
