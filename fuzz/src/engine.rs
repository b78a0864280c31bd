//! The engine under a hostile client that has keys: the input is a program of packets, compounds, time and
//! changes of rows. The harness of the engine's own tests plays the other ends; it checks that every viewer
//! can open what it is sent and that no SRTP index is sealed for two contents.

#[path = "../../dataplane/engine/tests/engine/harness.rs"]
#[allow(dead_code, reason = "shared with the engine's tests")]
mod harness;

use harness::*;
use ion_tables::{Subscription, SubscriptionConfig, Track};

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
    let (video, audio) = (world.video(publisher), world.audio(publisher));
    let viewers = [world.client(0, true), world.client(1, true)];
    let subs = viewers.map(|viewer| world.subscribe(viewer, video));
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
    world.advance(3_000_000);
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
    match program.byte()? % 8 {
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
        _ => {
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
    }
    Some(())
}
