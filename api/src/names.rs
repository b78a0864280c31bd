//! Names that arrive in paths and tokens, parsed once.
//!
//! Rooms and identities are 1 to 128 bytes of ASCII letters, digits and `-_.~@:+=|`, and not `.`
//! or `..` (which URL parsers remove from paths). That holds UUIDs, mail addresses and the ids of
//! the usual identity providers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;

const PUNCTUATION: &[u8] = b"-_.~@:+=|";

/// Why a string is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("must not be empty")]
    Empty,
    /// The string has more bytes than allowed.
    #[error("has {0} bytes, at most {1} are allowed")]
    TooLong(usize, usize),
    /// The string holds a character that is not allowed, or is `.` or `..`.
    #[error("may hold ASCII letters, digits and -_.~@:+=| only, and not be . or ..")]
    Charset,
}

fn check(name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong(name.len(), max));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || PUNCTUATION.contains(&b);
    if !name.bytes().all(allowed) || name == "." || name == ".." {
        return Err(NameError::Charset);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name; see [`NameError`] for what is refused.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check(name, $max)?;
                Ok(Self(name.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                check(&name, $max)?;
                Ok(Self(name))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// The name of a room, as it stands in paths and in the `room` grant.
    RoomName,
    limits::ROOM_NAME_BYTES
);
name!(
    /// Who a participant is: the `sub` of its token.
    Identity,
    limits::IDENTITY_BYTES
);

/// The id of a WHIP or WHEP session, a capability: whoever knows it may change or end the session.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// A new id of 128 random bits, in hexadecimal.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_hex::<16>().map(Self)
    }

    /// Parses an id: 1 to 64 of `A-Za-z0-9_-`. `None` for anything else, which no session has.
    pub fn parse(id: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let good =
            !id.is_empty() && id.len() <= limits::SESSION_ID_BYTES && id.bytes().all(allowed);
        good.then(|| Self(id.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Never the whole id: logs are read by people who may not end sessions.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", &self.0[..self.0.len().min(6)])
    }
}

/// So many random bytes, in hexadecimal.
///
/// # Errors
/// When the operating system gives no random bytes.
pub(crate) fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A display name for people: control characters removed, cut to
/// [`limits::DISPLAY_NAME_BYTES`] at a character boundary.
pub fn display_name(name: &str) -> String {
    let mut out: String = name.chars().filter(|c| !c.is_control()).collect();
    out.truncate(out.floor_char_boundary(limits::DISPLAY_NAME_BYTES));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_pass() {
        for name in [
            "a",
            "daily-standup",
            "auth0|5f7c",
            "jo.doe@example.org",
            "1:2+3=4~_",
        ] {
            assert_eq!(RoomName::parse(name).unwrap().as_str(), name);
        }
        assert!(Identity::parse(&"x".repeat(limits::IDENTITY_BYTES)).is_ok());
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(limits::ROOM_NAME_BYTES + 1);
        for name in [
            "", ".", "..", "a/b", "a b", "a\0", "a%2e", "<script>", "ü", "a\n", "\"", &long,
        ] {
            assert!(RoomName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn session_ids_differ_and_hide_in_logs() {
        let (a, b) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(SessionId::parse(a.as_str()), Some(a.clone()));
        assert!(!format!("{a:?}").contains(a.as_str()));
        for bad in [
            "",
            "a/b",
            "ä",
            "a.b",
            &"x".repeat(limits::SESSION_ID_BYTES + 1),
        ] {
            assert_eq!(SessionId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn display_names_are_cut_between_characters() {
        assert_eq!(display_name("a\u{1b}[2Jb\n"), "a[2Jb");
        let cut = display_name(&"ü".repeat(400));
        assert_eq!(cut.len(), limits::DISPLAY_NAME_BYTES);
    }
}
