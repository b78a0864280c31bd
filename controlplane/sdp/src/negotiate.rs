use crate::codec::{Codec, CodecKind, Feedback, Fmtp, TrackCodec};
use crate::error::SdpError;
use crate::extension::{Extension, ExtensionKind, ExtensionMap};
use crate::limits::{MAX_CANDIDATES, MAX_TRACKS};
use crate::session::{Direction, Media, MediaKind, Mid, Origin, SessionDescription, Setup};
use crate::transport::{Candidate, Fingerprint, IceCredentials};

/// Why an offer or answer is refused. The variant is the class of the HTTP status, the text is
/// for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// 400: not SDP, or contradicts itself.
    #[error("{0}")]
    Malformed(String),
    /// 422: understood, but cannot be served.
    #[error("{0}")]
    Unprocessable(String),
    /// 406 (WHEP): nothing that is published fits; a counter-offer may.
    #[error("{0}")]
    NotAcceptable(String),
}

impl Reject {
    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NotAcceptable(_) => 406,
            Self::Unprocessable(_) => 422,
        }
    }
}

impl From<SdpError> for Reject {
    fn from(error: SdpError) -> Self {
        if error.is_limit() {
            Self::Unprocessable(error.to_string())
        } else {
            Self::Malformed(error.to_string())
        }
    }
}

pub(crate) fn unprocessable<T>(text: impl Into<String>) -> Result<T, Reject> {
    Err(Reject::Unprocessable(text.into()))
}

/// Which side of the DTLS handshake Ion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// Ion starts the handshake: the peer is passive.
    Client,
    /// Ion waits for the ClientHello.
    Server,
}

/// Our side of a transport. Everything random or remembered comes from the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalParams {
    /// Session id of the `o=` line.
    pub session_id: u64,
    /// ICE credentials.
    pub ice: IceCredentials,
    /// Fingerprint of our certificate.
    pub fingerprint: Fingerprint,
    /// All our candidates, best first.
    pub candidates: Vec<Candidate>,
    /// RTCP canonical name of what we send.
    pub cname: String,
}

/// The peer's side of a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteParams {
    /// ICE credentials.
    pub ice: IceCredentials,
    /// The certificate must have one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Our role, which follows from the peer's `a=setup`.
    pub role: DtlsRole,
    /// The candidates known so far, usable or not.
    pub candidates: Vec<Candidate>,
    /// True if there will be no more.
    pub end_of_candidates: bool,
}

/// What all sections of one offer or answer have in common.
pub(crate) struct Transport {
    pub(crate) ice: IceCredentials,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) setup: Option<Setup>,
    candidates: Vec<Candidate>,
    end_of_candidates: bool,
    /// The MIDs of `a=group:BUNDLE`; empty if there is none.
    bundle: Vec<Mid>,
}

impl Transport {
    /// Checks that all sections in use are audio or video and share one transport, and reads it.
    pub(crate) fn of(sdp: &SessionDescription) -> Result<Self, Reject> {
        let used: Vec<&Media> = used(sdp).collect();
        check_sections(&used)?;
        Self::shared(sdp, &used)
    }

    /// Reads the one transport that all sections in use share.
    fn shared(sdp: &SessionDescription, used: &[&Media]) -> Result<Self, Reject> {
        if sdp.ice_lite {
            return unprocessable("both sides are ice-lite; the client has to be a full ICE agent");
        }
        let bundle = sdp.bundles.first().map_or(&[][..], Vec::as_slice);
        let in_bundle = |media: &&Media| media.mid.as_ref().is_some_and(|mid| bundle.contains(mid));
        // The first MID of the group that is in use carries the transport (RFC 9143, 7.3.1).
        let tagged = bundle
            .iter()
            .find_map(|mid| used.iter().find(|media| media.mid.as_ref() == Some(mid)))
            .or(used.first())
            .ok_or_else(|| Reject::Unprocessable("there is no m-section in use".to_owned()))?;
        let shared = |media: &&Media| {
            media.ice_ufrag == tagged.ice_ufrag
                && media.ice_pwd == tagged.ice_pwd
                && media.fingerprints == tagged.fingerprints
        };
        if !used.iter().all(|media| in_bundle(media) || shared(media)) {
            return unprocessable(
                "all m-sections have to use one transport: put their MIDs into one a=group:BUNDLE \
                 (bundle policy max-bundle)",
            );
        }
        let mut candidates = Vec::new();
        let with_tagged = |media: &&&Media| std::ptr::eq(**media, *tagged) || !in_bundle(media);
        for candidate in used
            .iter()
            .filter(with_tagged)
            .flat_map(|media| &media.candidates)
        {
            if candidates.len() < MAX_CANDIDATES && !candidates.contains(candidate) {
                candidates.push(candidate.clone());
            }
        }
        let bundle = bundle.to_vec();
        Ok(Self {
            ice: credentials(tagged)?,
            fingerprints: fingerprints(tagged)?,
            setup: tagged.setup,
            candidates,
            end_of_candidates: tagged.end_of_candidates,
            bundle,
        })
    }

    pub(crate) fn remote(self, role: DtlsRole) -> RemoteParams {
        RemoteParams {
            ice: self.ice,
            fingerprints: self.fingerprints,
            role,
            candidates: self.candidates,
            end_of_candidates: self.end_of_candidates,
        }
    }

    /// Our role when we answer (RFC 8842, section 5.3). FFmpeg offers `passive`.
    pub(crate) fn role_of_answerer(&self) -> Result<DtlsRole, Reject> {
        match self.setup {
            None | Some(Setup::Actpass | Setup::Active) => Ok(DtlsRole::Server),
            Some(Setup::Passive) => Ok(DtlsRole::Client),
            Some(Setup::Holdconn) => {
                unprocessable("a=setup:holdconn opens no connection; offer actpass")
            }
        }
    }
}

fn used(sdp: &SessionDescription) -> impl Iterator<Item = &Media> {
    sdp.media.iter().filter(|media| !media.is_rejected())
}

fn check_sections(used: &[&Media]) -> Result<(), Reject> {
    if used.is_empty() {
        return unprocessable("there is no m-section in use; offer at least one audio or video");
    }
    if used.len() > MAX_TRACKS {
        return unprocessable(format!("more than {MAX_TRACKS} m-sections; offer fewer"));
    }
    for media in used {
        match &media.kind {
            MediaKind::Audio | MediaKind::Video => {}
            MediaKind::Application => {
                return unprocessable(
                    "data channels are not served here; offer audio and video only \
                     (no m=application section)",
                );
            }
            MediaKind::Other(_) => {
                return unprocessable("an m-section is neither audio nor video; leave it out");
            }
        }
        if !media.protocol.contains("RTP/SAVP") {
            return unprocessable("media has to be DTLS-SRTP; offer UDP/TLS/RTP/SAVPF");
        }
        if !media.rtcp_mux && !media.rtcp_mux_only {
            return unprocessable(
                "an m-section lacks a=rtcp-mux, without which RTCP is not served",
            );
        }
    }
    Ok(())
}

fn credentials(media: &Media) -> Result<IceCredentials, Reject> {
    match (&media.ice_ufrag, &media.ice_pwd) {
        (Some(ufrag), Some(pwd)) => Ok(IceCredentials {
            ufrag: ufrag.clone(),
            pwd: pwd.clone(),
        }),
        _ => unprocessable("a=ice-ufrag and a=ice-pwd are needed"),
    }
}

fn fingerprints(media: &Media) -> Result<Vec<Fingerprint>, Reject> {
    if media.fingerprints.is_empty() {
        return unprocessable("an a=fingerprint by sha-256, sha-384 or sha-512 is needed");
    }
    Ok(media.fingerprints.clone())
}

/// A description of ours without m-sections.
pub(crate) fn description(local: &LocalParams) -> SessionDescription {
    SessionDescription {
        origin: Origin {
            username: "-".to_owned(),
            session_id: local.session_id.to_string(),
            version: 1,
            address: "0.0.0.0".to_owned(),
        },
        bundles: Vec::new(),
        ice_lite: true,
        ice_options: Vec::new(),
        extmap_allow_mixed: false,
        media: Vec::new(),
    }
}

/// Writes our side of the transport into a section, without candidates.
pub(crate) fn add_transport(media: &mut Media, local: &LocalParams, setup: Setup) {
    media.ice_ufrag = Some(local.ice.ufrag.clone());
    media.ice_pwd = Some(local.ice.pwd.clone());
    media.fingerprints = vec![local.fingerprint.clone()];
    media.setup = Some(setup);
}

pub(crate) fn add_candidates(media: &mut Media, local: &LocalParams) {
    media.candidates.clone_from(&local.candidates);
    media.end_of_candidates = true;
}

/// An answer under construction.
pub(crate) struct Answerer<'a> {
    pub(crate) offer: &'a SessionDescription,
    pub(crate) local: &'a LocalParams,
    transport: Transport,
    role: DtlsRole,
    extensions: ExtensionMap,
    pub(crate) sdp: SessionDescription,
}

impl<'a> Answerer<'a> {
    pub(crate) fn new(
        offer: &'a SessionDescription,
        local: &'a LocalParams,
    ) -> Result<Self, Reject> {
        Self::with(offer, local, Transport::of(offer)?)
    }

    /// For an offer that publishes and receives, with data channels; sections are judged one by one.
    pub(crate) fn for_duplex(
        offer: &'a SessionDescription,
        local: &'a LocalParams,
    ) -> Result<Self, Reject> {
        let used: Vec<&Media> = used(offer).collect();
        Self::with(offer, local, Transport::shared(offer, &used)?)
    }

    fn with(
        offer: &'a SessionDescription,
        local: &'a LocalParams,
        transport: Transport,
    ) -> Result<Self, Reject> {
        let role = transport.role_of_answerer()?;
        let mut sdp = description(local);
        sdp.extmap_allow_mixed = offer.extmap_allow_mixed;
        let trickle = |word: &&String| matches!(word.as_str(), "trickle" | "ice2");
        sdp.ice_options = offer.ice_options.iter().filter(trickle).cloned().collect();
        Ok(Self {
            offer,
            local,
            transport,
            role,
            extensions: ExtensionMap::default(),
            sdp,
        })
    }

    /// Completes the answer: the bundle of what is in use, and the candidates. With a bundle
    /// they go into its first section only: clients take them for all of it, and some refuse
    /// candidates that follow an end.
    pub(crate) fn finish(self) -> (SessionDescription, ExtensionMap, RemoteParams) {
        let Self {
            local,
            transport,
            role,
            extensions,
            mut sdp,
            ..
        } = self;
        let used = |mid: &&Mid| {
            sdp.media_with_mid(mid)
                .is_some_and(|media| !media.is_rejected())
        };
        let bundle: Vec<Mid> = transport.bundle.iter().filter(used).cloned().collect();
        for media in sdp.media.iter_mut().filter(|media| !media.is_rejected()) {
            if bundle.is_empty() || media.mid.as_ref() == bundle.first() {
                add_candidates(media, local);
            }
        }
        if !bundle.is_empty() {
            sdp.bundles.push(bundle);
        }
        (sdp, extensions, transport.remote(role))
    }

    /// The answer to a section that the offer itself declines (RFC 3264, section 6), or that has
    /// no codec in common.
    pub(crate) fn decline(&mut self, offered: &Media) {
        let mut media = Media::new(offered.kind.clone(), &offered.protocol);
        media.mid.clone_from(&offered.mid);
        media.port = 0;
        media.direction = Direction::Inactive;
        media.codecs = offered.codecs.iter().take(1).map(bare).collect();
        if media.codecs.is_empty() {
            media.other_formats = offered.other_formats.iter().take(1).cloned().collect();
        }
        self.sdp.media.push(media);
    }

    /// The answer to a section that nothing flows in, and that may be used later: with the layers that it had, which a browser
    /// otherwise gives up for good.
    pub(crate) fn idle(&mut self, offered: &Media) {
        let codecs: Vec<Codec> = offered
            .codecs
            .iter()
            .filter(|c| supported(c).is_some())
            .cloned()
            .collect();
        if codecs.is_empty() {
            return self.decline(offered);
        }
        let mut media = self.section(offered, Direction::Inactive);
        media.codecs = codecs;
        if offered.simulcast.is_some() {
            let names = |kind| {
                use ExtensionKind::{Mid, RepairedRid, Rid};
                matches!(kind, Mid | Rid | RepairedRid)
            };
            (media.extensions, _) = self.answer_extensions(offered, Direction::RecvOnly, names);
            crate::whip::answer_layers(&mut media, offered);
        }
        self.sdp.media.push(media);
    }

    /// The answer to a section that is used, still without codecs and extensions.
    pub(crate) fn section(&self, offered: &Media, direction: Direction) -> Media {
        let mut media = Media::new(offered.kind.clone(), &offered.protocol);
        media.mid.clone_from(&offered.mid);
        media.direction = direction;
        media.rtcp_mux = true;
        // RFC 9725 wants it in bundled sections. Others need not know the attribute.
        media.rtcp_mux_only = media
            .mid
            .as_ref()
            .is_some_and(|mid| self.transport.bundle.contains(mid));
        media.rtcp_rsize = offered.rtcp_rsize;
        let setup = match self.role {
            DtlsRole::Server => Setup::Passive,
            DtlsRole::Client => Setup::Active,
        };
        add_transport(&mut media, self.local, setup);
        media
    }

    /// Answers the offered extensions that Ion knows and `wanted` wants, for media flowing in
    /// our `direction` ([`Direction::SendOnly`] or [`Direction::RecvOnly`]).
    pub(crate) fn answer_extensions(
        &mut self,
        offered: &Media,
        direction: Direction,
        wanted: impl Fn(ExtensionKind) -> bool,
    ) -> (Vec<Extension>, ExtensionMap) {
        let mixed = self.offer.extmap_allow_mixed;
        let mut lines = Vec::new();
        let mut map = ExtensionMap::default();
        for extension in &offered.extensions {
            let Some(kind) = extension.kind().filter(|&kind| wanted(kind)) else {
                continue;
            };
            // Id 15 is reserved in the one-byte form, ids above it need the two-byte form.
            let id_allowed = extension.id < 15 || (mixed && extension.id > 15);
            let ours = match (extension.direction, direction) {
                (None | Some(Direction::SendRecv), _) => None,
                (Some(Direction::SendOnly), Direction::RecvOnly)
                | (Some(Direction::RecvOnly), Direction::SendOnly) => Some(direction),
                _ => continue,
            };
            let news = map.id(kind).is_none();
            if news && id_allowed && self.extensions.enter(kind, extension.id) {
                map.enter(kind, extension.id);
                lines.push(Extension {
                    direction: ours,
                    ..extension.clone()
                });
            }
        }
        (lines, map)
    }
}

/// A codec line without parameters and feedback.
fn bare(codec: &Codec) -> Codec {
    Codec {
        fmtp: Fmtp::default(),
        feedback: Vec::new(),
        ..codec.clone()
    }
}

/// The codec of an offered payload type, if Ion forwards it.
pub(crate) fn supported(codec: &Codec) -> Option<TrackCodec> {
    let track = codec.track_codec()?;
    let good = match track.kind {
        CodecKind::Vp9 => matches!(track.fmtp.number("profile-id", 0), 0 | 2),
        CodecKind::H264 => track.packetization_mode() <= 1,
        _ => true,
    };
    good.then_some(track)
}

/// The answer's line for a payload type that is taken.
pub(crate) fn answer_codec(
    offered: &Codec,
    track: &TrackCodec,
    extensions: &ExtensionMap,
) -> Codec {
    let has_transport_cc = extensions.id(ExtensionKind::TransportCc).is_some();
    let mut feedback: Vec<Feedback> = Vec::new();
    for one in &offered.feedback {
        let good = match one {
            Feedback::TransportCc => has_transport_cc,
            // Of a whole section, not of a payload type: see `whep`.
            Feedback::AckCcfb | Feedback::Other(_) => false,
            _ => true,
        };
        if good && !feedback.contains(one) {
            feedback.push(one.clone());
        }
    }
    Codec {
        fmtp: track.answer_fmtp(),
        feedback,
        ..offered.clone()
    }
}

/// The answer's line for the RTX of `pt`.
pub(crate) fn answer_rtx(offered: &Media, pt: u8) -> Option<Codec> {
    let rtx = offered.codec(offered.rtx_of(pt)?)?;
    let apt = Fmtp(vec![("apt".to_owned(), Some(pt.to_string()))]);
    Some(Codec {
        fmtp: apt,
        ..bare(rtx)
    })
}

/// The answer's line for repair packets (FlexFEC-03), which are of whichever video the section carries. ULPFEC and RED
/// around video are never answered: they take the place of media in the stream that they protect.
pub(crate) fn answer_fec(offered: &Media) -> Option<Codec> {
    let is_fec = |codec: &&Codec| codec.is("flexfec-03") && codec.clock_rate == 90_000;
    let fec = offered.codecs.iter().find(is_fec)?;
    Some(Codec {
        fmtp: fec.fmtp.clone(),
        ..bare(fec)
    })
}

/// The answer's line for redundant audio (RFC 2198) around the Opus of `pt`.
pub(crate) fn answer_red(offered: &Media, pt: u8) -> Option<Codec> {
    let wraps = |codec: &&Codec| {
        let red = codec.is("red") && codec.clock_rate == 48_000 && codec.channels == Some(2);
        let inner = codec.fmtp.0.first().map(|(list, _)| list.as_str());
        red && inner.is_none_or(|list| {
            list.split('/')
                .all(|word| word.parse::<u8>().ok() == Some(pt))
        })
    };
    let red = offered.codecs.iter().find(wraps)?;
    Some(Codec {
        feedback: Vec::new(),
        ..red.clone()
    })
}
