//! Signals to the service.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What the operator (or systemd) asks by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: leave in order.
    Stop,
}

/// Takes over SIGHUP, SIGTERM and SIGINT for the rest of the process's life: one that comes during the
/// start or the stop is kept or ignored, and never kills.
pub fn signals() -> std::io::Result<mpsc::Receiver<Signal>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Signals that come faster than they are served are one.
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = hangup.recv() => Signal::Reload,
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
            };
            let _ = sender.try_send(signal);
        }
    });
    Ok(receiver)
}
