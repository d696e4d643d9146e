//! B1: the flows of a tenant share its cap, and the cap is exact in the long run. A short form of `cargo xtask bench caps`,
//! which measures what depends on the machine: here is only what no busy machine changes.

use std::time::Duration;

use fairway_tests::caps::{
    Algorithm, Bed, Control, Experiment, Judge, Outcome, Source, Timing, Workload, jain,
};

/// Experiments of each kind, all at the same time: a disturbance hits both algorithms.
const RUNS: usize = 5;
const TIMING: Timing = Timing { start: Duration::from_secs(3), whole: Duration::from_secs(12) };
const OURS: [Algorithm; 2] = [Algorithm::Bucket, Algorithm::Fair];

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn flows_share_a_fair_cap_and_both_algorithms_are_exact() {
    let experiments = [
        of_both(&Workload::beside(1, Control::Cubic, Control::Bbr), 40, None),
        of_both(&Workload::beside_udp(Control::Cubic), 10, None),
        // The burst outlasts any time that the sender gets no processor.
        of_both(
            &Workload::new("datagrams", &[Source::Udp { payload_bytes: 1_000, percent: 300 }]),
            0,
            Some(2_000),
        ),
    ]
    .concat();
    let bed = Bed::build().unwrap();
    let judge = Judge::start(&bed).unwrap();
    let batch = judge.run(&experiments, TIMING).unwrap();
    let median = |workload: &str, algorithm, figure: fn(&Outcome) -> f64| {
        let pairs = experiments.iter().zip(&batch.outcomes);
        let same = pairs.filter(|(each, _)| each.workload.name == workload && each.algorithm == algorithm);
        let mut values: Vec<f64> = same.map(|(_, outcome)| figure(outcome)).collect();
        assert_eq!(values.len(), RUNS);
        values.sort_by(f64::total_cmp);
        values[RUNS / 2]
    };
    for workload in ["cubic beside bbr", "cubic beside UDP"] {
        let [bucket, fair] = OURS.map(|algorithm| median(workload, algorithm, |each| jain(&each.shares)));
        let filled = OURS.map(|algorithm| median(workload, algorithm, |each| each.goodput));
        if filled.iter().any(|filled| *filled < 0.9) {
            // Senders that do not fill the cap need not share it.
            eprintln!("{workload}: NOT JUDGED, the machine is too busy to fill the caps: {filled:?}");
            continue;
        }
        assert!(fair > bucket, "{workload}: Jain's index {fair} under fair, {bucket} under bucket");
    }
    for algorithm in OURS {
        let rate = median("datagrams", algorithm, |each| each.rate_later);
        assert!((0.98..1.02).contains(&rate), "{algorithm:?}: {rate} of the cap in the long run");
    }
}

fn of_both(workload: &Workload, round_trip_ms: u32, burst_ms: Option<u32>) -> Vec<Experiment> {
    let experiment = |algorithm| Experiment {
        algorithm,
        workload: workload.clone(),
        cap_kbit_per_sec: 2_000,
        round_trip_ms,
        burst_ms,
    };
    OURS.map(|algorithm| vec![experiment(algorithm); RUNS]).concat()
}
