use core::fmt;

/// Why bytes could not be parsed or written. Fieldless, so that it can index a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireError {
    /// The packet ends before what its header announces.
    TooShort = 0,
    /// The version or magic number is another protocol's.
    BadVersion = 1,
    /// A length or count field contradicts the packet's size.
    BadLength = 2,
    /// Padding of zero, of more bytes than there are, or where none may be.
    BadPadding = 3,
    /// An element of the RTP header extension block overruns it, or cannot be written in the form
    /// that was chosen.
    BadExtension = 4,
    /// A field holds a reserved or meaningless value.
    BadValue = 5,
    /// More elements than Ion accepts in one packet.
    TooMany = 6,
    /// The output buffer is too small.
    BufferTooSmall = 7,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "packet shorter than its header announces",
            Self::BadVersion => "wrong protocol version or magic number",
            Self::BadLength => "length field contradicts the packet's size",
            Self::BadPadding => "malformed padding",
            Self::BadExtension => "malformed RTP header extension",
            Self::BadValue => "reserved or meaningless field value",
            Self::TooMany => "more elements than are accepted in one packet",
            Self::BufferTooSmall => "output buffer too small",
        })
    }
}

impl core::error::Error for WireError {}
