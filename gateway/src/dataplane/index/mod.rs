//! Builders of the lookup tables that `gateway_ebpf::lookup` reads.

mod v4;
mod v6;

pub(super) use v4::build as build_v4;
pub(super) use v6::{Table as V6Table, build as build_v6};
