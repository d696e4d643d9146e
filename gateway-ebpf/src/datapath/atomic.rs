//! Atomic read-modify-write.
//!
//! `bpfel-unknown-none` declares no atomic compare-and-swap, so `AtomicU64` offers none; the
//! intrinsics compile to BPF's own instructions all the same (cpu v3, Linux 5.12).

use core::intrinsics::{AtomicOrdering, atomic_and, atomic_cxchg, atomic_or, atomic_xadd};

/// Adds to a shared counter.
///
/// # Safety
/// `counter` points to an aligned, live `u64` that is only accessed atomically by other CPUs.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, value: u64) {
    // SAFETY: as the caller promises. The result is unused, so this is one `lock add`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Stores `new` if the word still is `old`; says whether it did.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as the caller promises. BPF's CMPXCHG is sequentially consistent.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1 }
}

/// Stores `new` if the word still is `old`; returns what it was.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> u64 {
    // SAFETY: as the caller promises. As above.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).0 }
}

/// Adds to a shared counter and returns what it then is.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn advance(counter: *mut u64, value: u64) -> u64 {
    // SAFETY: as the caller promises. The result is used, so this is `lock xadd` (BPF_FETCH, Linux 5.12).
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, value).wrapping_add(value) }
}

/// Clears bits of a shared word and returns which of them were set.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn take_bits(word: *mut u64, bits: u64) -> u64 {
    // SAFETY: as the caller promises. The result is used: BPF_AND with BPF_FETCH.
    unsafe { atomic_and::<u64, u64, { AtomicOrdering::SeqCst }>(word, !bits) & bits }
}

/// Sets bits of a shared half word.
///
/// # Safety
/// As for [`add`], but for its size.
#[inline(always)]
pub unsafe fn set_bits(word: *mut u32, bits: u32) {
    // SAFETY: as the caller promises. The result is unused, so this is one `lock or`.
    unsafe { atomic_or::<u32, u32, { AtomicOrdering::Relaxed }>(word, bits) };
}

/// Clears bits of a shared half word.
///
/// # Safety
/// As for [`set_bits`].
#[inline(always)]
pub unsafe fn clear_bits(word: *mut u32, bits: u32) {
    // SAFETY: as the caller promises. The result is unused, so this is one `lock and`.
    unsafe { atomic_and::<u32, u32, { AtomicOrdering::Relaxed }>(word, !bits) };
}
