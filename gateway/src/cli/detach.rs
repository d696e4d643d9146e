//! `fairway detach`.

use clap::Args;
use serde::Serialize;

use super::output::json;
use super::{CommandError, ConfigArgs, block_on, load};
use crate::control::Client;
use crate::control::api::{Status, VERSION};
use crate::dataplane::Dataplane;

#[derive(Debug, Args)]
pub(super) struct DetachArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An emergency may well have begun with a mistake in the configuration.
const WITHOUT_CONFIG: &str = "the configuration says what to detach, and cannot be read. To switch policing off without \
it: systemctl stop fairway; rm -r /sys/fs/bpf/fairway (or gateway.pin_dir)";

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
    let loaded = load(&args.config.config).inspect_err(|_| eprintln!("{WITHOUT_CONFIG}\n"));
    let config = loaded?.config;
    let interfaces = Dataplane::detach_pinned(&config)?;
    let controller = block_on(Client::new(&config.gateway.control_socket).get::<Status>("/v1/status"));
    let controller_pid = controller.ok().map(|status| status.pid);
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
