//! Counters keep every packet and every byte: over the words that they are carried between, on several CPUs at
//! once, and for whoever reads them meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use fairway_tests::frames::{datagram, syn};
use gateway::config::Side;
use gateway::dataplane::{DirectionCounters, Engine, Tally};
use gateway_ebpf::DropReason;

use crate::TENANTS;
use crate::bench::Bench;

/// Enough to be carried twice for their number (131,072), and once for their length (512 MiB).
const PACKETS: u64 = 300_000;

/// A cap that leaves room for all of them at once.
fn bench() -> Bench {
    let tenants = TENANTS.replacen("id = \"acme\"", "id = \"acme\"\nburst = \"10s\"", 1);
    Bench::new(&format!("[fair_use]\nceiling = \"10 Gbit/s\"\n[detect]\nmode = \"off\"\n{tenants}"))
}

fn passing() -> Vec<u8> {
    datagram("203.0.113.1", "192.0.2.1", (1, 2), 3_000).frame()
}

fn mail() -> Vec<u8> {
    syn("203.0.113.1", "192.0.2.25", 4_000, 25).frame()
}

fn up(engine: &Engine) -> DirectionCounters {
    engine.snapshot().tenants.into_iter().find(|tenant| tenant.id == "acme").unwrap().up
}

/// Packets of the same length.
fn tally(packets: u64, frame: &[u8]) -> Tally {
    Tally { packets, bytes: packets * frame.len() as u64 }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn what_is_carried_is_not_lost() {
    let mut bench = bench();
    let engine = bench.engine();
    for (frame, sent) in [(passing(), 1), (mail(), 1), (passing(), PACKETS), (mail(), PACKETS)] {
        engine.run_repeatedly(Side::Tenant, &frame, sent as u32).unwrap();
    }
    let counted = up(engine);
    assert_eq!(counted.passed, tally(PACKETS + 1, &passing()));
    assert_eq!(counted.dropped, [(DropReason::SmtpBlocked, tally(PACKETS + 1, &mail()))]);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_reader_never_sees_a_counter_go_back() {
    const SENDERS: u64 = 4;
    let mut bench = bench();
    let engine = &*bench.engine();
    let unfinished = AtomicU64::new(SENDERS);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (frame, unfinished) = (if sender % 2 == 0 { passing() } else { mail() }, &unfinished);
            scope.spawn(move || {
                let sent = engine.run_repeatedly(Side::Tenant, &frame, PACKETS as u32);
                unfinished.fetch_sub(1, SeqCst);
                sent.unwrap();
            });
        }
        let mut before = [Tally::default(); 2];
        while unfinished.load(SeqCst) != 0 {
            let counted = up(engine);
            let now = [counted.passed, counted.dropped_total()];
            for (before, now) in before.iter().zip(now) {
                assert!(
                    before.packets <= now.packets && before.bytes <= now.bytes,
                    "{before:?} then {now:?}"
                );
                assert!(now.packets <= SENDERS / 2 * PACKETS, "{now:?}");
            }
            before = now;
        }
    });
    let counted = up(engine);
    let each = SENDERS / 2 * PACKETS;
    assert_eq!(counted.passed, tally(each, &passing()));
    assert_eq!(counted.dropped, [(DropReason::SmtpBlocked, tally(each, &mail()))]);
}
