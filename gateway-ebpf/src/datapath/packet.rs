//! A packet in the kernel's memory, read through the verifier's bounds checks.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use gateway_ebpf::parse::Frame;

/// The linear part of a packet, and the length of all of it.
pub struct Packet {
    data: usize,
    data_end: usize,
    length: u32,
}

impl Packet {
    /// `data` and `data_end` are read once: reading them again would lose the verifier's proof.
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        // SAFETY: the helper only reads the context that the kernel passed in.
        let length = unsafe { bpf_xdp_get_buff_len(context.as_ptr().cast()) };
        Self { data: context.data(), data_end: context.data_end(), length: length as u32 }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: usize) -> Option<T> {
        let start = self.data + at;
        if start + size_of::<T>() > self.data_end {
            return None;
        }
        // SAFETY: within the packet, as just checked (and as the verifier checks again). Any bytes are a
        // valid `T`: only called for unsigned integers.
        Some(unsafe { core::ptr::read_unaligned(start as *const T) })
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.read(at)
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> Option<u16> {
        self.read(at).map(u16::from_be)
    }

    #[inline(always)]
    fn be32(&self, at: usize) -> Option<u32> {
        self.read(at).map(u32::from_be)
    }

    #[inline(always)]
    fn be64(&self, at: usize) -> Option<u64> {
        self.read(at).map(u64::from_be)
    }
}
