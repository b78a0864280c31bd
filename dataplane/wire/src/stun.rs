//! STUN messages in place (RFC 8489 §5): header, attributes. MESSAGE-INTEGRITY and FINGERPRINT are not
//! verified here.

use crate::WireError;
use crate::bytes::{array_at, u16_at, u32_at};

/// Length in bytes of the header.
pub const HEADER_LEN: usize = 20;

/// The magic cookie (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Method Binding.
pub const METHOD_BINDING: u16 = 0x001;

/// Attribute types that routing looks at (RFC 8489 §18.3, RFC 8445 §16.1).
pub mod attribute {
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// PRIORITY.
    pub const PRIORITY: u16 = 0x0024;
    /// USE-CANDIDATE.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// FINGERPRINT.
    pub const FINGERPRINT: u16 = 0x8028;
    /// ICE-CONTROLLED.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// ICE-CONTROLLING.
    pub const ICE_CONTROLLING: u16 = 0x802A;
}

/// Message class (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Request, 0b00.
    Request = 0,
    /// Indication, 0b01.
    Indication = 1,
    /// Success response, 0b10.
    Success = 2,
    /// Error response, 0b11.
    Error = 3,
}

/// A well-formed STUN message: cookie, length and the framing of every attribute have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StunView<'a> {
    message: &'a [u8],
    message_type: u16,
}

impl<'a> StunView<'a> {
    /// Parses a datagram that holds exactly one message.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: fewer than 20 bytes.
    /// - [`WireError::BadVersion`]: the two leading bits are set, or no magic cookie (RFC 3489).
    /// - [`WireError::BadLength`]: the length is not that of the datagram, or no multiple of four, or an
    ///   attribute overruns the message.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        if message.len() < HEADER_LEN {
            return Err(WireError::TooShort);
        }
        let message_type = u16_at(message, 0).ok_or(WireError::TooShort)?;
        if message_type & 0xc000 != 0 || u32_at(message, 4) != Some(MAGIC_COOKIE) {
            return Err(WireError::BadVersion);
        }
        let length = usize::from(u16_at(message, 2).ok_or(WireError::TooShort)?);
        if !length.is_multiple_of(4) || HEADER_LEN + length != message.len() {
            return Err(WireError::BadLength);
        }
        let view = Self {
            message,
            message_type,
        };
        let mut attributes = view.attributes();
        while attributes.next().is_some() {}
        if !attributes.rest.is_empty() {
            return Err(WireError::BadLength);
        }
        Ok(view)
    }

    /// Message class.
    #[must_use]
    pub fn class(&self) -> Class {
        match (
            self.message_type & 0x0100 != 0,
            self.message_type & 0x0010 != 0,
        ) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        }
    }

    /// Method, 12 bits, without the class bits.
    #[must_use]
    pub fn method(&self) -> u16 {
        let t = self.message_type;
        (t & 0x000f) | ((t & 0x00e0) >> 1) | ((t & 0x3e00) >> 2)
    }

    /// Transaction id.
    #[must_use]
    pub fn transaction_id(&self) -> [u8; 12] {
        array_at(self.message, 8).unwrap_or_default()
    }

    /// All attributes in order, as type and value without padding.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            rest: self.message.get(HEADER_LEN..).unwrap_or_default(),
        }
    }

    /// Value of the first attribute of a type.
    #[must_use]
    pub fn attribute(&self, attribute_type: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find(|(found, _)| *found == attribute_type)
            .map(|(_, value)| value)
    }

    /// USERNAME, where it is there and UTF-8. In a connectivity check that reaches us it is
    /// `our ufrag ":" peer's ufrag` (RFC 8445 §7.2.2).
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        core::str::from_utf8(self.attribute(attribute::USERNAME)?).ok()
    }
}

/// Iterator over the attributes of a [`StunView`].
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let attribute_type = u16_at(self.rest, 0)?;
        let len = usize::from(u16_at(self.rest, 2)?);
        let value = self.rest.get(4..4 + len)?;
        self.rest = self.rest.get(4 + len.next_multiple_of(4)..)?;
        Some((attribute_type, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn message(message_type: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (attribute_type, value) in attributes {
            body.extend(attribute_type.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = Vec::from(message_type.to_be_bytes());
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend([7; 12]);
        message.extend(body);
        message
    }

    #[test]
    fn request_with_username() {
        let bytes = message(1, &[(0x8022, b"x"), (6, b"ours:them"), (6, b"second")]);
        let view = StunView::parse(&bytes).unwrap();
        assert_eq!(
            (view.class(), view.method()),
            (Class::Request, METHOD_BINDING)
        );
        assert_eq!(view.transaction_id(), [7; 12]);
        assert_eq!(view.username(), Some("ours:them"));
        assert_eq!(view.attributes().count(), 3);
    }

    #[test]
    fn class_and_method_bits_are_interleaved() {
        // RFC 8489 §5, figure 3; Binding success is 0x0101, error 0x0111, indication 0x0011.
        for (message_type, class, method) in [
            (0x0101, Class::Success, 1),
            (0x0111, Class::Error, 1),
            (0x0011, Class::Indication, 1),
            (0x3eef, Class::Request, 0xfff),
        ] {
            let bytes = message(message_type, &[]);
            let view = StunView::parse(&bytes).unwrap();
            assert_eq!(
                (view.class(), view.method()),
                (class, method),
                "{message_type:#x}"
            );
        }
    }

    #[test]
    fn every_damage_has_its_error() {
        let good = message(1, &[(6, b"user")]);
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            StunView::parse(&bytes).map(|_| ())
        };
        assert_eq!(damaged(&|b| b.truncate(19)), Err(WireError::TooShort));
        assert_eq!(damaged(&|b| b[0] = 0x40), Err(WireError::BadVersion));
        assert_eq!(damaged(&|b| b[4] ^= 1), Err(WireError::BadVersion));
        assert_eq!(damaged(&|b| b.push(0)), Err(WireError::BadLength));
        assert_eq!(damaged(&|b| b.truncate(24)), Err(WireError::BadLength));
        assert_eq!(
            damaged(&|b| b[23] = 5),
            Err(WireError::BadLength),
            "attribute overruns"
        );
        assert_eq!(
            damaged(&|b| {
                b[3] = 6;
                b.truncate(26);
            }),
            Err(WireError::BadLength),
            "not in words"
        );
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..120), cookie: bool) {
            if cookie && bytes.len() >= HEADER_LEN {
                let length = u16::try_from(bytes.len() - HEADER_LEN).unwrap();
                bytes[0] &= 0x3f;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            }
            if let Ok(view) = StunView::parse(&bytes) {
                let total: usize =
                    view.attributes().map(|(_, value)| 4 + value.len().next_multiple_of(4)).sum();
                prop_assert_eq!(HEADER_LEN + total, bytes.len());
                let _ = (view.username(), view.class(), view.method());
            }
        }
    }
}
