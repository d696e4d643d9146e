//! Any bytes as the tables that another controller left pinned: read without a panic, and nothing made of
//! them that no data plane can have meant.
#![no_main]

use bytemuck::{Pod, bytes_of_mut};
use gateway::dataplane::{Judgement, Outcome, Tally, reading};
use gateway_ebpf::abi::{
    self, ABI_VERSION, BANKS, INTERFACE_SLOTS, InterfaceEntry, InterfaceTallies, LastVerdict, MAGIC, TenantId,
};
use gateway_ebpf::counter::{Carried, Counter};
use gateway_ebpf::{DropReason, REASON_SLOTS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut values = Values(bytes);
    if let Ok(Some(control)) = reading::control(values.next()) {
        assert_eq!((control.magic, control.abi_version), (MAGIC, ABI_VERSION));
        assert!(control.active_bank < BANKS);
    }
    assert!(reading::interface_slot(values.next::<InterfaceEntry>()) < INTERFACE_SLOTS);
    judgement(values.next());
    tenant_id(&values.next());
    dropped(&values.next());
    // Two values of one counter, as from two CPUs.
    let stripes: [InterfaceTallies; 2] = [values.next(), values.next()];
    let sum = reading::interface(stripes);
    let packets = stripes[0].unmatched.packets.wrapping_add(stripes[1].unmatched.packets);
    assert_eq!(reading::tally(sum.unmatched).packets, packets);
    dropped(&sum.dropped);
    let total = values.next::<Counter>().total(values.next::<Carried>());
    let (counter, carried) = Counter::of(total);
    // As much as the second word can hold.
    if total.packets < 1 << 49 && total.bytes < 1 << 61 {
        assert_eq!(counter.total(carried), total);
    }
});

fn judgement(last: LastVerdict) {
    let judgement = Judgement::from(last);
    assert_eq!(judgement.tenant.is_none(), last.slot_plus_one == 0);
    if let Outcome::Dropped(reason) = judgement.outcome {
        assert_eq!(reason as u16, last.reason);
    }
}

fn tenant_id(bytes: &TenantId) {
    if let Some(id) = reading::tenant_id(bytes) {
        assert!(!id.is_empty() && !id.contains('\0'));
        assert!(bytes.starts_with(id.as_bytes()));
    }
}

fn dropped(drops: &[abi::Tally; REASON_SLOTS]) {
    let read = reading::by_reason(|slot| drops[slot]);
    assert!(read.is_sorted_by_key(|(reason, _)| *reason));
    for (reason, tally) in &read {
        let Tally { packets, bytes } = *tally;
        assert_eq!((packets, bytes), (drops[reason.slot()].packets, drops[reason.slot()].bytes));
    }
    let occurred = DropReason::ALL.iter().filter(|reason| drops[reason.slot()].packets > 0);
    assert_eq!(read.len(), occurred.count());
}

/// Values of the tables, one after the other; zeros where the bytes have run out.
struct Values<'b>(&'b [u8]);

impl Values<'_> {
    fn next<T: Pod>(&mut self) -> T {
        let mut value = T::zeroed();
        let (taken, rest) = self.0.split_at(self.0.len().min(size_of::<T>()));
        bytes_of_mut(&mut value)[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        value
    }
}
