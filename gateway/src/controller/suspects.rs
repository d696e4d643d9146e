//! Packets of suspects, kept for a while: the evidence, should an offence come of it.

use std::collections::{HashMap, VecDeque};

use ipnetwork::IpNetwork;
use jiff::{SignedDuration, Timestamp};

use super::Headers;
use crate::dataplane::PacketSample;
use crate::detect::{Frame, source_of};

/// Packets of one source that are kept: the first, and as many of the last.
const FIRST: usize = 16;
const LAST: usize = 16;
/// Sources whose packets are kept: 32 packets of at most 128 bytes each, so 8 MiB at most.
const SOURCES: usize = 2_048;

/// The packets, by source.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_source: HashMap<IpNetwork, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    first: Vec<Frame>,
    last: VecDeque<Frame>,
}

impl Kept {
    fn latest(&self) -> Option<Timestamp> {
        self.last.back().or(self.first.last()).map(|frame| frame.at)
    }
}

impl Suspects {
    /// Packets older than the longest window in which little happens are not of the same story.
    pub(super) const KEPT: SignedDuration = SignedDuration::from_hours(1);

    pub(super) fn add(&mut self, at: Timestamp, packet: PacketSample) {
        let Some(source) = Headers::read(&packet.head, packet.frame_bytes).source.map(source_of) else {
            return;
        };
        // A new one must wait until others are forgotten: what led to an offence is worth more.
        if self.by_source.len() >= SOURCES && !self.by_source.contains_key(&source) {
            return;
        }
        let kept = self.by_source.entry(source).or_default();
        let frame = Frame { at, bytes: packet.head, length_bytes: packet.frame_bytes };
        if kept.first.len() < FIRST {
            kept.first.push(frame);
        } else {
            if kept.last.len() == LAST {
                kept.last.pop_front();
            }
            kept.last.push_back(frame);
        }
    }

    /// Forgets sources that made no contact since then.
    pub(super) fn forget_before(&mut self, then: Timestamp) {
        self.by_source.retain(|_, kept| kept.latest().is_some_and(|latest| latest >= then));
    }

    /// The packets of a source, the oldest first.
    pub(super) fn frames(&self, source: Option<IpNetwork>) -> Vec<Frame> {
        let kept = source.and_then(|source| self.by_source.get(&source));
        kept.map_or_else(Vec::new, |kept| kept.first.iter().chain(&kept.last).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::at;

    fn packet(source: [u8; 4], mark: u8) -> PacketSample {
        let mut head = vec![0; 14 + 20 + 20];
        head[12..14].copy_from_slice(&[0x08, 0x00]);
        head[14] = 0x45;
        head[16..18].copy_from_slice(&40_u16.to_be_bytes());
        head[22..24].copy_from_slice(&[64, 6]);
        head[26..30].copy_from_slice(&source);
        head[30..34].copy_from_slice(&[192, 0, 2, mark]);
        head[46] = 0x50;
        PacketSample { ifindex: 1, frame_bytes: 54, head }
    }

    #[test]
    fn the_first_and_the_last_of_each_source_are_kept_for_a_while() {
        let mut suspects = Suspects::default();
        for n in 0..100 {
            suspects.add(at(i64::from(n)), packet([203, 0, 113, 5], n));
        }
        suspects.add(at(5), packet([203, 0, 113, 6], 0));
        let marks = |suspects: &Suspects, source: &str| -> Vec<u8> {
            let frames = suspects.frames(Some(source.parse().unwrap()));
            frames.iter().map(|frame| frame.bytes[33]).collect()
        };
        let expected: Vec<u8> = (0..16).chain(84..100).collect();
        assert_eq!(marks(&suspects, "203.0.113.5/32"), expected);
        assert_eq!(marks(&suspects, "203.0.113.6/32"), [0]);
        suspects.forget_before(at(50));
        assert_eq!(marks(&suspects, "203.0.113.5/32").len(), 32);
        assert!(marks(&suspects, "203.0.113.6/32").is_empty() && suspects.frames(None).is_empty());
    }
}
