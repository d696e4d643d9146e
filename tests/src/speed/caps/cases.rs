//! Which experiments there are.

use fairway_tests::caps::{Algorithm, Control, Experiment, Source, Workload};

use crate::measure::Effort;

const CAPS: [u32; 4] = [1, 2, 5, 10];
const ROUND_TRIPS: [u32; 4] = [0, 10, 40, 100];
/// Bursts that are tried beside the default, 350 ms.
pub(super) const BURSTS_MS: [u32; 6] = [50, 100, 150, 200, 250, 500];
/// Those among which the default is chosen: by far peers, whose figures scatter most, so these are repeated.
const FAR_BURSTS_MS: [u32; 3] = [250, 300, 400];
const FAR_REPEATS: usize = 3;

/// All experiments with these congestion controls.
pub(super) fn all(effort: Effort, controls: &[Control]) -> Vec<Experiment> {
    let has = |workload: &Workload| {
        workload.sources.iter().all(|source| match source {
            Source::Tcp(control) | Source::Downloads(control) => controls.contains(control),
            Source::Udp { .. } => true,
        })
    };
    let mut experiments = if effort.quick { quick() } else { [algorithms(), bursts(), far()].concat() };
    experiments.retain(|experiment| has(&experiment.workload));
    experiments
}

fn quick() -> Vec<Experiment> {
    let mut grid = Vec::new();
    let workloads = [
        Workload::one(Control::Cubic),
        Workload::beside(1, Control::Cubic, Control::Bbr),
        Workload::beside_udp(Control::Cubic),
        Workload::downloads_beside(Control::Bbr),
        Workload::udp(1_472),
    ];
    workloads.iter().for_each(|workload| extend(&mut grid, workload, &[5], &[10]));
    grid
}

fn algorithms() -> Vec<Experiment> {
    use Control::{Bbr, Cubic, Reno};
    let mut grid = Vec::new();
    for control in Control::ALL {
        extend(&mut grid, &Workload::one(control), &CAPS, &ROUND_TRIPS);
    }
    let far = &ROUND_TRIPS[1..];
    extend(&mut grid, &Workload::beside(1, Cubic, Bbr), &CAPS, far);
    extend(&mut grid, &Workload::beside(1, Reno, Bbr), &[10], far);
    extend(&mut grid, &Workload::beside(4, Cubic, Bbr), &[10], far);
    extend(&mut grid, &Workload::new("16 cubic", &[Source::Tcp(Cubic); 16]), &[10], &[40]);
    extend(&mut grid, &Workload::beside_udp(Cubic), &CAPS, &[10, 40]);
    extend(&mut grid, &Workload::beside_udp(Bbr), &[10], &[10, 40]);
    for control in [Cubic, Bbr] {
        extend(&mut grid, &Workload::downloads_beside(control), &[10], &[10, 40]);
    }
    extend(&mut grid, &Workload::udp(1_472), &[1, 10], &[0]);
    extend(&mut grid, &Workload::udp(64), &[1], &[0]);
    grid
}

/// What other bursts than the default do to one connection.
fn bursts() -> Vec<Experiment> {
    let mut grid = Vec::new();
    for control in Control::ALL {
        extend(&mut grid, &Workload::one(control), &[2, 10], &ROUND_TRIPS);
    }
    grid.retain(|experiment| experiment.algorithm == Algorithm::Fair);
    let with = |burst: u32| grid.iter().map(move |each| Experiment { burst_ms: Some(burst), ..each.clone() });
    BURSTS_MS.into_iter().flat_map(with).collect()
}

/// One connection to a far peer, under each burst that may be the default.
fn far() -> Vec<Experiment> {
    let mut grid = Vec::new();
    for control in Control::ALL {
        extend(&mut grid, &Workload::one(control), &[5, 10], &[100]);
    }
    grid.retain(|experiment| experiment.algorithm.is_ours());
    let with = |burst: u32| grid.iter().map(move |each| Experiment { burst_ms: Some(burst), ..each.clone() });
    let others: Vec<_> = FAR_BURSTS_MS.into_iter().flat_map(with).collect();
    vec![[grid, others].concat(); FAR_REPEATS].concat()
}

/// A workload under each algorithm; caps in Mbit/s, round trips in ms.
fn extend(grid: &mut Vec<Experiment>, workload: &Workload, caps: &[u32], round_trips: &[u32]) {
    for cap in caps {
        for round_trip_ms in round_trips {
            grid.extend(Algorithm::ALL.map(|algorithm| Experiment {
                algorithm,
                workload: workload.clone(),
                cap_kbit_per_sec: cap * 1_000,
                round_trip_ms: *round_trip_ms,
                burst_ms: None,
            }));
        }
    }
}
