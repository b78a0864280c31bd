/// Why a text is not accepted as SDP or as an SDP fragment.
///
/// The messages are made for the sender: they say what was wrong and what would be right, and
/// hold no more of the text than a short excerpt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// More bytes than [`limits::MAX_SDP_BYTES`](crate::limits::MAX_SDP_BYTES).
    #[error("the SDP has {bytes} bytes; at most {max} are accepted")]
    TooLarge {
        /// Bytes received.
        bytes: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// One line is too long.
    #[error("line {line} is longer than {max} bytes")]
    LineTooLong {
        /// Line number, from 1.
        line: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// More of something than is accepted in the whole description or in one m-section.
    #[error("more than {max} {what}; send fewer")]
    TooMany {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How many are accepted.
        max: usize,
    },
    /// The bytes are not UTF-8.
    #[error("the SDP is not UTF-8 text (from byte {at})")]
    NotUtf8 {
        /// Offset of the first byte that is not text.
        at: usize,
    },
    /// A line breaks the syntax of RFC 8866.
    #[error("malformed SDP: {0}")]
    Syntax(String),
    /// An attribute has a value that its RFC does not allow.
    #[error("malformed a={name}: {reason}")]
    Attribute {
        /// Name of the attribute.
        name: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl SdpError {
    pub(crate) fn attribute(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Attribute {
            name,
            reason: reason.into(),
        }
    }

    /// True for a text that may be well-formed but asks for more than is accepted.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::LineTooLong { .. } | Self::TooMany { .. }
        )
    }
}

/// The first characters of a peer's text, for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
