//! How many events a tenant may cause: so many a second of each sort, so that neither another tenant's flood
//! nor its own crowds out the packet that tells why a connection fails.

/// Events of each sort in a second.
pub const PER_SECOND: u64 = 5;

/// What is allowed apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Sort {
    /// A packet that a rule refused.
    Refused = 0,
    /// A packet over the cap.
    OverCap = 1,
    /// A contact of a suspect, which passes.
    Suspect = 2,
}

/// Events of one tenant and direction in the current second: the second in the lower half of the word, then
/// eight bits for each [`Sort`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Samples(u64);

impl Samples {
    /// The samples in this word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// They as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// One more in this second; `None` if there have been enough.
    #[inline(always)]
    #[must_use]
    pub const fn take(self, sort: Sort, second: u32) -> Option<Self> {
        let counted = if self.0 as u32 == second { self.0 } else { second as u64 };
        let shift = 32 + 8 * sort as u32;
        if (counted >> shift) & 0xff >= PER_SECOND { None } else { Some(Self(counted + (1 << shift))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_has_its_own_allowance_in_each_second() {
        let mut samples = Samples::default();
        for second in [0, 7, u32::MAX, 3] {
            for sort in [Sort::Suspect, Sort::Refused, Sort::OverCap] {
                for _ in 0..PER_SECOND {
                    samples = samples.take(sort, second).expect("within the allowance");
                }
                assert_eq!(samples.take(sort, second), None);
            }
        }
    }
}
