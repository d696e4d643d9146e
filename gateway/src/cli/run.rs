//! `fairway run`.

use std::time::Duration;

use clap::Args;

use super::{CommandError, ConfigArgs, log::LogArgs};
use crate::dataplane::{Dataplane, Plane};
use crate::run;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Time for work under way when everything else has ended; only crashed or hanging work needs it.
const LEFTOVERS: Duration = Duration::from_secs(1);

pub(super) fn run(args: &RunArgs) -> Result<(), CommandError> {
    args.log.start();
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(async {
        let signals = run::signals()?;
        let start = |policy: &_, foreign| Ok(Box::new(Dataplane::start(policy, foreign)?) as Box<dyn Plane>);
        run::run(&args.config.config, start, signals).await.map_err(CommandError::from)
    });
    runtime.shutdown_timeout(LEFTOVERS);
    match ended {
        Err(error) if LogArgs::takes_errors() => {
            tracing::error!("{error}");
            Err(CommandError::Reported)
        }
        ended => ended,
    }
}
