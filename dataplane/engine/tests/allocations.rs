//! In steady state the engine allocates nothing: not for a packet, nor for what is due
//! besides packets.
#![allow(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
#![allow(unreachable_pub, reason = "shared by several test programs")]

#[path = "engine/harness.rs"]
#[allow(dead_code, reason = "shared with the scenarios")]
mod harness;
#[path = "engine/model.rs"]
#[allow(dead_code, reason = "shared with the scenarios")]
mod model;
#[path = "engine/room.rs"]
#[allow(dead_code, reason = "shared with the scenarios")]
mod room;

use harness::*;
use ion_engine::congestion::Ecn;
use ion_engine::{Micros, PeerMessage};
use ion_tables::{EncodingConfig, ExtensionKind, SubscriptionConfig, Transport};
use ion_wire::rtcp::twcc::TwccHeader;
use ion_wire::rtcp::{ReportBlock, build};
use ion_wire::{flexfec, ntp};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

fn note() {
    // The thread may be ending; then nothing is being measured.
    let _ = COUNT.try_with(|count| count.set(count.get().map(|n| n + 1)));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn measured(run: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    run();
    COUNT.replace(None).unwrap()
}

/// What arrives at one moment: from which client, the datagrams.
type Batch = Vec<(usize, Vec<u8>)>;

/// Ten packets of video and one of audio each 20 ms; one of them is lost now and then.
fn batches(world: &mut World, publisher: usize, from: u64, count: u64) -> Vec<Batch> {
    (from..from + count)
        .map(|at| {
            let timestamp = u32::try_from(at).unwrap() * 1_800;
            let mut batch = Vec::new();
            for part in 0..10 {
                let index = at * 10 + part;
                if index % 97 == 0 {
                    continue;
                }
                let mut packet = Rtp::new(10, VP8, index, timestamp, &vp8(index == 1, index))
                    .with(ExtensionKind::Mid, b"1")
                    .with(ExtensionKind::TransportCc, &low16(index).to_be_bytes());
                packet.payload.resize(1_000, 3);
                batch.push((publisher, world.clients[publisher].seal(&packet)));
            }
            let audio = Rtp::new(11, OPUS, at, timestamp, &[5; 80]).with(ExtensionKind::Mid, b"0");
            batch.push((publisher, world.clients[publisher].seal(&audio)));
            batch
        })
        .collect()
}

fn low16(index: u64) -> u16 {
    u16::try_from(index & 0xffff).unwrap()
}

/// Runs the batches 20 ms apart, with timers and rings, without allocating itself.
fn run(world: &mut World, batches: &[Batch], rings: &mut [Vec<PeerMessage>]) {
    let World {
        workers,
        clients,
        now,
        ..
    } = world;
    for batch in batches {
        for (client, datagram) in batch {
            let Client {
                worker, address, ..
            } = clients[*client];
            let Worker { engine, out } = &mut workers[worker];
            engine.ingest(*now, received(address, Ecn::NotEct, datagram), out);
        }
        exchange(workers, *now, rings);
        let end = *now + 20_000;
        while let Some(next) = workers.iter().filter_map(|w| w.engine.next_timeout()).min()
            && next <= end
        {
            *now = (*now).max(next);
            for Worker { engine, out } in workers.iter_mut() {
                engine.handle_timeout(*now, out);
            }
            exchange(workers, *now, rings);
        }
        *now = end;
    }
}

fn exchange(workers: &mut [Worker], now: Micros, rings: &mut [Vec<PeerMessage>]) {
    for _ in 0..2 {
        for from in 0..workers.len() {
            let Worker { engine, out } = &mut workers[from];
            engine.flush(now, out);
            ion_engine::Output::transmit(out);
            for to in 0..rings.len() {
                std::mem::swap(&mut workers[from].out.rings[to], &mut rings[to]);
                for message in rings[to].drain(..) {
                    let Worker { engine, out } = &mut workers[to];
                    engine.ingest_peer(now, message, out);
                }
            }
        }
    }
}

/// Feedback on 45 packets, each of which arrived 4 ms after the one before: a queue builds up.
fn congestion(ssrc: u32, at: u64) -> Vec<u8> {
    let first = 9 * (150 + at);
    let arrivals: Vec<_> = (first..first + 45)
        .map(|number| Some(9_000_000 + number * 4_000))
        .collect();
    let header = TwccHeader {
        sender_ssrc: 7,
        media_ssrc: ssrc,
        base_sequence: low16(first),
        feedback_count: (at & 0xff) as u8,
    };
    let mut buffer = vec![0; 1_200];
    let written = build::twcc(&mut buffer, &header, &arrivals).unwrap();
    assert_eq!(written.statuses, arrivals.len());
    buffer.truncate(written.len);
    buffer
}

fn forwarding(viewers: usize, workers: usize, congested: bool) {
    let mut world = World::new(workers);
    let publisher = world.client(0, false);
    let (video, audio) = (world.video(publisher), world.audio(publisher));
    let watching: Vec<_> = (0..viewers)
        .map(|i| {
            let viewer = world.client(i % workers, true);
            let sub = world.subscribe(viewer, video);
            world.subscribe(viewer, audio);
            (viewer, sub)
        })
        .collect();
    let warm_up = batches(&mut world, publisher, 0, 150);
    let mut measure = batches(&mut world, publisher, 150, 100);
    // Every viewer asks for something of the last batch each 100 ms, and reports.
    let mut first = Vec::new();
    let mut rings: Vec<Vec<PeerMessage>> =
        (0..workers).map(|_| Vec::with_capacity(4_096)).collect();
    run(&mut world, &warm_up[..10], &mut rings);
    world.flush();
    for &(viewer, sub) in &watching {
        let got = world.clients[viewer].of(media_ssrc(sub));
        first.push(got[0].index.wrapping_sub(1));
    }
    for worker in &mut world.workers {
        worker.out.record = false;
    }
    run(&mut world, &warm_up[10..], &mut rings);
    for (at, batch) in measure.iter_mut().enumerate().filter(|(at, _)| at % 5 == 0) {
        for (&(viewer, sub), first) in watching.iter().zip(&first) {
            let sent = first + (150 + at as u64) * 10 - 8;
            let message = nack(
                media_ssrc(sub),
                &[low16(sent), low16(sent - 3), low16(sent - 20)],
            );
            batch.push((viewer, world.clients[viewer].seal_rtcp(&message)));
            batch.push((
                viewer,
                world.clients[viewer].seal_rtcp(&pli(media_ssrc(sub))),
            ));
        }
    }
    for (at, batch) in measure
        .iter_mut()
        .enumerate()
        .filter(|(at, _)| congested && at % 5 == 0)
    {
        for &(viewer, sub) in &watching {
            let message = congestion(media_ssrc(sub), at as u64);
            batch.push((viewer, world.clients[viewer].seal_rtcp(&message)));
        }
    }
    let before: usize = world.workers.iter().map(|w| w.out.datagrams).sum();
    let allocations = measured(|| run(&mut world, &measure, &mut rings));
    let sent = world.workers.iter().map(|w| w.out.datagrams).sum::<usize>() - before;
    let again: u64 = watching
        .iter()
        .map(|&(_, sub)| world.subscription_counters(sub).retransmitted_sent.load())
        .sum();
    if congested {
        // What is sent at first exceeds the estimate, is spread, and then given up.
        assert!(sent > viewers * 300, "{sent} datagrams");
        for &(viewer, _) in &watching {
            let row = world.clients[viewer].row.row;
            let counters = world.tables.counters::<Transport>(row).unwrap();
            let estimate = counters.estimate_bps.load();
            assert!((40_000..3_000_000).contains(&estimate), "{estimate}");
        }
    } else {
        assert!(sent > viewers * 1_050, "{sent} datagrams");
        assert!(again >= viewers as u64 * 20, "{again} retransmissions");
    }
    assert!(world.encoding_counters(video).nacks_sent.load() > 0);
    assert_eq!(
        allocations, 0,
        "{sent} datagrams to {viewers} viewers of {workers} workers"
    );
}

#[test]
fn one_viewer() {
    forwarding(1, 1, false);
}

#[test]
fn ten_viewers() {
    forwarding(10, 1, false);
}

#[test]
fn ten_viewers_of_two_workers() {
    forwarding(10, 2, false);
}

#[test]
fn ten_viewers_behind_a_slow_link() {
    forwarding(10, 1, true);
}

/// What is lost is made from the publisher's repair packets, and viewers that lose get their own.
#[test]
fn repair_packets() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let with_fec = |config: &mut EncodingConfig| config.fec_payload_type = FEC;
    let track = world.track(publisher, true, &[&with_fec]);
    let watching = [(); 5].map(|()| {
        let viewer = world.client(0, true);
        let takes_fec = |config: &mut SubscriptionConfig| {
            (config.fec_payload_type, config.fec_ssrc) = (V_FEC, config.ssrc + 2);
        };
        (viewer, world.subscribe_with(viewer, track, takes_fec))
    });
    let start = world.now;
    let mut batches: Vec<Batch> = (0..250_u64)
        .map(|at| {
            let mut packets = Vec::new();
            for index in at * 10..at * 10 + 10 {
                let timestamp = u32::try_from(at).unwrap() * 1_800;
                let payload = vp8(index == 0, index);
                let mut packet = Rtp::new(10, VP8, index, timestamp, &payload);
                packet = packet.with(ExtensionKind::Mid, b"1");
                packet.payload.resize(1_000, 3);
                packet.marker = index % 10 == 9;
                packets.push(packet);
            }
            let plain: Vec<_> = packets.iter().map(|packet| packet.plain().1).collect();
            let whole: Vec<_> = plain.iter().map(Vec::as_slice).collect();
            let mut payload = vec![0; 1_200];
            let len = flexfec::write(&mut payload, &mut [0; 1_200], 10, &whole).unwrap();
            payload.truncate(len);
            let repair = Rtp::new(12, FEC, at, 0, &payload).with(ExtensionKind::Mid, b"1");
            packets.retain(|packet| packet.index % 97 != 0 || packet.index == 0);
            packets.push(repair);
            let mut batch: Batch = Vec::new();
            for packet in packets {
                batch.push((publisher, world.clients[publisher].seal(&packet)));
            }
            if at % 50 == 20 {
                let sent = start.0 + at * 20_000 - 150_000;
                let last_sr = ntp::middle(NTP_ZERO + (sent << 32) / 1_000_000);
                for &(viewer, sub) in &watching {
                    let report = lossy_report(media_ssrc(sub), last_sr);
                    batch.push((viewer, world.clients[viewer].seal_rtcp(&report)));
                }
            }
            batch
        })
        .collect();
    let measure = batches.split_off(100);
    let mut rings = vec![Vec::with_capacity(4_096)];
    world.workers[0].out.record = false;
    run(&mut world, &batches, &mut rings);
    let allocations = measured(|| run(&mut world, &measure, &mut rings));
    assert!(world.encoding_counters(track).fec_recovered.load() > 20);
    for (_, sub) in watching {
        let made = world.subscription_counters(sub).fec_packets_sent.load();
        assert!(made > 600, "{made}");
    }
    assert_eq!(allocations, 0);
}

/// A tenth is lost; the sender report was that of this time.
fn lossy_report(ssrc: u32, last_sr: u32) -> Vec<u8> {
    let block = ReportBlock {
        ssrc,
        fraction_lost: 26,
        cumulative_lost: 1,
        extended_highest_sequence: 0,
        jitter: 0,
        last_sr,
        delay_since_last_sr: 0,
    };
    let mut buffer = vec![0; 100];
    let len = build::receiver_report(&mut buffer, 7, &[block]).unwrap();
    buffer.truncate(len);
    buffer
}

/// Layers that are left out, descriptors that are rewritten, switches and keyframes.
#[test]
fn layers() {
    use ion_engine::{Layer, Target};
    use ion_wire::CodecKind;
    for codec in [CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1] {
        let shape = model::Shape {
            codec,
            spatial: if codec == CodecKind::Vp8 { 1 } else { 3 },
            temporal: 3,
            mode: model::Mode::Full,
        };
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let mut encoder = model::Encoder::new(shape, 10, 100, 0);
        let track = world.track(publisher, true, &[&|config| encoder.configure(config)]);
        let subs = [(); 3].map(|()| {
            let viewer = world.client(0, true);
            world.subscribe(viewer, track)
        });
        let mut batches: Vec<Batch> = (0..240)
            .map(|at| {
                let packets = encoder.picture(at % 30 == 0, true, 3);
                let seal = |packet| (publisher, world.clients[publisher].seal(&packet));
                packets.into_iter().map(seal).collect()
            })
            .collect();
        let measure = batches.split_off(120);
        let mut rings = vec![Vec::with_capacity(4_096)];
        world.workers[0].out.record = false;
        let mut run_all = |world: &mut World, batches: &[Batch]| {
            for (at, part) in (0_u8..).zip(batches.chunks(15)) {
                for (viewer, &sub) in (0_u8..).zip(&subs) {
                    let layer = Layer {
                        spatial: (at + viewer) % 3,
                        temporal: (at * 2 + viewer) % 3,
                    };
                    let now = world.now;
                    let target = Target { encoding: 0, layer };
                    world.workers[0].engine.set_target(now, sub, target);
                }
                run(world, part, &mut rings);
            }
        };
        run_all(&mut world, &batches);
        let allocations = measured(|| run_all(&mut world, &measure));
        let counters = world.subscription_counters(subs[0]);
        assert!(counters.packets_of_other_layers.load() > 100);
        assert!(counters.layer_switches.load() > 5);
        assert_eq!(allocations, 0, "{codec:?}");
    }
}

/// Speakers come and go, seats change hands, silence is left out.
#[test]
fn a_stage() {
    const SPEAKERS: usize = 8;
    let workers = 2;
    let mut room = room::Room::new(workers, 3, SPEAKERS);
    for viewer in 0..10 {
        room.viewer(viewer % workers, |config| {
            config.flags |= SubscriptionConfig::DROP_SILENCE;
        });
    }
    let mut batches: Vec<Batch> = (0..800)
        .map(|moment| {
            let packets = (0..SPEAKERS).map(|number| {
                let speaks = (moment / 60 + number) % SPEAKERS < 3 && moment % 60 < 30;
                let level = if speaks { room::SPEAKS } else { room::SILENT };
                let packet = room.packet(number, Some(level));
                let client = room.speakers[number].client;
                (client, room.world.clients[client].seal(&packet))
            });
            packets.collect()
        })
        .collect();
    let measure = batches.split_off(300);
    let mut rings: Vec<Vec<PeerMessage>> =
        (0..workers).map(|_| Vec::with_capacity(4_096)).collect();
    for worker in &mut room.world.workers {
        worker.out.record = false;
    }
    run(&mut room.world, &batches, &mut rings);
    room.told();
    let allocations = measured(|| run(&mut room.world, &measure, &mut rings));
    assert!(room.told().len() >= 8);
    let silence = room
        .world
        .subscription_counters(0)
        .packets_of_silence
        .load();
    assert!(silence > 100, "{silence}");
    assert_eq!(allocations, 0);
}
