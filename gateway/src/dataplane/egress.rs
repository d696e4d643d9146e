//! Where the programs may send packets out of, past the router's stack (`forwarding = "xdp"`).
//!
//! An interface is among these only while it has been seen to take frames from XDP programs: the kernel drops
//! what is sent to another. What would leave by any other goes to the stack.

use std::io;

use aya::maps::{DevMapHash, Map, MapData, MapError};
use gateway_ebpf::abi::map;

use super::error::{DataplaneError, chain};
use crate::config::Interface;
use crate::link::can_forward;

/// The device map.
pub(super) struct Egress(DevMapHash<MapData>);

impl Egress {
    pub(super) fn new(map: Map) -> Result<Self, DataplaneError> {
        DevMapHash::try_from(map).map(Self).map_err(|error| {
            DataplaneError::new(
                format!("opening the table {}", map::EGRESS),
                chain(&error),
                "Build with `cargo xtask build`",
            )
        })
    }

    /// Lets the programs send out of an interface, if it can.
    ///
    /// # Errors
    /// If it cannot, with what it lacks: then they do not.
    pub(super) fn open(&mut self, interface: &Interface, ifindex: u32) -> Result<(), DataplaneError> {
        if let Err(error) = can_forward(ifindex) {
            self.close(ifindex);
            return Err(cannot(interface, &error, error.remedy()));
        }
        self.0
            .insert(ifindex, ifindex, None, 0)
            .map_err(|error| cannot(interface, chain(&error), "If the kernel is short of memory, free some"))
    }

    /// Sees whether the programs still can send out of an interface, or can by now, and tells of a change. Policing goes
    /// on either way.
    pub(super) fn follow(&mut self, interface: &Interface, ifindex: u32, is_new: bool) {
        let was_open = self.0.get(ifindex, 0).is_ok();
        match self.open(interface, ifindex) {
            Ok(()) if !was_open => {
                tracing::info!(interface = interface.name, "packets are forwarded there by XDP")
            }
            Err(error) if was_open || is_new => {
                tracing::warn!(%error, "the stack forwards what would leave there")
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Lets the programs send out of it no more.
    pub(super) fn close(&mut self, ifindex: u32) {
        match self.0.remove(ifindex) {
            Ok(()) => {}
            // It never was among them, or the kernel took it out when it vanished (`dev_map_notification`).
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(ifindex, error = %chain(&error), "cannot end forwarding to an interface")
            }
        }
    }

    /// Forgets every interface but these.
    pub(super) fn close_except(&mut self, ifindexes: &[u32]) {
        let known: Vec<u32> = self.0.keys().filter_map(Result::ok).collect();
        known.into_iter().filter(|known| !ifindexes.contains(known)).for_each(|other| self.close(other));
    }
}

fn cannot(interface: &Interface, cause: impl std::fmt::Display, remedy: &str) -> DataplaneError {
    DataplaneError::new(
        format!("forwarding by XDP on interface {} ({})", interface.name, interface.place),
        cause,
        remedy,
    )
}
