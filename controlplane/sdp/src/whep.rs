use crate::codec::{Codec, CodecKind, Feedback, FeedbackSet, Fmtp, TrackCodec};
use crate::extension::{Extension, ExtensionKind, ExtensionMap};
use crate::limits::MAX_TRACKS;
use crate::negotiate::{
    Answerer, DtlsRole, LocalParams, Reject, RemoteParams, Transport, add_candidates,
    add_transport, answer_codec, answer_fec, answer_red, answer_rtx, description, supported,
    unprocessable,
};
use crate::session::{Direction, Media, MediaKind, Mid, SessionDescription, Setup};
use crate::stream::{GroupSemantics, Msid, Source, SsrcGroup};

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTrack {
    /// Its codec now.
    pub codec: TrackCodec,
    /// True if its audio may come with redundancy (RFC 2198).
    pub red: bool,
}

impl SourceTrack {
    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.codec.kind.media_kind()
    }
}

/// As what one section is sent; chosen by the caller for one viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Stream and track labels to announce; tracks with one stream label play in sync.
    pub msid: Msid,
    /// SSRC to send from.
    pub ssrc: u32,
    /// SSRC to retransmit from.
    pub rtx_ssrc: u32,
    /// SSRC to send repair packets from.
    pub fec_ssrc: u32,
}

/// One for each section that a session may use, in the order of the sections.
pub type Senders = [Sender; MAX_TRACKS];

/// The answer to a viewer, and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayAnswer {
    /// Our description: the answer, or after [`accept`] the offer.
    pub sdp: SessionDescription,
    /// One for each m-section that plays a source or waits for one, in order.
    pub tracks: Vec<PlayTrack>,
    /// The header extensions of the transport.
    pub extensions: ExtensionMap,
    /// The viewer's side of the transport.
    pub remote: RemoteParams,
}

/// A track that will be sent, now or once there is a source for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayTrack {
    /// Index of the m-section.
    pub media_index: usize,
    /// Index of the source in the list given; `None` if none was left for this section.
    pub source: Option<usize>,
    /// Audio or video.
    pub kind: MediaKind,
    /// MID, if the offer has one.
    pub mid: Option<Mid>,
    /// Stream and track labels.
    pub msid: Msid,
    /// SSRC to send from.
    pub ssrc: u32,
    /// SSRC to retransmit from, if any payload has RTX.
    pub rtx_ssrc: Option<u32>,
    /// Payload type and SSRC of repair packets (FlexFEC-03) for whatever is sent, if the viewer takes them.
    pub fec: Option<(u8, u32)>,
    /// All codecs the viewer takes, the one of the source first; a source with another codec of
    /// this list can come or follow without negotiation. See [`find_payload`].
    pub payloads: Vec<PayloadMap>,
    /// The header extensions of this section.
    pub extensions: ExtensionMap,
}

/// The payload types of one codec at one viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadMap {
    /// The codec, with the viewer's parameters.
    pub codec: TrackCodec,
    /// Payload type.
    pub pt: u8,
    /// Payload type of retransmissions.
    pub rtx_pt: Option<u8>,
    /// Payload type of the same audio with redundancy.
    pub red_pt: Option<u8>,
    /// RTCP feedback the viewer will send.
    pub feedback: FeedbackSet,
}

/// The payload types to send a stream of this codec with: same codec, profile and packetization
/// mode, or the nearest of which the stream is a subset.
pub fn find_payload<'a>(payloads: &'a [PayloadMap], codec: &TrackCodec) -> Option<&'a PayloadMap> {
    payloads
        .iter()
        .filter_map(|payload| Some((codec.match_quality(&payload.codec)?, payload)))
        .min_by_key(|(quality, _)| *quality)
        .map(|(_, payload)| payload)
}

/// Answers the offer of a viewer (draft-ietf-wish-whep). Each section plays the first source of
/// its kind that is left and that it has a codec for. Sections left over are `sendonly` too, with
/// an SSRC of their own: WHEP has no renegotiation, and what is not published now may be later.
/// Only video of a viewer that would get sound alone is inactive: browsers do not begin to play an
/// element before the first frame of its picture, so that the sound would never be heard.
/// Sections without any codec in common are rejected.
///
/// # Errors
/// 422 for offers that cannot be served; 406 when there are sources and no section can play any.
pub fn answer(
    offer: &SessionDescription,
    local: &LocalParams,
    sources: &[SourceTrack],
    senders: &Senders,
) -> Result<PlayAnswer, Reject> {
    let mut answerer = Answerer::new(offer, local)?;
    let mut tracks: Vec<PlayTrack> = Vec::new();
    for (media_index, offered) in offer.media.iter().enumerate() {
        if offered.is_rejected() {
            answerer.decline(offered);
            continue;
        }
        if !offered.direction.receives() {
            return unprocessable(format!(
                "a player has to offer a=recvonly or a=sendrecv, not a={}",
                offered.direction.as_str()
            ));
        }
        // Sections in use are no more than senders: `Answerer::new` has seen to it.
        let Some(sender) = senders.get(tracks.len()) else {
            answerer.decline(offered);
            continue;
        };
        let track = section(
            &mut answerer,
            media_index,
            offered,
            sources,
            &tracks,
            sender,
        );
        tracks.extend(track);
    }
    if answerer.sdp.media.iter().all(Media::is_rejected) && sources.is_empty() {
        let names = CodecKind::ALL.map(CodecKind::name).join(", ");
        return unprocessable(format!(
            "no section has a codec that is forwarded here; offer one of {names}"
        ));
    }
    if tracks.iter().all(|track| track.source.is_none()) && !sources.is_empty() {
        let names: Vec<&str> = sources
            .iter()
            .map(|source| source.codec.kind.name())
            .collect();
        return Err(Reject::NotAcceptable(format!(
            "the offer has no section for any published track ({})",
            names.join(", ")
        )));
    }
    let (sdp, extensions, remote) = answerer.finish();
    Ok(PlayAnswer {
        sdp,
        tracks,
        extensions,
        remote,
    })
}

/// Answers one section, with the first source that is left and fits; `None` if nothing can ever
/// be sent there.
fn section(
    answerer: &mut Answerer<'_>,
    media_index: usize,
    offered: &Media,
    sources: &[SourceTrack],
    tracks: &[PlayTrack],
    sender: &Sender,
) -> Option<PlayTrack> {
    let is_known = |codec: &Codec| payload_codec(offered, codec).is_some();
    if !offered.codecs.iter().any(is_known) {
        answerer.decline(offered);
        return None;
    }
    let (lines, extensions) =
        answerer.answer_extensions(offered, Direction::SendOnly, sent_to_viewers);
    let (mut codecs, mut payloads) = payloads(offered, &extensions);
    let fec_pt = add_fec(&mut codecs, offered);
    prefer_ccfb(&mut codecs, &mut payloads, offered);
    let taken = |index: usize| tracks.iter().any(|track| track.source == Some(index));
    let source = sources
        .iter()
        .enumerate()
        .find(|(index, source)| !taken(*index) && find_payload(&payloads, &source.codec).is_some());
    let plays_video = |track: &PlayTrack| track.kind == MediaKind::Video && track.source.is_some();
    let is_ready =
        source.is_some() || offered.kind == MediaKind::Audio || tracks.iter().any(plays_video);
    if !is_ready {
        let mut media = answerer.section(offered, Direction::Inactive);
        (media.extensions, media.codecs) = (lines, codecs);
        answerer.sdp.media.push(media);
        return None;
    }
    if let Some((_, source)) = source {
        prefer(&mut payloads, &mut codecs, &source.codec);
    }
    let track = PlayTrack {
        source: source.map(|(index, _)| index),
        fec: fec_pt.map(|pt| (pt, sender.fec_ssrc)),
        ..play_track(media_index, offered, sender, payloads, extensions)
    };
    send(answerer, offered, lines, codecs, &track);
    Some(track)
}

/// Answers one section of a participant that receives what is sent in `codec`, or anything; `None`,
/// and no answer, if it cannot.
pub(crate) fn play_section(
    answerer: &mut Answerer<'_>,
    media_index: usize,
    offered: &Media,
    codec: Option<&TrackCodec>,
    sender: &Sender,
) -> Option<PlayTrack> {
    let (lines, extensions) =
        answerer.answer_extensions(offered, Direction::SendOnly, sent_to_viewers);
    let (mut codecs, mut payloads) = payloads(offered, &extensions);
    payloads.first()?;
    let fec_pt = add_fec(&mut codecs, offered);
    prefer_ccfb(&mut codecs, &mut payloads, offered);
    if let Some(codec) = codec {
        find_payload(&payloads, codec)?;
        prefer(&mut payloads, &mut codecs, codec);
    }
    let track = PlayTrack {
        fec: fec_pt.map(|pt| (pt, sender.fec_ssrc)),
        ..play_track(media_index, offered, sender, payloads, extensions)
    };
    send(answerer, offered, lines, codecs, &track);
    Some(track)
}

fn play_track(
    media_index: usize,
    offered: &Media,
    sender: &Sender,
    payloads: Vec<PayloadMap>,
    extensions: ExtensionMap,
) -> PlayTrack {
    let has_rtx = payloads.iter().any(|payload| payload.rtx_pt.is_some());
    PlayTrack {
        media_index,
        source: None,
        kind: offered.kind.clone(),
        mid: offered.mid.clone(),
        msid: sender.msid.clone(),
        ssrc: sender.ssrc,
        rtx_ssrc: has_rtx.then_some(sender.rtx_ssrc),
        fec: None,
        payloads,
        extensions,
    }
}

/// Takes feedback by RFC 8888 where it is offered.
fn prefer_ccfb(codecs: &mut [Codec], payloads: &mut [PayloadMap], offered: &Media) {
    let is_ccfb = |codec: &Codec| codec.feedback.contains(&Feedback::AckCcfb);
    if offered.codecs.iter().any(is_ccfb) {
        take_ccfb(codecs, payloads);
    }
}

/// Answers repair packets for video (RFC 8627); their payload type, if they are offered.
fn add_fec(codecs: &mut Vec<Codec>, offered: &Media) -> Option<u8> {
    let is_video = offered.kind == MediaKind::Video;
    let fec = is_video.then(|| answer_fec(offered)).flatten()?;
    let pt = fec.pt;
    codecs.push(fec);
    Some(pt)
}

/// Answers a section that sends a track.
fn send(
    answerer: &mut Answerer<'_>,
    offered: &Media,
    lines: Vec<Extension>,
    codecs: Vec<Codec>,
    track: &PlayTrack,
) {
    let mut media = answerer.section(offered, Direction::SendOnly);
    add_sources(&mut media, &answerer.local.cname, track);
    (media.extensions, media.codecs) = (lines, codecs);
    answerer.sdp.media.push(media);
}

/// The codec of an offered payload type, if it can be sent in this section.
fn payload_codec(offered: &Media, codec: &Codec) -> Option<TrackCodec> {
    supported(codec).filter(|track| track.kind.media_kind() == offered.kind)
}

/// A viewer gets one stream for each section, so RIDs and the publisher's layers say nothing.
fn sent_to_viewers(kind: ExtensionKind) -> bool {
    !matches!(
        kind,
        ExtensionKind::Rid | ExtensionKind::RepairedRid | ExtensionKind::VideoLayersAllocation
    )
}

/// Every codec of the offer that Ion forwards, with RTX and RED, in the offer's order.
fn payloads(offered: &Media, extensions: &ExtensionMap) -> (Vec<Codec>, Vec<PayloadMap>) {
    let (mut lines, mut payloads) = (Vec::new(), Vec::new());
    for codec in &offered.codecs {
        let Some(track) = payload_codec(offered, codec) else {
            continue;
        };
        let line = answer_codec(codec, &track, extensions);
        let rtx = answer_rtx(offered, codec.pt);
        let red = (track.kind == CodecKind::Opus)
            .then(|| answer_red(offered, codec.pt))
            .flatten();
        payloads.push(PayloadMap {
            codec: track,
            pt: codec.pt,
            rtx_pt: rtx.as_ref().map(|c| c.pt),
            red_pt: red.as_ref().map(|c| c.pt),
            feedback: FeedbackSet::of(&line.feedback),
        });
        lines.extend(std::iter::once(line).chain(red).chain(rtx));
    }
    (lines, payloads)
}

/// A viewer that can report on packets by RFC 8888 does so, on all of a section (RFC 8888, section 6),
/// and not by transport-wide feedback too: that tells nothing of congestion marks.
fn take_ccfb(lines: &mut [Codec], payloads: &mut [PayloadMap]) {
    for line in lines {
        line.feedback.retain(|one| *one != Feedback::TransportCc);
        line.feedback.push(Feedback::AckCcfb);
    }
    for payload in payloads {
        payload.feedback.transport_cc = false;
        payload.feedback.ccfb = true;
    }
}

/// Moves the payload for `codec`, and the lines that belong to it, to the front.
fn prefer(payloads: &mut [PayloadMap], lines: &mut [Codec], codec: &TrackCodec) {
    let Some(best) = find_payload(payloads, codec).cloned() else {
        return;
    };
    payloads.sort_by_key(|payload| payload.pt != best.pt);
    let belongs = |pt: u8| pt == best.pt || Some(pt) == best.rtx_pt || Some(pt) == best.red_pt;
    lines.sort_by_key(|line| !belongs(line.pt));
}

fn add_sources(media: &mut Media, cname: &str, track: &PlayTrack) {
    media.msid = Some(track.msid.clone());
    let fec_ssrc = track.fec.map(|(_, ssrc)| ssrc);
    let ssrcs = std::iter::once(track.ssrc)
        .chain(track.rtx_ssrc)
        .chain(fec_ssrc);
    media.sources = ssrcs
        .map(|ssrc| Source {
            ssrc,
            cname: Some(cname.to_owned()),
            msid: Some(track.msid.clone()),
        })
        .collect();
    let pairs = [
        (GroupSemantics::Fid, track.rtx_ssrc),
        (GroupSemantics::FecFr, fec_ssrc),
    ];
    media.ssrc_groups = pairs
        .into_iter()
        .filter_map(|(semantics, paired)| {
            let ssrcs = vec![track.ssrc, paired?];
            Some(SsrcGroup { semantics, ssrcs })
        })
        .collect();
}

/// The counter-offer that goes with a 406: one section for each source (at most
/// [`MAX_TRACKS`]), in its own codec, without repair packets.
pub fn offer(
    local: &LocalParams,
    sources: &[SourceTrack],
    senders: &Senders,
) -> SessionDescription {
    let mut sdp = description(local);
    let mut bundle = Vec::new();
    for (index, (source, sender)) in sources.iter().zip(senders).enumerate() {
        let mut media = Media::new(source.kind(), "UDP/TLS/RTP/SAVPF");
        media.mid = Mid::new(&index.to_string());
        bundle.extend(media.mid.clone());
        media.direction = Direction::SendOnly;
        media.rtcp_mux = true;
        media.rtcp_mux_only = true;
        media.rtcp_rsize = true;
        add_transport(&mut media, local, Setup::Actpass);
        if index == 0 {
            add_candidates(&mut media, local);
        }
        media.extensions = offered_extensions(&media.kind);
        let (codecs, payload) = offered_codecs(index, source);
        media.codecs = codecs;
        let track = PlayTrack {
            media_index: index,
            source: Some(index),
            kind: source.kind(),
            mid: media.mid.clone(),
            msid: sender.msid.clone(),
            ssrc: sender.ssrc,
            rtx_ssrc: payload.rtx_pt.map(|_| sender.rtx_ssrc),
            fec: None,
            payloads: vec![payload],
            extensions: ExtensionMap::default(),
        };
        add_sources(&mut media, &local.cname, &track);
        sdp.media.push(media);
    }
    sdp.bundles.push(bundle);
    sdp
}

fn offered_extensions(kind: &MediaKind) -> Vec<Extension> {
    let both = [
        ExtensionKind::Mid,
        ExtensionKind::TransportCc,
        ExtensionKind::AbsSendTime,
    ];
    let own: &[ExtensionKind] = match kind {
        MediaKind::Audio => &[ExtensionKind::AudioLevel],
        _ => &[
            ExtensionKind::VideoOrientation,
            ExtensionKind::PlayoutDelay,
            ExtensionKind::DependencyDescriptor,
        ],
    };
    // The same kind has the same id in every section, as BUNDLE wants it.
    let line = |kind: &ExtensionKind| Extension {
        id: *kind as u8 + 1,
        direction: None,
        uri: kind.uri().to_owned(),
    };
    both.iter().chain(own).map(line).collect()
}

/// Two payload types for each section, from 96 on: with [`MAX_TRACKS`] sections none is used twice.
fn offered_codecs(index: usize, source: &SourceTrack) -> (Vec<Codec>, PayloadMap) {
    let pt = 96 + 2 * u8::try_from(index.min(MAX_TRACKS)).unwrap_or(0);
    let kind = source.codec.kind;
    let feedback = match kind {
        CodecKind::Opus => vec![Feedback::TransportCc, Feedback::Nack],
        _ => vec![
            Feedback::GoogRemb,
            Feedback::TransportCc,
            Feedback::CcmFir,
            Feedback::Nack,
            Feedback::NackPli,
        ],
    };
    let flags = FeedbackSet::of(&feedback);
    let primary = Codec {
        pt,
        name: kind.name().to_owned(),
        clock_rate: kind.clock_rate(),
        channels: kind.channels(),
        fmtp: source.codec.answer_fmtp(),
        feedback,
    };
    let second = |name: &str, fmtp: (String, Option<String>)| Codec {
        pt: pt + 1,
        name: name.to_owned(),
        fmtp: Fmtp(vec![fmtp]),
        feedback: Vec::new(),
        ..primary.clone()
    };
    let (rtx, red) = match kind {
        CodecKind::Opus if source.red => (None, Some(second("red", (format!("{pt}/{pt}"), None)))),
        CodecKind::Opus => (None, None),
        _ => (
            Some(second("rtx", ("apt".to_owned(), Some(pt.to_string())))),
            None,
        ),
    };
    let payload = PayloadMap {
        codec: source.codec.clone(),
        pt,
        rtx_pt: rtx.as_ref().map(|codec| codec.pt),
        red_pt: red.as_ref().map(|codec| codec.pt),
        feedback: flags,
    };
    (
        std::iter::once(primary).chain(red).chain(rtx).collect(),
        payload,
    )
}

/// Takes the answer to our counter-offer. Section `n` plays source `n` of [`offer`].
///
/// # Errors
/// 400 when the answer does not fit the offer, 422 when it takes no track.
pub fn accept(
    our_offer: &SessionDescription,
    their_answer: &SessionDescription,
) -> Result<PlayAnswer, Reject> {
    let (offered, answered) = (our_offer.media.len(), their_answer.media.len());
    if offered != answered {
        return Err(Reject::Malformed(format!(
            "the answer has {answered} m-sections, the offer {offered}; answer each one"
        )));
    }
    let transport = Transport::of(their_answer)?;
    let role = match transport.setup {
        Some(Setup::Active) => DtlsRole::Server,
        Some(Setup::Passive) => DtlsRole::Client,
        _ => {
            let text = "the answer needs a=setup:active or a=setup:passive";
            return Err(Reject::Malformed(text.to_owned()));
        }
    };
    let mut extensions = ExtensionMap::default();
    let mut tracks = Vec::new();
    for (index, (ours, theirs)) in our_offer.media.iter().zip(&their_answer.media).enumerate() {
        if theirs.is_rejected() || !theirs.direction.receives() {
            continue;
        }
        if ours.mid != theirs.mid || ours.kind != theirs.kind {
            let text = "an m-section of the answer is not in its place: MID or kind differ";
            return Err(Reject::Malformed(text.to_owned()));
        }
        tracks.extend(accept_section(index, ours, theirs));
    }
    for (kind, id) in tracks
        .iter()
        .flat_map(|track: &PlayTrack| track.extensions.iter())
    {
        extensions.enter(kind, id);
    }
    if tracks.is_empty() {
        return unprocessable("the answer takes no track of the offer");
    }
    Ok(PlayAnswer {
        sdp: our_offer.clone(),
        tracks,
        extensions,
        remote: transport.remote(role),
    })
}

fn accept_section(index: usize, ours: &Media, theirs: &Media) -> Option<PlayTrack> {
    let mut extensions = ExtensionMap::default();
    for extension in theirs
        .extensions
        .iter()
        .filter(|extension| ours.extensions.contains(extension))
    {
        extensions.enter(extension.kind()?, extension.id);
    }
    let taken = |pt: Option<u8>, name: &str| {
        pt.filter(|&pt| theirs.codec(pt).is_some_and(|codec| codec.is(name)))
    };
    let offered_red = ours
        .codecs
        .iter()
        .find(|codec| codec.is("red"))
        .map(|codec| codec.pt);
    let payloads: Vec<PayloadMap> = ours
        .codecs
        .iter()
        .filter_map(|codec| {
            let track = codec.track_codec()?;
            let answered = theirs
                .codec(codec.pt)
                .filter(|answered| answered.is(&codec.name))?;
            let line = answer_codec(answered, &track, &extensions);
            Some(PayloadMap {
                codec: track,
                pt: codec.pt,
                rtx_pt: taken(ours.rtx_of(codec.pt), "rtx"),
                red_pt: taken(offered_red, "red"),
                feedback: FeedbackSet::of(&line.feedback),
            })
        })
        .collect();
    let source = ours.sources.first().filter(|_| !payloads.is_empty())?;
    Some(PlayTrack {
        media_index: index,
        source: Some(index),
        kind: ours.kind.clone(),
        mid: ours.mid.clone(),
        msid: ours.msid.clone()?,
        ssrc: source.ssrc,
        rtx_ssrc: payloads
            .iter()
            .any(|payload| payload.rtx_pt.is_some())
            .then(|| ours.rtx_ssrc_of(source.ssrc))
            .flatten(),
        fec: None,
        payloads,
        extensions,
    })
}
