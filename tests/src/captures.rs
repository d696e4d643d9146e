//! Captures that others published, if they lie beside the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use gateway::replay;

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
    let Ok(mut capture) = replay::Capture::open(path) else { return Vec::new() };
    let mut frames = Vec::new();
    while let Ok(Some(packet)) = capture.next_packet() {
        // Without a time, it comes first.
        let at_ns = packet.at_ns.unwrap_or(0);
        frames.extend(as_ethernet(packet.link_type, packet.captured).map(|frame| (at_ns, frame)));
    }
    frames
}

/// A frame of Ethernet or, with a header made up for it, of bare IP; none of other links.
fn as_ethernet(link_type: u16, captured: &[u8]) -> Option<Vec<u8>> {
    // LINKTYPE_ numbers (draft-ietf-opsawg-pcaplinktype).
    match link_type {
        1 => Some(captured.to_vec()),
        101 | 228 | 229 => {
            let kind = if captured.first()? >> 4 == 6 { number::IPV6 } else { number::IPV4 };
            Some(ethernet(&[], kind, captured))
        }
        _ => None,
    }
}
