//! The programs in the object: loaded, and found by their names.

use std::error::Error;
use std::{io, thread};

use aya::Ebpf;
use aya::programs::{ProgramError, Xdp};
use gateway_ebpf::abi::program;

use super::error::{DataplaneError, chain};
use super::kernel;
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

/// What the kernel said to an attempt to load something, and what that calls for.
pub(super) fn not_loaded(what: &str, error: &(dyn Error + 'static)) -> DataplaneError {
    let release = kernel::release();
    DataplaneError::new(
        format!("loading {what} into the kernel (Linux {release})"),
        chain(error),
        remedy(os_error(error)),
    )
}

/// The number of the system error among the causes.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut causes = std::iter::successors(Some(error), |error| Error::source(*error));
    causes.find_map(|cause| {
        // aya 0.14 shows this one as if it were the system error itself, which then is no cause of its own.
        let plain = match cause.downcast_ref::<ProgramError>() {
            Some(ProgramError::IOError(error)) => Some(error),
            _ => cause.downcast_ref::<io::Error>(),
        };
        plain?.raw_os_error()
    })
}

fn remedy(os_error: Option<i32>) -> String {
    match os_error {
        Some(libc::EPERM) => {
            "Fairway needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a kernel that is not locked down".into()
        }
        // Its verifier refuses with these: an access it cannot prove, an instruction, more work than it does.
        Some(libc::EACCES | libc::EINVAL | libc::E2BIG) => format!(
            "The kernel cannot follow the programs, which is a defect of Fairway: please report these lines and the \
             kernel's release. Fairway was tried on Linux {}",
            kernel::tried_phrase()
        ),
        _ => format!(
            "If the kernel is one of Linux {}, on which Fairway was tried, please report this",
            kernel::tried_phrase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_advised_on_by_its_cause() {
        let advice = |code| {
            let error = io::Error::from_raw_os_error(code);
            not_loaded("tenant_side", &ProgramError::IOError(error)).to_string()
        };
        assert!(advice(libc::EPERM).contains("needs root"));
        assert!(advice(libc::ENOMEM).contains("Memory is short"));
        for refused in [libc::EACCES, libc::EINVAL, libc::E2BIG] {
            let advice = advice(refused);
            assert!(advice.contains("please report") && !advice.contains("needs root"), "{advice}");
        }
    }
}
