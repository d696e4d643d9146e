//! What the XDP programs and the controller share: the ABI, and the pure logic of the data plane.
//!
//! Builds for the kernel (`bpfel-unknown-none`) and for the host, where it is tested.
#![no_std]

mod reason;

pub use reason::{DropReason, REASON_SLOTS};
