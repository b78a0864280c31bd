use crate::codec::{Codec, Feedback};
use crate::session::{Media, Mid, SessionDescription};
use crate::stream::Source;
use sdp_types::{AddrType, Attribute, Connection, NetType};
use std::fmt;

pub(crate) fn session(sdp: &SessionDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut bytes = Vec::with_capacity(4096);
    lines(sdp).write(&mut bytes).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(&bytes).map_err(|_| fmt::Error)?)
}

fn lines(sdp: &SessionDescription) -> sdp_types::Session {
    let addrtype = if sdp.origin.address.contains(':') {
        AddrType::Ip6
    } else {
        AddrType::Ip4
    };
    let origin = sdp_types::Origin {
        username: Some(sdp.origin.username.clone()),
        sess_id: sdp.origin.session_id.clone(),
        sess_version: sdp.origin.version,
        nettype: NetType::In,
        addrtype,
        unicast_address: sdp.origin.address.clone(),
    };
    let mut raw = sdp_types::Session::new(origin, "-");
    let mut attributes = Attributes::default();
    for bundle in &sdp.bundles {
        let mids = bundle.iter().map(Mid::as_str).collect::<Vec<_>>().join(" ");
        attributes.value("group", format!("BUNDLE {mids}").trim_end());
    }
    attributes.flag("extmap-allow-mixed", sdp.extmap_allow_mixed);
    attributes.flag("ice-lite", sdp.ice_lite);
    if !sdp.ice_options.is_empty() {
        attributes.value("ice-options", sdp.ice_options.join(" "));
    }
    raw.attributes = attributes.0;
    raw.medias = sdp.media.iter().map(section).collect();
    raw
}

#[derive(Default)]
struct Attributes(Vec<Attribute>);

impl Attributes {
    fn value(&mut self, name: &str, value: impl ToString) {
        self.0.push(Attribute {
            attribute: name.to_owned(),
            value: Some(value.to_string()),
        });
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.0.push(Attribute {
                attribute: name.to_owned(),
                value: None,
            });
        }
    }

    fn values<T: ToString>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.value(name, value);
        }
    }
}

fn section(media: &Media) -> sdp_types::Media {
    let formats: Vec<String> = media
        .codecs
        .iter()
        .map(|codec| codec.pt.to_string())
        .chain(media.other_formats.iter().cloned())
        .collect();
    // An m-line has at least one format, even in a section that is rejected.
    let fmt = if formats.is_empty() {
        "0".to_owned()
    } else {
        formats.join(" ")
    };
    let mut attributes = Attributes::default();
    attributes.values("mid", &media.mid);
    attributes.value_of_direction(media);
    transport(media, &mut attributes);
    attributes.flag("rtcp-mux", media.rtcp_mux);
    attributes.flag("rtcp-mux-only", media.rtcp_mux_only);
    attributes.flag("rtcp-rsize", media.rtcp_rsize);
    attributes.flag("bundle-only", media.bundle_only);
    for extension in &media.extensions {
        let direction = extension
            .direction
            .map(|direction| format!("/{}", direction.as_str()));
        let direction = direction.unwrap_or_default();
        attributes.value(
            "extmap",
            format!("{}{direction} {}", extension.id, extension.uri),
        );
    }
    // RFC 8888 wants it said of all payload types at once.
    let has_ccfb = |codec: &Codec| codec.feedback.contains(&Feedback::AckCcfb);
    let ccfb = !media.codecs.is_empty() && media.codecs.iter().all(has_ccfb);
    for codec in &media.codecs {
        codec_lines(codec, ccfb, &mut attributes);
    }
    if ccfb {
        attributes.value("rtcp-fb", format!("* {}", Feedback::AckCcfb));
    }
    streams(media, &mut attributes);
    attributes.values("sctp-port", media.sctp_port);
    attributes.values("max-message-size", media.max_message_size);
    sdp_types::Media {
        media: media.kind.as_str().to_owned(),
        port: media.port,
        num_ports: None,
        proto: media.protocol.clone(),
        fmt,
        media_title: None,
        connections: vec![Connection::new(NetType::In, AddrType::Ip4, "0.0.0.0")],
        bandwidths: Vec::new(),
        key: None,
        attributes: attributes.0,
    }
}

impl Attributes {
    fn value_of_direction(&mut self, media: &Media) {
        self.flag(media.direction.as_str(), true);
    }
}

fn transport(media: &Media, attributes: &mut Attributes) {
    attributes.values("ice-ufrag", &media.ice_ufrag);
    attributes.values("ice-pwd", &media.ice_pwd);
    attributes.values("fingerprint", &media.fingerprints);
    attributes.values("setup", media.setup.map(|setup| setup.as_str()));
    attributes.values("candidate", &media.candidates);
    attributes.flag("end-of-candidates", media.end_of_candidates);
}

fn codec_lines(codec: &Codec, ccfb_for_all: bool, attributes: &mut Attributes) {
    let Codec {
        pt,
        name,
        clock_rate,
        channels,
        fmtp,
        feedback,
    } = codec;
    let channels = channels
        .map(|channels| format!("/{channels}"))
        .unwrap_or_default();
    attributes.value("rtpmap", format!("{pt} {name}/{clock_rate}{channels}"));
    if !fmtp.is_empty() {
        attributes.value("fmtp", format!("{pt} {fmtp}"));
    }
    let own = feedback
        .iter()
        .filter(|feedback| !(ccfb_for_all && **feedback == Feedback::AckCcfb));
    attributes.values("rtcp-fb", own.map(|feedback| format!("{pt} {feedback}")));
}

fn streams(media: &Media, attributes: &mut Attributes) {
    attributes.values("msid", &media.msid);
    for group in &media.ssrc_groups {
        let ssrcs = group
            .ssrcs
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        attributes.value(
            "ssrc-group",
            format!("{} {ssrcs}", group.semantics.as_str()).trim_end(),
        );
    }
    for Source { ssrc, cname, msid } in &media.sources {
        if let Some(cname) = cname {
            attributes.value("ssrc", format!("{ssrc} cname:{cname}"));
        }
        if let Some(msid) = msid {
            attributes.value("ssrc", format!("{ssrc} msid:{msid}"));
        }
        if cname.is_none() && msid.is_none() {
            attributes.value("ssrc", ssrc);
        }
    }
    attributes.values("rid", &media.rids);
    attributes.values("simulcast", &media.simulcast);
}
