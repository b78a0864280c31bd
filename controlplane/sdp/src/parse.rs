use crate::codec::{Codec, Feedback, Fmtp};
use crate::error::{SdpError, excerpt};
use crate::extension::Extension;
use crate::limits::{self, MAX_CODECS, MAX_RIDS, MAX_SSRCS, bounded};
use crate::session::{Direction, Media, MediaKind, Mid, Origin, SessionDescription, Setup};
use crate::stream::{GroupSemantics, Msid, Rid, Simulcast, Source, SsrcGroup};
use crate::transport::{Candidate, Fingerprint, check_pwd, check_ufrag};
use sdp_types::Attribute;

pub(crate) fn session(text: &[u8]) -> Result<SessionDescription, SdpError> {
    limits::check(text)?;
    let raw = sdp_types::Session::parse(text)
        .map_err(|error| SdpError::Syntax(excerpt_long(&error.to_string())))?;

    let mut ice_lite = false;
    let mut ice_options = Vec::new();
    let mut extmap_allow_mixed = false;
    let mut bundles = Vec::new();
    let mut extensions = Vec::new();
    let mut defaults = Defaults::default();
    for attribute in &raw.attributes {
        let value = value_of(attribute);
        match attribute.attribute.as_str() {
            "ice-lite" => ice_lite = true,
            "ice-options" => ice_options = ice_option_words(value),
            "extmap-allow-mixed" => extmap_allow_mixed = true,
            "extmap" => extensions.extend(extension(value)?),
            "group" => bundles.extend(bundle(value)?),
            name => {
                transport_attribute(&mut defaults.0, name, value)?;
            }
        }
    }

    // Options are of the session; Chromium repeats them in every section instead.
    if ice_options.is_empty() {
        let lines = raw.medias.iter().flat_map(|section| &section.attributes);
        let mut options = lines.filter(|attribute| attribute.attribute == "ice-options");
        ice_options = options
            .next()
            .map(|first| ice_option_words(value_of(first)))
            .unwrap_or_default();
    }

    let mut mixed_sections = 0;
    let mut media = Vec::with_capacity(raw.medias.len());
    for section in &raw.medias {
        let mut parsed = media_section(section, &defaults, &extensions)?;
        defaults.fold_into(&mut parsed);
        let candidates = media
            .iter()
            .chain([&parsed])
            .map(|media| media.candidates.len())
            .sum();
        bounded(candidates, limits::MAX_CANDIDATES, "candidates")?;
        mixed_sections += usize::from(has(section, "extmap-allow-mixed"));
        media.push(parsed);
    }
    check_mids(&media)?;
    extmap_allow_mixed |= !media.is_empty() && mixed_sections == media.len();

    Ok(SessionDescription {
        origin: Origin {
            username: raw.origin.username.unwrap_or_else(|| "-".to_owned()),
            session_id: raw.origin.sess_id,
            version: raw.origin.sess_version,
            address: raw.origin.unicast_address,
        },
        bundles,
        ice_lite,
        ice_options,
        extmap_allow_mixed,
        media,
    })
}

/// Words joined by spaces (RFC 8839, section 5.6); libdatachannel writes commas.
fn ice_option_words(value: &str) -> Vec<String> {
    let words = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
    words
        .filter(|word| !word.is_empty())
        .take(8)
        .map(str::to_owned)
        .collect()
}

fn excerpt_long(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn value_of(attribute: &Attribute) -> &str {
    attribute.value.as_deref().unwrap_or_default().trim_ascii()
}

fn has(section: &sdp_types::Media, name: &str) -> bool {
    section
        .attributes
        .iter()
        .any(|attribute| attribute.attribute == name)
}

/// What the session level says for all sections that do not say it themselves.
struct Defaults(Media);

impl Default for Defaults {
    fn default() -> Self {
        Self(Media::new(MediaKind::Application, ""))
    }
}

impl Defaults {
    fn fold_into(&self, media: &mut Media) {
        let Self(session) = self;
        // Credentials belong together: half from here and half from there would be neither's.
        if media.ice_ufrag.is_none() && media.ice_pwd.is_none() {
            media.ice_ufrag.clone_from(&session.ice_ufrag);
            media.ice_pwd.clone_from(&session.ice_pwd);
        }
        if media.fingerprints.is_empty() {
            media.fingerprints.clone_from(&session.fingerprints);
        }
        media.setup = media.setup.or(session.setup);
        if media.candidates.is_empty() {
            media.candidates.clone_from(&session.candidates);
        }
        media.end_of_candidates |= session.end_of_candidates;
    }
}

/// Attributes that stand at either level. True if `name` was one.
fn transport_attribute(media: &mut Media, name: &str, value: &str) -> Result<bool, SdpError> {
    match name {
        "ice-ufrag" => media.ice_ufrag = Some(check_ufrag(value)?),
        "ice-pwd" => media.ice_pwd = Some(check_pwd(value)?),
        "fingerprint" => media.fingerprints.extend(Fingerprint::parse(value)?),
        "setup" => {
            let setup = Setup::parse(value).ok_or_else(|| {
                let value = excerpt(value);
                SdpError::attribute(
                    "setup",
                    format!("{value} is not one of actpass, active, passive"),
                )
            })?;
            media.setup = Some(setup);
        }
        // RFC 8839, section 4.2.1: what is not understood is ignored.
        "candidate" => media.candidates.extend(Candidate::parse_value(value).ok()),
        "end-of-candidates" => media.end_of_candidates = true,
        _ => match Direction::parse(name) {
            Some(direction) => media.direction = direction,
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn bundle(value: &str) -> Result<Option<Vec<Mid>>, SdpError> {
    let mut words = value.split_ascii_whitespace();
    if words.next() != Some("BUNDLE") {
        return Ok(None);
    }
    let mut mids = Vec::new();
    for word in words {
        mids.push(mid(word)?);
        bounded(mids.len(), limits::MAX_MEDIA, "MIDs in one a=group:BUNDLE")?;
    }
    Ok(Some(mids))
}

fn mid(word: &str) -> Result<Mid, SdpError> {
    Mid::new(word).ok_or_else(|| {
        let max = limits::MAX_MID_BYTES;
        SdpError::attribute(
            "mid",
            format!("it has to be 1 to {max} printable characters"),
        )
    })
}

fn check_mids(media: &[Media]) -> Result<(), SdpError> {
    for (index, section) in media.iter().enumerate() {
        let twice = section.mid.is_some()
            && media[..index]
                .iter()
                .any(|earlier| earlier.mid == section.mid);
        if twice {
            return Err(SdpError::attribute(
                "mid",
                "two m-sections have the same one",
            ));
        }
    }
    Ok(())
}

fn media_section(
    raw: &sdp_types::Media,
    defaults: &Defaults,
    session_extensions: &[Extension],
) -> Result<Media, SdpError> {
    let mut media = Media::new(MediaKind::parse(&raw.media), &raw.proto);
    media.port = raw.port;
    media.direction = defaults.0.direction;
    if raw.fmt.trim().is_empty() {
        return Err(SdpError::Syntax(
            "an m-line names no format after its protocol".to_owned(),
        ));
    }
    if raw.proto.contains("RTP/") {
        payload_types(raw, &mut media)?;
    } else {
        media.other_formats = raw
            .fmt
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
    }
    for attribute in &raw.attributes {
        let value = value_of(attribute);
        let name = attribute.attribute.as_str();
        if transport_attribute(&mut media, name, value)? {
            continue;
        }
        match name {
            "mid" => media.mid = Some(mid(value)?),
            "rtcp-mux" => media.rtcp_mux = true,
            "rtcp-mux-only" => media.rtcp_mux_only = true,
            "rtcp-rsize" => media.rtcp_rsize = true,
            "bundle-only" => media.bundle_only = true,
            // What is no number is not there: the section is declined.
            "sctp-port" => media.sctp_port = value.parse().ok(),
            "max-message-size" => media.max_message_size = value.parse().ok(),
            "extmap" => media.extensions.extend(extension(value)?),
            _ => stream_attribute(&mut media, name, value)?,
        }
    }
    if media.extensions.is_empty() {
        media.extensions = session_extensions.to_vec();
    }
    Ok(media)
}

fn stream_attribute(media: &mut Media, name: &str, value: &str) -> Result<(), SdpError> {
    match name {
        "msid" if media.msid.is_none() => media.msid = Msid::parse(value),
        "ssrc" => ssrc(media, value)?,
        "ssrc-group" => media.ssrc_groups.push(ssrc_group(value)?),
        "rid" => {
            let rid = Rid::parse(value).ok_or_else(|| {
                let reason = format!(
                    "expected `<id> send` or `<id> recv`, not {}",
                    excerpt(value)
                );
                SdpError::attribute("rid", reason)
            })?;
            if media.rids.iter().any(|known| known.id == rid.id) {
                return Err(SdpError::attribute(
                    "rid",
                    "an identifier stands there twice",
                ));
            }
            media.rids.push(rid);
        }
        "simulcast" => {
            let simulcast = Simulcast::parse(value).ok_or_else(|| {
                let reason = format!("expected `send <rid>;<rid>`, not {}", excerpt(value));
                SdpError::attribute("simulcast", reason)
            })?;
            for streams in [&simulcast.send, &simulcast.recv] {
                let ids = streams.iter().map(Vec::len).sum();
                bounded(ids, MAX_RIDS, "streams in one a=simulcast")?;
            }
            media.simulcast = Some(simulcast);
        }
        _ => {}
    }
    Ok(())
}

/// `a=extmap:<id>[/<direction>] <URI> [attributes]`. Ids from 4096 on ask the answerer to choose
/// (RFC 8285, section 7), which Ion declines; so do all others out of range.
fn extension(value: &str) -> Result<Option<Extension>, SdpError> {
    let wrong = || {
        SdpError::attribute(
            "extmap",
            format!("expected `<id> <URI>`, not {}", excerpt(value)),
        )
    };
    let mut words = value.split_ascii_whitespace();
    let head = words.next().ok_or_else(wrong)?;
    let uri = words.next().ok_or_else(wrong)?;
    let (id, direction) = match head.split_once('/') {
        Some((id, word)) => (id, Some(Direction::parse(word).ok_or_else(wrong)?)),
        None => (head, None),
    };
    let id: u32 = id.parse().map_err(|_| wrong())?;
    Ok(match u8::try_from(id) {
        Ok(id @ 1..) => Some(Extension {
            id,
            direction,
            uri: uri.to_owned(),
        }),
        _ => None,
    })
}

fn ssrc(media: &mut Media, value: &str) -> Result<(), SdpError> {
    let (number, attribute) = value.split_once(' ').unwrap_or((value, ""));
    let ssrc = number.parse().map_err(|_| {
        SdpError::attribute("ssrc", format!("{} is no 32-bit number", excerpt(number)))
    })?;
    let index = match media.sources.iter().position(|source| source.ssrc == ssrc) {
        Some(index) => index,
        None => {
            media.sources.push(Source {
                ssrc,
                cname: None,
                msid: None,
            });
            bounded(media.sources.len(), MAX_SSRCS, "SSRCs in one m-section")?;
            media.sources.len() - 1
        }
    };
    let source = &mut media.sources[index];
    match attribute.trim().split_once(':') {
        Some(("cname", name)) => source.cname = Some(name.to_owned()),
        Some(("msid", msid)) => source.msid = Msid::parse(msid),
        _ => {}
    }
    Ok(())
}

fn ssrc_group(value: &str) -> Result<SsrcGroup, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let semantics = words
        .next()
        .map(GroupSemantics::parse)
        .ok_or_else(|| SdpError::attribute("ssrc-group", "expected `FID <ssrc> <ssrc>`"))?;
    let mut ssrcs = Vec::new();
    for word in words {
        let ssrc = word.parse().map_err(|_| {
            let reason = format!("{} is no 32-bit number", excerpt(word));
            SdpError::attribute("ssrc-group", reason)
        })?;
        ssrcs.push(ssrc);
        bounded(ssrcs.len(), MAX_SSRCS, "SSRCs in one a=ssrc-group")?;
    }
    Ok(SsrcGroup { semantics, ssrcs })
}

/// Payload types that need no `a=rtpmap` (RFC 3551, section 6), as far as clients offer them.
const STATIC_TYPES: [(u8, &str, u32); 5] = [
    (0, "PCMU", 8_000),
    (3, "GSM", 8_000),
    (8, "PCMA", 8_000),
    (9, "G722", 8_000),
    (13, "CN", 8_000),
];

/// The codecs in the order of the m-line. `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of payload types
/// that are not in it are skipped: Firefox writes such lines.
fn payload_types(raw: &sdp_types::Media, media: &mut Media) -> Result<(), SdpError> {
    for word in raw.fmt.split_ascii_whitespace() {
        let pt = word
            .parse()
            .ok()
            .filter(|pt: &u8| *pt < 128)
            .ok_or_else(|| {
                let word = excerpt(word);
                SdpError::Syntax(format!(
                    "{word} is no RTP payload type (0 to 127) in an m-line"
                ))
            })?;
        if media.codec(pt).is_none() {
            let (name, clock_rate) = STATIC_TYPES
                .iter()
                .find(|known| known.0 == pt)
                .map_or((String::new(), 0), |known| (known.1.to_owned(), known.2));
            let fmtp = Fmtp::default();
            media.codecs.push(Codec {
                pt,
                name,
                clock_rate,
                channels: None,
                fmtp,
                feedback: Vec::new(),
            });
        }
    }
    bounded(
        media.codecs.len(),
        MAX_CODECS,
        "payload types in one m-section",
    )?;
    for attribute in &raw.attributes {
        let value = value_of(attribute);
        match attribute.attribute.as_str() {
            "rtpmap" => rtpmap(media, value)?,
            "fmtp" => fmtp(media, value)?,
            "rtcp-fb" => rtcp_fb(media, value)?,
            _ => {}
        }
    }
    let (known, unknown) = std::mem::take(&mut media.codecs)
        .into_iter()
        .partition::<Vec<_>, _>(|codec| !codec.name.is_empty());
    media.codecs = known;
    media.other_formats = unknown.iter().map(|codec| codec.pt.to_string()).collect();
    Ok(())
}

/// The codec that a line is about, and the rest of the line.
fn codec_of<'a, 'v>(media: &'a mut Media, value: &'v str) -> Option<(&'a mut Codec, &'v str)> {
    let (pt, rest) = value.split_once(' ')?;
    let pt: u8 = pt.parse().ok()?;
    Some((
        media.codecs.iter_mut().find(|codec| codec.pt == pt)?,
        rest.trim(),
    ))
}

fn rtpmap(media: &mut Media, value: &str) -> Result<(), SdpError> {
    let Some((codec, encoding)) = codec_of(media, value) else {
        return Ok(());
    };
    let mut parts = encoding.split('/');
    let name = parts.next().unwrap_or_default();
    let clock_rate = parts.next().and_then(|rate| rate.parse().ok());
    let (Some(clock_rate), false) = (clock_rate, name.is_empty()) else {
        let reason = format!(
            "expected `<pt> <name>/<clock rate>`, not {}",
            excerpt(value)
        );
        return Err(SdpError::attribute("rtpmap", reason));
    };
    codec.name = name.to_owned();
    codec.clock_rate = clock_rate;
    codec.channels = parts.next().and_then(|channels| channels.parse().ok());
    Ok(())
}

fn fmtp(media: &mut Media, value: &str) -> Result<(), SdpError> {
    if let Some((codec, parameters)) = codec_of(media, value) {
        codec.fmtp = Fmtp::parse(parameters).ok_or(SdpError::TooMany {
            what: "parameters in one a=fmtp",
            max: limits::MAX_FMTP_PARAMETERS,
        })?;
    }
    Ok(())
}

fn rtcp_fb(media: &mut Media, value: &str) -> Result<(), SdpError> {
    if let Some(all) = value.strip_prefix("* ") {
        let feedback = Feedback::parse(all);
        for codec in &mut media.codecs {
            codec.feedback.push(feedback.clone());
        }
        let count = media.codecs.iter().map(|codec| codec.feedback.len()).sum();
        bounded(
            count,
            limits::MAX_FEEDBACK,
            "RTCP feedback types in one m-section",
        )?;
    } else if let Some((codec, feedback)) = codec_of(media, value) {
        codec.feedback.push(Feedback::parse(feedback));
    }
    Ok(())
}
