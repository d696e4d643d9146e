//! Lines for systemd's journal, each with its priority in front (sd-daemon(3)).

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Whether stderr leads to the journal, as systemd.exec(5) has programs find it out.
pub(super) fn reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// Makes a writer for each event.
pub(super) struct Stderr;

/// Writes an event, which tracing-subscriber hands over whole.
pub(super) struct Prioritised<W> {
    priority: u8,
    to: W,
}

impl MakeWriter<'_> for Stderr {
    type Writer = Prioritised<io::Stderr>;

    fn make_writer(&self) -> Self::Writer {
        Prioritised { priority: priority(Level::INFO), to: io::stderr() }
    }

    fn make_writer_for(&self, event: &Metadata<'_>) -> Self::Writer {
        Prioritised { priority: priority(*event.level()), to: io::stderr() }
    }
}

/// syslog(3)'s number of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl<W: Write> Write for Prioritised<W> {
    /// Every line is an entry of its own in the journal.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut lines = Vec::with_capacity(event.len() + 16);
        for line in event.split_inclusive(|byte| *byte == b'\n') {
            lines.extend_from_slice(format!("<{}>", self.priority).as_bytes());
            lines.extend_from_slice(line);
        }
        self.to.write_all(&lines)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_an_event_has_its_priority() {
        let mut written = Vec::new();
        let mut writer = Prioritised { priority: priority(Level::ERROR), to: &mut written };
        writer.write_all(b"two mistakes\nin two lines\n").unwrap();
        assert_eq!(written, b"<3>two mistakes\n<3>in two lines\n");
        let levels = [Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), [4, 6, 7, 7]);
    }
}
