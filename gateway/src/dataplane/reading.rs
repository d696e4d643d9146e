//! What kernel tables say, in the controller's terms.
//!
//! Pinned tables are somebody else's: an older or a newer Fairway's, or those of whoever may write to the
//! BPF file system. Any bytes are read without a panic; what cannot be meant is refused where the
//! tables as a whole are in doubt, and taken for nothing where a single value is.

use gateway_ebpf::DropReason;
use gateway_ebpf::abi::{
    self, ABI_VERSION, BANKS, Control, INTERFACE_SLOTS, InterfaceEntry, InterfaceTallies, MAGIC, TenantId,
};

use crate::domain::Tally;

/// Why tables cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// Not signed by Fairway.
    #[error("its tables are signed {0:#010x}, which is not Fairway's signature")]
    Signature(u32),
    /// Made by a Fairway of another [`ABI_VERSION`].
    #[error("its ABI is version {0}, this controller's is {ABI_VERSION}")]
    Version(u32),
    /// A policy in force that there is no place for.
    #[error("it says that bank {0} is in force, and there are {BANKS}")]
    Bank(u32),
}

/// The switchboard; `None` if whoever made the tables did not get to signing them.
///
/// # Errors
/// If nothing else in these tables may be read.
pub fn control(words: [u32; 4]) -> Result<Option<Control>, Foreign> {
    let control: Control = bytemuck::cast(words);
    match control {
        Control { magic: 0, .. } => Ok(None),
        Control { magic, .. } if magic != MAGIC => Err(Foreign::Signature(magic)),
        Control { abi_version, .. } if abi_version != ABI_VERSION => Err(Foreign::Version(abi_version)),
        Control { active_bank, .. } if active_bank >= BANKS => Err(Foreign::Bank(active_bank)),
        control => Ok(Some(control)),
    }
}

/// Whose slot it is; `None` for a free one.
#[must_use]
pub fn tenant_id(bytes: &TenantId) -> Option<String> {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let id = std::str::from_utf8(&bytes[..length]).ok()?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// The slot of an interface's counters; 0 if it has none.
#[must_use]
pub fn interface_slot(entry: InterfaceEntry) -> u32 {
    if entry.slot < INTERFACE_SLOTS { entry.slot } else { 0 }
}

/// A tally as the controller keeps it.
#[must_use]
pub fn tally(words: abi::Tally) -> Tally {
    Tally { packets: words.packets, bytes: words.bytes }
}

/// The reasons that occurred, in the order of [`DropReason::ALL`], from the tally of each
/// [`DropReason::slot`].
#[must_use]
pub fn by_reason(drops: impl Fn(usize) -> abi::Tally) -> Vec<(DropReason, Tally)> {
    let all = DropReason::ALL.iter().map(|reason| (*reason, tally(drops(reason.slot()))));
    all.filter(|(_, tally)| tally.packets > 0).collect()
}

/// What an interface counted, from one value per stripe.
pub fn interface(stripes: impl IntoIterator<Item = InterfaceTallies>) -> InterfaceTallies {
    stripes.into_iter().fold(InterfaceTallies::default(), |mut sum, stripe| {
        let words = bytemuck::cast_slice_mut::<_, u64>(std::slice::from_mut(&mut sum));
        let addends = bytemuck::cast_slice::<_, u64>(std::slice::from_ref(&stripe));
        // Wrapping, as the programs count.
        words.iter_mut().zip(addends).for_each(|(sum, addend)| *sum = sum.wrapping_add(*addend));
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_this_very_kind_are_taken_over() {
        let signed = [MAGIC, ABI_VERSION, 1, 1];
        assert_eq!(control(signed).map(|control| control.map(|c| (c.active_bank, c.live))), Ok(Some((1, 1))));
        assert_eq!(control([0; 4]), Ok(None));
        assert_eq!(control([1, ABI_VERSION, 0, 1]), Err(Foreign::Signature(1)));
        assert_eq!(control([MAGIC, ABI_VERSION + 1, 9, 1]), Err(Foreign::Version(ABI_VERSION + 1)));
        assert_eq!(control([MAGIC, ABI_VERSION, 2, 1]), Err(Foreign::Bank(2)));
    }

    #[test]
    fn sums_of_damaged_counters_wrap() {
        let stripe = abi::Tally { packets: u64::MAX, bytes: 3 };
        let stripe = InterfaceTallies { link_control: stripe, ..InterfaceTallies::default() };
        assert_eq!(interface([stripe, stripe]).link_control.packets, u64::MAX - 1);
    }

    #[test]
    fn an_impossible_slot_is_none() {
        let slot = |slot| interface_slot(InterfaceEntry { slot, ..InterfaceEntry::default() });
        assert_eq!([slot(0), slot(63), slot(64), slot(u32::MAX)], [0, 63, 0, 0]);
    }
}
