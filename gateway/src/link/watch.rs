//! Notices that interfaces changed.
//!
//! A notice says only that something did: whoever gets one looks at the interfaces as they are then. So
//! messages that the kernel dropped in a storm, or that came while nobody listened, do no harm.

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Time before a socket that failed is opened again.
const REOPEN: Duration = Duration::from_secs(10);

/// Watches every interface of the network namespace.
pub struct LinkWatch {
    changes: mpsc::Receiver<()>,
}

impl LinkWatch {
    /// Begins to watch. The first notice comes at once: what happened before is unknown.
    #[must_use]
    pub fn start() -> Self {
        // One change that waits is as good as many.
        let (changed, changes) = mpsc::channel(1);
        tokio::spawn(watch(changed));
        Self { changes }
    }

    /// Waits for a change; nothing is lost if the wait is given up.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

async fn watch(changed: mpsc::Sender<()>) {
    while !changed.is_closed() {
        match subscribe() {
            Ok((_requests, mut messages)) => {
                // Nobody told of what happened before.
                let _ = changed.try_send(());
                while messages.next().await.is_some() && !changed.is_closed() {
                    let _ = changed.try_send(());
                }
            }
            Err(error) => tracing::warn!(%error, "cannot watch interfaces; trying again"),
        }
        sleep(REOPEN).await;
    }
}

/// The connection lives while one can make requests of it.
fn subscribe() -> io::Result<(Handle, impl Stream)> {
    let (connection, requests, messages) = new_multicast_connection(&[MulticastGroup::Link])?;
    tokio::spawn(connection);
    Ok((requests, messages))
}
