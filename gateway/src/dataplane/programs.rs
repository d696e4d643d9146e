//! The programs in the object: loaded, and found by their names.

use std::thread;

use aya::Ebpf;
use aya::programs::Xdp;
use gateway_ebpf::abi::program;

use super::error::{DataplaneError, chain};
use crate::config::Side;

/// The program for one side.
pub(super) fn program_of(side: Side) -> &'static str {
    match side {
        Side::Tenant => program::TENANT_SIDE,
        Side::Uplink => program::UPLINK_SIDE,
    }
}

/// Loads the programs of an object at once: to verify one takes the kernel some tenths of a second.
///
/// # Errors
/// If one is missing, or the kernel refuses it.
pub(super) fn load(object: &mut Ebpf) -> Result<(), DataplaneError> {
    for name in [program::TENANT_SIDE, program::UPLINK_SIDE, program::READ_CLOCK] {
        xdp(object, name)?;
    }
    thread::scope(|scope| {
        let loads: Vec<_> = object
            .programs_mut()
            .map(|(name, program)| {
                scope.spawn(move || {
                    <&mut Xdp>::try_from(program)
                        .and_then(Xdp::load)
                        .map_err(|error| not_loaded(name, &error))
                })
            })
            .collect();
        loads.into_iter().try_for_each(|load| match load.join() {
            Ok(loaded) => loaded,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// One program of an object.
pub(super) fn xdp<'o>(object: &'o mut Ebpf, name: &str) -> Result<&'o mut Xdp, DataplaneError> {
    match object.program_mut(name).map(<&mut Xdp>::try_from) {
        Some(Ok(program)) => Ok(program),
        _ => Err(missing(name)),
    }
}

pub(super) fn missing(program: &str) -> DataplaneError {
    DataplaneError::new(
        format!("looking for the program {program}"),
        "not in the object",
        "Build with `cargo xtask build`",
    )
}

pub(super) fn not_loaded(what: &str, error: &dyn std::error::Error) -> DataplaneError {
    DataplaneError::new(
        format!("loading {what} into the kernel"),
        chain(error),
        "Fairway needs root (or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON) and Linux 5.18 or later on x86-64 or arm64",
    )
}
