//! Silence that is not sent.

use crate::harness::*;
use crate::room::{SILENT, SPEAKS};
use ion_tables::{ExtensionKind, Subscription, SubscriptionConfig};
use ion_wire::red;

fn packet(index: u64, level: u8, len: usize) -> Rtp {
    let mut payload = vec![7; len.max(8)];
    payload[..8].copy_from_slice(&index.to_be_bytes());
    payload.truncate(len);
    Rtp::new(11, OPUS, index, index as u32 * 960, &payload)
        .with(ExtensionKind::Mid, b"0")
        .with(ExtensionKind::AudioLevel, &[level])
}

/// Speech, silence, comfort noise, speech: what two viewers get of it, one of whom wants no silence.
fn world() -> (World, [(usize, u32); 2]) {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    let viewers = [0, SubscriptionConfig::DROP_SILENCE].map(|flag| {
        let viewer = world.client(0, true);
        (
            viewer,
            world.subscribe_with(viewer, track, |s| s.flags |= flag),
        )
    });
    for index in 100..300 {
        let spoken = packet(index, SPEAKS, 60);
        let packet = match index {
            150..200 => packet(index, SILENT, 60),
            200..250 if index % 20 != 0 => continue,
            200..250 => packet(index, SILENT, 1),
            _ => spoken,
        };
        // The publisher's numbers run on over what it does not send itself.
        let sent = match index {
            250.. => 203 + index - 250,
            200.. => 200 + (index - 200) / 20,
            _ => index,
        };
        world.send(
            publisher,
            &Rtp {
                index: sent,
                ..packet
            },
        );
        world.advance(20_000);
    }
    (world, viewers)
}

#[test]
fn silence_is_left_out_without_a_gap_and_speech_begins_with_a_marker() {
    let (mut world, [(all, everything), (some, spoken)]) = world();
    let got = world.clients[all].of(media_ssrc(everything));
    assert_eq!(got.len(), 153);
    let got: Vec<Got> = world.clients[some]
        .of(media_ssrc(spoken))
        .into_iter()
        .cloned()
        .collect();
    // Of the fifty that are silent the first fifteen or so: the ends of words are quiet.
    assert!((112..=117).contains(&got.len()), "{}", got.len());
    let counters = world.subscription_counters(spoken);
    let left_out = counters.packets_of_silence.load();
    assert_eq!(left_out as usize, 153 - got.len());
    assert!(
        got.windows(2)
            .all(|pair| pair[1].index == pair[0].index + 1)
    );
    let marked: Vec<_> = got.iter().filter(|got| got.header.marker).collect();
    let first = got
        .iter()
        .find(|got| got.payload[..8] == 250_u64.to_be_bytes());
    assert_eq!(marked, [first.unwrap()]);
    // Time is true over the pause.
    let ticks = marked[0]
        .header
        .timestamp
        .wrapping_sub(got[0].header.timestamp);
    assert_eq!(ticks, 150 * 960);
    // What was sent is sent again under its own number, marker and all.
    let again = marked[0].index as u16;
    let plain = marked[0].plain.clone();
    world.send_rtcp(some, &nack(media_ssrc(spoken), &[again]));
    let repeated = world.clients[some]
        .of(media_ssrc(spoken))
        .last()
        .copied()
        .cloned();
    assert_eq!(
        repeated.map(|got| (got.again, got.plain)),
        Some((true, plain))
    );
}

#[test]
fn earlier_frames_that_were_left_out_do_not_come_along_as_redundancy() {
    let (mut world, [_, (viewer, sub)]) = world();
    world.edit::<Subscription>(sub, |s| s.flags = SubscriptionConfig::DROP_SILENCE);
    // The viewer loses: it is sent RED. Two blocks would tell of the two numbers before.
    let counters = world.subscription_counters(sub);
    counters.fraction_lost.set(100);
    let got = world.clients[viewer].of(media_ssrc(sub)).len();
    let publisher = 0;
    for index in 253..330 {
        let level = if index < 300 { SILENT } else { SPEAKS };
        world.send(publisher, &packet(index, level, 60));
        world.advance(20_000);
    }
    let got = world.clients[viewer].of(media_ssrc(sub)).split_off(got);
    let blocks = |got: &Got| {
        let red = ion_wire::red::Red::parse(&got.payload).unwrap();
        red.redundant().count()
    };
    let spurt = got.iter().position(|got| got.header.marker).unwrap();
    assert_eq!(
        got[spurt].header.payload_type, V_OPUS,
        "nothing before it was sent"
    );
    assert_eq!(blocks(got[spurt + 1]), 1);
    assert_eq!(blocks(got[spurt + 2]), 2);
}

#[test]
fn silence_that_was_lost_and_came_as_redundancy_is_not_sent_either() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    let viewer = world.client(0, true);
    let drop = SubscriptionConfig::DROP_SILENCE;
    let sub = world.subscribe_with(viewer, track, |s| s.flags |= drop);
    for index in 100..300_u64 {
        if index % 5 == 4 {
            continue;
        }
        let level = if index < 150 { SPEAKS } else { SILENT };
        let mut sent = packet(index, level, 60);
        let before = packet(index - 1, level, 60).payload;
        let block = red::Redundant {
            payload_type: OPUS,
            timestamp_offset: 960,
            data: &before,
        };
        let mut payload = vec![0; 200];
        let len = red::write(&mut payload, &[block], OPUS, &sent.payload).unwrap();
        (sent.pt, sent.payload) = (RED, payload[..len].to_vec());
        world.send(publisher, &sent);
        world.advance(20_000);
    }
    assert_eq!(world.encoding_counters(track).fec_recovered.load(), 39);
    let got = world.clients[viewer].of(media_ssrc(sub));
    let said = |got: &&&Got| got.payload[..8] < 170_u64.to_be_bytes()[..];
    assert_eq!(
        got.iter().filter(said).count(),
        got.len(),
        "but for the ends of words"
    );
    assert!(
        got.windows(2)
            .all(|pair| pair[1].index == pair[0].index + 1)
    );
}
