//! `fairway replay` under what a running gateway has decided.

use serde_json::Value;

use crate::fake::{Files, Gateway, fairway};

/// A capture of one TCP segment that opens a connection from acme's address to port 443.
fn capture() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 1, 192, 0, 2, 80]);
    frame.extend([0x0f, 0xa0, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let length = (frame.len() as u32).to_le_bytes();
    // The magic number, version 2.4, no offset, no accuracy, no limit, Ethernet.
    let mut file: Vec<u8> = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0]);
    // In 2001: what holds now is to hold for the whole capture.
    file.extend(1_000_000_000_u32.to_le_bytes().into_iter().chain([0; 4]).chain(length).chain(length));
    file.extend(frame);
    file
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_capture_is_judged_under_the_suspensions_of_the_running_gateway_if_asked() {
    let gateway = Gateway::start(Files::new());
    let suspend = ["suspend", "acme", "--scope", "everything", "--reason", "unpaid", "--for", "1h"];
    assert!(gateway.fairway(&suspend).status.success());
    let file = gateway.files.path("edge.pcap");
    std::fs::write(&file, capture()).unwrap();
    let replay = |more: &[&str]| -> Value {
        let (config, file) = (gateway.files.config(), file.to_str().unwrap());
        let command = ["replay", "--json", "--config", config.to_str().unwrap(), file];
        let output = fairway(&command).args(more).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    assert_eq!(replay(&[])["passed"], 1);
    let as_running = replay(&["--as-running"]);
    assert_eq!((&as_running["dropped"], &as_running["by_reason"]["suspended"]), (&1.into(), &1.into()));
    gateway.stop().1.unwrap();
}
