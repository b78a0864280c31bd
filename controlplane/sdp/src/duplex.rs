use crate::ExtensionMap;
use crate::codec::TrackCodec;
use crate::limits::MAX_MEDIA;
use crate::negotiate::{Answerer, LocalParams, Reject, RemoteParams, unprocessable};
use crate::session::{Direction, Media, MediaKind, SessionDescription};
use crate::whep::{self, PlayTrack, Sender};
use crate::whip::{self, PublishTrack};

/// What a section of an offer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The client publishes.
    Publish,
    /// The client receives this, sent so.
    Play {
        /// Codec of what it receives, to be put first; `None` if it is gone meanwhile.
        codec: Option<TrackCodec>,
        /// As what it is sent.
        sender: Sender,
    },
    /// Data channels.
    Data,
    /// Nothing: it is answered as inactive.
    Nothing,
}

/// What became of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// The client publishes.
    Publish(PublishTrack),
    /// The client receives.
    Play(PlayTrack),
    /// Data channels, on this SCTP port of the client's (RFC 8841).
    Data {
        /// The port.
        sctp_port: u16,
    },
    /// Nothing flows.
    Inactive,
    /// It cannot be served, for this reason; nothing flows.
    Declined(String),
}

/// The answer to a participant, and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplexAnswer {
    /// The answer.
    pub sdp: SessionDescription,
    /// One for each m-section, in order.
    pub sections: Vec<Section>,
    /// The header extensions of the transport.
    pub extensions: ExtensionMap,
    /// The client's side of the transport.
    pub remote: RemoteParams,
}

/// Our SCTP port; it means nothing over DTLS (RFC 8831).
pub const SCTP_PORT: u16 = 5_000;

/// Answers the offer of a participant that publishes and receives over one transport. A section
/// that cannot be served is declined alone: it is answered as inactive and the others go on.
///
/// # Errors
/// 422 when the transport itself cannot be served: nothing in use, no BUNDLE, no ICE or DTLS.
pub fn answer(
    offer: &SessionDescription,
    local: &LocalParams,
    purposes: &[Purpose],
    max_message_bytes: u32,
) -> Result<DuplexAnswer, Reject> {
    if offer.media.len() > MAX_MEDIA {
        return unprocessable(format!(
            "more than {MAX_MEDIA} m-sections; use inactive ones again"
        ));
    }
    let mut answerer = Answerer::for_duplex(offer, local)?;
    let mut sections = Vec::new();
    for (index, offered) in offer.media.iter().enumerate() {
        let purpose = purposes.get(index).unwrap_or(&Purpose::Nothing);
        let section = match offered.is_rejected() {
            true => {
                answerer.decline(offered);
                Section::Inactive
            }
            false => section(&mut answerer, index, offered, purpose, max_message_bytes),
        };
        sections.push(section);
    }
    let published = |section: &'_ Section| match section {
        Section::Publish(track) => Some(track.clone()),
        _ => None,
    };
    let published: Vec<PublishTrack> = sections.iter().filter_map(published).collect();
    whip::check_ssrcs(&published)?;
    let (sdp, extensions, remote) = answerer.finish();
    Ok(DuplexAnswer {
        sdp,
        sections,
        extensions,
        remote,
    })
}

fn section(
    answerer: &mut Answerer<'_>,
    index: usize,
    offered: &Media,
    purpose: &Purpose,
    max_message_bytes: u32,
) -> Section {
    let is_media = matches!(offered.kind, MediaKind::Audio | MediaKind::Video)
        && offered.protocol.contains("RTP/SAVP")
        && (offered.rtcp_mux || offered.rtcp_mux_only);
    match purpose {
        Purpose::Publish if is_media && offered.direction.sends() => {
            match whip::track(answerer, index, offered) {
                Ok(track) => Section::Publish(track),
                Err(reject) => {
                    answerer.idle(offered);
                    Section::Declined(reject.to_string())
                }
            }
        }
        Purpose::Play { codec, sender } if is_media && offered.direction.receives() => {
            match whep::play_section(answerer, index, offered, codec.as_ref(), sender) {
                Some(track) => Section::Play(track),
                None => {
                    answerer.idle(offered);
                    Section::Declined("the section has no codec that fits".to_owned())
                }
            }
        }
        Purpose::Data if offered.kind == MediaKind::Application => {
            data(answerer, offered, max_message_bytes)
        }
        Purpose::Publish | Purpose::Play { .. } => {
            answerer.idle(offered);
            let wanted = match purpose {
                Purpose::Publish => "send",
                _ => "receive",
            };
            Section::Declined(format!(
                "the section does not {wanted} audio or video over DTLS-SRTP with a=rtcp-mux"
            ))
        }
        Purpose::Data | Purpose::Nothing => {
            answerer.idle(offered);
            Section::Inactive
        }
    }
}

/// Answers `m=application … webrtc-datachannel` (RFC 8841).
fn data(answerer: &mut Answerer<'_>, offered: &Media, max_message_bytes: u32) -> Section {
    let is_webrtc = offered
        .other_formats
        .iter()
        .any(|f| f == "webrtc-datachannel");
    let Some(port) = offered
        .sctp_port
        .filter(|_| is_webrtc && offered.protocol.contains("DTLS/SCTP"))
    else {
        answerer.decline(offered);
        return Section::Declined("data channels need UDP/DTLS/SCTP and a=sctp-port".to_owned());
    };
    let mut media = answerer.section(offered, Direction::SendRecv);
    media.rtcp_mux = false;
    media.rtcp_mux_only = false;
    media.rtcp_rsize = false;
    media.other_formats = vec!["webrtc-datachannel".to_owned()];
    media.sctp_port = Some(SCTP_PORT);
    media.max_message_size = Some(max_message_bytes);
    answerer.sdp.media.push(media);
    Section::Data { sctp_port: port }
}
