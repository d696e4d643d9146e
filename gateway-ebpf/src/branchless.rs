//! Choices without a branch: the verifier follows both ways of every branch, and the ways of branches in a row multiply.

/// All bits if both numbers are equal, else none.
#[inline(always)]
#[must_use]
pub fn ones_if_equal(one: u64, other: u64) -> u64 {
    let difference = one ^ other;
    // Only 0 has the top bit neither in itself nor in its negative.
    let differs = (difference | negative(difference)) >> 63;
    differs.wrapping_sub(1)
}

/// The negative, by an instruction that the compiler does not see through: else it makes a branch of what it knows.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[expect(unsafe_code, reason = "only assembly hides a value from the compiler in a register")]
fn negative(mut value: u64) -> u64 {
    // SAFETY: one instruction on a register of its own, without memory or stack. Not `pure`: the compiler would put several
    // off and keep what they need on the stack, of which there is little.
    unsafe { core::arch::asm!("{0} = -{0}", inout(reg) value, options(nomem, nostack)) };
    value
}

#[cfg(not(target_arch = "bpf"))]
const fn negative(value: u64) -> u64 {
    value.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_equal_numbers_have_all(one in any::<u64>(), other in any::<u64>(), bit in 0..64_u32) {
            prop_assert_eq!(ones_if_equal(one, one), u64::MAX);
            prop_assert_eq!(ones_if_equal(one, one ^ (1 << bit)), 0);
            prop_assert_eq!(ones_if_equal(one, other) == u64::MAX, one == other);
        }
    }
}
