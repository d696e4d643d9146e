//! Datagrams that go on and on while something else happens.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::namespace::Namespace;
use crate::run::wait_for;

/// Datagrams of 18 bytes on several flows, as many on each, until stopped.
pub struct Flows {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Shared {
    /// On each flow.
    sent: AtomicU64,
    is_over: AtomicBool,
}

impl Flows {
    /// Starts them: from where, to where.
    pub fn start(flows: &[(&Namespace, SocketAddr)]) -> Result<Self> {
        let socket = |(from, to): &(&Namespace, SocketAddr)| -> Result<UdpSocket> {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = from.enter(|| UdpSocket::bind(any))??;
            socket.connect(to).with_context(|| format!("a route to {to}"))?;
            Ok(socket)
        };
        let sockets = flows.iter().map(socket).collect::<Result<Vec<_>>>()?;
        let shared = Arc::<Shared>::default();
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || send(&sockets, &shared)
        });
        Ok(Self { shared, sender: Some(sender) })
    }

    /// Datagrams so far, on each flow.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Returns once there have been many under the conditions of the moment.
    pub fn wait_for_more(&self) -> Result<()> {
        let before = self.sent();
        let more = || (self.sent() >= before + 100).then_some(());
        wait_for("a hundred datagrams", Duration::from_secs(30), more)
    }

    /// Stops them, and returns how many there were on each.
    ///
    /// # Errors
    /// If one could not be sent.
    pub fn stop(mut self) -> Result<u64> {
        self.end()?;
        Ok(self.sent())
    }

    fn end(&mut self) -> Result<()> {
        self.shared.is_over.store(true, Ordering::Release);
        let Some(sender) = self.sender.take() else { return Ok(()) };
        sender.join().map_err(|_| anyhow!("the sender of datagrams fell over"))?
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// Some hundred a second: few enough for any cap, and many in any gap.
fn send(sockets: &[UdpSocket], shared: &Shared) -> Result<()> {
    while !shared.is_over.load(Ordering::Acquire) {
        for socket in sockets {
            socket.send(&[0; 18]).with_context(|| format!("sending by {socket:?}"))?;
        }
        shared.sent.fetch_add(1, Ordering::Release);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
