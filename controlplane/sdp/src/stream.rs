use crate::limits::MAX_RID_BYTES;
use std::fmt;

/// `a=msid` (RFC 8830): which stream of the sender a track belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msid {
    /// Stream label; `-` says that the track is in no stream.
    pub stream: String,
    /// Track label; empty if none was given.
    pub track: String,
}

impl Msid {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let stream = words.next()?.to_owned();
        Some(Self {
            stream,
            track: words.next().unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)?;
        if !self.track.is_empty() {
            write!(f, " {}", self.track)?;
        }
        Ok(())
    }
}

/// The `a=ssrc` lines of one source (RFC 5576).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Canonical name.
    pub cname: Option<String>,
    /// Stream and track.
    pub msid: Option<Msid>,
}

/// What the sources of an `a=ssrc-group` are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupSemantics {
    /// `FID`: a stream and its retransmissions.
    Fid,
    /// `FEC-FR`: a stream and its forward error correction.
    FecFr,
    /// `SIM`: simulcast layers, lowest first.
    Sim,
    /// Another.
    Other(String),
}

impl GroupSemantics {
    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "FID" => Self::Fid,
            "FEC-FR" => Self::FecFr,
            "SIM" => Self::Sim,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Fid => "FID",
            Self::FecFr => "FEC-FR",
            Self::Sim => "SIM",
            Self::Other(other) => other,
        }
    }
}

/// An `a=ssrc-group` line (RFC 5576, section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup {
    /// What they are to each other.
    pub semantics: GroupSemantics,
    /// The sources, in order.
    pub ssrcs: Vec<u32>,
}

/// `send` or `recv`, in `a=rid` and `a=simulcast`, as seen by the one who wrote the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RidDirection {
    /// The writer sends it.
    Send,
    /// The writer receives it.
    Recv,
}

impl RidDirection {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
        }
    }
}

/// An `a=rid` line (RFC 8851).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rid {
    /// Identifier, at most [`MAX_RID_BYTES`] of letters, digits, `-` and `_`.
    pub id: String,
    /// Who sends.
    pub direction: RidDirection,
    /// The payload types it is restricted to; empty for any.
    pub pts: Vec<u8>,
    /// Other restrictions, such as `max-width=1280`, as written.
    pub restrictions: Vec<String>,
}

impl Rid {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut words = value.splitn(3, ' ');
        let id = words.next()?.to_owned();
        if !is_rid(&id) {
            return None;
        }
        let direction = match words.next()? {
            "send" => RidDirection::Send,
            "recv" => RidDirection::Recv,
            _ => return None,
        };
        let mut rid = Self {
            id,
            direction,
            pts: Vec::new(),
            restrictions: Vec::new(),
        };
        for restriction in words.next().unwrap_or_default().split(';').map(str::trim) {
            if let Some(list) = restriction.strip_prefix("pt=") {
                rid.pts = list
                    .split(',')
                    .map(|pt| pt.trim().parse().ok())
                    .collect::<Option<_>>()?;
            } else if !restriction.is_empty() {
                rid.restrictions.push(restriction.to_owned());
            }
        }
        Some(rid)
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.direction.as_str())?;
        let pts = self
            .pts
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let pts = (!pts.is_empty()).then(|| format!("pt={pts}"));
        let all: Vec<&str> = pts
            .as_deref()
            .into_iter()
            .chain(self.restrictions.iter().map(String::as_str))
            .collect();
        if !all.is_empty() {
            write!(f, " {}", all.join(";"))?;
        }
        Ok(())
    }
}

pub(crate) fn is_rid(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_RID_BYTES
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// One way to send a simulcast stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulcastId {
    /// The RID.
    pub rid: String,
    /// Written `~rid`: negotiated, but not sent at first.
    pub paused: bool,
}

/// `a=simulcast` (RFC 8853): streams, each a list of alternatives, best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simulcast {
    /// Streams the writer sends.
    pub send: Vec<Vec<SimulcastId>>,
    /// Streams the writer receives.
    pub recv: Vec<Vec<SimulcastId>>,
}

impl Simulcast {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut simulcast = Self::default();
        let mut words = value.split_ascii_whitespace();
        while let Some(direction) = words.next() {
            // Drafts before the RFC wrote `rid=` before the list.
            let list = words.next()?;
            let list = list.strip_prefix("rid=").unwrap_or(list);
            let streams: Vec<Vec<SimulcastId>> = list
                .split(';')
                .map(parse_alternatives)
                .collect::<Option<_>>()?;
            let known = match direction {
                "send" => &mut simulcast.send,
                "recv" => &mut simulcast.recv,
                _ => return None,
            };
            if !known.is_empty() {
                return None;
            }
            *known = streams;
        }
        (!simulcast.send.is_empty() || !simulcast.recv.is_empty()).then_some(simulcast)
    }
}

fn parse_alternatives(stream: &str) -> Option<Vec<SimulcastId>> {
    let parse_id = |id: &str| {
        let (rid, paused) = id.strip_prefix('~').map_or((id, false), |rid| (rid, true));
        is_rid(rid).then(|| SimulcastId {
            rid: rid.to_owned(),
            paused,
        })
    };
    stream.split(',').map(parse_id).collect()
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (direction, streams) in [("send", &self.send), ("recv", &self.recv)] {
            if streams.is_empty() {
                continue;
            }
            write!(f, "{separator}{direction} ")?;
            separator = " ";
            for (index, alternatives) in streams.iter().enumerate() {
                if index > 0 {
                    f.write_str(";")?;
                }
                for (index, id) in alternatives.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let pause = if id.paused { "~" } else { "" };
                    write!(f, "{comma}{pause}{}", id.rid)?;
                }
            }
        }
        Ok(())
    }
}
