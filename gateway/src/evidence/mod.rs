//! Evidence: the first packets of offences as pcapng files, within limits of size and age.
//!
//! A file's name begins with the time of the offence, so that names sort by time. It never changes and is
//! never used twice.

use std::borrow::Cow;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

use crate::config::EvidenceLimits;
use crate::detect::{Frame, Offence};
use crate::private;

const DIRECTORY: &str = "evidence";
const EXTENSION: &str = "pcapng";
const PARTIAL: &str = "partial";

/// Nanoseconds, as the library writes them: if_tsresol of 10^-9.
const NANOSECONDS: InterfaceDescriptionOption<'_> = InterfaceDescriptionOption::IfTsResol(9);

/// The directory of captures.
#[derive(Clone, Debug)]
pub struct Captures {
    directory: PathBuf,
}

impl Captures {
    /// Of one state directory.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { directory: state_dir.join(DIRECTORY) }
    }

    /// Where a capture is, or was.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the packets of an offence, whole or not at all; the file's name, if there are packets.
    pub fn write(&self, offence: &Offence) -> io::Result<Option<String>> {
        if offence.frames.is_empty() {
            return Ok(None);
        }
        private::make_directory(&self.directory)?;
        let name = name(offence);
        let path = self.path(&name);
        let partial = path.with_extension(PARTIAL);
        let file = private::open_file(&partial)?;
        file.set_len(0)?;
        let mut file = BufWriter::new(file);
        write_pcapng(&mut file, offence).map_err(io::Error::other)?;
        file.flush()?;
        // Its age is judged by the gateway's time; the file system goes by the wall clock, whatever it shows.
        file.get_ref().set_modified(offence.at.into())?;
        file.get_ref().sync_all()?;
        fs::rename(&partial, &path)?;
        Ok(Some(name))
    }

    /// Removes what is too old or, oldest first, too much.
    pub fn prune(&self, limits: EvidenceLimits, now: SystemTime) -> io::Result<()> {
        let mut kept = Vec::new();
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            let age = now.duration_since(metadata.modified()?).unwrap_or(Duration::ZERO);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) if age <= limits.keep => kept.push((path, metadata.len())),
                // What a crash left behind; nobody else writes here.
                Some(EXTENSION | PARTIAL) => fs::remove_file(path)?,
                _ => {}
            }
        }
        kept.sort_unstable();
        let mut size_bytes: u64 = kept.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in kept {
            if size_bytes <= limits.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            size_bytes -= bytes;
        }
        Ok(())
    }
}

fn name(offence: &Offence) -> String {
    let Offence { tenant, kind, .. } = offence;
    let at = offence.at.strftime("%Y%m%dT%H%M%S.%6fZ");
    let source = offence.source.map_or("all".to_owned(), |source| source.ip().to_string().replace(':', "_"));
    format!("{at}-{tenant}-{}-{source}.{EXTENSION}", kind.label())
}

fn write_pcapng(out: &mut impl Write, offence: &Offence) -> pcap_file::PcapResult<()> {
    let source = offence.source.map_or("all its sources".to_owned(), |source| source.to_string());
    let comment = format!("{} by {source} of tenant {}", offence.kind.label(), offence.tenant);
    let mut writer = PcapNgWriter::new(out)?;
    writer.write_pcapng_block(InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![InterfaceDescriptionOption::Comment(Cow::Owned(comment)), NANOSECONDS],
    })?;
    for frame in &offence.frames {
        writer.write_pcapng_block(packet(frame))?;
    }
    Ok(())
}

fn packet(frame: &Frame) -> EnhancedPacketBlock<'_> {
    EnhancedPacketBlock {
        interface_id: 0,
        // No router polices before 1970.
        timestamp: Duration::try_from(frame.at.as_duration()).unwrap_or_default(),
        original_len: frame.length_bytes,
        data: Cow::Borrowed(&frame.bytes),
        options: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::detect::fake::offence;
    use crate::replay::Capture;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory.join(DIRECTORY))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_tell_when_who_and_what() {
        assert_eq!(
            name(&offence("acme", "192.0.2.1/32", 0)),
            "20260921T141320.000000Z-acme-scan_vertical-192.0.2.1.pcapng"
        );
        let other = Offence { source: None, ..offence("acme", "2001:db8::/64", 1) };
        assert_eq!(name(&other), "20260921T141321.000000Z-acme-scan_vertical-all.pcapng");
        assert!(name(&offence("acme", "2001:db8::/64", 1)).ends_with("-2001_db8__.pcapng"));
    }

    #[test]
    fn packets_are_read_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let captures = Captures::of(directory.path());
        let offence = offence("acme", "192.0.2.1/32", 0);
        let name = captures.write(&offence).unwrap().unwrap();
        assert_eq!(names(directory.path()), [name.as_str()]);
        let mut capture = Capture::open(&captures.path(&name)).unwrap();
        for frame in &offence.frames {
            let packet = capture.next_packet().unwrap().unwrap();
            assert_eq!(packet.link_type, 1);
            assert_eq!(packet.at_ns, Some(u64::try_from(frame.at.as_nanosecond()).unwrap()));
            assert_eq!(packet.wire_bytes, frame.length_bytes as usize);
            assert_eq!(packet.captured, frame.bytes);
        }
        assert!(capture.next_packet().unwrap().is_none());
        let none = Offence { frames: Vec::new(), ..offence };
        assert_eq!(captures.write(&none).unwrap(), None);
    }

    #[test]
    fn what_is_too_old_or_too_much_is_removed_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let captures = Captures::of(directory.path());
        let no_limit = EvidenceLimits { max_bytes: u64::MAX, keep: Duration::from_secs(3_600) };
        captures.prune(no_limit, SystemTime::now()).unwrap();

        let written: Vec<_> = (0..4)
            .map(|second| captures.write(&offence("acme", "192.0.2.1/32", second)).unwrap().unwrap())
            .collect();
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let age = |name: &str, seconds| {
            let file = File::options().write(true).open(captures.path(name)).unwrap();
            file.set_modified(mtime - Duration::from_secs(seconds)).unwrap();
        };
        age(&written[0], 3_601);
        written[1..].iter().for_each(|name| age(name, 60));
        fs::write(captures.path("crashed.partial"), "half").unwrap();
        fs::write(captures.path("README"), "somebody's").unwrap();
        captures.prune(no_limit, mtime).unwrap();
        assert_eq!(names(directory.path()), [&written[1], &written[2], &written[3], "README"]);

        let one = fs::metadata(captures.path(&written[3])).unwrap().len();
        captures.prune(EvidenceLimits { max_bytes: one * 2, ..no_limit }, mtime).unwrap();
        assert_eq!(names(directory.path()), [&written[2], &written[3], "README"]);
    }
}
