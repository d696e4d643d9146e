//! What the kernel's pinned tables forbid each tenant, read without the controller.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData};
use gateway::dataplane::reading;
use gateway_ebpf::abi::{TenantId, map};
use gateway_ebpf::assignment::{ASSIGNMENTS_BITS, Assignment};

/// By tenant, the bits of its restriction in the bank in force.
pub(super) fn restrictions(pins: &Path) -> Result<HashMap<String, u32>> {
    let tables = pins.read_dir().context("the pins")?.flatten().map(|entry| entry.path());
    let is_tables =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("maps-"));
    let tables = tables.filter(|path| is_tables(path)).max().context("no tables are pinned")?;
    let pinned = |name: &str| -> Result<Map> {
        Ok(Map::from_map_data(MapData::from_pin(tables.join(name)).with_context(|| name.to_owned())?)?)
    };
    let control: Array<_, [u32; 4]> = Array::try_from(pinned(map::CONTROL)?)?;
    let control = reading::control(control.get(&0, 0)?)?.context("the tables are not signed")?;
    let ids: Array<_, TenantId> = Array::try_from(pinned(map::TENANT_IDS)?)?;
    let assignments: Array<_, [u32; 1 << ASSIGNMENTS_BITS]> = Array::try_from(pinned(map::ASSIGNMENTS)?)?;
    let mut restrictions = HashMap::new();
    for slot in 0..ids.len() {
        if let Some(id) = reading::tenant_id(&ids.get(&slot, 0)?) {
            let index = control.active_bank * ids.len() + slot;
            let line = assignments.get(&(index >> ASSIGNMENTS_BITS), 0)?;
            let assignment = Assignment::from_number(line[index as usize % line.len()]);
            restrictions.insert(id, assignment.restriction().bits());
        }
    }
    Ok(restrictions)
}
