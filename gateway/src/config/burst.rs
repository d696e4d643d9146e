//! Bursts of caps, and which of them starve TCP.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::reader::Table;
use super::source::At;
use super::units::{BURST, DurationText};

/// Linux waits this long at least before it sends again what was lost (`TCP_RTO_MIN`). With near peers, where two packets a
/// round trip already exceed the cap, TCP lives by these timeouts, and fills the cap only if the burst outlasts one.
/// Measured without a round trip by `cargo xtask bench caps`: 200 ms give 0.99 of the cap, 150 ms 0.75, 50 ms 0.3.
const LEAST_FOR_TCP: Duration = Duration::from_millis(200);

/// Reads `burst`, or takes `default`; warns if TCP would starve.
pub(super) fn read_burst(table: &mut Table<'_>, default: Duration, whose: &str) -> Duration {
    let Some(At { value: burst, span }) = table.optional("burst", &BURST) else { return default };
    if burst < LEAST_FOR_TCP {
        let least = DurationText(LEAST_FOR_TCP);
        table.report(
            Diagnostic::warning(format!("the burst of {whose} is too short for TCP"))
                .at(&span, format!("shorter than the {least} that TCP waits after a loss"))
                .help(format!(
                    "with near peers, TCP fills three quarters of a cap with 150ms, half with 100ms, a third \
                     with 50ms: write \"{least}\" or more, or leave it out"
                )),
        );
    }
    burst
}
