//! What viewers say of the retransmissions and repair packets that were made for them.

use crate::fec::{report_loss, send_pictures, takes_fec};
use crate::harness::*;
use ion_srtp::Profile;
use ion_tables::{ExtensionKind, ExtensionMap, TransportConfig};
use ion_wire::rtcp::ccfb::{Arrival, Ecn, StreamReport};
use ion_wire::rtcp::{ReportBlock, build, twcc};

/// A viewer that loses, is sent repair packets for it, and asks for eight packets again.
struct Lossy {
    world: World,
    viewer: usize,
    sub: u32,
}

impl Lossy {
    fn new(flags: u32) -> Self {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let mut map = ExtensionMap::default();
        for kind in KINDS {
            map.set(kind, viewer_id(kind));
        }
        let viewer = world.client_with(0, map, flags, Profile::AeadAes128Gcm);
        let track = world.video(publisher);
        let sub = world.subscribe_with(viewer, track, takes_fec);
        let ssrc = media_ssrc(sub);
        let second = vec![vec![100; 3]; 100];
        let index = send_pictures(&mut world, publisher, 100, &second);
        report_loss(&mut world, viewer, ssrc, 26);
        send_pictures(&mut world, publisher, index, &second[..20]);
        let got = world.clients[viewer].of(ssrc);
        let again: Vec<u16> = got
            .iter()
            .rev()
            .take(8)
            .map(|got| got.header.sequence)
            .collect();
        world.send_rtcp(viewer, &nack(ssrc, &again));
        let lossy = Self { world, viewer, sub };
        assert_eq!(lossy.of(1).len(), 8, "retransmissions");
        assert_eq!(lossy.of(2).len(), 20, "a repair packet for each picture");
        lossy
    }

    /// Sequence numbers of retransmissions (1) or repair packets (2), as they were sent.
    fn of(&self, stream: u32) -> Vec<u16> {
        let got = self.world.clients[self.viewer].of(media_ssrc(self.sub) + stream);
        got.iter().map(|got| got.header.sequence).collect()
    }

    /// Retransmissions and repair packets that are counted as arrived: of the subscription, and of the worker.
    fn arrived(&self) -> [(u64, u64); 2] {
        let row = self.world.subscription_counters(self.sub);
        let worker = self.world.tables.worker_counters(0).unwrap();
        let (rtx, fec) = (&row.retransmitted_arrived, &row.fec_packets_arrived);
        let all = (&worker.retransmitted_arrived, &worker.fec_packets_arrived);
        [(rtx, fec), all].map(|(rtx, fec)| (rtx.load(), fec.load()))
    }

    fn report(&mut self, stream: u32, newest: u32, cumulative_lost: i32) {
        let block = ReportBlock {
            ssrc: media_ssrc(self.sub) + stream,
            extended_highest_sequence: newest,
            cumulative_lost,
            ..ReportBlock::default()
        };
        let mut buffer = vec![0; 100];
        let len = build::receiver_report(&mut buffer, 7, &[block]).unwrap();
        self.world.send_rtcp(self.viewer, &buffer[..len]);
    }
}

#[test]
fn transport_wide_feedback_tells_what_has_arrived() {
    let mut lossy = Lossy::new(TransportConfig::TRANSPORT_CC_OUT);
    let client = &lossy.world.clients[lossy.viewer];
    let number = |got: &Got| {
        let value = got.extension(ExtensionKind::TransportCc).unwrap();
        u16::from_be_bytes(value.try_into().unwrap())
    };
    let base = number(&client.rtp[0]);
    let mut arrivals = vec![None; client.rtp.len()];
    for (at, got) in client.rtp.iter().enumerate() {
        let is_extra = got.header.ssrc != media_ssrc(lossy.sub);
        // Every fourth of either kind is lost.
        if !is_extra || got.header.sequence % 4 != 0 {
            let place = usize::from(number(got).wrapping_sub(base));
            arrivals[place] = Some(1_000_000 + at as u64 * 1_000);
        }
    }
    let header = twcc::TwccHeader {
        sender_ssrc: 7,
        media_ssrc: media_ssrc(lossy.sub),
        base_sequence: base,
        feedback_count: 0,
    };
    let mut buffer = vec![0; 1_400];
    let written = twcc::write(&mut buffer, &header, &arrivals).unwrap();
    assert_eq!(written.statuses, arrivals.len());
    // The same again changes nothing, and nor does a receiver report, which counts probes too.
    for _ in 0..2 {
        lossy.world.send_rtcp(lossy.viewer, &buffer[..written.len]);
        assert_eq!(lossy.arrived(), [(6, 15); 2]);
    }
    let newest = u32::from(*lossy.of(1).last().unwrap());
    lossy.report(1, newest, 0);
    assert_eq!(lossy.arrived(), [(6, 15); 2]);
}

#[test]
fn feedback_by_stream_tells_what_has_arrived() {
    let mut lossy = Lossy::new(TransportConfig::CCFB_OUT);
    let arrival = Arrival {
        ecn: Ecn::Ect1,
        before: Some(10),
    };
    let lost_of = |sequences: &[u16]| -> Vec<Option<Arrival>> {
        let arrived = |&sequence: &u16| (sequence % 4 != 0).then_some(arrival);
        sequences.iter().map(arrived).collect()
    };
    let streams = [1, 2].map(|stream| (stream, lossy.of(stream)));
    for (stream, sequences) in streams {
        let report = StreamReport {
            ssrc: media_ssrc(lossy.sub) + stream,
            begin_sequence: sequences[0],
            arrivals: &lost_of(&sequences),
        };
        let mut buffer = vec![0; 200];
        let len = build::ccfb(&mut buffer, 7, stream << 16, &[report]).unwrap();
        lossy.world.send_rtcp(lossy.viewer, &buffer[..len]);
    }
    assert_eq!(lossy.arrived(), [(6, 15); 2]);
}

#[test]
fn receiver_reports_tell_what_has_arrived_where_nothing_else_does() {
    let mut lossy = Lossy::new(0);
    let [rtx, fec] = [1, 2].map(|stream| lossy.of(stream));
    lossy.report(1, u32::from(rtx[5]), 2);
    lossy.report(2, u32::from(fec[19]), 0);
    assert_eq!(lossy.arrived(), [(4, 20); 2]);
    lossy.report(1, u32::from(rtx[7]), 3);
    assert_eq!(lossy.arrived(), [(5, 20); 2]);
    // Of what was never sent, and the same again.
    lossy.report(1, u32::from(rtx[7]) + 100, 3);
    lossy.report(2, u32::from(fec[19]), 0);
    assert_eq!(lossy.arrived(), [(5, 20); 2]);
}
