//! What every client is told each second: sender reports to viewers, receiver reports to publishers.

use crate::engine::Engine;
use crate::limits::{
    MAX_DATAGRAM, MAX_RTCP, REMB_FACTOR, REMB_FLOOR_BPS, REPORT_BLOCKS, REPORT_INTERVAL_US,
};
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::seal::has_room;
use crate::time::Micros;
use crate::timers::TimerKind;
use ion_tables::{EncodingConfig, RowLink, Transport as TransportRow, WorkerTables};
use ion_wire::ntp;
use ion_wire::rtcp::{CompoundBuilder, ReportBlock, SenderInfo, build};

/// Room that one sender report with its CNAME takes at most.
const SENDER_REPORT_ROOM: usize = 28 + 4 + 4 + 2 + 23 + 4;

/// Seals an RTCP compound for a transport into the batch. The SRTCP index is stored
/// before anything can be sent with it.
pub(crate) fn send_rtcp<O: Output<Message = PeerMessage>>(
    tables: &WorkerTables,
    transport: &mut crate::transport::Transport,
    plain: &[u8],
    out: &mut O,
) -> bool {
    let row = transport.link.row;
    let (Some(path), Some(keys)) = (transport.path, transport.keys.as_mut()) else {
        return false;
    };
    if !has_room(out) {
        out.transmit();
    }
    let Some(space) = out.batch().space(MAX_DATAGRAM) else {
        tables
            .counters()
            .drop_packets(ion_tables::DropReason::TransmitFull, 1);
        return false;
    };
    let index = transport.state.srtcp_tx_next;
    let Ok(len) = keys.sealer.seal_rtcp(index, plain, space) else {
        tables
            .counters()
            .drop_packets(ion_tables::DropReason::IndexExhausted, 1);
        return false;
    };
    transport.state.srtcp_tx_next = index + 1;
    tables.store::<TransportRow>(row, &transport.state);
    out.batch().commit(&path, len);
    if let Some(counters) = tables.tables().counters::<TransportRow>(row) {
        counters.rtcp_sent.add(1);
        counters.packets_sent.add(1);
        counters.bytes_sent.add(len as u64);
    }
    true
}

impl Engine {
    /// The one sender report that a stream gets at its very beginning, so that viewers
    /// can join audio and video at once.
    pub(crate) fn send_first_report<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        if let Some(subscriber) = self.subscriptions[row as usize].as_deref() {
            let transport = subscriber.transport;
            self.send_sender_reports(now, transport, &[row], out);
        }
    }

    /// The reports of a transport that are due every second.
    pub(crate) fn report<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        if self.transports[row as usize].is_none() {
            return;
        }
        self.timers
            .arm(TimerKind::Report, row, now + REPORT_INTERVAL_US);
        let subscriptions =
            std::mem::take(&mut self.children.subscriptions_of_transport[row as usize]);
        self.send_sender_reports(now, row, &subscriptions, out);
        for &subscription in &subscriptions {
            self.settle_playout(now, subscription);
            self.note_limit(subscription);
        }
        self.children.subscriptions_of_transport[row as usize] = subscriptions;
        self.send_receiver_report(now, row, out);
    }

    /// Lets a viewer show pictures sooner again when it loses nothing any more.
    fn settle_playout(&mut self, now: Micros, row: u32) {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
            return;
        };
        let theirs = subscriber
            .source
            .and_then(|source| self.encodings.get(source.encoding.row as usize)?.as_deref())
            .and_then(|encoding| encoding.feed.as_deref()?.playout);
        let sent = subscriber.state.sender_packets;
        subscriber.playout.tick(now, sent, theirs);
    }

    /// Tells why a subscription is not sent the best that there is.
    fn note_limit(&self, row: u32) {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref() else {
            return;
        };
        let links = self.encodings_of(subscriber.track);
        let place = |found: &dyn Fn(&RowLink) -> bool| {
            let at = links.iter().rposition(found)?;
            u8::try_from(at).ok()
        };
        let top = place(&|link| link.is_some()).unwrap_or(0);
        let target = subscriber.target;
        let target = target.and_then(|target| place(&|link| *link == target));
        if let Some(counters) = self.subscription_counters(row) {
            counters.limit.set(subscriber.limit(top, target) as u64);
        }
    }

    fn sender_info(&self, now: Micros, row: u32) -> Option<(u32, SenderInfo)> {
        let subscriber = self.subscriptions[row as usize].as_deref()?;
        let epoch = subscriber.epoch().filter(|_| subscriber.has_sent())?;
        let encoding = self.encodings[epoch.source.encoding.row as usize]
            .as_deref()
            .filter(|encoding| encoding.link == epoch.source.encoding)?;
        let mapping = encoding.feed.as_deref()?.mapping(epoch.source.ssrc)?;
        let ntp = self.ntp(now);
        let rate = encoding.config.clock_rate.max(1);
        let info = SenderInfo {
            ntp,
            rtp_timestamp: mapping
                .rtp_at(ntp, rate)
                .wrapping_add(epoch.timestamp_offset),
            packet_count: subscriber.state.sender_packets,
            octet_count: subscriber.state.sender_octets,
        };
        Some((subscriber.config.ssrc, info))
    }

    /// Sender reports with CNAMEs for the given subscriptions of a transport, as many
    /// in each datagram as fit.
    fn send_sender_reports<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        subscriptions: &[u32],
        out: &mut O,
    ) {
        let mut buffer = [0_u8; MAX_RTCP];
        let mut rest = subscriptions.iter();
        loop {
            let Some(transport) = self.transports[row as usize].as_deref() else {
                return;
            };
            let cname = transport.config.cname;
            let mut compound = CompoundBuilder::new(&mut buffer);
            while compound.room() >= SENDER_REPORT_ROOM
                && let Some(&subscription) = rest.next()
            {
                let Some((ssrc, info)) = self.sender_info(now, subscription) else {
                    continue;
                };
                let written = compound
                    .push(|out| build::sender_report(out, ssrc, &info, &[]))
                    .and_then(|c| c.push(|out| build::sdes_cname(out, ssrc, cname.as_str())));
                if written.is_err() {
                    break;
                }
            }
            if compound.is_empty() {
                return;
            }
            if let Some(transport) = self.transports[row as usize].as_deref_mut() {
                send_rtcp(&self.tables, transport, compound.as_bytes(), out);
            }
        }
    }

    /// The report block of one encoding of a publisher.
    fn report_block_of(&mut self, now: Micros, row: u32) -> Option<ReportBlock> {
        let receiver = self.encodings[row as usize]
            .as_deref_mut()?
            .receiver
            .as_deref_mut()?;
        if receiver.ssrc == 0 || receiver.last_packet.is_none() {
            return None;
        }
        let report = receiver.reception.report();
        let (last_sr, delay) = receiver
            .last_report
            .map_or((0, 0), |(sr, at)| (sr, ntp::us_to_short(now.since(at))));
        Some(ReportBlock {
            ssrc: receiver.ssrc,
            fraction_lost: report.fraction_lost,
            cumulative_lost: report.cumulative_lost,
            extended_highest_sequence: report.highest,
            jitter: report.jitter,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    fn send_receiver_report<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let mut blocks = [ReportBlock::default(); REPORT_BLOCKS];
        let mut count = 0;
        let mut remb = false;
        for at in 0..self.children.encodings_of_transport[row as usize].len() {
            let encoding = self.children.encodings_of_transport[row as usize][at];
            let Some(block) = self.report_block_of(now, encoding) else {
                continue;
            };
            if let Some(slot) = blocks.get_mut(count) {
                *slot = block;
                count += 1;
            }
            remb |= self.encodings[encoding as usize]
                .as_ref()
                .is_some_and(|encoding| wants_remb(&encoding.config));
        }
        if count == 0 {
            return;
        }
        let Some(transport) = self.transports[row as usize].as_deref_mut() else {
            return;
        };
        let bytes = std::mem::take(&mut transport.bytes_since_report);
        let blocks = &blocks[..count];
        let ssrc = transport.config.feedback_ssrc;
        let cname = transport.config.cname;
        let mut compound = CompoundBuilder::new(&mut self.scratch.rtcp[..MAX_RTCP]);
        let mut written = compound
            .push(|out| build::receiver_report(out, ssrc, blocks))
            .and_then(|c| c.push(|out| build::sdes_cname(out, ssrc, cname.as_str())));
        if remb {
            let mut ssrcs = [0_u32; REPORT_BLOCKS];
            for (slot, block) in ssrcs.iter_mut().zip(blocks) {
                *slot = block.ssrc;
            }
            let rate = bytes * 8 * 1_000_000 / REPORT_INTERVAL_US;
            let bps = (rate * REMB_FACTOR.0 / REMB_FACTOR.1).max(REMB_FLOOR_BPS);
            written =
                written.and_then(|c| c.push(|out| build::remb(out, ssrc, bps, &ssrcs[..count])));
        }
        if written.is_ok() {
            send_rtcp(&self.tables, transport, compound.as_bytes(), out);
        }
    }
}

/// Whether a publisher adapts by REMB only.
fn wants_remb(config: &EncodingConfig) -> bool {
    let both = EncodingConfig::REMB | EncodingConfig::TRANSPORT_CC;
    config.feedback & both == EncodingConfig::REMB
}
