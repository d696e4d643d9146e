//! Any bytes as a capture: read to the end, or to the byte that is named in the refusal.
#![no_main]

use gateway::replay::{Capture, CaptureError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = read(bytes) {
        assert!(error.offset <= bytes.len() as u64);
        assert!(!error.to_string().is_empty());
    }
});

fn read(bytes: &[u8]) -> Result<(), CaptureError> {
    let mut capture = Capture::new(bytes)?;
    let (mut packets, mut captured_bytes) = (0, 0);
    loop {
        let at_ns = capture.next_at_ns();
        let packet = match capture.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                assert_eq!(error.packets, packets);
                return Err(error);
            }
        };
        packets += 1;
        assert_eq!((packet.number, packet.at_ns), (packets, at_ns));
        captured_bytes += packet.captured.len();
        assert!(captured_bytes < bytes.len(), "no byte is in two packets");
    }
    Ok(())
}
