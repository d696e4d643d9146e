//! What the kernel's verifier says of its own work.

use aya::VerifierLogLevel;
use aya::programs::ProgramError;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::clock::ProgramClock;
use super::engine::{Engine, capacity_for, object};
use super::error::DataplaneError;
use super::programs::{not_loaded, program_of, xdp};
use crate::config::Side;
use crate::policy::Effective;

impl Engine {
    /// The verifier's statistics of each side's program, as its log words them.
    ///
    /// aya shows the log only of a program that is refused. So each is refused after it was verified: where the process may
    /// open no file, there is no descriptor for it. Nothing else in the process may need one meanwhile.
    ///
    /// # Errors
    /// If the kernel refuses the tables, or a program for another reason.
    pub fn verifier_statistics(policy: &Effective) -> Result<Vec<(Side, String)>, DataplaneError> {
        let forwarding = policy.config().gateway.forwarding;
        let mut object =
            object(&capacity_for(policy)?, forwarding, ProgramClock::Kernel, None, VerifierLogLevel::STATS)?;
        let statistics = [Side::Tenant, Side::Uplink].map(|side| {
            let name = program_of(side);
            let program = xdp(&mut object, name)?;
            match without_descriptors(|| program.load())? {
                Err(ProgramError::LoadError { io_error, verifier_log })
                    if io_error.raw_os_error() == Some(libc::EMFILE) =>
                {
                    Ok((side, verifier_log.to_string()))
                }
                Err(error) => Err(not_loaded(name, &error)),
                Ok(()) => Err(not_loaded(name, &std::io::Error::other("there was a descriptor for it"))),
            }
        });
        statistics.into_iter().collect()
    }
}

/// Does something while the process may open no file.
fn without_descriptors<T>(act: impl FnOnce() -> T) -> Result<T, DataplaneError> {
    let failed = |error| DataplaneError::new("limiting open files", error, "Run it as root");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).map_err(failed)?;
    let done = act();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(failed)?;
    Ok(done)
}
