use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use core::arch::asm;
use ion_wire::frame::{Packet, PacketMut};

/// The part of a packet that lies in one piece, read by words of one, two or four bytes.
///
/// Headers lie at odd offsets, where Rust and LLVM would read them byte by byte; the machines that
/// Ion runs on read words there, and the verifier lets them. Hence the assembler. Positions are
/// addresses, so that nothing but constants is ever added to one: without CAP_PERFMON, the verifier
/// takes no other arithmetic on packets.
pub(crate) struct Frame {
    start: usize,
    end: usize,
    len: usize,
}

impl Frame {
    /// A received frame; of a large one, its first page.
    #[inline(always)]
    pub(crate) fn of_xdp(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
            // SAFETY: the context is the one the kernel called us with.
            len: unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize,
        }
    }

    /// Whether the `N` bytes at a position are there, asked in the verifier's own way.
    #[inline(always)]
    fn has<const N: usize>(&self, at: usize) -> bool {
        at + N <= self.end
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn start(&self) -> usize {
        self.start
    }

    /// An addition that LLVM cannot move behind a branch, where it would add a variable.
    #[inline(always)]
    fn skip<const N: usize>(&self, mut at: usize) -> usize {
        // SAFETY: an addition.
        unsafe { asm!("{} += {}", inout(reg) at, const N) };
        at
    }

    #[inline(always)]
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if !self.has::<N>(at) {
            return None;
        }
        let word: u64;
        // SAFETY: the bytes lie in the packet.
        unsafe {
            match N {
                1 => asm!("{} = *(u8 *)({} + 0)", out(reg) word, in(reg) at),
                2 => asm!("{} = *(u16 *)({} + 0)", out(reg) word, in(reg) at),
                4 => asm!("{} = *(u32 *)({} + 0)", out(reg) word, in(reg) at),
                _ => return None,
            }
        }
        let [a, b, c, d, ..] = word.to_le_bytes();
        Some(core::array::from_fn(|n| [a, b, c, d][n]))
    }

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.len
    }
}

impl PacketMut for Frame {
    #[inline(always)]
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        if !self.has::<N>(at) {
            return None;
        }
        let byte = |n| if n < N { bytes[n] } else { 0 };
        let word = u64::from(u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]));
        // SAFETY: the bytes lie in the packet; no reference to them exists, for `array` copies.
        unsafe {
            match N {
                1 => asm!("*(u8 *)({} + 0) = {}", in(reg) at, in(reg) word),
                2 => asm!("*(u16 *)({} + 0) = {}", in(reg) at, in(reg) word),
                4 => asm!("*(u32 *)({} + 0) = {}", in(reg) at, in(reg) word),
                _ => return None,
            }
        }
        Some(())
    }
}
