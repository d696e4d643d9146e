//! What the kernel says about network interfaces, and when it changes.
//!
//! All of it by netlink, which tells of this process's network namespace; sysfs tells of the one that it
//! was mounted in.

mod change;
mod read;
mod watch;
mod xdp;

use std::collections::BTreeSet;

pub use change::{Change, changes};
pub use read::{LinkError, Links, mac_of, name_of};
pub use watch::LinkWatch;
pub use xdp::{CannotForward, can_forward};

use crate::domain::Mode;

/// Features of a driver, by the kernel's names (`ethtool -k` shows some of them under older ones).
pub mod feature {
    /// Takes an 802.1Q tag out of received packets before XDP sees them: `ethtool -K IFACE rxvlan off`.
    pub const RX_VLAN: &str = "rx-vlan-hw-parse";
    /// The same for 802.1ad tags.
    pub const RX_VLAN_STAG: &str = "rx-vlan-stag-hw-parse";
    /// Large receive offload: merges received packets beyond recognition.
    pub const LRO: &str = "rx-lro";
    /// TCP segmentation offload: between virtual interfaces, segments stay whole.
    pub const TSO: &str = "tx-tcp-segmentation";
    /// Leaves the checksums of sent packets to hardware: between virtual interfaces nobody fills them in.
    pub const TX_CHECKSUM: &str = "tx-checksum-ip-generic";
}

/// An interface, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Kernel name.
    pub name: String,
    /// Kernel index: another one whenever the interface is made anew.
    pub ifindex: u32,
    /// Switched on by the administrator.
    pub is_up: bool,
    /// Longest payload of a frame, in bytes.
    pub mtu_bytes: u32,
    /// What kind of virtual interface it is (`veth`, `bond`); none: hardware.
    pub kind: Option<String>,
    /// Driver of its hardware, if it is on a bus.
    pub driver: Option<String>,
    /// Attached XDP programs, whosever they are.
    pub programs: Vec<XdpProgram>,
    /// Features that are on; none: the kernel does not say.
    pub features: Option<BTreeSet<String>>,
}

/// An attached XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Mode it runs in.
    pub mode: Mode,
    /// The kernel's id.
    pub id: u32,
}

impl Link {
    /// Whether a feature is known to be on.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.as_ref().is_some_and(|features| features.contains(feature))
    }

    /// What moves its packets: the driver, else the kind of virtual interface.
    #[must_use]
    pub fn driver_or_kind(&self) -> &str {
        self.driver.as_deref().or(self.kind.as_deref()).unwrap_or("unknown")
    }
}
