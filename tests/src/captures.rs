//! Captures that others published, if they lie beside the workspace.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::frames::{ethernet, number};

/// Frames of one capture, as far as it can be read.
#[derive(Clone, Debug)]
pub struct Capture {
    /// Its file, relative to [`directory`].
    pub name: String,
    /// Frames with their times, in nanoseconds since 1970.
    pub frames: Vec<(u64, Vec<u8>)>,
}

/// Where captures are looked for: `FAIRWAY_PCAPS`, or a directory beside the workspace.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("FAIRWAY_PCAPS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps"), PathBuf::from)
}

/// All captures, by name; none if there is no such directory.
#[must_use]
pub fn all() -> Option<Vec<Capture>> {
    let root = directory();
    let mut directories = vec![root.clone()];
    let mut captures = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).ok()?.filter_map(Result::ok) {
            let path = entry.path();
            let is_capture = path
                .extension()
                .is_some_and(|extension| ["pcap", "pcapng", "cap"].iter().any(|known| extension == *known));
            if path.is_dir() {
                directories.push(path);
            } else if is_capture {
                let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                captures.push(Capture { name, frames: read(&path) });
            }
        }
    }
    captures.sort_by(|a, b| a.name.cmp(&b.name));
    Some(captures)
}

/// The frames up to the end, or to what cannot be read: broken captures are welcome as they are.
fn read(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut magic = [0; 4];
    let is_next_generation = File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == [0x0a, 0x0d, 0x0d, 0x0a];
    let Ok(file) = File::open(path).map(BufReader::new) else { return Vec::new() };
    if is_next_generation { read_pcapng(file) } else { read_pcap(file) }
}

fn read_pcap(file: BufReader<File>) -> Vec<(u64, Vec<u8>)> {
    let Ok(mut reader) = PcapReader::new(file) else { return Vec::new() };
    let link = reader.header().datalink;
    let mut frames = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        let at_ns = packet.timestamp.as_nanos() as u64;
        frames.extend(as_ethernet(link, &packet.data).map(|frame| (at_ns, frame)));
    }
    frames
}

fn read_pcapng(file: BufReader<File>) -> Vec<(u64, Vec<u8>)> {
    let Ok(mut reader) = PcapNgReader::new(file) else { return Vec::new() };
    let (mut links, mut frames) = (Vec::new(), Vec::new());
    while let Some(Ok(block)) = reader.next_block() {
        match block {
            Block::SectionHeader(_) => links.clear(),
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                let Some(link) = links.get(packet.interface_id as usize) else { continue };
                let at_ns = packet.timestamp.as_nanos() as u64;
                frames.extend(as_ethernet(*link, &packet.data).map(|frame| (at_ns, frame)));
            }
            _ => {}
        }
    }
    frames
}

/// A frame of Ethernet or, with a header made up for it, of bare IP; none of other links.
fn as_ethernet(link: DataLink, data: &[u8]) -> Option<Vec<u8>> {
    match link {
        DataLink::ETHERNET => Some(data.to_vec()),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => {
            let kind = if data.first()? >> 4 == 6 { number::IPV6 } else { number::IPV4 };
            Some(ethernet(&[], kind, data))
        }
        _ => None,
    }
}
