//! Repair packets of publishers: what was lost on the way in is made from them.

use super::{Opened, place};
use crate::engine::Engine;
use crate::limits::{FEC_RECENT, REPAIR_AHEAD};
use crate::output::Output;
use crate::packet::Packet;
use crate::peer::PeerMessage;
use crate::repair::Protects;
use crate::time::Micros;
use crate::window::Seen;
use ion_tables::DropReason;
use ion_wire::flexfec::FlexFec;
use ion_wire::rtp::RtpHeader;
use ion_wire::seq;
use std::sync::Arc;

impl Engine {
    /// A repair packet (FlexFEC-03): makes what it can of it, now or when more has come.
    pub(super) fn accept_fec<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        transport: u32,
        opened: &Opened,
        row: u32,
        out: &mut O,
    ) {
        match self.take_fec(now, opened, row) {
            Ok(displaced) => {
                self.discard_fec(transport, row, displaced);
                self.mend(now, transport, row, out);
            }
            Err(reason) => {
                self.drop_of(transport, reason);
                if let Some(counters) = self.encoding_counters(row) {
                    counters.fec_packets_discarded.add(1);
                }
            }
        }
        // If it waits, it is held as by another worker.
        self.pool.put_back(opened.slot);
    }

    /// Takes in a repair packet. Returns how many others gave way to it.
    fn take_fec(&mut self, now: Micros, opened: &Opened, row: u32) -> Result<usize, DropReason> {
        let unknown = DropReason::UnknownSsrc;
        let Opened {
            header,
            index,
            slot,
        } = *opened;
        let encoding = self.encodings[row as usize].as_deref_mut().ok_or(unknown)?;
        let payload_type = encoding.config.fec_payload_type;
        let receiver = encoding.receiver.as_deref_mut().ok_or(unknown)?;
        if header.payload_type != payload_type {
            return Err(DropReason::UnknownPayloadType);
        }
        let state = &mut receiver.state;
        if state.fec_ssrc != header.ssrc {
            (state.fec_ssrc, state.fec_srtp_next) = (header.ssrc, 0);
        }
        state.fec_srtp_next = state.fec_srtp_next.max(index + 1);
        self.touch(row);
        let packet = self.pool.share(slot).ok_or(DropReason::NoBuffer)?;
        if let Some(counters) = self.encoding_counters(row) {
            counters.fec_packets_received.add(1);
            let bytes = u64::from(packet.payload_len);
            counters.fec_bytes_received.add(bytes);
        }
        let fec = FlexFec::parse(packet.payload()).map_err(|_| DropReason::FecRefused)?;
        let encoding = self.encodings[row as usize].as_deref_mut().ok_or(unknown)?;
        let receiver = encoding.receiver.as_deref_mut().ok_or(unknown)?;
        if receiver.ssrc == 0 {
            return Err(DropReason::FecUseless);
        }
        let next = receiver.window.next();
        let protects = Protects {
            base: seq::extend(fec.base, next.saturating_sub(1)),
            mask: fec.mask,
        };
        let last = protects.iter().last().unwrap_or(protects.base);
        if fec.ssrc != receiver.ssrc || last >= next + REPAIR_AHEAD {
            return Err(DropReason::FecRefused);
        }
        if protects.base + (FEC_RECENT as u64) < next {
            return Err(DropReason::FecUseless);
        }
        let repair = receiver.repair.as_deref_mut().ok_or(unknown)?;
        Ok(repair.wait(now, packet, protects))
    }

    /// Keeps a packet for repair, if repair packets come. Returns whether some wait for it.
    pub(super) fn keep_for_repair(&mut self, row: u32, index: u64, packet: &Arc<Packet>) -> bool {
        self.encodings[row as usize]
            .as_deref_mut()
            .and_then(|encoding| encoding.receiver.as_deref_mut()?.repair.as_deref_mut())
            .is_some_and(|repair| repair.keep(index, packet))
    }

    /// Makes what can be made from repair packets by now. Each of them is used once.
    pub(super) fn mend<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        transport: u32,
        row: u32,
        out: &mut O,
    ) {
        while let Some(ready) = self.encodings[row as usize]
            .as_deref_mut()
            .and_then(|encoding| encoding.receiver.as_deref_mut()?.repair.as_deref_mut())
            .and_then(|repair| repair.ready())
        {
            let (fec, protects, missing) = ready;
            let mended = missing.ok_or(DropReason::FecUseless).and_then(|missing| {
                Ok((missing, self.mend_one(now, row, &fec, protects, missing)?))
            });
            match mended {
                Ok((index, packet)) => {
                    self.keep_for_repair(row, index, &packet);
                    if let Some(counters) = self.encoding_counters(row) {
                        counters.fec_recovered.add(1);
                    }
                    self.publish(now, packet, out);
                }
                Err(reason) => {
                    self.drop_of(transport, reason);
                    if let Some(counters) = self.encoding_counters(row) {
                        counters.fec_packets_discarded.add(1);
                    }
                }
            }
        }
    }

    /// Makes the packet that is missing, and gives it its place.
    fn mend_one(
        &mut self,
        now: Micros,
        row: u32,
        fec: &Packet,
        protects: Protects,
        missing: u64,
    ) -> Result<Arc<Packet>, DropReason> {
        let slot = self.take_packet(now).ok_or(DropReason::NoBuffer)?;
        let mended = self.restore(now, row, slot, fec, (protects, missing));
        if mended.is_err() {
            self.pool.put_back(slot);
        }
        mended
    }

    fn restore(
        &mut self,
        now: Micros,
        row: u32,
        slot: u32,
        fec: &Packet,
        (protects, missing): (Protects, u64),
    ) -> Result<Arc<Packet>, DropReason> {
        let unknown = DropReason::UnknownSsrc;
        let encoding = self.encodings[row as usize].as_deref_mut().ok_or(unknown)?;
        let (link, codec, config) = (encoding.link, encoding.codec, encoding.config);
        let receiver = encoding.receiver.as_deref_mut().ok_or(unknown)?;
        let repair = receiver.repair.as_deref().ok_or(unknown)?;
        // It may have come as a retransmission.
        if receiver.window.look(missing) != Seen::New {
            return Err(DropReason::FecUseless);
        }
        let transport = self.transports[config.transport.row as usize]
            .as_deref()
            .ok_or(unknown)?;
        let packet = self.pool.fill(slot).ok_or(DropReason::NoBuffer)?;
        let refused = DropReason::FecRefused;
        let len = repair
            .restore(fec, protects, missing, &mut packet.buffer)
            .map_err(|_| refused)?;
        let whole = packet.buffer.get(..len).ok_or(refused)?;
        let header = RtpHeader::parse(whole).map_err(|_| refused)?;
        if header.payload_type != config.payload_type {
            return Err(refused);
        }
        packet
            .read(&header, len, &transport.config.extensions)
            .ok_or(refused)?;
        packet.arrival = now;
        receiver.window.insert(missing);
        receiver.nack.mended(now, missing);
        receiver.last_packet = Some(now);
        let position = place(receiver, missing)?;
        self.finish(slot, link, codec, position)
    }

    /// Counts repair packets that nothing was made from.
    pub(crate) fn discard_fec(&self, transport: u32, row: u32, count: usize) {
        if count == 0 {
            return;
        }
        let count = count as u64;
        let reason = DropReason::FecUseless;
        self.tables.counters().drop_packets(reason, count);
        if let Some(counters) = self.transport_counters(transport) {
            counters.dropped.add(count);
        }
        if let Some(counters) = self.encoding_counters(row) {
            counters.fec_packets_discarded.add(count);
        }
    }
}
