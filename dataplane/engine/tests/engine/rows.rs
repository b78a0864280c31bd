//! Rows that come in any order, change, end, and come again.

use crate::harness::*;
use ion_tables::{
    Address, Encoding, EncodingConfig, EventKind, EventReader, ExtensionKind, RowLink,
    Subscription, SubscriptionConfig, Track, TrackConfig, Transport, TransportConfig,
};
use std::net::SocketAddr;

fn packet(ssrc: u32, index: u64, keyframe: bool) -> Rtp {
    let timestamp = u32::try_from(index & 0xffff).unwrap() * 3_000;
    Rtp::new(ssrc, VP8, index, timestamp, &vp8(keyframe, index)).with(ExtensionKind::Mid, b"1")
}

/// Every order in which four rows can be announced leads to the same.
#[test]
fn announcements_may_come_in_any_order() {
    let permutations = |n: usize| {
        (0..24_usize).nth(n).map(|mut n| {
            let mut rest = vec![0, 1, 2, 3, 4];
            let mut order = vec![rest.remove(n % 5)];
            n /= 5;
            for size in (1..=4_usize).rev() {
                order.push(rest.remove(n % size));
                n /= size;
            }
            order
        })
    };
    for order in (0..24).filter_map(permutations) {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let viewer = world.client(0, true);
        let track = world.video(publisher);
        let sub = world.subscribe(viewer, track);
        let encoding = world.encodings(track)[0].row;
        let rows = (
            world.clients[publisher].row.row,
            world.clients[viewer].row.row,
        );
        // The same rows, seen by an engine that is told of them one by one.
        let configs: (
            TransportConfig,
            TransportConfig,
            TrackConfig,
            EncodingConfig,
            SubscriptionConfig,
        ) = (
            world
                .tables
                .config::<Transport>(rows.0)
                .unwrap()
                .read()
                .unwrap(),
            world
                .tables
                .config::<Transport>(rows.1)
                .unwrap()
                .read()
                .unwrap(),
            world.tables.config::<Track>(track).unwrap().read().unwrap(),
            world
                .tables
                .config::<Encoding>(encoding)
                .unwrap()
                .read()
                .unwrap(),
            world
                .tables
                .config::<Subscription>(sub)
                .unwrap()
                .read()
                .unwrap(),
        );
        let dead = |world: &World| {
            world
                .control
                .write::<Transport>(rows.0, &TransportConfig::default());
            world
                .control
                .write::<Transport>(rows.1, &TransportConfig::default());
            world.control.write::<Track>(track, &TrackConfig::default());
            world
                .control
                .write::<Encoding>(encoding, &EncodingConfig::default());
            world
                .control
                .write::<Subscription>(sub, &SubscriptionConfig::default());
        };
        dead(&world);
        world.start_workers(1);
        for &step in &order {
            match step {
                0 => world.write::<Transport>(rows.0, &configs.0),
                1 => world.write::<Transport>(rows.1, &configs.1),
                2 => world.write::<Track>(track, &configs.2),
                3 => world.write::<Encoding>(encoding, &configs.3),
                _ => world.write::<Subscription>(sub, &configs.4),
            }
        }
        world.send(publisher, &packet(10, 1, true));
        assert_eq!(world.clients[viewer].rtp.len(), 1, "order {order:?}");
    }
}

#[test]
fn a_stale_link_is_not_followed() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    world.send(publisher, &packet(10, 1, true));
    // The track's row is given to another publication; the subscription still means the old.
    let mut config = world.tables.config::<Track>(track).unwrap().read().unwrap();
    config.head = world.control.next_life::<Track>(track);
    world.write::<Track>(track, &config);
    world.send(publisher, &packet(10, 2, true));
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    let link = world.link::<Track>(track);
    world.edit::<Subscription>(sub, |s| s.track = link);
    let encoding = world.encodings(track)[0].row;
    world.edit::<Encoding>(encoding, |e| e.track = link);
    world.send(publisher, &packet(10, 3, true));
    assert_eq!(world.clients[viewer].rtp.len(), 2);
}

#[test]
fn a_viewer_is_carried_over_to_the_next_publication() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    for index in 1..20 {
        world.send(publisher, &packet(10, 40_000 + index, index == 1));
        world.advance(33_000);
    }
    let encoding = world.encodings(track)[0].row;
    world.free::<Track>(track);
    world.free::<Encoding>(encoding);
    let row = world.clients[publisher].row.row;
    world.free::<Transport>(row);
    world.advance(2_000_000);
    assert_eq!(world.workers[0].engine.packets_in_use(), 0);
    // The same publisher again, on another worker, with everything new.
    let again = world.client(1, false);
    let next = world.video(again);
    let link = world.link::<Track>(next);
    world.edit::<Subscription>(sub, |s| s.track = link);
    world.edit::<Track>(next, |t| t.subscriber_workers = 1);
    world.send(again, &packet(30, 7, false));
    world.advance(10_000);
    assert_eq!(world.plis(again).len(), 1);
    for index in 8..20 {
        world.send(again, &packet(30, index, index == 8));
        world.advance(33_000);
    }
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(got.len(), 31);
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
    let step = got[19]
        .header
        .timestamp
        .wrapping_sub(got[18].header.timestamp);
    assert!((180_000..200_000).contains(&step), "two seconds on: {step}");
}

#[test]
fn a_client_that_moves_is_followed_and_keeps_its_windows() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let old = world.clients[publisher].seal(&packet(10, 1, true));
    world.arrive(publisher, &old);
    let moved: SocketAddr = ([127, 0, 0, 2], 5_000).into();
    for client in [publisher, viewer] {
        let row = world.clients[client].row.row;
        let to = SocketAddr::new(moved.ip(), moved.port() + u16::try_from(row).unwrap());
        world.edit::<Transport>(row, |t| t.remote = Address::from(to));
        world.clients[client].address = to;
    }
    world.arrive(publisher, &old);
    world.send(publisher, &packet(10, 2, false));
    assert_eq!(
        world.drops(0, ion_tables::DropReason::Replayed),
        1,
        "the window stays"
    );
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 2);
}

#[test]
fn an_ssrc_used_again_goes_on_where_it_was() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let ssrc = media_ssrc(sub);
    for index in 1..10 {
        world.send(publisher, &packet(10, index, index == 1));
    }
    // Two subscriptions cannot have it at once.
    let second = world.subscribe_with(viewer, track, |s| {
        (s.ssrc, s.rtx_ssrc) = (ssrc, 0);
    });
    world.send(publisher, &packet(10, 10, true));
    assert_eq!(world.clients[viewer].of(ssrc).len(), 10);
    world.free::<Subscription>(sub);
    world.edit::<Subscription>(second, |_| ());
    world.send(publisher, &packet(10, 11, true));
    let got = world.clients[viewer].of(ssrc);
    assert_eq!(got.len(), 11);
    assert_eq!(
        got[10].index,
        got[9].index + 1,
        "under the same keys no index comes twice"
    );
}

#[test]
fn an_ssrc_given_on_just_before_all_dies_goes_on_too() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    for index in 1..10 {
        world.send(publisher, &packet(10, index, index == 1));
    }
    // Another life of the row, which has sent nothing yet.
    world.edit::<Subscription>(sub, |s| s.head.generation += 1);
    world.start_workers(1);
    for index in 10..20 {
        world.send(publisher, &packet(10, index, index == 10));
    }
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(got.len(), 19);
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
}

#[test]
fn all_dies_and_goes_on_from_the_stored_state() {
    for (quiet, earlier, first) in [
        (false, 500, 65_500),
        (true, 500, 65_500),
        (false, 30_000, 100),
    ] {
        let mut world = World::new(2);
        let publisher = world.client(0, false);
        let viewers = [world.client(0, true), world.client(1, true)];
        let track = world.video(publisher);
        let subs = viewers.map(|viewer| world.subscribe(viewer, track));
        // Padding and a second SSRC make places differ from sequence numbers.
        for index in 0..20 {
            world.send(publisher, &packet(9, earlier + index, index == 0));
            world.advance(33_000);
        }
        for index in 0..50 {
            let mut next = packet(10, first + index, index == 0);
            if index == 7 {
                next.payload.clear();
                next.padding = 100;
            }
            world.send(publisher, &next);
            world.advance(33_000);
        }
        let before: Vec<_> = viewers
            .iter()
            .zip(subs)
            .map(|(&v, s)| world.clients[v].of(media_ssrc(s)).last().unwrap().index)
            .collect();
        world.start_workers(2);
        if quiet {
            world.advance(5_000_000);
        }
        for index in 50..70 {
            world.send(publisher, &packet(10, first + index, false));
            world.advance(33_000);
        }
        for ((viewer, sub), before) in viewers.into_iter().zip(subs).zip(before) {
            let got = world.clients[viewer].of(media_ssrc(sub));
            let indices: Vec<_> = got.iter().map(|g| g.index).collect();
            assert_eq!(indices.len(), 20 + 49 + 20);
            assert!(indices.windows(2).all(|w| w[1] == w[0] + 1), "{indices:?}");
            assert!(indices.last().unwrap() > &before);
            let lost = indices[indices.len() - 5] as u16;
            world.send_rtcp(viewer, &nack(media_ssrc(sub), &[lost]));
            assert_eq!(world.clients[viewer].of(media_ssrc(sub) + 1).len(), 1);
        }
        // An attacker's copies of what came before the restart are still replays.
        let datagram = world.clients[publisher].seal(&packet(10, first + 49, false));
        world.arrive(publisher, &datagram);
        assert_eq!(world.drops(0, ion_tables::DropReason::Replayed), 1);
    }
}

#[test]
fn a_lost_announcement_costs_a_rescan() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let commands = world.tables.commands(0).unwrap();
    let mut config = world
        .tables
        .config::<Subscription>(sub)
        .unwrap()
        .read()
        .unwrap();
    config.flags |= SubscriptionConfig::PAUSED;
    world.control.write::<Subscription>(sub, &config);
    commands.ask_rescan();
    world.configure();
    world.send(publisher, &packet(10, 1, true));
    assert!(world.clients[viewer].rtp.is_empty());
}

#[test]
fn rows_full_of_nonsense_do_no_harm() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let wild = RowLink {
        row: u32::MAX,
        generation: 1,
    };
    let head = world.control.next_life::<Encoding>(20);
    let config = EncodingConfig {
        head,
        track: wild,
        transport: wild,
        codec: 255,
        layer: 255,
        ..EncodingConfig::default()
    };
    world.write::<Encoding>(20, &config);
    let head = world.control.next_life::<Track>(10);
    let config = TrackConfig {
        head,
        transport: wild,
        encodings: [wild; 4],
        subscriber_workers: u64::MAX,
        worker: 999,
        kind: 9,
        stage: wild,
        seat: 255,
        ..TrackConfig::default()
    };
    world.write::<Track>(10, &config);
    let head = world.control.next_life::<Subscription>(50);
    let config = SubscriptionConfig {
        head,
        transport: wild,
        track: wild,
        max_layer: 255,
        ..SubscriptionConfig::default()
    };
    world.write::<Subscription>(50, &config);
    let config = SubscriptionConfig {
        transport: world.clients[viewer].row,
        track: world.link::<Track>(10),
        ssrc: 5,
        ..config
    };
    world.write::<Subscription>(50, &config);
    world.edit::<Track>(track, |t| t.subscriber_workers = u64::MAX);
    world.send(publisher, &packet(10, 1, true));
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 1);
    world.advance(3_000_000);
}

#[test]
fn an_address_goes_back_to_whom_it_was_taken_from() {
    for moves in [false, true] {
        let mut world = World::new(2);
        let first = world.client(1, false);
        let second = world.client(0, false);
        let viewer = world.client(1, true);
        let track = world.video(first);
        let sub = world.subscribe(viewer, track);
        let address = world.clients[first].address;
        let row = world.clients[second].row.row;
        world.edit::<Transport>(row, |t| t.remote = Address::from(address));
        world.arrive_at(0, address, &[0x80; 40]);
        assert_eq!(
            world.all_drops(),
            [(ion_tables::DropReason::AuthFailed, 1)],
            "the younger"
        );
        if moves {
            let elsewhere = SocketAddr::from(([127, 0, 0, 9], 9));
            world.edit::<Transport>(row, |t| t.remote = Address::from(elsewhere));
        } else {
            world.free::<Transport>(row);
        }
        world.send(first, &packet(10, 1, true));
        assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 1);
    }
}

#[test]
fn a_row_seen_torn_is_read_again() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let cell = world.tables.config::<Subscription>(sub).unwrap();
    let mut config = cell.read().unwrap();
    config.flags |= SubscriptionConfig::PAUSED;
    // The writer stops in the middle, and all is read anew.
    cell.tear();
    world.start_workers(1);
    world.send(publisher, &packet(10, 1, true));
    world.advance(150_000);
    assert!(world.clients[viewer].rtp.is_empty());
    assert!(world.tables.worker_counters(0).unwrap().rows_torn.load() > 0);
    // It goes on without a word.
    config.flags &= !SubscriptionConfig::PAUSED;
    world.control.write::<Subscription>(sub, &config);
    world.advance(150_000);
    world.send(publisher, &packet(10, 2, true));
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    let torn = world.tables.worker_counters(0).unwrap().rows_torn.load();
    world.advance(1_000_000);
    assert_eq!(
        world.tables.worker_counters(0).unwrap().rows_torn.load(),
        torn
    );
}

#[test]
fn a_publisher_that_is_silent_after_all_has_died_is_told_of() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let events = |world: &World, reader: &mut EventReader| {
        let ring = world.tables.events(0).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| reader.take(ring))
            .map(|e| e.kind)
            .collect();
        all
    };
    world.send(publisher, &packet(10, 1, true));
    world.start_workers(1);
    let mut reader = EventReader::default();
    events(&world, &mut reader);
    world.advance(2_000_000);
    assert_eq!(events(&world, &mut reader), [EventKind::EncodingStalled]);
    world.send(publisher, &packet(10, 2, true));
    world.advance(500_000);
    assert_eq!(events(&world, &mut reader), [EventKind::EncodingResumed]);
    // Nobody watches: what is counted is kept up to date all the same, after a stall too.
    world.send(publisher, &packet(10, 5, true));
    world.advance(300_000);
    assert_eq!(world.encoding_counters(track).packets_lost.load(), 2);
}

#[test]
fn after_all_has_died_a_new_picture_is_asked_for() {
    for workers in [1, 2] {
        let mut world = World::new(workers);
        let publisher = world.client(0, false);
        let viewer = world.client(workers - 1, true);
        let track = world.video(publisher);
        world.subscribe(viewer, track);
        let mut index = 0;
        let mut play = |world: &mut World, ssrc: u32, from: u64, key: bool| {
            for at in 0..20 {
                world.send(publisher, &packet(ssrc, from + at, key && at == 0));
                world.advance(33_000);
                index += 1;
            }
        };
        play(&mut world, 10, 500, true);
        let plis = world.plis(publisher).len();
        world.start_workers(workers);
        world.advance(10_000);
        assert_eq!(
            world.plis(publisher)[plis..]
                .iter()
                .map(|p| p.1)
                .collect::<Vec<_>>(),
            [10]
        );
        play(&mut world, 10, 520, true);
        assert_eq!(world.plis(publisher).len(), plis + 1, "once: it comes");
        // Another SSRC just before: it is the one that is asked, and goes on.
        play(&mut world, 11, 60_000, true);
        let plis = world.plis(publisher).len();
        world.start_workers(workers);
        world.advance(10_000);
        assert_eq!(
            world.plis(publisher)[plis..]
                .iter()
                .map(|p| p.1)
                .collect::<Vec<_>>(),
            [11]
        );
        play(&mut world, 11, 60_020, true);
        let got = &world.clients[viewer].rtp;
        assert_eq!(got.len() as u64, index);
        assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
    }
}
