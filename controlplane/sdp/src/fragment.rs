use crate::error::{SdpError, excerpt};
use crate::limits;
use crate::session::{MediaKind, Mid};
use crate::transport::{Candidate, IceCredentials, check_pwd, check_ufrag};
use std::fmt;

/// Media type of the HTTP body.
pub const CONTENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// A trickle-ICE fragment (RFC 8840, section 9): candidates, or new credentials for a restart.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SdpFragment {
    /// `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub pwd: Option<String>,
    /// The sections, by MID.
    pub media: Vec<FragmentMedia>,
    /// `a=end-of-candidates`, at the session level or in any section.
    pub end_of_candidates: bool,
}

/// The password stays out of logs.
impl fmt::Debug for SdpFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdpFragment")
            .field("ufrag", &self.ufrag)
            .field("media", &self.media)
            .field("end_of_candidates", &self.end_of_candidates)
            .finish_non_exhaustive()
    }
}

/// The candidates of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentMedia {
    /// Kind in the pseudo m-line.
    pub kind: MediaKind,
    /// MID, which tells the sections apart.
    pub mid: Option<Mid>,
    /// Candidates; those that make no sense are skipped.
    pub candidates: Vec<Candidate>,
}

impl SdpFragment {
    /// Reads a fragment. Credentials may stand at the session level or in a section; those of
    /// several sections have to agree, as there is one transport.
    ///
    /// # Errors
    /// When a bound of [`limits`] is broken or a known line is malformed.
    pub fn parse(text: &[u8]) -> Result<Self, SdpError> {
        let text = limits::check(text)?;
        let mut fragment = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            if let Some(m_line) = line.strip_prefix("m=") {
                let kind = MediaKind::parse(m_line.split(' ').next().unwrap_or_default());
                let media = FragmentMedia {
                    kind,
                    mid: None,
                    candidates: Vec::new(),
                };
                fragment.media.push(media);
            } else if let Some(attribute) = line.strip_prefix("a=") {
                fragment.attribute(attribute)?;
            } else if line.as_bytes().get(1) != Some(&b'=') {
                let shown = excerpt(line);
                let text = format!("line {} is not of the form x=…: {shown}", index + 1);
                return Err(SdpError::Syntax(text));
            }
        }
        Ok(fragment)
    }

    fn attribute(&mut self, attribute: &str) -> Result<(), SdpError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        match name {
            "ice-ufrag" => set(&mut self.ufrag, "ice-ufrag", check_ufrag(value)?)?,
            "ice-pwd" => set(&mut self.pwd, "ice-pwd", check_pwd(value)?)?,
            "end-of-candidates" => self.end_of_candidates = true,
            "mid" => {
                let mid = Mid::new(value).ok_or_else(|| {
                    SdpError::attribute("mid", format!("{} cannot be one", excerpt(value)))
                })?;
                if let Some(media) = self.media.last_mut() {
                    media.mid = Some(mid);
                }
            }
            "candidate" => {
                if let Ok(candidate) = Candidate::parse_value(value) {
                    self.section().candidates.push(candidate);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The section that a candidate belongs to; some clients send no m-line at all.
    fn section(&mut self) -> &mut FragmentMedia {
        if self.media.is_empty() {
            let kind = MediaKind::Audio;
            self.media.push(FragmentMedia {
                kind,
                mid: None,
                candidates: Vec::new(),
            });
        }
        let last = self.media.len() - 1;
        &mut self.media[last]
    }

    /// The credentials, if both are there.
    pub fn credentials(&self) -> Option<IceCredentials> {
        Some(IceCredentials {
            ufrag: self.ufrag.clone()?,
            pwd: self.pwd.clone()?,
        })
    }

    /// True if the fragment has credentials other than these: an ICE restart (RFC 9725,
    /// section 4.3.3).
    pub fn is_restart_of(&self, current: &IceCredentials) -> bool {
        let differs = |new: &Option<String>, old: &str| new.as_deref().is_some_and(|n| n != old);
        differs(&self.ufrag, &current.ufrag) || differs(&self.pwd, &current.pwd)
    }

    /// All candidates.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.media.iter().flat_map(|media| &media.candidates)
    }

    /// The answer to an ICE restart: our new credentials and all our candidates, for the
    /// section that carries the transport.
    pub fn restart_answer(
        ice: &IceCredentials,
        kind: MediaKind,
        mid: Option<Mid>,
        candidates: &[Candidate],
    ) -> Self {
        let candidates = candidates.to_vec();
        Self {
            ufrag: Some(ice.ufrag.clone()),
            pwd: Some(ice.pwd.clone()),
            media: vec![FragmentMedia {
                kind,
                mid,
                candidates,
            }],
            end_of_candidates: true,
        }
    }
}

fn set(known: &mut Option<String>, name: &'static str, value: String) -> Result<(), SdpError> {
    if known.as_ref().is_some_and(|known| *known != value) {
        return Err(SdpError::attribute(
            name,
            "two sections disagree; all share one transport",
        ));
    }
    *known = Some(value);
    Ok(())
}

impl fmt::Display for SdpFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ufrag) = &self.ufrag {
            write!(f, "a=ice-ufrag:{ufrag}\r\n")?;
        }
        if let Some(pwd) = &self.pwd {
            write!(f, "a=ice-pwd:{pwd}\r\n")?;
        }
        for media in &self.media {
            // RFC 8840, section 9: port and formats of the m-line have no meaning here.
            write!(f, "m={} 9 UDP/TLS/RTP/SAVPF 0\r\n", media.kind.as_str())?;
            if let Some(mid) = &media.mid {
                write!(f, "a=mid:{mid}\r\n")?;
            }
            for candidate in &media.candidates {
                write!(f, "a=candidate:{candidate}\r\n")?;
            }
            if self.end_of_candidates {
                f.write_str("a=end-of-candidates\r\n")?;
            }
        }
        if self.media.is_empty() && self.end_of_candidates {
            f.write_str("a=end-of-candidates\r\n")?;
        }
        Ok(())
    }
}
