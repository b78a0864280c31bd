//! Packets for one viewer: its own header, sealed from the shared plaintext into transmit memory.

use crate::ingress::srtp_drop;
use crate::limits::{MAX_DATAGRAM, PADDING_MAX};
use crate::output::Output;
use crate::packet::Packet;
use crate::peer::PeerMessage;
use crate::redundancy::Earlier;
use crate::rewrite::{Descriptor, renumber};
use crate::subscription::{Numbers, Subscriber};
use crate::time::Micros;
use crate::transport::Transport;
use ion_tables::{DropReason, ExtensionKind, Text, TransportConfig};
use ion_wire::ext::{AbsSendTime, transport_cc_bytes};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter};

/// The header of a packet to a viewer, besides its numbers.
pub(crate) struct Header<'a> {
    pub(crate) fields: HeaderFields,
    pub(crate) mid: Text<19>,
    /// Whether extensions that depend on the moment may be added.
    pub(crate) momentary: bool,
    /// Playout delay to write instead of the publisher's; depends on the moment.
    pub(crate) playout: Option<[u8; 3]>,
    /// Dependency descriptor to write instead of the publisher's.
    pub(crate) dependency: Option<&'a Descriptor>,
    /// What follows is RTP padding.
    pub(crate) padding: bool,
}

impl<'a> Header<'a> {
    /// The header of a media packet; `dependency` is its descriptor where it is not the publisher's.
    pub(crate) fn of(
        packet: &Packet,
        numbers: &Numbers,
        subscriber: &Subscriber,
        dependency: Option<&'a Descriptor>,
    ) -> Self {
        let config = &subscriber.config;
        Self {
            fields: HeaderFields {
                marker: numbers.manner.marker,
                payload_type: config.payload_type,
                sequence: low16(numbers.index),
                timestamp: numbers.timestamp,
                ssrc: config.ssrc,
            },
            mid: config.mid,
            momentary: !subscriber.resends_plain(),
            playout: subscriber.playout.value(packet),
            dependency,
            padding: false,
        }
    }

    /// The header of a packet beside the media, which carries nothing over.
    pub(crate) fn beside(subscriber: &Subscriber, fields: HeaderFields) -> Self {
        Self {
            fields,
            mid: subscriber.config.mid,
            momentary: true,
            playout: None,
            dependency: None,
            padding: false,
        }
    }
}

/// The P bit in the first byte of an RTP header (RFC 3550, 5.1).
const PADDING_BIT: u8 = 0x20;

/// Whether the batch takes one more datagram of any size.
pub(crate) fn has_room<O: Output<Message = PeerMessage>>(out: &mut O) -> bool {
    out.batch().space(MAX_DATAGRAM).is_some()
}

/// The payload that a viewer gets, but for its running numbers: a packet of a layer that it does not get is empty.
pub(crate) fn payload_for<'a>(packet: &'a Packet, numbers: &Numbers) -> &'a [u8] {
    if numbers.manner.blank {
        &[]
    } else {
        packet.payload()
    }
}

/// Writes a media packet for a viewer and seals it straight from the shared
/// plaintext into the batch, which must have room. Returns the datagram's length.
///
/// It is padded by so many bytes, if it can be, so that it is as long as its neighbours.
/// Its index is marked as used even if it then turns out not to fit: it will not be
/// used for anything else.
pub(crate) fn send_media<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    (packet, padding): (&Packet, usize),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let payload = payload_for(packet, &numbers);
    if !subscriber.used(numbers, now, payload.len()) {
        return Err(DropReason::Duplicate);
    }
    seal_media(transport, subscriber, (packet, padding), numbers, now, out)
}

/// Writes and seals a media packet whose index is taken, for the first time or
/// again: see the invariant of [`Subscriber`].
pub(crate) fn seal_media<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    (packet, padding): (&Packet, usize),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let payload = payload_for(packet, &numbers);
    let ssrc = subscriber.config.ssrc;
    let dependency = Descriptor::of(packet, &numbers);
    let header = Header::of(packet, &numbers, subscriber, dependency.as_ref());
    let limit = transport.max_datagram();
    let path = transport.path.ok_or(DropReason::SendFailed)?;
    let open = out.batch().open_segment(&path, transport.ecn);
    let space = out
        .batch()
        .space(MAX_DATAGRAM)
        .ok_or(DropReason::TransmitFull)?;
    let (header_len, numbered) = write_header(transport, &header, Some(packet), now, space)?;
    let keys = transport.keys.as_mut().ok_or(DropReason::SendFailed)?;
    let natural = header_len + payload.len() + keys.sealer.profile().rtp_overhead();
    if natural > limit {
        return Err(DropReason::TooLarge);
    }
    // What is sent again must be the same again, and stands alone anyhow.
    let joins = header.momentary && !numbers.manner.blank;
    let padded = Some(packet).filter(|_| joins);
    let padded = padded.and_then(|packet| {
        let wished = open
            .filter(|&open| (natural..=natural + PADDING_MAX).contains(&open))
            .unwrap_or(natural + padding);
        packet.padded(wished.min(limit) - natural)
    });
    if padded.is_some() {
        space[0] |= PADDING_BIT;
    }
    let payload = padded.unwrap_or(payload);
    let sealer = &mut keys.sealer;
    let protection = subscriber.protection.as_deref_mut();
    let protect = |header: &[u8], payload: &[u8]| {
        if let Some(protection) = protection {
            protection.add(numbers.index, header, payload, &transport.config.extensions);
        }
    };
    let len = if numbers.running.payload == packet.running.payload || numbers.manner.blank {
        protect(&space[..header_len], payload);
        sealer.seal_rtp(header_len, numbers.index, ssrc, payload, space)
    } else {
        let plain_len = header_len + payload.len();
        let (header, body) = space.split_at_mut(header_len);
        let body = body.get_mut(..payload.len());
        let body = body.ok_or(DropReason::TooLarge)?;
        body.copy_from_slice(payload);
        renumber(packet.codec, body, &numbers.running.payload);
        protect(header, body);
        sealer.seal_rtp_in_place(header_len, plain_len, numbers.index, ssrc, space)
    };
    let len = len.map_err(srtp_drop)?;
    out.batch().commit_ecn(&path, len, transport.ecn);
    transport.note_sent(now, len, ssrc, low16(numbers.index), numbered);
    Ok(len)
}

/// As [`send_media`], with earlier frames before the packet's own. For viewers to whom nothing is sent again as it was.
pub(crate) fn send_red<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    (packet, earlier): (&Packet, Earlier<'_>),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    if !subscriber.used(numbers, now, usize::from(packet.payload_len)) {
        return Err(DropReason::Duplicate);
    }
    let mut header = Header::of(packet, &numbers, subscriber, None);
    header.fields.payload_type = subscriber.config.red_payload_type;
    let index = numbers.index;
    seal_made(transport, &header, Some(packet), index, now, out, |body| {
        earlier.write(packet, subscriber.config.payload_type, body)
    })
}

/// Seals a packet whose payload is made by a function, which writes it and returns its length. Extensions are carried
/// over from `packet`. Its index must be one that was never used, and marked as used.
pub(crate) fn seal_made<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    header: &Header<'_>,
    packet: Option<&Packet>,
    index: u64,
    now: Micros,
    out: &mut O,
    make: impl FnOnce(&mut [u8]) -> Result<usize, DropReason>,
) -> Result<usize, DropReason> {
    let limit = transport.max_datagram();
    let path = transport.path.ok_or(DropReason::SendFailed)?;
    let number = transport.state.transport_cc_next;
    let space = out.batch().space(MAX_DATAGRAM);
    let space = space.ok_or(DropReason::TransmitFull)?;
    let (header_len, numbered) = write_header(transport, header, packet, now, space)?;
    let keys = transport.keys.as_mut().ok_or(DropReason::SendFailed)?;
    let end = limit.saturating_sub(keys.sealer.profile().rtp_overhead());
    let made = space
        .get_mut(header_len..end)
        .ok_or(DropReason::TooLarge)
        .and_then(make);
    let Ok(payload_len) = made else {
        // What is not sent must not be missed.
        transport.state.transport_cc_next = number;
        return made;
    };
    if header.padding {
        space[0] |= PADDING_BIT;
    }
    let plain_len = header_len + payload_len;
    let ssrc = header.fields.ssrc;
    let len = keys
        .sealer
        .seal_rtp_in_place(header_len, plain_len, index, ssrc, space)
        .map_err(srtp_drop)?;
    out.batch().commit_ecn(&path, len, transport.ecn);
    transport.note_sent(now, len, ssrc, low16(index), numbered);
    Ok(len)
}

/// Writes an RTP header with the viewer's extensions. Returns its length, and whether it took a
/// transport-wide number.
fn write_header(
    transport: &mut Transport,
    header: &Header<'_>,
    packet: Option<&Packet>,
    now: Micros,
    space: &mut [u8],
) -> Result<(usize, bool), DropReason> {
    let map = transport.config.extensions;
    let mid = map
        .id(ExtensionKind::Mid)
        .map(|id| (id, header.mid.as_bytes_of()))
        .filter(|(_, mid)| !mid.is_empty());
    let numbered = transport.config.flags & TransportConfig::TRANSPORT_CC_OUT != 0;
    let number = map
        .id(ExtensionKind::TransportCc)
        .filter(|_| header.momentary && numbered)
        .map(|id| {
            (
                id,
                transport_cc_bytes(low16(transport.state.transport_cc_next)),
            )
        });
    let time = map
        .id(ExtensionKind::AbsSendTime)
        .filter(|_| header.momentary)
        .map(|id| (id, AbsSendTime::from_us(now.0).to_bytes()));
    let playout = header
        .playout
        .filter(|_| header.momentary)
        .and_then(|value| Some((map.id(ExtensionKind::PlayoutDelay)?, value)));
    let replaced = playout.map(|_| ExtensionKind::PlayoutDelay);
    let dependency = header.dependency;
    let carried = transport
        .carried
        .iter()
        .filter(|(kind, _)| Some(*kind) != replaced)
        .filter_map(|(kind, id)| {
            let value = match (kind, dependency) {
                (ExtensionKind::DependencyDescriptor, Some(written)) => written.as_slice(),
                _ => packet?.extension(kind)?,
            };
            Some((id, value))
        });
    let all = mid
        .into_iter()
        .chain(number.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(time.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(playout.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(carried);
    let form = all.clone().fold(ExtForm::OneByte, |form, (id, value)| {
        form.and(ExtForm::fitting(id, value.len()))
    });
    let too_large = |_| DropReason::TooLarge;
    let mut writer = HeaderWriter::new(space, &header.fields, form).map_err(too_large)?;
    for (id, value) in all {
        writer.push_extension(id, value).map_err(too_large)?;
    }
    let len = writer.finish();
    if number.is_some() {
        transport.state.transport_cc_next = transport.state.transport_cc_next.wrapping_add(1);
    }
    Ok((len, number.is_some()))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
pub(crate) fn low16(number: u64) -> u16 {
    number as u16
}
