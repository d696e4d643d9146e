//! Datagrams at a steady rate, whatever becomes of them.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::namespace::Namespace;

/// Headers of Ethernet, IPv4 and UDP.
const HEADERS_BYTES: usize = 42;
const TICK: Duration = Duration::from_millis(1);
/// A sender that got no processor time catches up with so much of it.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Datagrams to one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) payload_bytes: usize,
    /// Of frames.
    pub(super) bytes_per_sec: f64,
}

/// Running senders, one thread for all.
pub(super) struct Blast {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Blast {
    /// Starts to send from `namespace`.
    pub(super) fn start(namespace: &Namespace, streams: &[Stream]) -> Result<Self> {
        let open = |stream: &Stream| -> Result<(UdpSocket, Stream)> {
            let socket =
                namespace.enter(|| UdpSocket::bind(stream.from))?.context("a socket for datagrams")?;
            socket.connect(stream.to)?;
            socket.set_nonblocking(true)?;
            Ok((socket, *stream))
        };
        let streams: Vec<_> = streams.iter().map(open).collect::<Result<_>>()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("blast".to_owned()).spawn({
            let is_over = Arc::clone(&is_over);
            move || send(&streams, &is_over)
        })?;
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Ends it.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.is_over.store(true, Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the sender of datagrams fell over"))?
    }
}

impl Drop for Blast {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("datagrams: {error:#}");
        }
    }
}

fn send(streams: &[(UdpSocket, Stream)], is_over: &AtomicBool) -> Result<()> {
    let payload = [0; 1_472];
    let mut owed = vec![0.0; streams.len()];
    let mut before = Instant::now();
    while !is_over.load(Relaxed) && !streams.is_empty() {
        let now = Instant::now();
        let elapsed = (now - before).min(CATCH_UP).as_secs_f64();
        before = now;
        for ((socket, stream), owed) in streams.iter().zip(&mut owed) {
            let frame_bytes = (stream.payload_bytes + HEADERS_BYTES) as f64;
            *owed += elapsed * stream.bytes_per_sec / frame_bytes;
            while *owed >= 1.0 {
                *owed -= 1.0;
                match socket.send(&payload[..stream.payload_bytes]) {
                    Ok(_) => {}
                    // Lost, as datagrams may be.
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("a datagram"),
                }
            }
        }
        thread::sleep(TICK.saturating_sub(now.elapsed()));
    }
    Ok(())
}
