//! Arrays of the kernel, mapped into this process: a policy for 100,000 tenants is written, and their
//! counters are read, without a system call per entry.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytemuck::Pod;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A `BPF_MAP_TYPE_ARRAY` with `BPF_F_MMAPABLE`, mapped read-write. The programs change it while it is
/// mapped, so it is only ever touched as atomic 64-bit words.
pub(super) struct MappedArray<T> {
    words: NonNull<AtomicU64>,
    len: u32,
    value: PhantomData<T>,
}

// SAFETY: it owns its mapping, which any thread may use, and every access is atomic.
unsafe impl<T> Send for MappedArray<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// Words of one value. The kernel rounds the size of an array's values up to eight bytes; types
    /// that would need it are refused here, at compile time.
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8) && size_of::<T>() > 0);
        size_of::<T>() / 8
    };

    /// Maps an array of `len` values.
    ///
    /// # Errors
    /// The kernel's, if the map is smaller than that or not mappable.
    pub(super) fn new(map: impl AsFd, len: u32) -> std::io::Result<Self> {
        let bytes = Self::bytes(len).ok_or(std::io::ErrorKind::InvalidInput)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice invalidates no other memory.
        let start = unsafe {
            mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map, 0)?
        };
        Ok(Self { words: start.cast(), len, value: PhantomData })
    }

    /// How many values there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    fn bytes(len: u32) -> Option<NonZeroUsize> {
        NonZeroUsize::new(len as usize * size_of::<T>())
    }

    /// The words of one value, for atomic updates.
    ///
    /// # Panics
    /// If the array has no value `index`.
    pub(super) fn words(&self, index: u32) -> &[AtomicU64] {
        assert!(index < self.len, "index {index} of {}", self.len);
        // SAFETY: `new` mapped `len * WORDS` words, page-aligned, and they stay mapped while `self`
        // lives; `index` is in range. Shared access to atomics needs no exclusivity.
        unsafe {
            std::slice::from_raw_parts(self.words.as_ptr().add(index as usize * Self::WORDS), Self::WORDS)
        }
    }

    /// One value. Each of its words is read whole; a program may write between two of them.
    pub(super) fn get(&self, index: u32) -> T {
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value).chunks_exact_mut(8);
        for (bytes, word) in bytes.zip(self.words(index)) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        value
    }

    /// Sets one value. Only for values that no program writes, or reads, at the same time.
    pub(super) fn set(&self, index: u32, value: &T) {
        let bytes = bytemuck::bytes_of(value).chunks_exact(8);
        for (bytes, word) in bytes.zip(self.words(index)) {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(buffer), Relaxed);
        }
    }

    /// Sets consecutive values, from `first` on.
    pub(super) fn set_all(&self, first: u32, values: &[T]) {
        (first..).zip(values).for_each(|(index, value)| self.set(index, value));
    }

    /// Adds every word of `from` to the same word of the value at `index`, and leaves `from` zero.
    pub(super) fn move_words(&self, index: u32, from: &[AtomicU64]) {
        for (to, from) in self.words(index).iter().zip(from) {
            // Most are zero; do not dirty their cache lines.
            if from.load(Relaxed) != 0 {
                to.fetch_add(from.swap(0, Relaxed), Relaxed);
            }
        }
    }

    /// Zeroes one value.
    pub(super) fn clear(&self, index: u32) {
        self.words(index).iter().for_each(|word| word.store(0, Relaxed));
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; no reference into it outlives `self`.
        let result = unsafe { munmap(self.words.cast(), self.len as usize * size_of::<T>()) };
        if let Err(error) = result {
            tracing::warn!(%error, "unmapping a kernel array");
        }
    }
}
