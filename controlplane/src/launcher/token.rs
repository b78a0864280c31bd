//! `ion token create` and `ion key create`.

use std::time::Duration;

use ion_api::names::{Identity, RoomName, SessionId};
use ion_api::token::{Claims, Grants, Keys, mint};

use crate::settings::Flags;

/// Longest life of a token: a year.
const LONGEST: Duration = Duration::from_secs(ion_api::limits::TOKEN_TTL_S);

/// Arguments of `ion token create`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Room that the token is for
    #[arg(long)]
    pub room: String,
    /// Identity of the holder, unique in the room
    #[arg(long)]
    pub identity: String,
    /// Display name
    #[arg(long, default_value = "")]
    pub name: String,
    /// May publish; without --publish and --subscribe, both
    #[arg(long)]
    pub publish: bool,
    /// May play
    #[arg(long)]
    pub subscribe: bool,
    /// Is not shown to others
    #[arg(long)]
    pub hidden: bool,
    /// May see into the room and govern it over /v1
    #[arg(long)]
    pub admin: bool,
    /// Room that --admin may move participants to, and forward tracks to
    #[arg(long, requires = "admin")]
    pub destination_room: Option<String>,
    /// May list all rooms and see the server's status over /v1
    #[arg(long)]
    pub list: bool,
    /// May do what only the holder of a key may: keys, users, tokens, webhooks, every room
    #[arg(long)]
    pub server_admin: bool,
    /// How long the token admits: 90s, 15m, 12h, 7d
    #[arg(long, default_value = "1h")]
    pub ttl: String,
    /// API key to sign with [default: the first one configured]
    #[arg(long, requires = "secret")]
    pub key: Option<String>,
    /// Secret of --key
    #[arg(long, requires = "key")]
    pub secret: Option<String>,
    /// Where the configured keys are.
    #[command(flatten)]
    pub flags: Flags,
}

/// Makes a token, signed with a key of `keys` unless the arguments bring their own.
///
/// # Errors
/// A sentence for the user.
pub fn create(args: &TokenArgs, keys: &Keys) -> Result<String, String> {
    let own = args.key.as_deref().zip(args.secret.as_deref());
    let (key, secret) = own.or_else(|| keys.first()).ok_or("there is no API key")?;
    if key.is_empty() || secret.is_empty() {
        return Err("--key and --secret must not be empty; give those of the server".to_owned());
    }
    let room = RoomName::parse(&args.room).map_err(|e| format!("--room {e}"))?;
    let destination = args.destination_room.as_deref().map(RoomName::parse);
    let destination = destination
        .transpose()
        .map_err(|e| format!("--destination-room {e}"))?;
    let identity = Identity::parse(&args.identity).map_err(|e| format!("--identity {e}"))?;
    let both = !args.publish && !args.subscribe;
    let claims = Claims {
        sub: identity.into(),
        name: args.name.clone(),
        video: Grants {
            room_join: true,
            room: room.into(),
            can_publish: Some(args.publish || both),
            can_publish_data: Some(args.publish || both),
            can_subscribe: Some(args.subscribe || both),
            room_admin: args.admin,
            destination_room: destination.map(String::from).unwrap_or_default(),
            room_list: args.list,
            server_admin: args.server_admin,
            hidden: args.hidden,
            ..Grants::default()
        },
        ..Claims::default()
    };
    mint(key, secret, claims, duration(&args.ttl)?).map_err(|e| e.to_string())
}

/// A short-lived token of a key's holder, for the command line.
pub fn for_holder(keys: &Keys) -> Option<String> {
    let (key, secret) = keys.first()?;
    let video = Grants {
        server_admin: true,
        ..Grants::default()
    };
    let claims = Claims {
        sub: "ion-cli".to_owned(),
        video,
        ..Claims::default()
    };
    mint(key, secret, claims, Duration::from_secs(60)).ok()
}

/// A new API key and secret, as lines for `ion.toml`.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn new_key() -> Result<String, String> {
    let random = || SessionId::random().map_err(|e| format!("no random bytes: {e}"));
    let (name, low, high) = (random()?, random()?, random()?);
    let name = &name.as_str()[..8];
    Ok(format!(
        "[keys]\nion-{name} = \"{}{}\"",
        low.as_str(),
        high.as_str()
    ))
}

/// Reads `90s`, `15m`, `12h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("--ttl {text}: expected a number and s, m, h or d, at most 366d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let duration = Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?);
    (!duration.is_zero() && duration <= LONGEST)
        .then_some(duration)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use ion_api::token::Expiry;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        token: TokenArgs,
    }

    fn claims(line: &str) -> Result<Claims, String> {
        let keys = Keys::from_iter([("first", "s1"), ("second", "s2")]);
        let args = Cli::parse_from(std::iter::once("ion").chain(line.split(' '))).token;
        let token = create(&args, &keys)?;
        let mut all = keys;
        all.insert("own", "s3");
        Ok(all
            .verify(&token, Expiry::Enforce)
            .expect("a token that verifies"))
    }

    #[test]
    fn grants_follow_the_flags() {
        let both = claims("--room r --identity i").unwrap();
        assert_eq!((both.iss.as_str(), both.sub.as_str()), ("first", "i"));
        assert_eq!(
            (both.video.can_publish, both.video.can_subscribe),
            (Some(true), Some(true))
        );
        assert!(both.video.room_join && !both.video.room_admin && !both.video.room_list);

        let viewer = claims("--room r --identity i --subscribe --ttl 15m").unwrap();
        let video = &viewer.video;
        assert_eq!(
            (video.can_publish, video.can_subscribe),
            (Some(false), Some(true))
        );
        assert_eq!(viewer.exp - viewer.nbf.unwrap(), 900);

        let own = claims("--room r --identity i --key own --secret s3 --admin --list").unwrap();
        assert_eq!(own.iss, "own");
        assert!(own.video.room_admin && own.video.room_list);
        let mover = claims("--room r --identity i --admin --destination-room s").unwrap();
        assert_eq!(mover.video.destination_room, "s");
    }

    #[test]
    fn bad_arguments_are_explained() {
        for (line, word) in [
            ("--room a/b --identity i", "--room"),
            ("--room r --identity ..", "--identity"),
            (
                "--room r --identity i --admin --destination-room ..",
                "--destination-room",
            ),
            ("--room r --identity i --ttl 1y", "--ttl 1y"),
            ("--room r --identity i --ttl 0s", "--ttl 0s"),
            ("--room r --identity i --ttl 99999999999999999999d", "--ttl"),
            ("--room r --identity i --ttl ü", "--ttl"),
            ("--room r --identity i --key  --secret s", "--key"),
            ("--room r --identity i --key k --secret ", "--secret"),
        ] {
            assert!(claims(line).unwrap_err().contains(word), "{line}");
        }
    }

    #[test]
    fn a_new_key_is_a_settings_file() {
        let text = new_key().unwrap();
        let loaded = crate::settings::Settings::from_sources(
            Some(("ion.toml", &text)),
            &[],
            &Flags::default(),
        )
        .unwrap();
        assert!(loaded.warnings.is_empty());
        assert_ne!(text, new_key().unwrap());
    }
}
