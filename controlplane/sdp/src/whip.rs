use crate::codec::{Codec, CodecKind, Feedback, FeedbackSet, TrackCodec};
use crate::extension::{ExtensionKind, ExtensionMap};
use crate::negotiate::{
    Answerer, LocalParams, Reject, RemoteParams, answer_codec, answer_fec, answer_red, answer_rtx,
    supported, unprocessable,
};
use crate::session::{Direction, Media, MediaKind, Mid, SessionDescription};
use crate::stream::{GroupSemantics, Msid, Rid, RidDirection, Simulcast, SimulcastId};

/// The answer to a publisher, and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishAnswer {
    /// The answer.
    pub sdp: SessionDescription,
    /// One for each m-section in use, in order.
    pub tracks: Vec<PublishTrack>,
    /// The header extensions of the transport.
    pub extensions: ExtensionMap,
    /// The publisher's side of the transport.
    pub remote: RemoteParams,
}

/// A track that will be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishTrack {
    /// Index of the m-section.
    pub media_index: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// MID, if the offer has one.
    pub mid: Option<Mid>,
    /// Stream and track label.
    pub msid: Option<Msid>,
    /// The one codec that was agreed.
    pub codec: TrackCodec,
    /// Payload type of the codec.
    pub pt: u8,
    /// Payload type of its retransmissions.
    pub rtx_pt: Option<u8>,
    /// Payload type of the same audio with redundancy (RFC 2198); packets of either may come.
    pub red_pt: Option<u8>,
    /// Payload type of repair packets (FlexFEC-03).
    pub fec_pt: Option<u8>,
    /// RTCP feedback.
    pub feedback: FeedbackSet,
    /// The header extensions of this section.
    pub extensions: ExtensionMap,
    /// The RTP streams: one, or one for each simulcast layer in the offer's order.
    pub encodings: Vec<Encoding>,
}

/// One RTP stream of a track. What is unknown is learnt from the first packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// RID of a simulcast layer.
    pub rid: Option<String>,
    /// SSRC, if announced.
    pub ssrc: Option<u32>,
    /// SSRC of the retransmissions, if announced.
    pub rtx_ssrc: Option<u32>,
    /// SSRC of the repair packets, if announced.
    pub fec_ssrc: Option<u32>,
}

/// Answers the offer of a publisher (RFC 9725): one codec for each track, the first in the
/// offer that Ion forwards.
///
/// # Errors
/// 422 when not all sections can be served: a WHIP answer rejects no single section.
pub fn answer(offer: &SessionDescription, local: &LocalParams) -> Result<PublishAnswer, Reject> {
    let mut answerer = Answerer::new(offer, local)?;
    let mut tracks = Vec::new();
    for (media_index, offered) in offer.media.iter().enumerate() {
        if offered.is_rejected() {
            answerer.decline(offered);
            continue;
        }
        if !offered.direction.sends() {
            return unprocessable(format!(
                "a publisher has to offer a=sendonly or a=sendrecv, not a={}",
                offered.direction.as_str()
            ));
        }
        tracks.push(track(&mut answerer, media_index, offered)?);
    }
    check_ssrcs(&tracks)?;
    let (sdp, extensions, remote) = answerer.finish();
    Ok(PublishAnswer {
        sdp,
        tracks,
        extensions,
        remote,
    })
}

pub(crate) fn track(
    answerer: &mut Answerer<'_>,
    media_index: usize,
    offered: &Media,
) -> Result<PublishTrack, Reject> {
    let Some((primary, codec)) = choose(offered) else {
        let supported = match offered.kind {
            MediaKind::Audio => "opus/48000/2",
            _ => "VP8, VP9 (profile 0 or 2), H264, AV1, H265",
        };
        let kind = offered.kind.as_str();
        return unprocessable(format!(
            "no codec of the {kind} section is known; offer {supported}"
        ));
    };
    let mut media = answerer.section(offered, Direction::RecvOnly);
    let (lines, extensions) = answerer.answer_extensions(offered, Direction::RecvOnly, |_| true);
    media.extensions = lines;
    let line = answer_codec(primary, &codec, &extensions);
    let mut feedback = FeedbackSet::of(&line.feedback);
    // A publisher that offers both gets transport-wide feedback, which all of them know.
    let by_packet = !feedback.transport_cc && primary.feedback.contains(&Feedback::AckCcfb);
    feedback.ccfb = by_packet;
    let red = (codec.kind == CodecKind::Opus)
        .then(|| answer_red(offered, primary.pt))
        .flatten();
    let rtx = answer_rtx(offered, primary.pt);
    // Which of several layers an unannounced SSRC repairs could not be told.
    let fec = (codec.kind.media_kind() == MediaKind::Video && offered.rids.len() <= 1)
        .then(|| answer_fec(offered))
        .flatten();
    let pt = |codec: &Option<Codec>| codec.as_ref().map(|codec| codec.pt);
    let (rtx_pt, red_pt, fec_pt) = (pt(&rtx), pt(&red), pt(&fec));
    let lines = std::iter::once(line).chain(red).chain(rtx).chain(fec);
    media.codecs = lines.collect();
    // The order of the offer is the publisher's wish: RED before Opus asks to use it.
    let rank = |codec: &Codec| offered.codecs.iter().position(|known| known.pt == codec.pt);
    media.codecs.sort_by_key(rank);
    if by_packet {
        // Of a whole section (RFC 8888, 6).
        for line in &mut media.codecs {
            line.feedback.push(Feedback::AckCcfb);
        }
    }

    let has_rid = extensions.id(ExtensionKind::Rid).is_some();
    let rids = if has_rid {
        rids_to_receive(offered, primary.pt)
    } else {
        Vec::new()
    };
    add_simulcast(&mut media, offered, &rids);
    let encodings = encodings(offered, rids, (rtx_pt.is_some(), fec_pt.is_some()));
    answerer.sdp.media.push(media);
    Ok(PublishTrack {
        media_index,
        kind: offered.kind.clone(),
        mid: offered.mid.clone(),
        msid: offered.any_msid().cloned(),
        codec,
        pt: primary.pt,
        rtx_pt,
        red_pt,
        fec_pt,
        feedback,
        extensions,
        encodings,
    })
}

/// The first codec that Ion forwards; an H264 of packetization mode 1 rather than 0, since
/// mode 0 has no fragments.
fn choose(offered: &Media) -> Option<(&Codec, TrackCodec)> {
    let known = || {
        offered
            .codecs
            .iter()
            .filter_map(|codec| Some((codec, supported(codec)?)))
            .filter(|(_, track)| track.kind.media_kind() == offered.kind)
    };
    let first = known().next()?;
    if first.1.kind != CodecKind::H264 || first.1.packetization_mode() == 1 {
        return Some(first);
    }
    let better =
        |track: &TrackCodec| track.kind == CodecKind::H264 && track.packetization_mode() == 1;
    known()
        .find(|(_, track)| better(track) && first.1.fits(track))
        .or_else(|| known().find(|(_, track)| better(track)))
        .or(Some(first))
}

/// The RIDs to accept: the first alternative of each simulcast stream that may carry `pt`
/// (RFC 8853, section 5.3.2), or a single `a=rid` without simulcast.
fn rids_to_receive(offered: &Media, pt: u8) -> Vec<String> {
    let sendable = |id: &str| {
        offered.rids.iter().find(|rid| {
            rid.id == id
                && rid.direction == RidDirection::Send
                && (rid.pts.is_empty() || rid.pts.contains(&pt))
        })
    };
    match &offered.simulcast {
        Some(simulcast) => simulcast
            .send
            .iter()
            .filter_map(|stream| stream.iter().find_map(|id| sendable(&id.rid)))
            .map(|rid| rid.id.clone())
            .collect(),
        None => offered
            .rids
            .iter()
            .find_map(|rid| sendable(&rid.id))
            .map(|rid| rid.id.clone())
            .into_iter()
            .collect(),
    }
}

/// Takes the layers of a section that is not used now.
pub(crate) fn answer_layers(media: &mut Media, offered: &Media) {
    let Some(first) = media.codecs.first() else {
        return;
    };
    let rids = rids_to_receive(offered, first.pt);
    add_simulcast(media, offered, &rids);
}

fn add_simulcast(media: &mut Media, offered: &Media, rids: &[String]) {
    if rids.is_empty() {
        return;
    }
    let line = |id: &String| Rid {
        id: id.clone(),
        direction: RidDirection::Recv,
        pts: Vec::new(),
        restrictions: Vec::new(),
    };
    media.rids = rids.iter().map(line).collect();
    if offered.simulcast.is_some() {
        let stream = |id: &String| {
            vec![SimulcastId {
                rid: id.clone(),
                paused: false,
            }]
        };
        let recv = rids.iter().map(stream).collect();
        media.simulcast = Some(Simulcast {
            send: Vec::new(),
            recv,
        });
    }
}

/// The streams of a section. Which SSRC belongs to which of several RIDs no attribute says.
fn encodings(offered: &Media, rids: Vec<String>, has: (bool, bool)) -> Vec<Encoding> {
    let by_ssrc = || encodings_by_ssrc(offered, has);
    match &rids[..] {
        [] => by_ssrc(),
        [rid] if offered.rids.len() == 1 => {
            let known = by_ssrc().into_iter().next().unwrap_or_default();
            vec![Encoding {
                rid: Some(rid.clone()),
                ..known
            }]
        }
        _ => rids
            .into_iter()
            .map(|rid| Encoding {
                rid: Some(rid),
                ..Encoding::default()
            })
            .collect(),
    }
}

/// The streams of a section without RIDs: the layers of `ssrc-group:SIM`, or the first source
/// that repairs no other. FFmpeg names its RTX source in `ssrc-group:FID` only.
fn encodings_by_ssrc(offered: &Media, (rtx, fec): (bool, bool)) -> Vec<Encoding> {
    let encoding = |ssrc: u32| Encoding {
        rid: None,
        ssrc: Some(ssrc),
        rtx_ssrc: offered
            .rtx_ssrc_of(ssrc)
            .filter(|&repair| rtx && repair != ssrc),
        fec_ssrc: offered
            .fec_ssrc_of(ssrc)
            .filter(|&repair| fec && repair != ssrc),
    };
    let of_group = |semantics: GroupSemantics| {
        offered
            .ssrc_groups
            .iter()
            .find(move |group| group.semantics == semantics)
    };
    if let Some(layers) = of_group(GroupSemantics::Sim).filter(|group| !group.ssrcs.is_empty()) {
        return layers
            .ssrcs
            .iter()
            .take(crate::limits::MAX_RIDS)
            .copied()
            .map(encoding)
            .collect();
    }
    let repairs = |ssrc: u32| {
        offered.ssrc_groups.iter().any(|group| {
            matches!(group.semantics, GroupSemantics::Fid | GroupSemantics::FecFr)
                && group.ssrcs.iter().skip(1).any(|&repair| repair == ssrc)
                && group.ssrcs.first() != Some(&ssrc)
        })
    };
    let primary = of_group(GroupSemantics::Fid)
        .and_then(|group| group.ssrcs.first().copied())
        .or_else(|| {
            offered
                .sources
                .iter()
                .map(|source| source.ssrc)
                .find(|&ssrc| !repairs(ssrc))
        });
    vec![primary.map_or_else(Encoding::default, encoding)]
}

/// One SSRC names one stream on a transport.
pub(crate) fn check_ssrcs<'a>(
    tracks: impl IntoIterator<Item = &'a PublishTrack>,
) -> Result<(), Reject> {
    let mut ssrcs: Vec<u32> = tracks
        .into_iter()
        .flat_map(|track| &track.encodings)
        .flat_map(|encoding| [encoding.ssrc, encoding.rtx_ssrc, encoding.fec_ssrc])
        .flatten()
        .collect();
    ssrcs.sort_unstable();
    if ssrcs.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Reject::Malformed(
            "one SSRC is announced for two streams".to_owned(),
        ));
    }
    Ok(())
}
