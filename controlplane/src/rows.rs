//! Records as rows: what stands in each row of the tables for a session.

use crate::record::{
    Bounds, Feedback, Kind, Payload, Played, Published, PublishedEncoding, Record,
};
use crate::rooms::Delivery;
use crate::session::Session;
use ion_dtls::Connected;
use ion_ice::Pair;
use ion_sdp::CodecKind;
use ion_tables::{
    EncodingConfig, ExtensionKind, ExtensionMap, RowLink, SubscriptionConfig, Text, TrackConfig,
    TransportConfig, TransportSecrets,
};

/// The number of a codec in rows: that of `ion_wire`.
pub fn codec_number(kind: CodecKind) -> u8 {
    u8::from(match kind {
        CodecKind::Opus => ion_wire::CodecKind::Opus,
        CodecKind::Vp8 => ion_wire::CodecKind::Vp8,
        CodecKind::Vp9 => ion_wire::CodecKind::Vp9,
        CodecKind::H264 => ion_wire::CodecKind::H264,
        CodecKind::H265 => ion_wire::CodecKind::H265,
        CodecKind::Av1 => ion_wire::CodecKind::Av1,
    })
}

/// Records keep the numbers of header extensions, rows take them: the two lists are one.
/// (`ion-sdp` stays free of the shared memory and of the unsafe code that maps it.)
const _: () = {
    macro_rules! same {
        ($($kind:ident)*) => {
            $(assert!(ion_sdp::ExtensionKind::$kind as u8 == ExtensionKind::$kind as u8);)*
        };
    }
    assert!(ion_sdp::ExtensionKind::ALL.len() == ExtensionKind::ALL.len());
    same!(Mid Rid RepairedRid TransportCc AbsSendTime AudioLevel VideoOrientation PlayoutDelay);
    same!(DependencyDescriptor VideoLayersAllocation ColorSpace ContentType VideoTiming);
    same!(TransmissionOffset AbsCaptureTime);
};

/// Text for a row; empty where it does not fit (what cannot be held is not used).
fn text<const N: usize>(value: &str) -> Text<N> {
    Text::new(value).unwrap_or_default()
}

/// A transport that waits for DTLS: no addresses, no profile.
pub fn transport(record: &Record) -> TransportConfig {
    let mut extensions = ExtensionMap::default();
    for (kind, id) in &record.extensions {
        if let Some(kind) = ExtensionKind::ALL
            .into_iter()
            .find(|known| *known as u8 == *kind)
        {
            extensions.set(kind, *id);
        }
    }
    let mut flags = 0;
    let played = record.played();
    let mut feedback = played
        .iter()
        .flat_map(|slot| slot.payloads.iter().map(|payload| payload.feedback));
    let is_ccfb = feedback.clone().any(|feedback| feedback.ccfb);
    let sends_transport_cc = !is_ccfb && feedback.any(|feedback| feedback.transport_cc);
    if is_ccfb {
        flags |= TransportConfig::CCFB_OUT;
    }
    if sends_transport_cc && extensions.id(ExtensionKind::TransportCc).is_some() {
        flags |= TransportConfig::TRANSPORT_CC_OUT;
    }
    if record.is_rtcp_reduced {
        flags |= TransportConfig::RTCP_REDUCED_SIZE;
    }
    TransportConfig {
        feedback_ssrc: record.feedback_ssrc,
        extensions,
        flags,
        cname: text(&record.cname),
        session: text(&record.id),
        ..TransportConfig::default()
    }
}

/// Puts the ICE credentials into secrets.
pub fn set_ice(secrets: &mut TransportSecrets, session: &Session) {
    let local = session.agent().local();
    let remote = session.remote_ice.as_ref();
    secrets.local_ufrag = text(local.ufrag());
    secrets.local_pwd = text(local.pwd());
    secrets.remote_ufrag = text(remote.map_or("", |ice| &ice.ufrag));
    secrets.remote_pwd = text(remote.map_or("", |ice| &ice.pwd));
}

/// Puts the SRTP keys into secrets (RFC 5764, section 4.2).
pub fn set_keys(secrets: &mut TransportSecrets, connected: &Connected) {
    let put = |from: &[u8], to: &mut [u8]| {
        to.fill(0);
        if let Some(to) = to.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
    };
    let (tx_key, tx_salt) = connected.keying_material.local();
    let (rx_key, rx_salt) = connected.keying_material.remote();
    put(tx_key, &mut secrets.tx_key);
    put(tx_salt, &mut secrets.tx_salt);
    put(rx_key, &mut secrets.rx_key);
    put(rx_salt, &mut secrets.rx_salt);
    secrets.keyed = 1;
}

/// Puts the selected pair into a transport.
pub fn set_path(config: &mut TransportConfig, pair: Pair) {
    config.remote = pair.remote.into();
    config.local = pair.local.into();
}

/// A published track.
pub fn track(
    track: &Published,
    transport: RowLink,
    worker: u16,
    subscriber_workers: u64,
) -> TrackConfig {
    let mut encodings = [RowLink::default(); TrackConfig::MAX_ENCODINGS];
    for (slot, encoding) in encodings.iter_mut().zip(&track.encodings) {
        *slot = encoding.row.into();
    }
    TrackConfig {
        transport,
        encodings,
        subscriber_workers,
        clock_rate: track.codec.0.kind.clock_rate(),
        worker,
        kind: match track.kind {
            Kind::Audio => TrackConfig::AUDIO,
            Kind::Video => TrackConfig::VIDEO,
        },
        codec: codec_number(track.codec.0.kind),
        ..TrackConfig::default()
    }
}

/// A seat of a stage, which its first seat names; places count from 1.
pub fn seat(stage: RowLink, place: u8, worker: u16, subscriber_workers: u64) -> TrackConfig {
    TrackConfig {
        subscriber_workers,
        clock_rate: CodecKind::Opus.clock_rate(),
        worker,
        kind: TrackConfig::AUDIO,
        codec: codec_number(CodecKind::Opus),
        stage,
        seat: place,
        ..TrackConfig::default()
    }
}

fn feedback_bits(feedback: Feedback) -> u8 {
    [
        (feedback.nack, EncodingConfig::NACK),
        (feedback.pli, EncodingConfig::PLI),
        (feedback.fir, EncodingConfig::FIR),
        (feedback.transport_cc, EncodingConfig::TRANSPORT_CC),
        (feedback.remb, EncodingConfig::REMB),
        (feedback.ccfb, EncodingConfig::CCFB),
    ]
    .into_iter()
    .filter(|(has, _)| *has)
    .fold(0, |bits, (_, bit)| bits | bit)
}

/// One RTP stream of a track; `layer` is its place among the track's.
pub fn encoding(
    track: &Published,
    encoding: &PublishedEncoding,
    layer: usize,
    transport: RowLink,
    worker: u16,
) -> EncodingConfig {
    EncodingConfig {
        track: track.row.into(),
        transport,
        ssrc: encoding.ssrc.unwrap_or(0),
        rtx_ssrc: encoding.rtx_ssrc.unwrap_or(0),
        fec_ssrc: encoding.fec_ssrc.unwrap_or(0),
        clock_rate: track.codec.0.kind.clock_rate(),
        worker,
        layer: u8::try_from(layer).unwrap_or(u8::MAX),
        codec: codec_number(track.codec.0.kind),
        payload_type: track.pt,
        rtx_payload_type: track.rtx_pt.unwrap_or(0),
        red_payload_type: track.red_pt.unwrap_or(0),
        fec_payload_type: track.fec_pt.unwrap_or(0),
        feedback: feedback_bits(track.feedback),
        mid: text(&track.mid),
        rid: text(&encoding.rid),
        ..EncodingConfig::default()
    }
}

/// A viewer's m-section; `source` is the track it plays, with its payload types here.
pub fn subscription(
    slot: &Played,
    source: Option<(RowLink, &Payload, u32)>,
    transport: RowLink,
    worker: u16,
) -> SubscriptionConfig {
    // Without a track the row stays, for the sake of its SRTP index: it goes on with the next track.
    let fallback = slot.payloads.first();
    let payload = source.map(|(_, payload, _)| payload).or(fallback);
    let (fec_payload_type, fec_ssrc) = slot.fec.unwrap_or_default();
    let has_nack = payload.is_some_and(|payload| payload.feedback.nack);
    SubscriptionConfig {
        transport,
        track: source.map_or(RowLink::default(), |(track, _, _)| track),
        ssrc: slot.ssrc,
        rtx_ssrc: slot.rtx_ssrc.unwrap_or(0),
        fec_ssrc,
        fec_payload_type,
        worker,
        payload_type: payload.map_or(0, |payload| payload.pt),
        rtx_payload_type: payload.and_then(|payload| payload.rtx_pt).unwrap_or(0),
        red_payload_type: payload.and_then(|payload| payload.red_pt).unwrap_or(0),
        max_layer: MAX_LAYER,
        flags: if has_nack {
            SubscriptionConfig::NACK
        } else {
            0
        },
        mid: text(&slot.mid),
        clock_rate: match source {
            Some((_, _, clock_rate)) => clock_rate,
            None => fallback.map_or(0, |payload| payload.codec.0.kind.clock_rate()),
        },
        ..SubscriptionConfig::default()
    }
}

/// Lowers what is sent to what the viewer wants.
pub fn set_bounds(config: &mut SubscriptionConfig, bounds: &Bounds) {
    // In rows, layers inside encodings are counted, and 0 is all of them.
    let lower = |count: u8, highest: Option<u8>| match (count, highest) {
        (count, None) => count,
        (0, Some(highest)) => highest.saturating_add(1),
        (count, Some(highest)) => count.min(highest.saturating_add(1)),
    };
    config.max_layer = config.max_layer.min(bounds.encoding.unwrap_or(u8::MAX));
    config.spatial_layers = lower(config.spatial_layers, bounds.spatial);
    config.temporal_layers = lower(config.temporal_layers, bounds.temporal);
}

/// How much of the track is sent.
pub fn set_delivery(config: &mut SubscriptionConfig, delivery: Option<Delivery>) {
    let Some(delivery) = delivery else { return };
    config.max_layer = delivery.max_layer;
    config.spatial_layers = delivery.spatial_layers;
    config.temporal_layers = delivery.temporal_layers;
    config.priority = delivery.priority;
    if delivery.is_paused {
        config.flags |= SubscriptionConfig::PAUSED;
    }
    if delivery.drops_silence {
        config.flags |= SubscriptionConfig::DROP_SILENCE;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "four layers")]
const MAX_LAYER: u8 = TrackConfig::MAX_ENCODINGS as u8 - 1;
