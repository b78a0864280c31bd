//! Values as they are written on the command line.

use std::time::Duration;

use super::{Key, MAX_SESSIONS};

/// `NAME:SECRET`.
pub(super) fn key(text: &str) -> Result<Key, String> {
    let (name, secret) = text
        .split_once(':')
        .ok_or("a key is given as NAME:SECRET")?;
    Ok(Key {
        name: name.trim().to_owned(),
        secret: secret.trim().to_owned(),
    })
}

/// `90s`, `500ms`, `30m`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 500ms, 90s, 30m or 2h");
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let seconds = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let count: f64 = text[..at].parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(count * seconds).map_err(|_| wrong())
}

/// `1.5M`, `1500k`, in bits per second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no bitrate such as 500k or 1.5M");
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => (text.strip_suffix(['m', 'M']).ok_or_else(wrong)?, 1e6),
    };
    let bits = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if !(1e3..=1e9).contains(&bits) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 1e3 to 1e9"
    )]
    Ok(bits.round() as u64)
}

/// `50/s`, `200/min`, in Hz.
pub(super) fn per_second(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no rate such as 50/s or 200/min");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let count: f64 = count.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1.0,
        "min" | "m" => 60.0,
        _ => return Err(wrong()),
    };
    if count.is_finite() && count >= 0.0 {
        Ok(count / seconds)
    } else {
        Err(wrong())
    }
}

/// `1/10` or `10`: one in ten.
pub(super) fn sample(text: &str) -> Result<usize, String> {
    let one_in = text.strip_prefix("1/").unwrap_or(text).parse();
    one_in
        .ok()
        .filter(|one_in| (1..=MAX_SESSIONS).contains(one_in))
        .ok_or_else(|| format!("{text:?} is no 1/N"))
}
