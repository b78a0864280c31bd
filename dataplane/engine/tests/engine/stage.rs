//! The loudest of a room, over as many streams whoever speaks.

use crate::harness::*;
use crate::room::*;
use ion_engine::{Micros, PeerMessage};
use ion_tables::{DropReason, RowLink, SubscriptionConfig, Track};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn twenty_publishers_three_seats_and_everybody_hears_who_speaks() {
    let mut room = Room::new(3, 3, 20);
    let viewers = [0, 1, 2].map(|worker| room.viewer(worker, |_| ()));
    room.talk(50, &[]);
    assert_eq!(room.told(), [], "nobody speaks");
    room.talk(50, &[4, 7]);
    assert_eq!(room.told(), [(0, Some(4)), (1, Some(7))]);
    room.talk(50, &[11]);
    assert_eq!(room.told(), [(2, Some(11))], "free seats go first");
    // Of those that are quiet, who has been so for longest; 11 goes on.
    let now = room.world.now;
    room.talk(100, &[11, 12]);
    assert_eq!(room.told().len(), 1);
    assert_eq!(room.seated()[2], Some(11));
    for viewer in viewers {
        let heard = room.heard(viewer, now + 200_000);
        assert_eq!(heard[2], [11]);
        assert_eq!(heard.iter().flatten().filter(|&&who| who == 12).count(), 1);
        // The seats are all that there is.
        let (client, subs) = &room.viewers[viewer];
        let known: BTreeSet<u32> = subs.iter().map(|&sub| media_ssrc(sub)).collect();
        let got = room.world.clients[*client].rtp.iter();
        assert!(
            got.map(|got| got.header.ssrc)
                .all(|ssrc| known.contains(&ssrc))
        );
    }
    assert_eq!(room.world.all_drops(), []);
}

#[test]
fn only_what_has_a_seat_crosses() {
    let mut room = Room::new(2, 2, 10);
    room.viewer(1, |_| ());
    room.talk(100, &[0, 2]);
    let counters = room.world.tables.worker_counters(1).unwrap();
    let crossed = counters.packets_crossed_in.load();
    // Two speakers of worker 0, and the first packets before anybody was told.
    assert!((190..=200).contains(&crossed), "{crossed}");
}

#[test]
fn a_speaker_does_not_hear_himself() {
    let mut room = Room::new(1, 2, 2);
    let client = room.world.client(0, false);
    let own = room.speaker(client);
    let viewer = room.view(room.speakers[0].client, |_| ());
    room.talk(50, &[0, own]);
    assert_eq!(room.seated(), [Some(0), Some(own)]);
    let heard = room.heard(viewer, Micros(0));
    assert_eq!(heard, [vec![], vec![own]]);
}

#[test]
fn a_seat_is_free_when_its_source_is_gone_and_the_stream_goes_on_with_the_next() {
    let mut room = Room::new(2, 1, 2);
    let viewer = room.viewer(0, |_| ());
    room.talk(50, &[0]);
    let track = room.speakers[0].track;
    room.world.free::<Track>(track);
    assert_eq!(room.told(), [(0, Some(0)), (0, None)]);
    assert_eq!(room.seated(), [None]);
    room.talk(50, &[1]);
    assert_eq!(room.told(), [(0, Some(1))]);
    assert_eq!(room.heard(viewer, Micros(0)), [vec![0, 1]]);
    // A source that leaves the stage only is still there for its own subscribers.
    let track = room.speakers[1].track;
    room.world
        .edit::<Track>(track, |t| t.stage = RowLink::default());
    assert_eq!(room.told(), [(0, None)]);
    let direct = room.world.client(1, true);
    let sub = room.world.subscribe(direct, track);
    let now = room.world.now;
    room.talk(20, &[1]);
    assert_eq!(room.world.clients[direct].of(media_ssrc(sub)).len(), 20);
    assert_eq!(room.heard(viewer, now + 1), [vec![0; 0]]);
}

#[test]
fn who_has_a_seat_again_goes_on_without_a_gap() {
    let mut room = Room::new(1, 1, 2);
    let client = room.speakers[1].client;
    let viewer = room.view(client, |_| ());
    let one_after_the_other = |room: &mut Room| {
        // 0 speaks and is silent by turns; 1, who is the viewer, speaks in between and hears nothing of 0 then.
        for speaking in [0, 1, 0] {
            room.talk(150, &[speaking]);
        }
    };
    one_after_the_other(&mut room);
    let told = [(0, Some(0)), (0, Some(1)), (0, Some(0))];
    assert_eq!(room.told(), told);
    // The seat is taken from its source and given back, while that goes on.
    let (track, stage) = (room.speakers[0].track, room.stage());
    room.world
        .edit::<Track>(track, |t| t.stage = RowLink::default());
    room.talk(100, &[0]);
    room.world.edit::<Track>(track, |t| t.stage = stage);
    room.talk(100, &[0]);
    assert_eq!(room.told(), [(0, None), (0, Some(0))]);
    let (client, subs) = &room.viewers[viewer];
    let got = room.world.clients[*client].of(media_ssrc(subs[0]));
    let (mut meanwhile, mut pauses) = (0, 0);
    for pair in got.windows(2) {
        let [(_, from), (_, to)] = [Room::origin(pair[0]), Room::origin(pair[1])];
        assert_eq!(pair[1].index, pair[0].index + 1, "{from} to {to}");
        meanwhile += to - from - 1;
        pauses += usize::from(to > from + 1);
        assert_eq!(pair[1].header.marker, to > from + 1);
        let ticks = pair[1]
            .header
            .timestamp
            .wrapping_sub(pair[0].header.timestamp);
        assert_eq!(u64::from(ticks), 960 * (to - from), "time is true");
    }
    assert_eq!(pauses, 2);
    assert!(meanwhile > 200, "{meanwhile}");
}

#[test]
fn who_has_left_a_stage_is_not_heard_there_although_a_worker_is_told_so_late() {
    let mut room = Room::new(2, 1, 2);
    let viewer = room.viewer(0, |_| ());
    room.talk(50, &[0]);
    let (seat, stage) = (room.stage(), room.stage());
    let (track, source) = (
        room.speakers[0].track,
        room.world.link::<Track>(room.speakers[0].track),
    );
    let tell = |room: &mut Room| {
        let worker = &mut room.world.workers[0];
        let message = PeerMessage::Seated { seat, source };
        worker
            .engine
            .ingest_peer(room.world.now, message, &mut worker.out);
    };
    // Somebody there subscribes to him by himself, so that his packets are at hand.
    let direct = room.world.client(0, true);
    room.world.subscribe(direct, track);
    room.world
        .edit::<Track>(track, |t| t.stage = RowLink::default());
    let left = room.world.now;
    tell(&mut room);
    room.talk(50, &[0]);
    assert_eq!(room.heard(viewer, left), [vec![0; 0]]);
    // The other way round: told of before the row says that it is on the stage.
    tell(&mut room);
    room.world.edit::<Track>(track, |t| t.stage = stage);
    let back = room.world.now;
    room.talk(1, &[]);
    assert_eq!(room.heard(viewer, back), [vec![0]]);
    // And the next one has the seat to himself.
    room.talk(100, &[1]);
    let next = room.world.now;
    room.talk(20, &[0, 1]);
    assert_eq!(room.heard(viewer, next), [vec![1]]);
}

#[test]
fn what_a_full_ring_lost_is_told_again() {
    let mut room = Room::new(2, 1, 1);
    let viewer = room.viewer(0, |_| ());
    room.talk(1, &[]);
    // Of the stage's worker nothing gets through to the source's.
    room.world.workers[1].out.ring_capacity = 0;
    room.talk(20, &[0]);
    assert_eq!(room.seated(), [Some(0)]);
    assert_eq!(room.heard(viewer, Micros(0)), [vec![0; 0]]);
    assert!(room.world.drops(1, DropReason::PeerRingFull) > 0);
    room.world.workers[1].out.ring_capacity = 100;
    room.talk(70, &[0]);
    assert_eq!(room.heard(viewer, Micros(0)), [vec![0]]);
}

#[test]
fn louder_speakers_win_and_seats_are_not_passed_round() {
    let mut room = Room::new(1, 1, 2);
    room.viewer(0, |_| ());
    for _ in 0..400 {
        room.say(0, Some(50));
        room.say(1, Some(48));
        room.world.flush();
        room.world.advance(20_000);
    }
    assert_eq!(room.told(), [(0, Some(0))], "hardly louder");
    for moment in 0..400 {
        room.say(0, Some(50 - 20 * u8::from(moment % 4 == 0)));
        room.say(1, Some(20));
        room.world.flush();
        room.world.advance(20_000);
    }
    assert_eq!(room.told(), [(0, Some(1))]);
}

/// What one moment brings of a speaker: how long it goes on as it is, how loud, and what of it is lost or late.
type Turn = (usize, bool, u8, usize);

fn turns() -> impl Strategy<Value = Vec<Vec<Turn>>> {
    let turn = (5_usize..80, any::<bool>(), 0_u8..20, 0_usize..4);
    prop::collection::vec(prop::collection::vec(turn, 4..10), 4)
}

proptest! {
    #![proptest_config(crate::seeded(24))]

    /// Whoever speaks when, whatever is lost or late: each seat is one stream, in order, and its numbers have gaps only
    /// where something is missing.
    #[test]
    fn a_seat_is_one_stream(turns in turns(), drop_silence in any::<bool>()) {
        let mut room = Room::new(2, 2, 4);
        let flag = if drop_silence { SubscriptionConfig::DROP_SILENCE } else { 0 };
        for worker in [0, 1] {
            room.viewer(worker, |s| s.flags |= flag);
        }
        let own = room.speakers[1].client;
        room.view(own, |s| s.flags |= flag);
        let mut late: BTreeMap<u64, Vec<(usize, Rtp)>> = BTreeMap::new();
        let mut missing: BTreeSet<(usize, u64)> = BTreeSet::new();
        for moment in 0..300_u64 {
            for (number, turns) in turns.iter().enumerate() {
                let length: usize = turns.iter().map(|turn| turn.0).sum();
                let mut at = moment as usize % length;
                let turn = turns.iter().find(|turn| { let here = at < turn.0; at = at.saturating_sub(turn.0); here });
                let &(_, speaks, loss, delay) = turn.unwrap();
                let packet = room.packet(number, Some(if speaks { SPEAKS } else { SILENT }));
                let fate = (packet.index * 7_919) % 100;
                let client = room.speakers[number].client;
                if fate < u64::from(loss) {
                    missing.insert((number, packet.index));
                } else if fate > 90 {
                    missing.insert((number, packet.index));
                    late.entry(moment + delay as u64).or_default().push((client, packet));
                } else {
                    room.world.rtp(client, &packet);
                }
            }
            for (client, packet) in late.remove(&moment).unwrap_or_default() {
                room.world.rtp(client, &packet);
            }
            room.world.flush();
            room.world.advance(20_000);
        }
        let (_, seats) = &room.viewers[0];
        let sent: usize = seats.iter().map(|&sub| room.world.clients[room.viewers[0].0].of(media_ssrc(sub)).len()).sum();
        prop_assert!(sent > 0 || turns.iter().flatten().all(|turn| !turn.1));
        for (client, subs) in &room.viewers {
            for &sub in subs {
                let mut got = room.world.clients[*client].of(media_ssrc(sub));
                got.sort_by_key(|got| got.index);
                for pair in got.windows(2) {
                    let [a, b] = pair else { unreachable!() };
                    prop_assert!(a.index < b.index);
                    let ticks = b.header.timestamp.wrapping_sub(a.header.timestamp);
                    prop_assert!((1..48_000 * 20).contains(&ticks), "{ticks}");
                    let ((before, from), (who, to)) = (Room::origin(a), Room::origin(b));
                    if before == who && from < to {
                        prop_assert_eq!(u64::from(ticks) % 960, 0, "the source's own time");
                    }
                    let lost = if before == who { (from + 1..to).filter(|&i| missing.contains(&(who, i))).count() } else { 0 };
                    let late_at_the_end = (from + 1..from + 8).filter(|&i| missing.contains(&(before, i))).count();
                    prop_assert!(b.index - a.index - 1 <= (lost + late_at_the_end) as u64);
                    let resumes = before != who || (drop_silence && to > from + 25);
                    prop_assert!(b.header.marker || !resumes || to <= from, "the first of a talk spurt");
                }
            }
        }
    }
}
