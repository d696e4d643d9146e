//! Indices whose bounds the verifier of every kernel follows.
//!
//! The compiler drops a mask that cannot change the value, by rules that no verifier shares in full. Before Linux
//! 6.10 the verifier forgets everything about the result of `<<`, `>>`, `|`, `^` and `*` where both operands vary
//! (`adjust_scalar_min_max_vals` in kernel/bpf/verifier.c), and none knows the range of an enum.

/// `value & MASK`, by an instruction that stays in the program, for an index into a table of `MASK + 1` entries.
#[inline(always)]
#[must_use]
pub fn masked<const MASK: u32>(value: u32) -> usize {
    and::<MASK>(u64::from(value)) as usize
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
#[expect(unsafe_code, reason = "only assembly keeps the compiler from dropping the instruction")]
fn and<const MASK: u32>(mut value: u64) -> u64 {
    const { assert!(MASK <= i32::MAX as u32, "the instruction takes a signed 32-bit number") };
    // SAFETY: one instruction on a register of its own, without memory or stack. Its result has no bit outside of
    // `MASK`, so it is at most that; the compiler cannot see it and is told, or it would add bounds checks.
    unsafe {
        core::arch::asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem, nostack));
        core::hint::assert_unchecked(value <= MASK as u64);
    }
    value
}

#[cfg(not(target_arch = "bpf"))]
const fn and<const MASK: u32>(value: u64) -> u64 {
    value & MASK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_bits_of_the_mask() {
        assert_eq!([0, 3, 4, 0xff, u32::MAX].map(masked::<3>), [0, 3, 0, 3, 3]);
        assert_eq!(masked::<0xfff>(0xf_0fff), 0xfff);
    }
}
