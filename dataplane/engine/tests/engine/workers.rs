//! Several workers: fan-out, hand-over, and packets that all come back.

use crate::harness::*;
use ion_engine::{Micros, PeerMessage};
use ion_tables::{Address, DropReason, EventKind, EventReader, ExtensionKind, Subscription};
use std::net::SocketAddr;

fn packet(index: u64) -> Rtp {
    let timestamp = u32::try_from(index).unwrap() * 3_000;
    Rtp::new(10, VP8, index, timestamp, &vp8(index == 100, index)).with(ExtensionKind::Mid, b"1")
}

#[test]
fn a_packet_crosses_once_for_each_worker_and_all_come_back() {
    let mut world = World::new(3);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewers: Vec<_> = (0..9)
        .map(|i| {
            let viewer = world.client(i % 3, true);
            (viewer, world.subscribe(viewer, track))
        })
        .collect();
    for index in 100..400 {
        world.rtp(publisher, &packet(index));
        if index % 5 == 0 {
            world.flush();
            world.advance(10_000);
        }
    }
    world.flush();
    for &(viewer, sub) in &viewers {
        assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 300);
    }
    let crossed = |w: usize| {
        world
            .tables
            .worker_counters(w)
            .unwrap()
            .packets_crossed_in
            .load()
    };
    assert_eq!([crossed(0), crossed(1), crossed(2)], [0, 300, 300]);
    assert_eq!(world.encoding_counters(track).packets_crossed.load(), 600);
    // Each worker answers its own viewers from its own history.
    let (viewer, sub) = viewers[2];
    let lost = world.clients[viewer].of(media_ssrc(sub))[290].index as u16;
    world.send_rtcp(viewer, &nack(media_ssrc(sub), &[lost]));
    assert_eq!(
        world.clients[viewer].of(media_ssrc(sub) + 1)[0].payload[2..],
        vp8(false, 390)
    );
    // A second later nobody holds anything.
    world.advance(2_000_000);
    for worker in &mut world.workers {
        assert_eq!(worker.engine.packets_in_use(), 0);
    }
    assert_eq!(world.all_drops(), []);
}

#[test]
fn a_keyframe_wanted_elsewhere_is_asked_for_here_and_reports_cross() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewer = world.client(1, true);
    let sub = world.subscribe(viewer, track);
    world.send(publisher, &packet(101));
    world.advance(50_000);
    assert_eq!(world.plis(publisher).len(), 1);
    world.send(
        publisher,
        &Rtp {
            payload: vp8(true, 1),
            ..packet(102)
        },
    );
    world.advance(500_000);
    world.send_rtcp(viewer, &pli(media_ssrc(sub)));
    world.advance(50_000);
    assert_eq!(world.plis(publisher).len(), 2);
}

#[test]
fn a_full_ring_is_counted_and_hurts_the_other_worker_only() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let (near, far) = (world.client(0, true), world.client(1, true));
    let (a, b) = (world.subscribe(near, track), world.subscribe(far, track));
    world.workers[0].out.ring_capacity = 10;
    for index in 100..150 {
        world.rtp(publisher, &packet(index));
    }
    world.flush();
    assert_eq!(world.clients[near].of(media_ssrc(a)).len(), 50);
    assert_eq!(world.clients[far].of(media_ssrc(b)).len(), 10);
    assert_eq!(world.drops(0, DropReason::PeerRingFull), 40);
    let mut reader = EventReader::default();
    let ring = world.tables.events(0).unwrap();
    let told = std::iter::from_fn(|| reader.take(ring))
        .filter(|event| event.kind == EventKind::WorkerTrouble)
        .map(|event| event.value)
        .collect::<Vec<_>>();
    assert_eq!(told, [DropReason::PeerRingFull as u64]);
}

#[test]
fn datagrams_of_another_workers_transport_are_handed_over_once() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewer = world.client(0, true);
    let sub = world.subscribe(viewer, track);
    for index in 100..110 {
        let datagram = world.clients[publisher].seal(&packet(index));
        let address = world.clients[publisher].address;
        world.arrive_at(1, address, &datagram);
    }
    world.flush();
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 10);
    assert_eq!(
        world.tables.worker_counters(1).unwrap().handed_over.load(),
        10
    );
    // Handed over while the address moved on: dropped, not sent in circles.
    let datagram = world.clients[publisher].seal(&packet(110));
    let address = world.clients[publisher].address;
    world.arrive_at(1, address, &datagram);
    let row = world.clients[publisher].row.row;
    world.edit::<ion_tables::Transport>(row, |t| {
        t.remote = Address::from(SocketAddr::from(([127, 0, 0, 1], 9)))
    });
    world.flush();
    assert_eq!(world.all_drops(), [(DropReason::UnknownAddress, 1)]);
    assert_eq!(world.workers[1].engine.packets_in_use(), 0);
}

#[test]
fn messages_for_rows_that_are_gone_do_nothing() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewer = world.client(1, true);
    let sub = world.subscribe(viewer, track);
    world.rtp(publisher, &packet(100));
    // In the ring while the subscription ends.
    world.free::<Subscription>(sub);
    world.flush();
    assert_eq!(world.drops(1, DropReason::UnknownSsrc), 1);
    let stale = ion_tables::RowLink {
        row: 31,
        generation: 9,
    };
    let out_of_range = ion_tables::RowLink {
        row: u32::MAX,
        generation: 9,
    };
    for encoding in [stale, out_of_range] {
        let worker = &mut world.workers[0];
        let message = PeerMessage::Keyframe { encoding };
        worker
            .engine
            .ingest_peer(Micros(1), message, &mut worker.out);
    }
    world.advance(2_000_000);
    for worker in &mut world.workers {
        assert_eq!(worker.engine.packets_in_use(), 0);
    }
}

#[test]
fn when_packet_memory_is_used_up_old_packets_go_first() {
    let mut world = World::new(2);
    world.config.packets = 256;
    world.start_workers(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let (near, far) = (world.client(0, true), world.client(1, true));
    let a = world.subscribe(near, track);
    for index in 100..1_000 {
        world.send(publisher, &packet(index));
    }
    assert_eq!(
        world.clients[near].of(media_ssrc(a)).len(),
        900,
        "history gives way"
    );
    assert_eq!(world.all_drops(), []);
    // What another worker holds cannot be taken back: then packets are dropped.
    let b = world.subscribe(far, track);
    world.send(
        publisher,
        &Rtp {
            payload: vp8(true, 1_000),
            ..packet(1_000)
        },
    );
    for index in 1_001..1_600 {
        world.send(publisher, &packet(index));
    }
    assert!(world.drops(0, DropReason::NoBuffer) > 0);
    assert!(!world.clients[far].of(media_ssrc(b)).is_empty());
    world.advance(2_000_000);
    assert_eq!(world.workers[0].engine.packets_in_use(), 0);
    world.send(
        publisher,
        &Rtp {
            payload: vp8(true, 0),
            ..packet(1_601)
        },
    );
    assert_eq!(
        world.clients[near].rtp.last().unwrap().payload,
        vp8(true, 0)
    );
}
