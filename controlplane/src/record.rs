//! What is known about a session beside its ICE and DTLS state: who, where, and what
//! was negotiated. It is what the store keeps, and with the rows enough to go on
//! after a restart. It holds no key and no password.

use ion_api::model::Role;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::token::TokenRef;
use ion_sdp::{
    CodecKind, FeedbackSet, Fmtp, MediaKind, PayloadMap, PlayTrack, PublishTrack, TrackCodec,
};
use ion_tables::RowLink;
use serde::{Deserialize, Serialize};

/// Number of a row and its generation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Link {
    /// Number of the row.
    pub row: u32,
    /// Generation; 0 is no link.
    pub generation: u32,
}

impl From<RowLink> for Link {
    fn from(link: RowLink) -> Self {
        Self {
            row: link.row,
            generation: link.generation,
        }
    }
}

impl From<Link> for RowLink {
    fn from(link: Link) -> Self {
        Self {
            row: link.row,
            generation: link.generation,
        }
    }
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// The kind of an m-section in use; negotiation lets audio and video through only.
    pub fn of(kind: &MediaKind) -> Self {
        if *kind == MediaKind::Audio {
            Self::Audio
        } else {
            Self::Video
        }
    }
}

/// A codec with its format parameters, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "CodecText", try_from = "CodecText")]
pub struct Codec(pub TrackCodec);

#[derive(Clone, Serialize, Deserialize)]
struct CodecText {
    name: String,
    fmtp: String,
}

impl From<Codec> for CodecText {
    fn from(codec: Codec) -> Self {
        Self {
            name: codec.0.kind.name().to_owned(),
            fmtp: codec.0.fmtp.to_string(),
        }
    }
}

impl TryFrom<CodecText> for Codec {
    type Error = String;
    fn try_from(text: CodecText) -> Result<Self, String> {
        let kind = CodecKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text.name);
        let kind = kind.ok_or_else(|| format!("no codec {}", text.name))?;
        let fmtp = Fmtp::parse(&text.fmtp).ok_or("too many format parameters")?;
        Ok(Self(TrackCodec { kind, fmtp }))
    }
}

/// RTCP feedback that was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Feedback {
    /// Generic NACK.
    pub nack: bool,
    /// Picture loss indication.
    pub pli: bool,
    /// Full intra request.
    pub fir: bool,
    /// Receiver estimated maximum bitrate.
    pub remb: bool,
    /// Transport-wide congestion control.
    pub transport_cc: bool,
    /// Congestion control feedback of RFC 8888.
    #[serde(default)]
    pub ccfb: bool,
}

impl From<FeedbackSet> for Feedback {
    fn from(set: FeedbackSet) -> Self {
        let FeedbackSet {
            nack,
            pli,
            fir,
            remb,
            transport_cc,
            ccfb,
        } = set;
        Self {
            nack,
            pli,
            fir,
            remb,
            transport_cc,
            ccfb,
        }
    }
}

impl From<Feedback> for FeedbackSet {
    fn from(set: Feedback) -> Self {
        let Feedback {
            nack,
            pli,
            fir,
            remb,
            transport_cc,
            ccfb,
        } = set;
        Self {
            nack,
            pli,
            fir,
            remb,
            transport_cc,
            ccfb,
        }
    }
}

/// A track that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// What rooms know it by.
    #[serde(default = "unnamed")]
    pub id: PublicationId,
    /// Audio or video.
    pub kind: Kind,
    /// MID; empty if the offer had none.
    pub mid: String,
    /// Codec.
    pub codec: Codec,
    /// Payload type.
    pub pt: u8,
    /// Payload type of RTX.
    pub rtx_pt: Option<u8>,
    /// Payload type of RED.
    pub red_pt: Option<u8>,
    /// Payload type of repair packets (FlexFEC).
    pub fec_pt: Option<u8>,
    /// Feedback.
    pub feedback: Feedback,
    /// Its RTP streams.
    pub encodings: Vec<PublishedEncoding>,
    /// Its row.
    pub row: Link,
}

/// One RTP stream of a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedEncoding {
    /// RID; empty without simulcast.
    pub rid: String,
    /// SSRC, if announced.
    pub ssrc: Option<u32>,
    /// SSRC of RTX, if announced.
    pub rtx_ssrc: Option<u32>,
    /// SSRC of repair packets, if announced.
    pub fec_ssrc: Option<u32>,
    /// Its row.
    pub row: Link,
}

/// The id of a track that has none yet.
fn unnamed() -> PublicationId {
    PublicationId(0)
}

impl Published {
    /// What was agreed with a publisher, still without rows and id.
    pub fn new(track: &PublishTrack) -> Self {
        let encodings = track.encodings.iter().map(|encoding| PublishedEncoding {
            rid: encoding.rid.clone().unwrap_or_default(),
            ssrc: encoding.ssrc,
            rtx_ssrc: encoding.rtx_ssrc,
            fec_ssrc: encoding.fec_ssrc,
            row: Link::default(),
        });
        Self {
            id: unnamed(),
            kind: Kind::of(&track.kind),
            mid: track
                .mid
                .as_ref()
                .map(|mid| mid.as_str().to_owned())
                .unwrap_or_default(),
            codec: Codec(track.codec.clone()),
            pt: track.pt,
            rtx_pt: track.rtx_pt,
            red_pt: track.red_pt,
            fec_pt: track.fec_pt,
            feedback: track.feedback.into(),
            encodings: encodings
                .take(ion_tables::TrackConfig::MAX_ENCODINGS)
                .collect(),
            row: Link::default(),
        }
    }
}

/// An m-section of a viewer that plays something, or waits for something to play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// Audio or video.
    pub kind: Kind,
    /// MID; empty if the offer had none.
    pub mid: String,
    /// SSRC towards the viewer.
    pub ssrc: u32,
    /// SSRC of RTX towards the viewer.
    pub rtx_ssrc: Option<u32>,
    /// Payload type and SSRC of repair packets (FlexFEC) towards the viewer.
    pub fec: Option<(u8, u32)>,
    /// What the viewer can take.
    pub payloads: Vec<Payload>,
    /// Index of the m-section.
    #[serde(default)]
    pub section: usize,
    /// What the viewer wants of it at most.
    #[serde(default)]
    pub bounds: Bounds,
    /// Its subscription row. It is the section's own from the start, so that there is room
    /// when a track comes, and is written first when one does.
    pub row: Link,
}

/// What a viewer wants of a video at most; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Highest encoding, by place.
    pub encoding: Option<u8>,
    /// Highest spatial layer inside an encoding.
    pub spatial: Option<u8>,
    /// Highest temporal layer.
    pub temporal: Option<u8>,
}

/// The payload types of one codec at a viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Codec with the viewer's parameters.
    pub codec: Codec,
    /// Payload type.
    pub pt: u8,
    /// Payload type of RTX.
    pub rtx_pt: Option<u8>,
    /// Payload type of RED.
    pub red_pt: Option<u8>,
    /// Feedback.
    pub feedback: Feedback,
}

impl Played {
    /// What was agreed with a viewer, still without rows.
    pub fn new(track: &PlayTrack) -> Self {
        let payload = |map: &PayloadMap| Payload {
            codec: Codec(map.codec.clone()),
            pt: map.pt,
            rtx_pt: map.rtx_pt,
            red_pt: map.red_pt,
            feedback: map.feedback.into(),
        };
        Self {
            kind: Kind::of(&track.kind),
            mid: track
                .mid
                .as_ref()
                .map(|mid| mid.as_str().to_owned())
                .unwrap_or_default(),
            ssrc: track.ssrc,
            rtx_ssrc: track.rtx_ssrc,
            fec: track.fec,
            payloads: track.payloads.iter().map(payload).collect(),
            section: track.media_index,
            bounds: Bounds::default(),
            row: Link::default(),
        }
    }

    /// The payload types for a stream of `codec`, if the viewer can take it.
    pub fn payload(&self, codec: &TrackCodec) -> Option<Payload> {
        let maps: Vec<PayloadMap> = self
            .payloads
            .iter()
            .map(|payload| PayloadMap {
                codec: payload.codec.0.clone(),
                pt: payload.pt,
                rtx_pt: payload.rtx_pt,
                red_pt: payload.red_pt,
                feedback: payload.feedback.into(),
            })
            .collect();
        let found = ion_sdp::whep::find_payload(&maps, codec)?;
        self.payloads
            .iter()
            .find(|payload| payload.pt == found.pt)
            .cloned()
    }
}

/// What a session is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Media {
    /// Publishes these tracks.
    Publish(Vec<Published>),
    /// Plays into these m-sections.
    Play(Vec<Played>),
    /// Both, of a participant that negotiates over `/v1/signal`.
    Both {
        /// Publishes these tracks.
        published: Vec<Published>,
        /// Plays into these m-sections; places are for ever, so that rows keep their numbers.
        played: Vec<Played>,
    },
    /// A counter-offer that waits for its answer.
    Offered {
        /// Our offer.
        sdp: String,
    },
}

/// A session, without what belongs to ICE and DTLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The id in the path, a capability.
    pub id: String,
    /// Grows with each session; tells who came first.
    pub ordinal: u64,
    /// Room.
    pub room: RoomName,
    /// Who.
    pub identity: Identity,
    /// Display name.
    pub name: String,
    /// Not shown to others.
    pub hidden: bool,
    /// The token it came with.
    #[serde(default)]
    pub token: Option<TokenRef>,
    /// For viewers: the identity to play; `None` is the room's first publisher.
    pub wanted: Option<Identity>,
    /// Seconds since the UNIX epoch.
    pub joined_at_s: u64,
    /// Entity tag of the ICE session.
    pub etag: String,
    /// The peer's username fragments of earlier ICE sessions, the oldest first. What comes
    /// under one of them is late, and no ICE restart.
    #[serde(default)]
    pub past_ufrags: Vec<String>,
    /// `sha-256 AB:…`: one of these is the peer's certificate. Empty while a counter-offer waits.
    pub fingerprints: Vec<String>,
    /// Ion starts the DTLS handshake.
    pub is_dtls_client: bool,
    /// DTLS version, once connected.
    pub dtls_version: Option<String>,
    /// Kind number and id of each negotiated header extension.
    pub extensions: Vec<(u8, u8)>,
    /// Reduced-size RTCP was negotiated.
    pub is_rtcp_reduced: bool,
    /// MID that carries the transport, with the kind of its m-section: for ICE restarts.
    pub first_mid: Option<String>,
    /// See `first_mid`.
    pub first_kind: Kind,
    /// RTCP canonical name of what Ion sends.
    pub cname: String,
    /// SSRC of RTCP that Ion originates.
    pub feedback_ssrc: u32,
    /// The client's name for the peer connection of a participant.
    #[serde(default)]
    pub peer: String,
    /// How often it was answered.
    #[serde(default)]
    pub answers: u32,
    /// Transport row.
    pub row: Link,
    /// Tracks.
    pub media: Media,
}

impl Record {
    /// A session of which nothing else is known yet, without rows.
    pub fn new(id: String, ordinal: u64, room: RoomName, identity: Identity, media: Media) -> Self {
        Self {
            id,
            ordinal,
            room,
            identity,
            name: String::new(),
            hidden: false,
            token: None,
            wanted: None,
            joined_at_s: 0,
            etag: String::new(),
            past_ufrags: Vec::new(),
            fingerprints: Vec::new(),
            is_dtls_client: false,
            dtls_version: None,
            extensions: Vec::new(),
            is_rtcp_reduced: false,
            first_mid: None,
            first_kind: Kind::Audio,
            cname: String::new(),
            feedback_ssrc: 0,
            peer: String::new(),
            answers: 0,
            row: Link::default(),
            media,
        }
    }

    /// Publisher or viewer.
    pub fn role(&self) -> Role {
        match self.media {
            Media::Publish(_) => Role::Publisher,
            Media::Play(_) | Media::Offered { .. } => Role::Viewer,
            Media::Both { .. } => Role::Participant,
        }
    }

    /// Notes that the peer's username fragment is no longer current.
    pub fn supersede(&mut self, ufrag: Option<String>) {
        self.past_ufrags.extend(ufrag);
        let known = self.past_ufrags.len();
        self.past_ufrags
            .drain(..known.saturating_sub(crate::limits::PAST_UFRAGS));
    }

    /// The tracks published; none for a viewer.
    pub fn published(&self) -> &[Published] {
        match &self.media {
            Media::Publish(tracks)
            | Media::Both {
                published: tracks, ..
            } => tracks,
            _ => &[],
        }
    }

    /// The m-sections played into; none for a publisher.
    pub fn played(&self) -> &[Played] {
        match &self.media {
            Media::Play(slots) | Media::Both { played: slots, .. } => slots,
            _ => &[],
        }
    }

    /// As [`Record::published`].
    pub fn published_mut(&mut self) -> &mut [Published] {
        match &mut self.media {
            Media::Publish(tracks)
            | Media::Both {
                published: tracks, ..
            } => tracks,
            _ => &mut [],
        }
    }

    /// Takes a track out.
    pub fn withdraw(&mut self, id: PublicationId) -> Option<Published> {
        let (Media::Publish(tracks)
        | Media::Both {
            published: tracks, ..
        }) = &mut self.media
        else {
            return None;
        };
        let place = tracks.iter().position(|track| track.id == id)?;
        Some(tracks.remove(place))
    }
}
