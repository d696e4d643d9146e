//! The work that the kernel's verifier has with the programs, and the room that is left. A test program of its own: while
//! it measures, the process can open no file.

use std::io::Write as _;

use fairway_tests::bench;
use gateway::config::Forwarding;
use gateway::dataplane::{Engine, kernel};

/// Instructions that the verifier may follow in a program, of a million (Linux 5.2). How many it follows depends on its
/// version, so there must be room; so must there be for the next feature.
const INSTRUCTIONS: u32 = 300_000;

/// States that it may keep at once. It has no limit but memory, and compares each new one with those of the same
/// instruction: it takes twice the time for twice of them.
const PEAK_STATES: u32 = 12_000;

/// Bytes of a program's frame on the stack and of the largest function's, out of 512 for all that are active at once.
/// The deepest chain of calls takes all 512, as Linux 7.3 reports; a new function has what is left beside a program.
const STACK: u32 = 480;

/// The sizes of tables are of no account.
const TENANTS: &str = r#"
[[tenant]]
id = "acme"
prefixes = ["203.0.113.0/28"]
"#;

/// What `cargo xtask vm --keep` wrote down.
const KEPT: &str = include_str!("../../docs/performance/verifier.csv");

/// What the verifier did for one program.
#[derive(Debug, PartialEq, Eq)]
struct Work {
    instructions: u32,
    states: u32,
    peak_states: u32,
    /// The most of one instruction.
    states_of_one: u32,
    /// Frames on the stack: of the program, then of each function that it calls.
    frames: Vec<u32>,
}

impl Work {
    /// From the verifier's log (`print_verification_stats` in kernel/bpf/verifier.c).
    fn from_log(log: &str) -> Option<Self> {
        let words: Vec<&str> = log.split_whitespace().collect();
        let after = |name: &[&str]| {
            let at = words.windows(name.len()).position(|window| window == name)?;
            words.get(at + name.len()).copied()
        };
        let number = |name: &[&str]| after(name)?.parse().ok();
        Some(Self {
            instructions: number(&["processed"])?,
            states: number(&["total_states"])?,
            peak_states: number(&["peak_states"])?,
            states_of_one: number(&["max_states_per_insn"])?,
            frames: match after(&["stack", "depth"])? {
                // By function from Linux 7 on: "subprog 1 (spend) global insns_self 958 insns_total 958 stack 16".
                "max" => {
                    let functions = log.lines().filter(|line| line.starts_with("subprog "));
                    let frame = |line: &str| line.rsplit_once(" stack ")?.1.trim().parse().ok();
                    functions.map(frame).collect::<Option<_>>()?
                }
                frames => terms(frames)?,
            },
        })
    }

    /// From what [`Self::row`] made.
    fn from_row(fields: &[&str]) -> Option<Self> {
        let [instructions, states, peak_states, states_of_one, frames] = fields else { return None };
        Some(Self {
            instructions: instructions.parse().ok()?,
            states: states.parse().ok()?,
            peak_states: peak_states.parse().ok()?,
            states_of_one: states_of_one.parse().ok()?,
            frames: terms(frames)?,
        })
    }

    fn row(&self) -> String {
        let Self { instructions, states, peak_states, states_of_one, frames } = self;
        let frames: Vec<String> = frames.iter().map(u32::to_string).collect();
        format!("{instructions},{states},{peak_states},{states_of_one},{}", frames.join("+"))
    }

    #[track_caller]
    fn assert_within_budget(&self, what: &str) {
        let (program, functions) = self.frames.split_first().expect("the program's own frame");
        let largest = functions.iter().max().expect("functions");
        assert!((10_000..INSTRUCTIONS).contains(&self.instructions), "{what}: {self:?}");
        assert!((1..PEAK_STATES).contains(&self.peak_states), "{what}: {self:?}");
        assert!((1..=STACK).contains(&(program + largest)), "{what}: {self:?}");
    }
}

/// "240+32+16"
fn terms(sum: &str) -> Option<Vec<u32>> {
    sum.split('+').map(|term| term.parse().ok()).collect()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn the_running_kernel_has_room_for_the_programs() {
    for forwarding in [Forwarding::Stack, Forwarding::Xdp] {
        let mut config = bench::config(TENANTS);
        config.gateway.forwarding = forwarding;
        for (side, log) in Engine::verifier_statistics(&bench::in_force(&config)).unwrap() {
            let work = Work::from_log(&log).unwrap_or_else(|| panic!("{log}"));
            // For `cargo xtask vm --keep`, past the test harness, which shows what a test prints only if it fails.
            let line = format!("\nverified: {side:?} side forwarding by {forwarding:?},{}\n", work.row());
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            work.assert_within_budget(&format!("{side:?}, {forwarding:?}"));
        }
    }
}

#[test]
fn every_kernel_that_is_tried_has_room() {
    let rows: Vec<Vec<&str>> = KEPT.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for release in kernel::tried() {
        let of_release: Vec<_> = rows.iter().filter(|row| row[0] == release).collect();
        assert_eq!(of_release.len(), 4, "{release}: two sides, forwarding by the stack and by XDP");
        for row in of_release {
            let work = Work::from_row(&row[2..]).unwrap_or_else(|| panic!("{row:?}"));
            work.assert_within_budget(&format!("Linux {release}, {}", row[1]));
        }
    }
}

#[test]
fn logs_are_read_as_every_kernel_words_them() {
    let processed = "processed 236002 insns (limit 1000000) max_states_per_insn 20 total_states 15013 peak_states 7052 mark_read 58\n";
    let before = format!("func#1 @4012\nverification time 2178 usec\nstack depth 256+16+208\n{processed}");
    let since_linux_7 = format!(
        "verification time 2178 usec\nstack depth max 512\n\
         subprog 0 (tenant_side) main insns_self 59732 insns_total 63218 stack 256\n\
         subprog 1 (carry_dropped) global insns_self 40 insns_total 40 stack 16\n\
         subprog 2 (charge_slowly) global insns_self 950 insns_total 950 stack 208\n{processed}"
    );
    for log in [before, since_linux_7] {
        let work = Work::from_log(&log).unwrap();
        let row = work.row();
        assert_eq!(row, "236002,15013,7052,20,256+16+208");
        assert_eq!(Work::from_row(&row.split(',').collect::<Vec<_>>()), Some(work));
    }
    assert_eq!(Work::from_log(processed), None);
}
