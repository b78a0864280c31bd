use crate::maps::{FLOWS, SETTINGS, SOCKETS};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative};
use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;
use core::mem::MaybeUninit;
use ion_ebpf_types::steer::worker_of;
use ion_ebpf_types::{Endpoint, FlowKey, GROUP_LEN, Ip, Settings};
use ion_wire::classify::is_packet_report;
use ion_wire::frame::{ETHERTYPE_IPV4, UDP_LEN};

#[sk_reuseport]
pub fn ion_reuseport(ctx: SkReuseportContext) -> u32 {
    if let Some(settings) = SETTINGS.get(0)
        && let Some(key) = key_of(&ctx)
        && let Some(group) = settings.media_of(&key.local)
    {
        let member = member_of(&ctx, settings, &key);
        // If that socket is closed, the kernel's own hash chooses among those that are open.
        let _ = SOCKETS.select_reuseport(&ctx, group * GROUP_LEN + member);
    }
    SK_PASS
}

/// A group's member for this datagram: the owner of its flow, else the worker of its source, for RTP
/// and RTCP, by that one's other socket if it reports on packets; the control plane, behind the workers, for all else
/// (RFC 7983 §7).
#[inline(always)]
fn member_of(ctx: &SkReuseportContext, settings: &Settings, key: &FlowKey) -> u32 {
    let workers = settings.workers();
    let first = match datagram::<2>(ctx, UDP_LEN as u32) {
        Some(first @ [128..=191, _]) => first,
        _ => return workers,
    };
    // SAFETY: as in `xdp::handle`: the entry may change under us, to another that is whole.
    let worker = match unsafe { FLOWS.get(key) } {
        Some(flow) if u32::from(flow.worker) < workers => u32::from(flow.worker),
        _ => worker_of(&key.remote, workers),
    };
    if is_packet_report(first) { workers + 1 + worker } else { worker }
}

#[inline(always)]
fn key_of(ctx: &SkReuseportContext) -> Option<FlowKey> {
    let [s, t, d, e] = datagram(ctx, 0)?;
    let (remote, local) = if ctx.eth_protocol() == u32::from(ETHERTYPE_IPV4.to_be()) {
        let [source, destination] = network(ctx, 12)?;
        (Ip::v4(source), Ip::v4(destination))
    } else {
        let [a, b, c, d, e, f, g, h] = network(ctx, 8)?;
        (Ip::v6([a, b, c, d]), Ip::v6([e, f, g, h]))
    };
    Some(FlowKey {
        remote: Endpoint::new(remote, u16::from_be_bytes([s, t])),
        local: Endpoint::new(local, u16::from_be_bytes([d, e])),
    })
}

/// `N` bytes at `at` from the UDP header. Copied, not read in place: of a packet that a driver split, or
/// that is several still joined (GSO), only the headers lie where a program can read them.
#[inline(always)]
fn datagram<const N: usize>(ctx: &SkReuseportContext, at: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the helper writes `N` bytes, or fails.
    let error = unsafe { bpf_skb_load_bytes(ctx.as_ptr(), at, bytes.as_mut_ptr().cast(), N as u32) };
    // SAFETY: the helper has written all of them.
    (error == 0).then(|| unsafe { bytes.assume_init() })
}

/// `N` words at `at` from the IP header.
#[inline(always)]
fn network<const N: usize>(ctx: &SkReuseportContext, at: u32) -> Option<[[u8; 4]; N]> {
    let mut words = MaybeUninit::<[[u8; 4]; N]>::uninit();
    // SAFETY: the helper writes as many bytes as `words` has, or fails.
    let error = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr(),
            at,
            words.as_mut_ptr().cast(),
            size_of::<[[u8; 4]; N]>() as u32,
            BPF_HDR_START_NET,
        )
    };
    // SAFETY: the helper has written all of them.
    (error == 0).then(|| unsafe { words.assume_init() })
}
