//! Any frame through the parsers: no panic, and nothing beyond the packet's own length.
#![no_main]

use gateway_ebpf::parse::{self, Fragment, Network};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Ok(link) = parse::ethernet(frame) else { return };
    let ip = match link.network {
        Network::Ipv4 => parse::ipv4(frame, link.next),
        Network::Ipv6 => parse::ipv6(frame, link.next),
        Network::LinkControl | Network::Unknown => return,
    };
    let Ok(ip) = ip else { return };
    let end = ip.next + ip.remaining as usize;
    assert!(end <= frame.len());
    if parse::is_neighbour_discovery(frame, &ip) {
        assert!(ip.remaining >= 8);
    }
    let Ok(payload) = parse::payload(frame, &ip) else { return };
    assert!(ip.next <= payload.at);
    assert_eq!(payload.at + payload.length as usize, end);
    if let Ok(Some(transport)) = parse::transport(frame, &payload) {
        assert!(!matches!(payload.fragment, Fragment::Later { .. }));
        let port = |at: usize| u16::from_be_bytes([frame[payload.at + at], frame[payload.at + at + 1]]);
        assert_eq!((transport.source, transport.destination), (port(0), port(2)));
    }
});
