//! `fairway detach`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::output::json;
use super::{CommandError, ConfigArgs, block_on, path_by};
use crate::config;
use crate::control::Client;
use crate::control::api::{Status, VERSION};
use crate::dataplane::Dataplane;

#[derive(Debug, Args)]
pub(super) struct DetachArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Detach what is pinned here, without reading a configuration
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pin_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An emergency may well have begun with a mistake in the configuration.
const WITHOUT_CONFIG: &str = "the configuration says what to detach, and cannot be read. To switch policing off without \
it: fairway detach --pin-dir /sys/fs/bpf/fairway/NAME (or what gateway.pin_dir says)";

/// What `--json` prints.
#[derive(Serialize)]
struct Detached {
    version: u32,
    /// Interfaces that were policed.
    interfaces: Vec<String>,
    /// A controller that still runs.
    controller_pid: Option<u32>,
}

pub(super) fn detach(args: &DetachArgs) -> Result<(), CommandError> {
    let (interfaces, controller_pid) = match &args.pin_dir {
        Some(pin_dir) => (Dataplane::detach_pinned(pin_dir)?, None),
        None => {
            let file = &args.config.config;
            let pin_dir = path_by(file, |paths| paths.pin_dir);
            let interfaces =
                Dataplane::detach_pinned(&pin_dir.inspect_err(|_| eprintln!("{WITHOUT_CONFIG}\n"))?)?;
            // Without one, there is nobody to ask.
            let status = config::locate(file)
                .control_socket
                .and_then(|socket| block_on(Client::new(&socket).get::<Status>("/v1/status")).ok());
            (interfaces, status.map(|status| status.pid))
        }
    };
    if args.json {
        return Ok(json(&Detached { version: VERSION, interfaces, controller_pid })?);
    }
    match interfaces.as_slice() {
        [] => eprintln!("nothing was attached"),
        names => eprintln!("policing is off on {}: all traffic flows", names.join(", ")),
    }
    if let Some(pid) = controller_pid {
        eprintln!(
            "the controller (pid {pid}) still runs. Restart it to police again, or stop it: systemctl stop fairway"
        );
    }
    Ok(())
}
