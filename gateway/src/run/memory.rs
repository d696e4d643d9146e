//! Giving memory back. Reading a configuration anew takes several times what it takes up in the end, and
//! mimalloc keeps what was freed for the next allocations.
#![expect(unsafe_code, reason = "mi_collect has no safe wrapper")]

/// Returns free memory to the kernel.
pub(super) fn give_back() {
    // SAFETY: the call has no preconditions and may be made from any thread at any time, also where mimalloc
    // is not the global allocator; it touches only memory that nobody uses.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
