//! What the kernel makes of the programs.

use std::fs;

use aya::programs::{ProgramInfo, loaded_programs};

use crate::TENANTS;
use crate::bench::Bench;

/// Instructions that the verifier may follow in a program: a million (Linux 5.2). How many it does differs with its
/// version, so there must be room.
const BUDGET: u32 = 300_000;

/// Programs that this process holds.
fn own_programs() -> Vec<ProgramInfo> {
    let fds =
        fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|fd| fs::read_to_string(fd.ok()?.path()).ok());
    let id = |text: String| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
    let ids: Vec<u32> = fds.filter_map(id).collect();
    loaded_programs().filter_map(Result::ok).filter(|program| ids.contains(&program.id())).collect()
}

#[test]
#[ignore = "needs root: BPF programs"]
fn other_verifiers_have_room_for_the_programs() {
    let _bench = Bench::new(TENANTS);
    for name in ["tenant_side", "uplink_side"] {
        let own = own_programs().into_iter().find(|program| program.name_as_str() == Some(name)).unwrap();
        let verified = own.verified_instruction_count().unwrap();
        assert!((10_000..BUDGET).contains(&verified), "{name}: {verified}");
    }
}
