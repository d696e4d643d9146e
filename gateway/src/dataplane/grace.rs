//! Waiting until no packet is judged by the bank that was just switched away from.
#![expect(unsafe_code, reason = "membarrier(2) has no safe wrapper here")]

use std::time::Duration;

/// `MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Far longer than one packet takes, even on a virtual machine that loses its CPU meanwhile.
const FALLBACK: Duration = Duration::from_millis(500);

/// Returns once every program run that began before the call has ended.
///
/// XDP programs run with bottom halves off, which is an RCU read-side section (Linux 4.20 and later),
/// and the global membarrier waits for exactly such a grace period (`synchronize_rcu` in
/// kernel/sched/membarrier.c). It is refused on kernels with `nohz_full` CPUs; there, time must do.
pub(super) fn wait() {
    // SAFETY: the call takes no pointers and changes nothing in this process.
    let refused = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if refused {
        std::thread::sleep(FALLBACK);
    }
}
