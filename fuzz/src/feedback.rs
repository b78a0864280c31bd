//! Feedback of a hostile viewer: messages with any body, to the estimator of its network.

use ion_engine::Micros;
use ion_engine::congestion::{Bounds, Ecn, Estimator, IonEstimator, SentPackets, Wanted};
use ion_engine::limits::SENT_PACKETS;
use ion_wire::rtcp::ccfb::{self, StreamReport};
use ion_wire::rtcp::{Compound, Packet, Rtpfb};

/// RTPFB feedback message types.
const CCFB: u8 = 11;
const TWCC: u8 = 15;
/// Messages of one input at most.
const MESSAGES: usize = 40;

/// Transport-wide feedback.
pub fn twcc(data: &[u8]) {
    drive(data, TWCC);
}

/// Feedback of RFC 8888; what is read is written again and read as the same.
pub fn ccfb(data: &[u8]) {
    drive(data, CCFB);
}

/// Each message is a byte of length in words, a byte of how many packets are sent before, and that many
/// bytes of body behind the sender's SSRC.
fn drive(mut data: &[u8], fmt: u8) {
    let by_stream = fmt == CCFB;
    let bounds = Bounds::default();
    let mut estimator = IonEstimator::new(bounds);
    let mut sent = SentPackets::new(0, by_stream, Ecn::Ect1);
    let mut reports = Vec::with_capacity(SENT_PACKETS);
    let mut arrivals = Box::new([None; SENT_PACKETS]);
    let mut now = Micros(1_000_000);
    for _ in 0..MESSAGES {
        let [words, packets, rest @ ..] = data else { break };
        let len = (4 * usize::from(*words)).min(rest.len() & !3);
        let (body, rest) = rest.split_at(len);
        data = rest;
        for at in 0..*packets {
            let number = (sent.next() & 0xffff) as u16;
            sent.sent(now, 200 + usize::from(at), at % 16 == 0, (u32::from(at & 1), number));
            now = now + 1_000;
        }
        let mut message = vec![0x80 | fmt, 205, 0, 0, 0, 0, 0, 1];
        message.extend(body);
        let length = u16::try_from(message.len() / 4 - 1).expect("bodies are short");
        message[2..4].copy_from_slice(&length.to_be_bytes());
        reports.clear();
        match Compound::iter(&message).next() {
            Some(Ok(Packet::Rtpfb(Rtpfb::Twcc(twcc)))) => {
                let _ = sent.twcc(now, &twcc, &mut reports);
            }
            Some(Ok(Packet::Rtpfb(Rtpfb::Ccfb(ccfb)))) => {
                rewrite(&ccfb);
                let _ = sent.ccfb(now, &ccfb, &mut arrivals, &mut reports);
            }
            _ => {}
        }
        assert!(reports.len() <= SENT_PACKETS);
        for report in &reports {
            assert!(report.sent <= now && report.bytes >= 200, "{report:?} was sent");
        }
        estimator.on_feedback(now, &reports);
        estimator.on_timeout(now, sent.unheard_since(now));
        let wanted = Wanted {
            most_bps: 5_000_000,
            next_bps: 1_000_000,
        };
        if let Some(probe) = estimator.probe(now, wanted) {
            assert!(probe.bytes <= 200_000);
            sent.set_probe(probe.id);
        }
        let target = estimator.target_bps();
        assert!((bounds.min_bps..=bounds.max_bps).contains(&target), "{target}");
    }
}

fn rewrite(feedback: &ccfb::Ccfb<'_>) {
    let streams: Vec<(u32, u16, Vec<_>)> = feedback
        .streams()
        .map(|s| (s.ssrc, s.begin_sequence, s.reports().map(|(_, arrival)| arrival).collect()))
        .collect();
    let reports: Vec<_> = streams
        .iter()
        .map(|(ssrc, begin_sequence, arrivals)| StreamReport {
            ssrc: *ssrc,
            begin_sequence: *begin_sequence,
            arrivals,
        })
        .collect();
    let mut buf = vec![0; 4_096];
    let len = ccfb::write(&mut buf, feedback.sender_ssrc, feedback.report_time, &reports).expect("room");
    let Some(Ok(Packet::Rtpfb(Rtpfb::Ccfb(again)))) = Compound::iter(&buf[..len]).next() else {
        panic!("written feedback is feedback");
    };
    assert_eq!(again.report_time, feedback.report_time);
    let back: Vec<(u32, u16, Vec<_>)> = again
        .streams()
        .map(|s| (s.ssrc, s.begin_sequence, s.reports().map(|(_, arrival)| arrival).collect()))
        .collect();
    assert_eq!(back, streams);
}
