use super::input::ByteOrder::{self, Big, Little};
use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// Numbers in one byte order, one after the other.
struct Bytes(ByteOrder, Vec<u8>);

impl Bytes {
    fn u16(mut self, number: u16) -> Self {
        self.1.extend(if self.0 == Big { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.1.extend(if self.0 == Big { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn i64(mut self, number: i64) -> Self {
        self.1.extend(if self.0 == Big { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.1.extend(bytes);
        self
    }

    fn padded(mut self) -> Self {
        self.1.resize(self.1.len().next_multiple_of(4), 0);
        self
    }
}

fn bytes(order: ByteOrder) -> Bytes {
    Bytes(order, Vec::new())
}

fn pcap(order: ByteOrder, magic: u32, link: u32) -> Vec<u8> {
    bytes(order).u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link).1
}

/// A packet of `data`, captured in full.
fn pcap_packet(order: ByteOrder, seconds: u32, ticks: u32, data: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    bytes(order).u32(seconds).u32(ticks).u32(length).u32(length).raw(data).1
}

fn block(order: ByteOrder, block_type: u32, body: Bytes) -> Vec<u8> {
    let body = body.padded().1;
    let length = body.len() as u32 + 12;
    bytes(order).u32(block_type).u32(length).raw(&body).u32(length).1
}

fn section(order: ByteOrder) -> Vec<u8> {
    block(order, 0x0a0d_0d0a, bytes(order).u32(0x1a2b_3c4d).u16(1).u16(0).i64(-1))
}

fn interface(order: ByteOrder, link_type: u16, options: &[(u16, Bytes)]) -> Vec<u8> {
    let fixed = bytes(order).u16(link_type).u16(0).u32(0);
    let body = options
        .iter()
        .fold(fixed, |body, (code, value)| body.u16(*code).u16(value.1.len() as u16).raw(&value.1).padded());
    block(order, 1, body)
}

/// An enhanced packet of `data`, captured in full.
fn enhanced(order: ByteOrder, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    let times = bytes(order).u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
    block(order, 6, times.u32(length).u32(length).raw(data))
}

/// Time, link type, wire length and bytes of every packet, and what broke, if anything did.
type Read = (Vec<(Option<u64>, u16, usize, Vec<u8>)>, Option<CaptureError>);

fn read(file: &[u8]) -> Read {
    let mut packets = Vec::new();
    let mut capture = match Capture::new(file) {
        Ok(capture) => capture,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match capture.next_packet() {
            Ok(Some(packet)) => {
                assert_eq!(packet.number, packets.len() as u64 + 1);
                let Packet { at_ns, link_type, wire_bytes, captured, .. } = packet;
                packets.push((at_ns, link_type, wire_bytes, captured.to_vec()));
            }
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

#[test]
fn pcap_in_every_form() {
    for (order, magic, ns_per_tick) in [
        (Big, 0xa1b2_c3d4, 1_000),
        (Little, 0xa1b2_c3d4, 1_000),
        (Big, 0xa1b2_3c4d, 1),
        (Little, 0xa1b2_3c4d, 1),
    ] {
        let cut = bytes(order).u32(8).u32(0).u32(2).u32(1_514).raw(&[4, 5]).1;
        let file = [pcap(order, magic, 101), pcap_packet(order, 7, 9, &[1, 2, 3]), cut].concat();
        let (packets, error) = read(&file);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            packets,
            [
                (Some(7 * SECOND + 9 * ns_per_tick), 101, 3, vec![1, 2, 3]),
                (Some(8 * SECOND), 101, 1_514, vec![4, 5]),
            ]
        );
    }
}

#[test]
fn a_frame_check_sequence_is_left_out() {
    // Two units of 16 bits, flagged as known.
    let file =
        [pcap(Little, 0xa1b2_c3d4, 2 << 28 | 1 << 26 | 1), pcap_packet(Little, 0, 0, &[7; 64])].concat();
    assert_eq!(read(&file).0, [(Some(0), 1, 60, vec![7; 60])]);
    // Not flagged: the upper bits say nothing.
    let file = [pcap(Little, 0xa1b2_c3d4, 3 << 28 | 1), pcap_packet(Little, 0, 0, &[7; 64])].concat();
    assert_eq!(read(&file).0, [(Some(0), 1, 64, vec![7; 64])]);
    let fcs = (13, bytes(Big).raw(&[4]));
    let cut = bytes(Big).u32(0).u32(0).u32(0).u32(20).u32(64).raw(&[8; 20]);
    let file =
        [section(Big), interface(Big, 1, &[fcs]), enhanced(Big, 0, 0, &[7; 64]), block(Big, 6, cut)].concat();
    assert_eq!(read(&file).0, [(Some(0), 1, 60, vec![7; 60]), (Some(0), 1, 60, vec![8; 20])]);
}

#[test]
fn pcapng_keeps_time_as_its_interfaces_do() {
    for order in [Little, Big] {
        let resolution = |exponent| (9, bytes(order).raw(&[exponent]));
        let offset = |seconds| (14, bytes(order).i64(seconds));
        let file = [
            section(order),
            interface(order, 1, &[]),
            interface(order, 101, &[resolution(9)]),
            interface(order, 101, &[resolution(0x80 | 10)]),
            interface(order, 101, &[resolution(0), offset(1_000)]),
            interface(order, 101, &[offset(-1_000)]),
            enhanced(order, 0, 5_000_001, &[1]),
            enhanced(order, 1, 5_000_000_001, &[2]),
            enhanced(order, 2, 5 << 10 | 512, &[3]),
            enhanced(order, 3, 5, &[4]),
            enhanced(order, 4, 5, &[5]),
            enhanced(order, 3, u64::MAX, &[6]),
        ];
        let (packets, error) = read(&file.concat());
        assert!(error.is_none(), "{error:?}");
        let times: Vec<_> =
            packets.iter().map(|(at_ns, link_type, ..)| (at_ns.unwrap(), *link_type)).collect();
        assert_eq!(
            times,
            [
                (5 * SECOND + 1_000, 1),
                (5 * SECOND + 1, 101),
                (5 * SECOND + SECOND / 2, 101),
                (1_005 * SECOND, 101),
                (0, 101),
                (u64::MAX, 101),
            ]
        );
    }
}

#[test]
fn pcapng_has_packets_of_three_kinds_and_much_else() {
    let order = Little;
    let snapshot = block(order, 1, bytes(order).u16(228).u16(0).u32(2));
    let obsolete = bytes(order).u16(0).u16(9).u32(0).u32(3).u32(1).u32(40).raw(&[2]);
    let not_utf8 = bytes(order).u16(1).u16(2).raw(&[0xff, 0xfe]).padded();
    let file = [
        section(order),
        block(order, 0xbad, bytes(order).raw(&[1; 9])),
        snapshot,
        block(order, 5, not_utf8),
        block(order, 3, bytes(order).u32(3).raw(&[1, 1, 1])),
        block(order, 2, obsolete),
        // Another section, in the other byte order, has interfaces of its own.
        section(Big),
        interface(Big, 1, &[(10, bytes(Big).u32(1)), (2, bytes(Big).raw(&[0xff]))]),
        block(Big, 3, bytes(Big).u32(3).raw(&[3, 3, 3])),
        enhanced(Big, 0, 4, &[4]),
    ];
    let (packets, error) = read(&file.concat());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        packets,
        [
            (None, 228, 3, vec![1, 1]),
            (Some(3_000), 228, 40, vec![2]),
            (None, 1, 3, vec![3, 3, 3]),
            (Some(4_000), 1, 1, vec![4]),
        ]
    );
}

/// A file of each kind, with where its packets end.
fn samples() -> [(Vec<u8>, Vec<usize>); 2] {
    let old = [
        pcap(Little, 0xa1b2_c3d4, 1),
        pcap_packet(Little, 1, 0, &[1; 60]),
        pcap_packet(Little, 2, 0, &[2; 61]),
    ];
    let new = [
        section(Big),
        interface(Big, 1, &[(9, bytes(Big).raw(&[6]))]),
        enhanced(Big, 0, 1, &[1; 60]),
        enhanced(Big, 0, 2, &[2; 61]),
    ];
    let end = |parts: &[Vec<u8>]| parts.iter().map(Vec::len).sum();
    [(old.concat(), vec![end(&old[..2]), end(&old)]), (new.concat(), vec![end(&new[..3]), end(&new)])]
}

#[test]
fn a_file_cut_anywhere_is_read_up_to_there() {
    for (file, ends) in samples() {
        for length in 0..file.len() {
            let (packets, error) = read(&file[..length]);
            assert_eq!(packets.len(), ends.iter().filter(|end| **end <= length).count(), "cut to {length}");
            match error {
                // Between two records nothing shows that there were more.
                None => assert_eq!(read(&[&file[..length], &[0]].concat()).1.unwrap().offset, length as u64),
                Some(error) => {
                    assert!(error.offset <= length as u64);
                    assert_eq!(error.packets, packets.len() as u64);
                }
            }
        }
    }
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    let header = pcap(Little, 0xa1b2_c3d4, 1);
    let packet = pcap_packet(Little, 1, 0, &[1; 60]);
    let start = [section(Little), interface(Little, 1, &[])].concat();
    let good = enhanced(Little, 0, 0, &[1; 4]);
    let mut lengths_differ = good.clone();
    *lengths_differ.last_mut().unwrap() = 1;
    let cases = [
        (vec![], "byte 0, after 0 packets: the file is empty"),
        (vec![0x0a, 0x0d], "byte 0, after 0 packets: the file ends within its first four bytes"),
        (
            b"GIF89a".to_vec(),
            "byte 0, after 0 packets: it is neither pcap nor pcapng (it begins with [47, 49, 46, 38])",
        ),
        (header[..20].to_vec(), "byte 0, after 0 packets: the file ends within the file's header"),
        (
            [&header[..], &packet, &packet[..9]].concat(),
            "byte 100, after 1 packets: the file ends within a packet's header",
        ),
        (
            [&header[..], &packet, &packet[..40]].concat(),
            "byte 100, after 1 packets: the file ends within a packet",
        ),
        (
            [&header[..], &[0xff; 16]].concat(),
            "byte 24, after 0 packets: a packet claims 4294967311 bytes; more than 16777216 are not believed",
        ),
        ([&start[..], &good, &good[..10]].concat(), "byte 84, after 1 packets: the file ends within a block"),
        (
            [&start[..], &lengths_differ].concat(),
            "byte 48, after 0 packets: a block whose two lengths differ",
        ),
        (
            [&start[..], &[6, 0, 0, 0, 8, 0, 0, 0]].concat(),
            "byte 48, after 0 packets: a block with an impossible length",
        ),
        (
            [&start[..], &[6, 0, 0, 0, 13, 0, 0, 0]].concat(),
            "byte 48, after 0 packets: a block with an impossible length",
        ),
        (
            [start.clone(), enhanced(Little, 1, 0, &[1; 4])].concat(),
            "byte 48, after 0 packets: a packet of an interface that was not described",
        ),
        (
            [section(Little), block(Little, 3, bytes(Little).u32(4).raw(&[1; 4]))].concat(),
            "byte 28, after 0 packets: a packet of an interface that was not described",
        ),
        (
            [start.clone(), block(Little, 6, bytes(Little).u32(0))].concat(),
            "byte 48, after 0 packets: a block is too short for its fields",
        ),
        (
            [section(Little), block(Little, 1, bytes(Little).u32(1))].concat(),
            "byte 28, after 0 packets: a block is too short for its fields",
        ),
        (
            block(Little, 0x0a0d_0d0a, bytes(Little).u32(0x1a2b_3c4d)),
            "byte 0, after 0 packets: a block is too short for its fields",
        ),
        (
            block(Little, 0x0a0d_0d0a, bytes(Little).u32(7)),
            "byte 0, after 0 packets: a section without a byte order",
        ),
        (
            block(Big, 0x0a0d_0d0a, bytes(Big).u32(0x1a2b_3c4d).u16(2).u16(0).i64(-1)),
            "byte 0, after 0 packets: a section of another version than 1",
        ),
        (
            [start, block(Little, 6, bytes(Little).u32(0).u32(0).u32(0).u32(5).u32(5).raw(&[1; 4]))].concat(),
            "byte 48, after 0 packets: a packet is longer than its block",
        ),
    ];
    for (file, expected) in cases {
        let error = read(&file).1.unwrap_or_else(|| panic!("no error; expected {expected}")).to_string();
        assert_eq!(error, format!("the capture cannot be read beyond {expected}"));
    }
}

#[test]
fn looking_ahead_loses_nothing() {
    for (file, _) in samples() {
        let mut capture = Capture::new(file.as_slice()).unwrap();
        let first_ns = capture.next_at_ns();
        assert_eq!(
            (first_ns, first_ns),
            (capture.next_at_ns(), capture.next_packet().unwrap().unwrap().at_ns)
        );
        assert!(capture.next_packet().unwrap().is_some());
        assert_eq!(capture.next_at_ns(), None);
        assert!(capture.next_packet().unwrap().is_none());
        let mut cut = Capture::new(&file[..file.len() - 70]).unwrap();
        cut.next_packet().unwrap();
        assert_eq!(cut.next_at_ns(), None);
        assert!(cut.next_packet().is_err());
    }
}

proptest! {
    /// Whatever the bytes: no panic, an end, and packets that lie within the file.
    #[test]
    fn any_bytes_come_to_an_end(
        which in 0_usize..2,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut file = samples()[which].0.clone();
        for (index, byte) in changes {
            let length = file.len();
            file[index.index(length)] = byte;
        }
        file.extend(tail);
        let (packets, _) = read(&file);
        let captured: usize = packets.iter().map(|(.., captured)| captured.len()).sum();
        prop_assert!(captured <= file.len());
    }
}
