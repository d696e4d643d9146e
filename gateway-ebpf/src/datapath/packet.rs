//! A packet in the kernel's memory, read through the verifier's bounds checks.

use core::cell::Cell;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use gateway_ebpf::DropReason;
use gateway_ebpf::parse::{self, Fragment, Frame, Ip, Payload};

/// The linear part of a packet.
pub struct Packet {
    context: *mut xdp_md,
    data: usize,
    data_end: usize,
    /// Length of what is known of the frame: at first, of the linear part.
    length: Cell<u32>,
}

impl Packet {
    /// `data` and `data_end` are read once: reading them again would lose the verifier's proof.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        // SAFETY: the kernel passed this context in.
        let (data, data_end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
        Self { context, data, data_end, length: Cell::new((data_end - data) as u32) }
    }

    /// What the kernel passed in, to make the packet of again.
    #[inline(always)]
    pub fn context(&self) -> *mut xdp_md {
        self.context
    }

    /// The interface that it came in by. Read where it is needed, which is seldom: through three pointers.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passed this context in.
        unsafe { (*self.context).ingress_ifindex }
    }

    /// Length of the frame in bytes, without FCS, once its IP header has been read or [`Self::measure`] been
    /// called: of a packet in several buffers that ends in the first, without the padding in the others,
    /// which no router forwards.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        self.length.get()
    }

    /// Length of the linear part in bytes: all that can be read, and all there is of a packet in one buffer.
    #[inline(always)]
    pub fn linear_length(&self) -> u32 {
        (self.data_end - self.data) as u32
    }

    /// Takes the length of the whole frame. Not for every packet: the call costs 3 to 7 ns.
    #[inline(always)]
    pub fn measure(&self) -> u32 {
        // SAFETY: the kernel passed this context in; the helper only reads it (Linux 5.18).
        self.length.set(unsafe { bpf_xdp_get_buff_len(self.context) } as u32);
        self.length.get()
    }

    /// Where the packet begins in memory, if it can be read, and written, up to `end`.
    #[inline(always)]
    pub fn reach(&self, end: usize) -> Option<usize> {
        (self.data + end <= self.data_end).then_some(self.data)
    }

    /// Unsigned integers in a row.
    #[inline(always)]
    fn row<T: Copy + Default, const N: usize>(&self, at: usize) -> Option<[T; N]> {
        let start = self.data + at;
        if start + N * size_of::<T>() > self.data_end {
            return None;
        }
        let mut row = [T::default(); N];
        for (index, item) in row.iter_mut().enumerate() {
            // SAFETY: within the packet, as just checked (and as the verifier checks again). Any bytes are a
            // valid `T`: only called for unsigned integers. Headers need not be aligned for them: the
            // verifier admits that for packet memory where the CPU does (x86-64, arm64), while
            // `read_unaligned` would load byte by byte. Volatile, so that the compiler draws no conclusions
            // from an alignment that is not there.
            *item = unsafe { core::ptr::read_volatile((start + index * size_of::<T>()) as *const T) };
        }
        Some(row)
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn reaches(&self, end: u32) -> bool {
        end <= self.length() || end <= self.measure()
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> Option<u16> {
        self.row(at).map(|[value]| u16::from_be(value))
    }

    #[inline(always)]
    fn be32(&self, at: usize) -> Option<u32> {
        self.row(at).map(|[value]| u32::from_be(value))
    }

    #[inline(always)]
    fn be64(&self, at: usize) -> Option<u64> {
        self.row(at).map(|[value]| u64::from_be(value))
    }

    #[inline(always)]
    fn be32s<const N: usize>(&self, at: usize) -> Option<[u32; N]> {
        self.row(at).map(|row| row.map(u32::from_be))
    }

    #[inline(always)]
    fn be64s<const N: usize>(&self, at: usize) -> Option<[u64; N]> {
        self.row(at).map(|row| row.map(u64::from_be))
    }

    #[inline(always)]
    fn walk(&self, start: Payload) -> Result<Payload, DropReason> {
        unpack(walk_extension_headers(self.context, start.protocol, start.at as u32, start.length))
    }
}

/// The IP header at `network`, for global functions, which read it again.
#[inline(always)]
pub fn ip_header(packet: &Packet, network: u32) -> Option<Ip> {
    // At most Ethernet and two tags; unknown here, so bounded for the verifier.
    let network = (network & 0x1f) as usize;
    match packet.be16(network)? >> 12 {
        4 => parse::ipv4(packet, network),
        _ => parse::ipv6(packet, network),
    }
    .ok()
}

/// [`parse::extension_headers`] as a global function (Linux 5.6), which the verifier checks once and by
/// itself: inlined, its loop would be explored anew for every way in which a packet can get there.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_extension_headers(context: *mut xdp_md, protocol: u8, at: u32, length: u32) -> u64 {
    // What the caller knows of `at` is not known here: bound it, so that the verifier can add it to a
    // packet pointer. It is at most 62: Ethernet, two tags, and the fixed header.
    let start = Payload { protocol, fragment: Fragment::Whole, at: (at & 0x3f) as usize, length };
    pack(parse::extension_headers(&Packet::new(context), start))
}

/// A result as one register: reason (0: none) 8 bits, protocol 8, length 16, offset 16, and the
/// fragment: first 1, units 13.
#[inline(always)]
fn pack(walked: Result<Payload, DropReason>) -> u64 {
    match walked {
        Err(reason) => reason as u64,
        Ok(payload) => {
            let fragment = match payload.fragment {
                Fragment::Whole => 0,
                Fragment::First => 1,
                Fragment::Later { offset_units } => u64::from(offset_units) << 1,
            };
            u64::from(payload.protocol) << 8
                | u64::from(payload.length as u16) << 16
                | (payload.at as u64 & 0xffff) << 32
                | fragment << 48
        }
    }
}

#[inline(always)]
fn unpack(packed: u64) -> Result<Payload, DropReason> {
    match packed as u8 {
        0 => {}
        reason if reason == DropReason::HeaderChain as u8 => return Err(DropReason::HeaderChain),
        reason if reason == DropReason::Fragment as u8 => return Err(DropReason::Fragment),
        _ => return Err(DropReason::Malformed),
    }
    let fragment = match packed >> 48 {
        0 => Fragment::Whole,
        1 => Fragment::First,
        units => Fragment::Later { offset_units: (units >> 1) as u16 },
    };
    Ok(Payload {
        protocol: (packed >> 8) as u8,
        fragment,
        // Eight headers of at most 2,048 bytes each.
        at: (packed >> 32) as usize & 0x7fff,
        length: (packed >> 16) as u32 & 0xffff,
    })
}
