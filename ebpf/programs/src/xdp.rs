use crate::maps::{COUNTERS, DEVICES, FLOWS, SAMPLES, SETTINGS, XSKS};
use crate::packet::Frame;
use crate::police;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_xdp_load_bytes};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use core::hint::black_box;
use ion_ebpf_types::{
    Action, Endpoint, FlowKey, Ip, MAX_REDIRECTED_LEN, Relay, Sample, Settings, Verdict, judge,
};
use ion_wire::PacketKind;
use ion_wire::classify::kind_of;
use ion_wire::frame::{Packet, UdpFrame, Unread};

/// What becomes of a frame: its counter and what the driver is told.
type Outcome = (Verdict, u32);

#[xdp(frags)]
pub fn ion_xdp(ctx: XdpContext) -> u32 {
    let (verdict, action) = match SETTINGS.get(0) {
        Some(settings) => handle(&ctx, settings),
        // An array always has its entry; the verifier does not know.
        None => (Verdict::PassOther, XDP_PASS),
    };
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: this CPU's own counter; the program is not interrupted by itself.
        unsafe { *counter += 1 };
    }
    action
}

/// Parse, classify, judge, act.
#[inline(always)]
fn handle(ctx: &XdpContext, settings: &Settings) -> Outcome {
    let mut frame = Frame::of_xdp(ctx);
    let udp = match UdpFrame::parse(&frame) {
        Ok(udp) => udp,
        Err(Unread::NotIp | Unread::NotUdp) => return (Verdict::PassOther, XDP_PASS),
        Err(_) => return (Verdict::PassUnread, XDP_PASS),
    };
    let Some(key) = key_of(&frame, &udp) else {
        return (Verdict::PassUnread, XDP_PASS);
    };
    if settings.media_of(&key.local).is_none() {
        return (Verdict::PassOtherPort, XDP_PASS);
    }
    let Some(len) = udp.payload_len else {
        return drop_sampled(ctx, settings, &key, &udp, Verdict::DropMalformed);
    };
    let kind = match frame.array(udp.payload()) {
        Some(first) => kind_of(first, len),
        None if len < 2 => PacketKind::Unknown,
        None => return (Verdict::PassUnread, XDP_PASS),
    };
    let flow = match kind {
        PacketKind::Unknown => None,
        // SAFETY: user space replaces entries whole, and may remove this one meanwhile: the kernel keeps
        // its memory, so at worst this packet goes where the next flow in that place goes.
        _ => unsafe { FLOWS.get(&key) },
    };
    match judge(kind, flow) {
        Action::Forward => forward(ctx, &frame),
        Action::Pass(verdict) => (verdict, XDP_PASS),
        Action::Relay => match flow {
            Some(flow) => relay(ctx, &mut frame, &udp, &flow.relay),
            None => (Verdict::DropRelay, XDP_DROP),
        },
        Action::Police(verdict) => {
            // SAFETY: a helper without arguments.
            let now_ns = unsafe { bpf_ktime_get_ns() };
            match police::admit(settings, &key.remote, flow.is_some(), now_ns) {
                Ok(()) => (verdict, XDP_PASS),
                Err(verdict) => drop_sampled(ctx, settings, &key, &udp, verdict),
            }
        }
        Action::Drop(verdict) => drop_sampled(ctx, settings, &key, &udp, verdict),
    }
}

#[inline(always)]
fn key_of(frame: &Frame, udp: &UdpFrame) -> Option<FlowKey> {
    let remote = Endpoint::new(Ip::source(frame, udp)?, udp.source_port);
    let local = Endpoint::new(Ip::destination(frame, udp)?, udp.destination_port);
    Some(FlowKey { remote, local })
}

/// To the AF_XDP socket of this queue. Where there is none, or the frame is too large for it, the stack has it.
#[inline(always)]
fn forward(ctx: &XdpContext, frame: &Frame) -> Outcome {
    if frame.frame_len() > MAX_REDIRECTED_LEN {
        return (Verdict::PassMedia, XDP_PASS);
    }
    match XSKS.redirect(ctx.rx_queue_index(), u64::from(XDP_PASS)) {
        Ok(action) => (Verdict::Redirected, action),
        Err(action) => (Verdict::PassMedia, action),
    }
}

/// On to the next node, by the interface it came by or by another.
#[inline(always)]
fn relay(ctx: &XdpContext, frame: &mut Frame, udp: &UdpFrame, relay: &Relay) -> Outcome {
    if let Err(verdict) = relay.readdress(frame, udp) {
        return (verdict, XDP_DROP);
    }
    if relay.interface as usize == ctx.ingress_ifindex() {
        return (Verdict::Relayed, XDP_TX);
    }
    match DEVICES.redirect(relay.interface, u64::from(XDP_DROP)) {
        Ok(action) => (Verdict::Relayed, action),
        Err(action) => (Verdict::DropRelay, action),
    }
}

/// Drops a datagram, and reports its headers now and then.
#[inline(always)]
fn drop_sampled(
    ctx: &XdpContext,
    settings: &Settings,
    key: &FlowKey,
    udp: &UdpFrame,
    verdict: Verdict,
) -> Outcome {
    // The time of the last tick will do, and costs a fraction of the clock's.
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_coarse_ns() };
    if police::may_sample(settings, now_ns) {
        let sample = Sample::new(now_ns, *key, verdict, ctx.rx_queue_index());
        report(ctx, udp, &sample);
    }
    (verdict, XDP_DROP)
}

/// Puts a sample into the ring with what there is of the payload; a full ring takes none.
#[inline(never)]
fn report(ctx: &XdpContext, udp: &UdpFrame, sample: &Sample) {
    let Some(mut entry) = SAMPLES.reserve(0) else {
        return;
    };
    let sample = entry.write(*sample);
    let len = udp.payload_len.unwrap_or(0);
    sample.payload_len = len as u16;
    // Counted from one less: the verifier of Linux 6.1 does not conclude from `copied != 0` that at least
    // one byte is asked for, and the compiler must not turn the comparison into that.
    let less = black_box(len.min(sample.payload.len()).wrapping_sub(1));
    if less < sample.payload.len() {
        let copied = less + 1;
        // SAFETY: `copied` bytes are written to the array, which has as many.
        let error = unsafe {
            bpf_xdp_load_bytes(
                ctx.ctx,
                udp.headers_len as u32,
                sample.payload.as_mut_ptr().cast(),
                copied as u32,
            )
        };
        sample.payload_copied = if error == 0 { copied as u16 } else { 0 };
    }
    entry.submit(0);
}
