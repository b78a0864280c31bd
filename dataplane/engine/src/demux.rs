use crate::engine::Engine;
use crate::time::Micros;
use crate::transport::{Stream, StreamKind};
use ion_srtp::RxIndex;
use ion_tables::{EncodingConfig, ExtensionKind};
use ion_wire::rtp::RtpHeader;

/// The stream that a packet was found to belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// In the transport's streams.
    pub(crate) place: usize,
    /// Row of the encoding.
    pub(crate) encoding: u32,
    pub(crate) kind: StreamKind,
}

impl Engine {
    /// The stream at a place of a transport's list.
    pub(crate) fn known_stream(&self, row: u32, place: usize) -> Option<Found> {
        let stream = self.transports[row as usize].as_ref()?.streams.get(place)?;
        Some(Found {
            place,
            encoding: stream.encoding,
            kind: stream.kind,
        })
    }

    /// Finds what an SSRC never seen belongs to, and remembers it: by MID and RID, by
    /// what was announced, or by a payload type that only one encoding has.
    pub(crate) fn demux(
        &mut self,
        now: Micros,
        row: u32,
        header: &RtpHeader,
        slot: u32,
        rx: RxIndex,
    ) -> Option<Found> {
        let link = self.transports[row as usize].as_ref()?.link;
        let packet = self.pool.fill(slot)?;
        let names = Names {
            mid: packet.extension(ExtensionKind::Mid),
            rid: packet.extension(ExtensionKind::Rid),
            repaired: packet.extension(ExtensionKind::RepairedRid),
        };
        let encodings = &self.encodings;
        let candidates = self.children.encodings_of_transport[row as usize]
            .iter()
            .filter_map(|&row| {
                let encoding = encodings[row as usize].as_deref()?;
                let ours = encoding.receiver.is_some() && encoding.config.transport == link;
                ours.then_some((row, &encoding.config))
            });
        let (encoding, kind) = find(candidates, header, &names)?;
        let transport = self.transports[row as usize].as_deref_mut()?;
        let place = transport.learn(Stream {
            ssrc: header.ssrc,
            encoding,
            kind,
            rx,
            last_packet: now,
        });
        Some(Found {
            place,
            encoding,
            kind,
        })
    }
}

/// What a packet says of itself (RFC 9143, RFC 8852).
struct Names<'a> {
    mid: Option<&'a [u8]>,
    rid: Option<&'a [u8]>,
    repaired: Option<&'a [u8]>,
}

/// The encoding and kind of stream that a packet of an unknown SSRC belongs to.
fn find<'a>(
    candidates: impl Iterator<Item = (u32, &'a EncodingConfig)> + Clone,
    header: &RtpHeader,
    names: &Names<'_>,
) -> Option<(u32, StreamKind)> {
    let kind_of = |config: &EncodingConfig| {
        let pt = header.payload_type;
        let has = |t: u8| t != 0 && t == pt;
        if pt == config.payload_type || has(config.red_payload_type) {
            Some(StreamKind::Media)
        } else if has(config.rtx_payload_type) {
            Some(StreamKind::Rtx)
        } else {
            has(config.fec_payload_type).then_some(StreamKind::Fec)
        }
    };
    let of_mid = |config: &EncodingConfig| {
        let mid = config.mid.as_bytes_of();
        names.mid.is_none_or(|named| mid.is_empty() || mid == named)
    };
    // Retransmissions name their layer as repaired; some senders as RID.
    if let Some(layer) = names.repaired.or(names.rid) {
        let named = candidates.clone().find_map(|(row, config)| {
            let same = of_mid(config) && config.rid.as_bytes_of() == layer;
            Some((row, same.then(|| kind_of(config))??))
        });
        if named.is_some() {
            return named;
        }
    }
    let announced = candidates.clone().find_map(|(row, config)| {
        let kind = [
            (config.ssrc, StreamKind::Media),
            (config.rtx_ssrc, StreamKind::Rtx),
            (config.fec_ssrc, StreamKind::Fec),
        ];
        let found = kind.into_iter().find(|(ssrc, _)| *ssrc == header.ssrc);
        found.map(|(_, kind)| (row, kind))
    });
    // An announced SSRC is believed unless the packet names another m-section.
    let announced = announced.filter(|&(row, _)| {
        candidates
            .clone()
            .any(|(other, config)| other == row && of_mid(config))
    });
    if header.ssrc != 0 && announced.is_some() {
        return announced;
    }
    let mut matching = candidates
        .filter(|(_, config)| of_mid(config))
        .filter_map(|(row, config)| Some((row, kind_of(config)?)));
    let first = matching.next()?;
    matching.next().is_none().then_some(first)
}
