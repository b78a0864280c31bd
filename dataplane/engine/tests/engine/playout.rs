//! Viewers that lose packets are asked to hold pictures back; others are left alone.

use crate::harness::*;
use ion_engine::limits;
use ion_tables::{ExtensionKind, Subscription, Transport};
use ion_wire::ext::PlayoutDelay;

const SSRC: u32 = 77;
/// A packet every 10 ms.
const STEP_US: u64 = 10_000;
/// What a viewer takes to ask for a packet.
const AGE_US: u64 = 60_000;

fn packet(index: u64) -> Rtp {
    let timestamp = u32::try_from(index).unwrap() * 900;
    Rtp::new(SSRC, VP8, index, timestamp, &vp8(index == 0, index)).with(ExtensionKind::Mid, b"1")
}

struct Watch {
    world: World,
    publisher: usize,
    viewer: usize,
    sub: u32,
    next: u64,
    /// What the publisher says with every packet.
    theirs: Option<PlayoutDelay>,
}

impl Watch {
    fn new(edit: impl FnOnce(&mut ion_tables::SubscriptionConfig)) -> Self {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let viewer = world.client(0, true);
        let track = world.video(publisher);
        let sub = world.subscribe_with(viewer, track, edit);
        Self {
            world,
            publisher,
            viewer,
            sub,
            next: 0,
            theirs: None,
        }
    }

    fn send(&mut self, packets: u64) {
        for _ in 0..packets {
            let mut next = packet(self.next);
            if let Some(theirs) = self.theirs {
                next = next.with(ExtensionKind::PlayoutDelay, &theirs.to_bytes());
            }
            self.world.send(self.publisher, &next);
            self.next += 1;
            self.world.advance(STEP_US);
        }
    }

    /// The viewer asks for the packet that was sent [`AGE_US`] ago.
    fn lose(&mut self) {
        let got = self.world.clients[self.viewer].of(media_ssrc(self.sub));
        let lost = got[got.len() - (AGE_US / STEP_US) as usize];
        let sequence = lost.index as u16;
        let message = nack(media_ssrc(self.sub), &[sequence]);
        self.world.send_rtcp(self.viewer, &message);
    }

    /// So many packets, of which one in `n` is lost.
    fn lossy(&mut self, packets: u64, n: u64) {
        for _ in 0..packets / n {
            self.send(n);
            self.lose();
        }
    }

    /// What each packet said since `from`, in milliseconds.
    fn said(&self, ssrc: u32, from: usize) -> Vec<Option<(u16, u16)>> {
        let got = self.world.clients[self.viewer].of(ssrc);
        let value = |got: &&Got| {
            let value = got.extension(ExtensionKind::PlayoutDelay)?;
            let delay = PlayoutDelay::parse(value).expect("well-formed");
            Some((delay.min_ms, delay.max_ms))
        };
        got[from..].iter().map(value).collect()
    }

    fn media(&self) -> Vec<Option<(u16, u16)>> {
        self.said(media_ssrc(self.sub), 0)
    }

    fn retransmitted(&self) -> Vec<Option<(u16, u16)>> {
        self.said(media_ssrc(self.sub) + 1, 0)
    }
}

/// For a packet lost at the age of 60 ms: that, and 150 ms to ask once more.
const WANTED: Option<(u16, u16)> = Some((210, 10_000));

#[test]
fn the_first_loss_of_a_young_stream_is_enough_and_after_loss_it_comes_down_slowly() {
    let mut watch = Watch::new(|_| ());
    watch.send(20);
    watch.lose();
    assert_eq!(
        watch.retransmitted(),
        [WANTED],
        "with the first answer already"
    );
    watch.send(1);
    assert_eq!(watch.media()[..20], [None; 20]);
    assert_eq!(watch.media()[20], WANTED);
    // 5 % for a while: nothing moves, nor when a retransmission is asked for again.
    watch.lossy(1_000, 20);
    watch.world.advance(100_000);
    let before = watch.retransmitted().len();
    let got = watch.world.clients[watch.viewer].of(media_ssrc(watch.sub) + 1);
    let again = u16::from_be_bytes(got[before - 1].payload[..2].try_into().unwrap());
    let message = nack(media_ssrc(watch.sub), &[again]);
    watch.world.send_rtcp(watch.viewer, &message);
    assert_eq!(watch.retransmitted().len(), before + 1);
    watch.send(1);
    assert!(watch.media()[20..].iter().all(|&said| said == WANTED));
    // No loss for half a minute.
    let lossless = watch.media().len();
    watch.send(3_500);
    let said = watch.said(media_ssrc(watch.sub), lossless);
    let last = said.iter().rposition(Option::is_some).unwrap();
    let least: Vec<u16> = said[..=last].iter().map(|said| said.unwrap().0).collect();
    assert!(least[..500].iter().all(|&ms| ms == 210), "held at first");
    assert!(least.windows(2).all(|w| w[0] >= w[1] && w[0] - w[1] <= 20));
    assert!(least.ends_with(&[0; 200]), "and taken back in the end");
    assert!(said[last + 1..].len() > 500, "then nothing is said");
}

#[test]
fn a_stray_loss_is_no_reason_and_loss_that_begins_late_is_seen_soon() {
    let mut watch = Watch::new(|_| ());
    watch.send(3_000);
    watch.lose();
    watch.send(3_000);
    watch.lose();
    watch.send(50);
    assert!(
        watch
            .media()
            .iter()
            .chain(&watch.retransmitted())
            .all(Option::is_none)
    );
    let clean = watch.media().len();
    watch.lossy(400, 20);
    let said = watch.said(media_ssrc(watch.sub), clean);
    let after = said.iter().position(Option::is_some).expect("told");
    assert!(after <= 300, "after {after} packets");
    assert!(said[after..].iter().all(|&said| said == WANTED));
}

#[test]
fn the_publishers_own_value_is_raised_and_never_lowered() {
    for (theirs, raised) in [
        ((0, 0), (210, 210)),
        ((400, 600), (400, 600)),
        ((50, 1_000), (210, 1_000)),
    ] {
        let mut watch = Watch::new(|_| ());
        let (min_ms, max_ms) = theirs;
        watch.theirs = Some(PlayoutDelay { min_ms, max_ms });
        watch.send(20);
        assert_eq!(watch.media(), [Some(theirs); 20]);
        // Publishers say it until they know that it was heard.
        watch.theirs = None;
        watch.lose();
        watch.send(1);
        assert_eq!(watch.media()[20], Some(raised));
        watch.theirs = Some(PlayoutDelay { min_ms, max_ms });
        watch.send(1);
        assert_eq!(watch.media()[21], Some(raised));
        watch.theirs = None;
        watch.send(3_500);
        let last = watch.media().into_iter().flatten().last();
        assert_eq!(last, Some(theirs), "what is left is the publisher's");
    }
}

#[test]
fn a_packet_that_may_be_sent_again_as_it_was_says_nothing_of_ours() {
    let mut watch = Watch::new(|s| (s.rtx_payload_type, s.rtx_ssrc) = (0, 0));
    let theirs = (30, 300);
    watch.theirs = Some(PlayoutDelay {
        min_ms: 30,
        max_ms: 300,
    });
    watch.send(10);
    watch.lossy(200, 10);
    let got = watch.world.clients[watch.viewer].of(media_ssrc(watch.sub));
    assert_eq!(got.iter().filter(|got| got.again).count(), 20);
    assert!(watch.media().iter().all(|&said| said == Some(theirs)));
}

#[test]
fn viewers_that_did_not_negotiate_it_and_audio_are_left_alone() {
    let mut watch = Watch::new(|_| ());
    let row = watch.world.clients[watch.viewer].row.row;
    watch
        .world
        .edit::<Transport>(row, |t| t.extensions.set(ExtensionKind::PlayoutDelay, 0));
    watch.send(20);
    watch.lossy(200, 10);
    assert!(
        watch
            .media()
            .iter()
            .chain(&watch.retransmitted())
            .all(Option::is_none)
    );
    assert_eq!(watch.world.all_drops(), []);
}

#[test]
fn the_delay_has_a_bound() {
    let mut watch = Watch::new(|_| ());
    watch.send(20);
    let first = watch.world.clients[watch.viewer].of(media_ssrc(watch.sub))[0].index as u16;
    watch.world.advance(700_000);
    let message = nack(media_ssrc(watch.sub), &[first + 3]);
    watch.world.send_rtcp(watch.viewer, &message);
    watch.send(1);
    assert_eq!(
        *watch.media().last().unwrap(),
        Some((limits::PLAYOUT_MAX_MS, 10_000))
    );
}

#[test]
fn what_a_viewer_was_told_is_taken_back_after_all_has_died() {
    let mut watch = Watch::new(|_| ());
    watch.send(20);
    watch.lose();
    watch.send(1);
    watch.world.start_workers(1);
    let before = watch.media().len();
    watch.send(2_000);
    let said = watch.said(media_ssrc(watch.sub), before);
    assert_eq!(said[0], WANTED);
    let last = said.iter().rposition(Option::is_some).unwrap();
    assert_eq!(said[last], Some((0, 10_000)));
    assert!(last < 1_999, "{last}");
    let state = watch.world.tables.state::<Subscription>(watch.sub).unwrap();
    assert_eq!(state.read().unwrap().playout_ms, 0);
}

#[test]
fn a_viewer_that_has_no_retransmission_stream_any_more_is_told_nothing_more() {
    let mut watch = Watch::new(|_| ());
    watch.send(20);
    watch.lossy(200, 20);
    assert_eq!(*watch.media().last().unwrap(), WANTED);
    let before = watch.media().len();
    let sub = watch.sub;
    watch
        .world
        .edit::<Subscription>(sub, |s| s.rtx_payload_type = 0);
    // What is sent again as it was must not depend on what the viewer would be told by now.
    watch.send(10);
    watch.lossy(1_500, 3);
    let got = watch.world.clients[watch.viewer].of(media_ssrc(sub));
    assert!(got.iter().filter(|got| got.again).count() > 400);
    assert!(watch.media()[before..].iter().all(Option::is_none));
}
