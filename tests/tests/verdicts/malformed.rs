//! What cannot be judged is dropped on the tenant side, and wherever it is a tenant's.

use fairway_tests::frames::{ethernet, number, packet, syn, tcp, udp};
use gateway_ebpf::DropReason::Malformed;

use crate::TENANTS;
use crate::bench::Expected::{Dropped, Passed, Refused, Unmatched};
use crate::bench::{Bench, down, up};

const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";
const WEB4: &str = "192.0.2.80";
const WEB6: &str = "2001:db8:ffff::80";

#[test]
#[ignore = "needs root: BPF programs"]
fn headers_that_lie() {
    let of_acme = Dropped("acme", Malformed);
    let bad_offset = |words: u8| {
        let mut segment = tcp(4_000, 80, &[]);
        segment[12] = words << 4;
        packet(ACME4, WEB4, number::TCP, segment).frame()
    };
    Bench::new(TENANTS).check_all(&[
        up(
            "longer than the frame",
            syn(ACME4, WEB4, 1, 80).lie_about_length(100).frame(),
            Refused(Malformed),
        ),
        up(
            "longer than the frame, IPv6",
            syn(ACME6, WEB6, 1, 80).lie_about_length(100).frame(),
            Refused(Malformed),
        ),
        up(
            "shorter than its header",
            syn(ACME4, WEB4, 1, 80).lie_about_length(-30).frame(),
            Refused(Malformed),
        ),
        up("shorter than TCP", syn(ACME4, WEB4, 1, 80).lie_about_length(-1).frame(), of_acme),
        up("shorter than TCP, IPv6", syn(ACME6, WEB6, 1, 80).lie_about_length(-1).frame(), of_acme),
        up("version 5", syn(ACME4, WEB4, 1, 80).version(5).frame(), Refused(Malformed)),
        up("version 4 as IPv6", syn(ACME6, WEB6, 1, 80).version(4).frame(), Refused(Malformed)),
        up("data offset 4", bad_offset(4), of_acme),
        up("data offset beyond the end", bad_offset(15), of_acme),
        up("short UDP", packet(ACME4, WEB4, number::UDP, udp(1, 2, &[])[..7].to_vec()).frame(), of_acme),
        up("no transport at all", packet(ACME4, WEB4, number::TCP, vec![]).frame(), of_acme),
        up("ICMP needs no ports", packet(ACME4, WEB4, 1, vec![8, 0, 0, 0]).frame(), Passed("acme")),
        up("GRE is not looked into", packet(ACME4, WEB4, 47, vec![0; 8]).frame(), Passed("acme")),
        down("in, shorter than TCP", syn(WEB4, ACME4, 1, 80).lie_about_length(-1).frame(), of_acme),
        // The stack refuses such a header itself; there is no address to hold it against.
        down("in, longer than the frame", syn(WEB4, ACME4, 1, 80).lie_about_length(100).frame(), Unmatched),
    ]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn frames_cut_anywhere() {
    let mut bench = Bench::new(TENANTS);
    // Without the padding that would make the cut frame look whole.
    for whole in [syn(ACME4, WEB4, 1, 80).frame()[..54].to_vec(), syn(ACME6, WEB6, 1, 80).frame()] {
        for length in 14..whole.len() {
            bench.check(&up("cut", whole[..length].to_vec(), Refused(Malformed)));
        }
        bench.check(&up("whole", whole, Passed("acme")));
    }
    let only_a_tag = || ethernet(&[(number::VLAN, 5)], number::VLAN, &[0]);
    bench.check(&up("only a tag", only_a_tag(), Refused(Malformed)));
    bench.check(&down("in, only a tag", only_a_tag(), Unmatched));
}
