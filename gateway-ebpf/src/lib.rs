//! What the XDP programs and the controller share: the ABI, and the pure logic of the data plane.
//!
//! Builds for the kernel (`bpfel-unknown-none`) and for the host, where it is tested. A packet takes
//! one path through it, and the modules follow that path:
//!
//! ```text
//! frame -> parse -> lookup (whose is it?) -> restriction, port (may it?) -> policer (does it fit?) -> counters in abi
//! ```
//!
//! Every step that refuses returns a [`DropReason`]; only the entry points of the programs turn that
//! into an XDP verdict and a counter.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
pub mod assignment;
pub mod bounded;
pub mod branchless;
pub mod counter;
pub mod detect;
pub mod forward;
pub mod gcra;
pub mod lookup;
pub mod parse;
pub mod policer;
pub mod port;
mod reason;
pub mod refusal;
pub mod restriction;
pub mod traffic;

pub use reason::{DropReason, REASON_SLOTS};

/// Which way a packet travels, seen from the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the tenant to the Internet.
    Up = 0,
    /// From the Internet to the tenant.
    Down = 1,
}

impl Direction {
    /// Both, in the order of the ABI's arrays.
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// Index into the ABI's arrays of two.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label that metrics and JSON carry.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}
