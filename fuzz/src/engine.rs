//! The engine under a hostile client that has keys: the input is a program of packets, compounds, time and
//! changes of rows. The harness of the engine's own tests plays the other ends; it checks that every viewer
//! can open what it is sent and that no SRTP index is sealed for two contents.

#[path = "../../dataplane/engine/tests/engine/harness.rs"]
#[allow(dead_code, reason = "shared with the engine's tests")]
mod harness;

use harness::*;
use ion_tables::{Subscription, SubscriptionConfig, Track};
use ion_wire::ntp;
use ion_wire::rtcp::{ReportBlock, build};

/// Steps of one input at most: each is as dear as a packet.
const STEPS: usize = 400;

struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// As many bytes as the next one says.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(bytes)
    }
}

/// What reaches a worker, and the rows it is told of.
pub fn engine(data: &[u8]) {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let video = world.track(publisher, true, &[&|encoding| encoding.fec_payload_type = FEC]);
    let audio = world.audio(publisher);
    let viewers = [world.client(0, true), world.client(1, true)];
    let takes_fec = |s: &mut SubscriptionConfig| (s.fec_payload_type, s.fec_ssrc) = (V_FEC, s.ssrc + 2);
    let subs = viewers.map(|viewer| world.subscribe_with(viewer, video, takes_fec));
    let plain = world.subscribe_with(viewers[1], video, |s| (s.rtx_ssrc, s.rtx_payload_type) = (0, 0));
    world.subscribe(viewers[0], audio);
    let mut program = Program(data);
    for _ in 0..STEPS {
        if step(&mut world, &mut program, publisher, viewers, [subs[0], subs[1], plain]).is_none() {
            break;
        }
    }
    world.flush();
    // Whatever it was, another publisher is served, and a little later nothing is left of it.
    let other = world.client(1, false);
    let track = world.audio(other);
    let sub = world.subscribe(viewers[0], track);
    world.send(other, &Rtp::new(1, OPUS, 1, 0, &[1; 10]));
    assert_eq!(world.clients[viewers[0]].of(media_ssrc(sub)).len(), 1);
    world.advance(8_000_000);
    for worker in &mut world.workers {
        assert_eq!(worker.engine.packets_in_use(), 0, "packets leak");
    }
}

fn step(
    world: &mut World,
    program: &mut Program<'_>,
    publisher: usize,
    viewers: [usize; 2],
    subs: [u32; 3],
) -> Option<()> {
    match program.byte()? % 10 {
        0..=2 => {
            let shape = program.byte()?;
            let index = u64::from(program.word()?);
            let payload = program.bytes()?;
            let pt = [VP8, VP8_RTX, OPUS, RED][usize::from(shape & 3)];
            let mut packet = Rtp::new(u32::from(shape >> 2 & 3), pt, index, u32::from(shape) << 24, payload);
            packet.marker = shape & 0x10 != 0;
            packet.padding = shape >> 5 & 1;
            if shape & 0x40 != 0 {
                let mid: &[u8] = if pt == OPUS { b"0" } else { b"1" };
                packet = packet.with(KINDS[0], mid);
            }
            if shape & 0x80 != 0 && (1..=16).contains(&payload.len()) {
                packet = packet.with(KINDS[usize::from(shape & 7)], payload);
            }
            world.rtp(publisher, &packet);
        }
        3 => {
            let from = [publisher, viewers[0], viewers[1]][usize::from(program.byte()?) % 3];
            let compound = program.bytes()?;
            if compound.len() >= 8 {
                world.rtcp(from, compound);
            }
        }
        4 => {
            // The last numbers that a viewer was sent, so that asking again means something.
            let which = usize::from(program.byte()?) % 3;
            let viewer = viewers[which.min(1)];
            let ssrc = media_ssrc(subs[which]);
            let back = program.byte()?;
            let last = world.clients[viewer].of(ssrc).last().map(|got| got.header.sequence)?;
            let lost = [last.wrapping_sub(u16::from(back)), last.wrapping_sub(u16::from(back / 2))];
            world.rtcp(viewer, &nack(ssrc, &lost));
        }
        5 => {
            let datagram = program.bytes()?;
            world.arrive(publisher, datagram);
        }
        6 => {
            world.flush();
            let ms = u64::from(program.byte()?);
            world.advance(ms * 4_000);
        }
        7 => {
            let sub = subs[usize::from(program.byte()?) % 3];
            match program.byte()? % 6 {
                0 => world.edit::<Subscription>(sub, |s| s.flags ^= SubscriptionConfig::PAUSED),
                1 => world.edit::<Subscription>(sub, |s| s.payload_type ^= 1),
                2 => world.edit::<Subscription>(sub, |s| s.head.generation += 1),
                3 => {
                    world.flush();
                    world.start_workers(2);
                }
                4 => world.edit::<Track>(0, |t| t.subscriber_workers ^= 2),
                _ => world.flush(),
            }
        }
        8 => {
            // A repair packet, well-formed as far as its header goes.
            let (index, base, mask) = (program.word()?, program.word()?, program.word()?);
            let (ssrc, body) = (program.byte()? & 3, program.bytes()?);
            let mut payload = body.get(..8).map_or(vec![0; 8], <[u8]>::to_vec);
            payload[0] &= 0x3f;
            payload.extend([1, 0, 0, 0, 0, 0, 0, ssrc]);
            payload.extend(base.to_be_bytes());
            payload.extend((mask | 0x8000).to_be_bytes());
            payload.extend(body);
            world.rtp(publisher, &Rtp::new(9, FEC, index.into(), 0, &payload).with(KINDS[0], b"1"));
        }
        _ => {
            // A viewer far away loses packets.
            let which = usize::from(program.byte()?) % 2;
            let sent = world.now.0.checked_sub(150_000)?;
            let block = ReportBlock {
                ssrc: media_ssrc(subs[which]),
                fraction_lost: program.byte()?,
                cumulative_lost: 1,
                extended_highest_sequence: 0,
                jitter: 0,
                last_sr: ntp::middle(NTP_ZERO.wrapping_add((sent << 32) / 1_000_000)),
                delay_since_last_sr: 0,
            };
            let mut compound = [0; 100];
            let len = build::receiver_report(&mut compound, 7, &[block]).ok()?;
            world.rtcp(viewers[which], &compound[..len]);
        }
    }
    Some(())
}
