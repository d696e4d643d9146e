//! Attaching the programs to interfaces, and what keeps them there.
//!
//! Each interface has one BPF link (Linux 5.9), pinned: it outlives the controller, and the next one
//! replaces the program in it without a gap.

use std::fs;
use std::io;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use super::attachment::Target;
use super::error::{DataplaneError, chain};
use super::pins::{LinkPin, Pins, mode_name};
use crate::config::{Interface, Mode};

/// The kernel's index of a named interface.
pub(super) fn ifindex(interface: &Interface) -> Result<u32, DataplaneError> {
    nix::net::if_::if_nametoindex(interface.name.as_str()).map_err(|error| {
        DataplaneError::new(
            format!("looking for interface {} ({})", interface.name, interface.place),
            error,
            "`ip link` lists the interfaces; correct its name in the config or create it first",
        )
    })
}

/// Puts `program` on an interface: into the link that is pinned for it, else into a new one. Says
/// whether the link is new.
pub(super) fn attach(program: &mut Xdp, pins: &Pins, target: &Target) -> Result<bool, DataplaneError> {
    let Target { interface, ifindex } = target;
    let pin = pins.link(*ifindex, interface.mode);
    if pin.path.exists() {
        if replace(program, &pin)? {
            return Ok(false);
        }
        // The interface it was made for is gone, and so is the link; the pin is an empty shell.
        remove(&pin)?;
    }
    // An interface runs one program, in one mode (dev_xdp_attach in net/core/dev.c).
    for other in pins.links()?.iter().filter(|other| other.ifindex == *ifindex) {
        remove(other)?;
    }
    let mode = match interface.mode {
        Mode::Native => XdpMode::Driver,
        Mode::Generic => XdpMode::Skb,
        Mode::Offload => XdpMode::Hardware,
    };
    let id = program.attach_to_if_index(*ifindex, mode).map_err(|error| cannot_attach(interface, &error))?;
    let link: Result<FdLink, _> =
        program.take_link(id).map_err(|error| cannot_attach(interface, &error))?.try_into();
    // Dropping an unpinned link detaches it.
    let link = link.map_err(|error| cannot_attach(interface, &error))?;
    link.pin(&pin.path).map_err(|error| cannot_attach(interface, &error))?;
    Ok(true)
}

/// Replaces the program in a pinned link; `false` if the link is dead.
fn replace(program: &mut Xdp, pin: &LinkPin) -> Result<bool, DataplaneError> {
    let cannot = |error: &dyn std::error::Error| {
        DataplaneError::new(
            format!("replacing the program pinned at {}", pin.path.display()),
            chain(error),
            "The program that is there goes on policing",
        )
    };
    let pinned = PinnedLink::from_pin(&pin.path).map_err(|error| cannot(&error))?;
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|error| cannot(&error))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            // Closes this handle; the pin keeps the link.
            drop(program.take_link(id).map_err(|error| cannot(&error))?);
            Ok(true)
        }
        // ENOLINK: its interface is gone (bpf_xdp_link_update in net/core/dev.c).
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOLINK) => {
            Ok(false)
        }
        Err(error) => Err(cannot(&error)),
    }
}

/// Detaches what a pin holds, by removing it.
pub(super) fn remove(pin: &LinkPin) -> Result<(), DataplaneError> {
    match fs::remove_file(&pin.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataplaneError::new(
            format!("removing the pin {}", pin.path.display()),
            error,
            "Remove it by hand as root to stop policing there",
        )),
        _ => Ok(()),
    }
}

fn cannot_attach(interface: &Interface, error: &dyn std::error::Error) -> DataplaneError {
    let cause = chain(error);
    let remedy = match interface.mode {
        // EBUSY: in the same mode; EEXIST: in the other one (dev_xdp_attach in net/core/dev.c).
        _ if cause.contains("(os error 16)") || cause.contains("(os error 17)") => {
            "Another XDP program is attached there: `ip link show` names it, `ip link set dev IFACE xdp off` removes it"
        }
        Mode::Native => {
            "The driver may have no XDP, too large an MTU for it, or LRO switched on; `mode = \"generic\"` works with \
             every driver, more slowly"
        }
        Mode::Generic => "LRO must be off: `ethtool -K IFACE lro off`",
        Mode::Offload => "Few cards can run these programs; use `mode = \"native\"`",
    };
    DataplaneError::new(
        format!(
            "attaching to {} in {} mode ({})",
            interface.name,
            mode_name(interface.mode),
            interface.place
        ),
        cause,
        remedy.replace("IFACE", &interface.name),
    )
}
