//! The host that a vertical scan would be of.

use bytemuck::{Pod, Zeroable};

use super::window::{WINDOWS_S, Window};

/// The host that most of the late contacts went to, if one has a majority (Boyer, Moore 1981), and the
/// ports of it that were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Candidate {
    /// Hash of the host.
    host: u64,
    votes: u32,
    reserved: u32,
    /// Ports in the shortest window, and in an hour.
    pub ports: [Window; 2],
    /// Ports below 1,024 in the shortest window.
    pub low_ports: Window,
}

/// A candidate keeps its place over at most this many contacts with others.
const MOST_VOTES: u32 = 64;

impl Candidate {
    #[inline(always)]
    pub(super) fn attempt(&mut self, host: u64, port: u16, second: u32) {
        // One that lost its majority is back where it was if it comes next: two hosts in turn are no way
        // round.
        if self.votes == 0 && self.host != host {
            let fresh = Window { start_s: second, attempted: 0, answered: 0, rejected: 0 };
            *self = Self { host, votes: 1, reserved: 0, ports: [fresh; 2], low_ports: fresh };
        } else if self.host == host {
            if self.votes < MOST_VOTES {
                self.votes += 1;
            }
        } else {
            self.votes -= 1;
            return;
        }
        self.ports[0].attempt(WINDOWS_S[0], second);
        self.ports[1].attempt(WINDOWS_S[1], second);
        if port < 1_024 {
            self.low_ports.attempt(WINDOWS_S[0], second);
        }
    }

    #[inline(always)]
    pub(super) fn answer(&mut self, host: u64, port: u16, rejected: bool) {
        if self.host != host {
            return;
        }
        self.ports[0].answer(rejected);
        self.ports[1].answer(rejected);
        if port < 1_024 {
            self.low_ports.answer(rejected);
        }
    }
}
