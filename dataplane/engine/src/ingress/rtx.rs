use super::{Opened, place};
use crate::engine::Engine;
use crate::limits::REPAIR_AHEAD;
use crate::packet::Packet;
use crate::time::Micros;
use crate::window::Seen;
use ion_tables::DropReason;
use ion_wire::seq;
use std::sync::Arc;

impl Engine {
    /// A retransmission (RFC 4588): turns it into the packet that it repeats.
    pub(super) fn accept_rtx(
        &mut self,
        now: Micros,
        opened: &Opened,
        row: u32,
    ) -> Result<Arc<Packet>, DropReason> {
        let Opened { header, index, .. } = *opened;
        let unmatched = DropReason::RtxUnmatched;
        let encoding = self.encodings[row as usize]
            .as_deref_mut()
            .ok_or(unmatched)?;
        let (link, codec, config) = (encoding.link, encoding.codec, encoding.config);
        let receiver = encoding.receiver.as_deref_mut().ok_or(unmatched)?;
        if header.payload_type != config.rtx_payload_type {
            return Err(DropReason::UnknownPayloadType);
        }
        if receiver.rtx_ssrc != header.ssrc {
            receiver.rtx_ssrc = header.ssrc;
            receiver.state.rtx_ssrc = header.ssrc;
            receiver.state.rtx_srtp_next = 0;
        }
        receiver.state.rtx_srtp_next = receiver.state.rtx_srtp_next.max(index + 1);
        if receiver.ssrc == 0 {
            return Err(unmatched);
        }
        let packet = self.pool.fill(opened.slot).ok_or(DropReason::NoBuffer)?;
        let Some(&[high, low]) = packet.payload().first_chunk::<2>() else {
            return Err(DropReason::PaddingOnly);
        };
        let next = receiver.window.next();
        let original = seq::extend(u16::from_be_bytes([high, low]), next.saturating_sub(1));
        packet.payload_start += 2;
        packet.payload_len -= 2;
        packet.ssrc = receiver.ssrc;
        let bytes = u64::from(packet.payload_len);
        let useful = original < next + REPAIR_AHEAD && receiver.window.look(original) == Seen::New;
        let placed = if useful {
            receiver.window.insert(original);
            receiver.nack.received(now, original);
            receiver.reception.received(now, original, None);
            receiver.last_packet = Some(now);
            place(receiver, original)
        } else {
            Err(DropReason::RtxUseless)
        };
        let rtt = receiver.nack.rtt();
        self.touch(row);
        if let Some(counters) = self.encoding_counters(row) {
            match placed {
                Ok(_) => {
                    counters.retransmitted_received.add(1);
                    counters.retransmitted_bytes.add(bytes);
                    self.tables.counters().retransmitted_received.add(1);
                }
                Err(_) => counters.retransmitted_useless.add(1),
            }
            if let Some(rtt) = rtt {
                counters.rtt_us.set(rtt);
            }
        }
        self.finish(opened.slot, link, codec, placed?)
    }
}
