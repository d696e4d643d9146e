//! Small damage to frames: what a parser that trusts too much would stumble over.

use fastrand::Rng;

/// Shortest frame that the kernel runs, and longest that is made here.
const LENGTHS: std::ops::RangeInclusive<usize> = 14..=9_018;

/// Headers lie in the first bytes; damage elsewhere changes nothing but lengths.
const HEADERS: usize = 100;

/// Protocol numbers, header lengths, versions, flags.
const BYTES: [u8; 20] =
    [0, 1, 4, 5, 6, 17, 25, 41, 43, 44, 50, 51, 58, 60, 0x45, 0x4f, 0x60, 0x80, 0xfe, 0xff];

/// Ports, EtherTypes, fragment words, lengths.
const WORDS: [u16; 16] =
    [0, 1, 8, 20, 23, 25, 465, 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x2000, 0x05dc, 0xffff];

/// Damages a frame in one to four ways; `other` is one to take parts of.
pub(crate) fn mutate(rng: &mut Rng, frame: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.u8(1..=4) {
        let at = rng.usize(..frame.len().min(HEADERS));
        match rng.u8(..16) {
            0..6 => frame[at] ^= 1 << rng.u8(..8),
            6..9 => frame[at] = BYTES[rng.usize(..BYTES.len())],
            9..11 => {
                // Fields of two bytes begin at even places in all headers.
                let at = (at & !1).min(frame.len() - 2);
                let word = WORDS[rng.usize(..WORDS.len())];
                frame[at..at + 2].copy_from_slice(&word.to_be_bytes());
            }
            11 => frame.truncate(rng.usize(..=frame.len())),
            12 => frame.extend((0..rng.usize(..64)).map(|_| rng.u8(..))),
            13 => {
                frame.truncate(at);
                frame.extend(other.get(at..).unwrap_or_default());
            }
            14 => {
                let repeated = frame[at..frame.len().min(at + rng.usize(..24))].to_vec();
                frame.splice(at..at, repeated);
            }
            _ => {
                let after_addresses = 12.min(frame.len());
                frame.splice(after_addresses..after_addresses, [0x81, 0x00, rng.u8(..), rng.u8(..)]);
            }
        }
        frame.truncate(*LENGTHS.end());
        frame.resize(frame.len().max(*LENGTHS.start()), 0);
    }
}
