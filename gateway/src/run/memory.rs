//! Giving memory back. Reading a configuration anew takes several times what it takes up in the end, and
//! glibc keeps what was freed in between small pieces that were not.
#![expect(unsafe_code, reason = "malloc_trim(3) has no safe wrapper here")]

/// Returns free memory to the kernel.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no preconditions; it may be made from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
