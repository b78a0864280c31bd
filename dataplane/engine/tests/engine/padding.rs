//! The parts of a frame are brought to one length, so that they are one send.

use crate::harness::*;
use ion_tables::SubscriptionConfig;

const SSRC: u32 = 77;

/// A frame as browsers split it: the last parts are a byte longer.
fn send_frame(world: &mut World, publisher: usize, frame: u64, lens: &[usize]) {
    let timestamp = u32::try_from(frame).unwrap() * 3_000;
    for (part, &len) in lens.iter().enumerate() {
        let index = frame * 100 + part as u64;
        let mut payload = vp8(frame == 0 && part == 0, index);
        payload.resize(len, 0xab);
        let mut packet = Rtp::new(SSRC, VP8, index, timestamp, &payload);
        packet.marker = part + 1 == lens.len();
        world.rtp(publisher, &packet);
    }
    world.flush();
}

#[test]
fn a_frame_of_parts_that_differ_by_a_byte_is_one_send() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let lens = [900, 900, 900, 901, 901, 885];
    send_frame(&mut world, publisher, 0, &lens);
    // The first sender report may follow in the same send.
    let sends = &world.workers[0].out.sends;
    assert!(sends.iter().any(|&count| count >= lens.len()), "{sends:?}");
    let got = world.clients[viewer].of(media_ssrc(sub));
    let payloads: Vec<_> = got.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(payloads, lens, "receivers take the padding off");
    let padded: Vec<_> = got.iter().map(|packet| packet.header.has_padding).collect();
    assert_eq!(padded, [true, true, true, false, false, true]);
    let octets = world.subscription_counters(sub).bytes_sent.load();
    assert_eq!(
        octets,
        lens.iter().sum::<usize>() as u64,
        "padding is no payload"
    );
}

#[test]
fn parts_that_differ_much_are_as_they_were() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    send_frame(&mut world, publisher, 0, &[900, 300, 600]);
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|packet| !packet.header.has_padding));
}

/// A packet that is sent again under its own index must be the same byte by byte.
#[test]
fn what_may_be_sent_again_as_it_was_is_not_padded() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe_with(viewer, track, |s: &mut SubscriptionConfig| {
        s.rtx_payload_type = 0;
    });
    send_frame(&mut world, publisher, 0, &[900, 901, 902]);
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|packet| !packet.header.has_padding));
}
