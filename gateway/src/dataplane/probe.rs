//! Whether this kernel can run the data plane, found out by doing it where it touches nothing.

use aya::programs::XdpMode;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLink;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::capacity::Capacity;
use super::clock::ProgramClock;
use super::engine::Engine;
use super::error::{DataplaneError, chain};
use crate::config::{Forwarding, Side};

/// The kernel gives every new network namespace its loopback interface first.
const LOOPBACK: u32 = 1;

/// What came of a [`probe`] that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The programs run as machine code, not interpreted.
    pub jitted: bool,
    /// They were attached by BPF link, too; this needs CAP_SYS_ADMIN to make a network namespace.
    pub attached: bool,
}

/// Loads the real programs over the smallest tables, attaches one to the loopback interface of a network
/// namespace made for it, and lets go of everything.
///
/// # Errors
/// What `fairway run` would fail with.
pub fn probe() -> Result<Probed, DataplaneError> {
    let mut engine =
        Engine::load(Capacity::smallest(possible_cpus()?), Forwarding::Stack, ProgramClock::Kernel, None)?;
    let info = engine.program(Side::Tenant)?.info();
    let jitted = info.map_err(|error| refused("describing a loaded program", &error))?.size_jitted() > 0;
    // A thread of its own takes the namespace with it when it ends.
    let attached = std::thread::spawn(move || attach_in_new_namespace(&mut engine)).join();
    let attached = attached.unwrap_or_else(|_| {
        Err(DataplaneError::new("attaching a program", "the attempt crashed", "This is a bug; report it"))
    })?;
    Ok(Probed { jitted, attached })
}

fn attach_in_new_namespace(engine: &mut Engine) -> Result<bool, DataplaneError> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => return Ok(false),
        made => made.map_err(|error| refused("making a network namespace", &error))?,
    }
    let cannot = |error: &dyn std::error::Error| refused("attaching a program by BPF link", error);
    let program = engine.program(Side::Tenant)?;
    let id = program.attach_to_if_index(LOOPBACK, XdpMode::Skb).map_err(|error| cannot(&error))?;
    let link: XdpLink = program.take_link(id).map_err(|error| cannot(&error))?;
    // Before Linux 5.9 there are no links, and nothing would outlive the controller.
    FdLink::try_from(link).map(|_| true).map_err(|error| cannot(&error))
}

/// Possible CPUs: what the kernel may ever bring online.
///
/// # Errors
/// If sysfs does not tell.
pub fn possible_cpus() -> Result<u32, DataplaneError> {
    aya::util::nr_cpus().map(|cpus| cpus as u32).map_err(|(path, error)| {
        DataplaneError::new(format!("counting CPUs in {path}"), error, "Mount sysfs on /sys")
    })
}

fn refused(what: &str, error: &dyn std::error::Error) -> DataplaneError {
    DataplaneError::new(what, chain(error), "Fairway needs root, and a kernel that is not locked down")
}
