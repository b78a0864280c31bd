//! The command line of `run`, and what is made of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::fail_if::Conditions;
use crate::media::clip::Codec;

/// Most sessions of one run, publishers, viewers and all who come by churn together.
const MAX_SESSIONS: usize = 100_000;
/// Longest run.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
const MAX_RAMP_HZ: f64 = 10_000.0;
const MAX_CHURN_PER_MINUTE: f64 = 6_000.0;

/// What is sent to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Each publisher sends one video; each viewer plays one publisher
    Video,
    /// The same with one Opus stream
    Audio,
    /// The same with both
    Av,
    /// Rooms of P participants: each sends audio and video and plays all the others
    Meeting,
}

impl Mix {
    pub(crate) fn has_audio(self) -> bool {
        self != Self::Video
    }

    pub(crate) fn has_video(self) -> bool {
        self != Self::Audio
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum VideoCodec {
    Vp8,
    H264,
}

impl From<VideoCodec> for Codec {
    fn from(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::Vp8 => Self::Vp8,
            VideoCodec::H264 => Self::H264,
        }
    }
}

/// Real clients: WHIP publishers and WHEP viewers, with ICE, DTLS and SRTP by str0m.
///
/// In addresses and the token, {room} stands for the room (load-0, load-1, …), {publisher} for the name of the
/// publisher who sends or is played (pub-0, … within its room), {client} for a name of the session's
/// own (a publisher's is the same as {publisher}; viewers are viewer-0, …).
///
/// With --whep alone somebody else publishes: loss is then told by sequence numbers, and there is no latency.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// WHIP address of the publishers
    #[arg(long, value_name = "URL")]
    whip: Option<String>,
    /// WHEP address of the viewers
    #[arg(long, value_name = "URL")]
    whep: Option<String>,
    /// Publishers over all rooms; with --mix meeting, participants of each room [default: one for each room]
    #[arg(long, value_name = "P")]
    publishers: Option<usize>,
    /// Viewers over all rooms; with --mix meeting they follow from the participants [default: 1]
    #[arg(long, value_name = "V")]
    viewers: Option<usize>,
    /// Rooms over which publishers and viewers are spread in turn
    #[arg(long, value_name = "R", default_value_t = 1)]
    rooms: usize,
    /// How long all are there, after the last was told to join: 90s, 30m, 1h
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    #[arg(long, value_enum, default_value_t = Mix::Video)]
    mix: Mix,
    /// Video bitrate: 500k, 1500k (or 1.5M), 2200k, as made by scripts/media.sh [default: 1500k; 2200k for meetings]
    #[arg(long, value_parser = rate)]
    rate: Option<u64>,
    #[arg(long, value_enum, default_value_t = VideoCodec::Vp8)]
    codec: VideoCodec,
    /// Joins per second: 50/s, 600/min
    #[arg(long, default_value = "50/s", value_parser = per_second, value_name = "N/s")]
    ramp: f64,
    /// Viewers who leave each minute, each replaced by a new one at once: 200/min
    #[arg(long, default_value = "0/min", value_parser = per_second, value_name = "N/min")]
    churn: f64,
    /// Bearer token
    #[arg(long, env = "ION_LOADTEST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Generator threads; each uses up to one core
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Let only one viewer in N decrypt and count its media; the others only keep their session alive
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = sample)]
    decrypt_sample: usize,
    /// Local address of the clients [default: the one that leads to the server]
    #[arg(long, value_name = "IP")]
    bind: Option<std::net::IpAddr>,
    /// Folder with the encoded media
    #[arg(long, value_name = "DIR", default_value = "loadtest/media")]
    media: PathBuf,
    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit with status 1 when one of these holds: 'loss>0.1%,latency_p99>20ms,joins_failed>0'
    #[arg(long, value_name = "CONDITIONS")]
    fail_if: Option<Conditions>,
    /// Show progress even where stderr is no terminal
    #[arg(long)]
    progress: bool,
}

/// A run that makes sense.
pub(crate) struct Plan {
    pub(crate) whip: Option<String>,
    pub(crate) whep: Option<String>,
    pub(crate) rooms: usize,
    pub(crate) publishers: Vec<PublisherSpec>,
    pub(crate) viewers: Vec<ViewerSpec>,
    pub(crate) duration: Duration,
    pub(crate) mix: Mix,
    pub(crate) codec: Codec,
    pub(crate) video: Option<PathBuf>,
    pub(crate) audio: Option<PathBuf>,
    pub(crate) ramp_hz: f64,
    pub(crate) churn_hz: f64,
    pub(crate) token: Option<String>,
    pub(crate) threads: usize,
    pub(crate) decrypt_sample: usize,
    pub(crate) bind: Option<std::net::IpAddr>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) fail_if: Conditions,
    pub(crate) progress: bool,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherSpec {
    pub(crate) room: usize,
    /// Number within the room.
    pub(crate) number: usize,
}

/// Who plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewerSpec {
    /// Number over all rooms.
    pub(crate) number: usize,
    pub(crate) room: usize,
    /// Number within the room of the publisher that is played.
    pub(crate) publisher: usize,
}

impl ViewerSpec {
    /// Which of the plan's publishers it plays, if they are ours.
    pub(crate) fn source(&self, plan: &Plan) -> Option<usize> {
        let played = PublisherSpec {
            room: self.room,
            number: self.publisher,
        };
        plan.publishers
            .iter()
            .position(|publisher| *publisher == played)
    }
}

impl Options {
    /// Checks that the options make sense together.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        ensure!(
            self.whip.is_some() || self.whep.is_some(),
            "give --whip, --whep, or both"
        );
        for (name, url) in [("--whip", &self.whip), ("--whep", &self.whep)] {
            let Some(url) = url else { continue };
            ensure!(
                url.starts_with("http://") || url.starts_with("https://"),
                "{name} must begin with http:// or https://, and not be {url:?}"
            );
        }
        self.check_numbers()?;
        let (publishers, viewers) = if self.mix == Mix::Meeting {
            self.meeting()?
        } else {
            self.audience()?
        };
        let sessions = publishers.len() + viewers.len();
        let by_churn = self.churn * self.duration.as_secs_f64();
        ensure!(
            sessions > 0,
            "there is nobody to send or play: give --publishers or --viewers"
        );
        #[expect(
            clippy::cast_precision_loss,
            reason = "compared with a bound of five digits"
        )]
        let all = sessions as f64 + by_churn;
        #[expect(clippy::cast_precision_loss, reason = "a bound of six digits")]
        let most = MAX_SESSIONS as f64;
        ensure!(
            all <= most,
            "this would be {all:.0} sessions: at most {MAX_SESSIONS} are possible"
        );
        ensure!(
            self.churn == 0.0 || !viewers.is_empty(),
            "--churn needs viewers"
        );
        let rate = self.rate.unwrap_or(if self.mix == Mix::Meeting {
            2_200_000
        } else {
            1_500_000
        });
        Ok(Plan {
            rooms: self.rooms,
            duration: self.duration,
            mix: self.mix,
            codec: self.codec.into(),
            video: (self.mix.has_video() && !publishers.is_empty())
                .then(|| self.video_file(rate))
                .transpose()?,
            audio: (self.mix.has_audio() && !publishers.is_empty())
                .then(|| self.file("opus.ogg"))
                .transpose()?,
            publishers,
            viewers,
            whip: self.whip.clone(),
            whep: self.whep.clone(),
            ramp_hz: self.ramp,
            churn_hz: self.churn,
            token: self.token.clone(),
            threads: self.threads,
            decrypt_sample: self.decrypt_sample,
            bind: self.bind,
            json: self.json.clone(),
            html: self.html.clone(),
            fail_if: self.fail_if.clone().unwrap_or_default(),
            progress: self.progress,
        })
    }

    fn check_numbers(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=256).contains(&self.threads),
            "--threads must be from 1 to 256, not {}",
            self.threads
        );
        ensure!(
            (1..=MAX_SESSIONS).contains(&self.rooms),
            "--rooms must be from 1 to {MAX_SESSIONS}, not {}",
            self.rooms
        );
        for (name, count) in [
            ("--publishers", self.publishers),
            ("--viewers", self.viewers),
        ] {
            ensure!(
                count.unwrap_or(0) <= MAX_SESSIONS,
                "{name} must be at most {MAX_SESSIONS}"
            );
        }
        ensure!(
            !self.duration.is_zero() && self.duration <= MAX_DURATION,
            "--duration must be more than 0 and at most 24h"
        );
        ensure!(
            self.ramp > 0.0 && self.ramp <= MAX_RAMP_HZ,
            "--ramp must be more than 0 and at most {MAX_RAMP_HZ}/s"
        );
        ensure!(
            self.churn * 60.0 <= MAX_CHURN_PER_MINUTE,
            "--churn must be at most {MAX_CHURN_PER_MINUTE}/min"
        );
        Ok(())
    }

    /// Publishers and viewers in turn over all rooms.
    fn audience(&self) -> anyhow::Result<(Vec<PublisherSpec>, Vec<ViewerSpec>)> {
        let rooms = self.rooms;
        let publishers = match (&self.whip, self.publishers) {
            (Some(_), count) => count.unwrap_or(rooms),
            (None, None | Some(0)) => 0,
            (None, Some(_)) => bail!("--publishers needs --whip"),
        };
        let viewers = match (&self.whep, self.viewers) {
            (Some(_), count) => count.unwrap_or(1),
            (None, None | Some(0)) => 0,
            (None, Some(_)) => bail!("--viewers needs --whep"),
        };
        let named = self
            .whep
            .as_ref()
            .is_some_and(|url| url.contains("{publisher}"));
        if publishers > 0 && viewers > 0 {
            ensure!(
                publishers >= rooms,
                "{rooms} rooms need at least as many publishers, not {publishers}"
            );
            ensure!(
                publishers == rooms || named,
                "with several publishers in a room the address of --whep must say by {{publisher}} which one to play"
            );
        }
        self.check_rooms(publishers + viewers)?;
        let in_room = |room: usize| (publishers + rooms - 1 - room) / rooms;
        Ok((
            (0..publishers)
                .map(|at| PublisherSpec {
                    room: at % rooms,
                    number: at / rooms,
                })
                .collect(),
            (0..viewers)
                .map(|number| {
                    let room = number % rooms;
                    ViewerSpec {
                        number,
                        room,
                        publisher: number / rooms % in_room(room).max(1),
                    }
                })
                .collect(),
        ))
    }

    /// Rooms in which everybody plays everybody else.
    fn meeting(&self) -> anyhow::Result<(Vec<PublisherSpec>, Vec<ViewerSpec>)> {
        let participants = self.publishers.unwrap_or(10);
        let (Some(_), Some(whep)) = (&self.whip, &self.whep) else {
            bail!("--mix meeting needs both --whip and --whep");
        };
        ensure!(
            self.viewers.is_none(),
            "with --mix meeting the viewers follow from --publishers: leave out --viewers"
        );
        ensure!(
            (2..=1000).contains(&participants),
            "a meeting has from 2 to 1000 --publishers, not {participants}"
        );
        ensure!(
            whep.contains("{publisher}"),
            "with --mix meeting the address of --whep must say by {{publisher}} whom to play"
        );
        let total = self.rooms * participants * participants;
        ensure!(
            total <= MAX_SESSIONS,
            "this would be {total} sessions: at most {MAX_SESSIONS} are possible"
        );
        self.check_rooms(total)?;
        let mut publishers = Vec::new();
        let mut viewers = Vec::new();
        for room in 0..self.rooms {
            for number in 0..participants {
                publishers.push(PublisherSpec { room, number });
                for publisher in (0..participants).filter(|other| *other != number) {
                    viewers.push(ViewerSpec {
                        number: viewers.len(),
                        room,
                        publisher,
                    });
                }
            }
        }
        Ok((publishers, viewers))
    }

    fn check_rooms(&self, sessions: usize) -> anyhow::Result<()> {
        let rooms = self.rooms;
        ensure!(
            sessions == 0 || rooms <= sessions,
            "{rooms} rooms for {sessions} sessions: some would be empty"
        );
        for (name, url) in [("--whip", &self.whip), ("--whep", &self.whep)] {
            let Some(url) = url else { continue };
            ensure!(
                rooms == 1 || url.contains("{room}"),
                "with --rooms {rooms} the address of {name} must have {{room}}"
            );
        }
        Ok(())
    }

    fn video_file(&self, rate: u64) -> anyhow::Result<PathBuf> {
        let (prefix, suffix) = match self.codec {
            VideoCodec::Vp8 => ("vp8", "ivf"),
            VideoCodec::H264 => ("h264", "h264"),
        };
        self.file(&format!("{prefix}-{}k.{suffix}", rate / 1000))
    }

    fn file(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.media.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let mut there: Vec<String> = std::fs::read_dir(&self.media)
            .with_context(|| {
                format!(
                    "there is no folder {}: `make media` makes it",
                    self.media.display()
                )
            })?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        there.sort();
        bail!(
            "there is no {name} in {}, only: {}; `make media` makes them",
            self.media.display(),
            there.join(", ")
        )
    }
}

/// `90s`, `500ms`, `30m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
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
fn rate(text: &str) -> Result<u64, String> {
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
fn per_second(text: &str) -> Result<f64, String> {
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
fn sample(text: &str) -> Result<usize, String> {
    let one_in = text.strip_prefix("1/").unwrap_or(text).parse();
    one_in
        .ok()
        .filter(|one_in| (1..=MAX_SESSIONS).contains(one_in))
        .ok_or_else(|| format!("{text:?} is no 1/N"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plan(line: &str) -> anyhow::Result<Plan> {
        let line = ["ion-loadtest"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(line)?.options.plan()
    }

    const WHEP: &str = "--whep http://127.0.0.1/whep/{room}";

    #[test]
    fn viewers_alone_are_spread_over_rooms() {
        let plan = plan(&format!(
            "{WHEP} --viewers 5 --rooms 2 --ramp 120/min --duration 1.5m"
        ))
        .unwrap();
        assert_eq!(
            (plan.publishers.len(), plan.duration),
            (0, Duration::from_secs(90))
        );
        assert_eq!(
            plan.viewers
                .iter()
                .map(|viewer| viewer.room)
                .collect::<Vec<_>>(),
            [0, 1, 0, 1, 0]
        );
        assert!((plan.ramp_hz - 2.0).abs() < 1e-9);
        assert_eq!(plan.viewers[0].source(&plan), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_says_why() {
        for (line, why) in [
            ("", "--whip"),
            ("--whep ftp://x", "http://"),
            (&format!("{WHEP} --viewers 0"), "nobody"),
            (&format!("{WHEP} --publishers 1"), "--whip"),
            (&format!("{WHEP} --threads 0"), "--threads"),
            (&format!("{WHEP} --duration 0s"), "--duration"),
            (&format!("{WHEP} --duration 25h"), "24h"),
            (&format!("{WHEP} --ramp 0/s"), "--ramp"),
            (&format!("{WHEP} --ramp fast"), "50/s"),
            (&format!("{WHEP} --viewers 100001"), "100000"),
            (&format!("{WHEP} --viewers 2 --rooms 3"), "empty"),
            (
                &format!("{WHEP} --churn 6000/min --duration 24h"),
                "sessions",
            ),
            ("--whep http://x/whep/live --viewers 4 --rooms 2", "{room}"),
            (
                &format!("--whip http://x/{{room}} {WHEP} --publishers 2"),
                "{publisher}",
            ),
            (
                &format!("--whip http://x/{{room}} {WHEP} --mix meeting"),
                "{publisher}",
            ),
            (&format!("{WHEP} --mix meeting"), "both"),
            (&format!("{WHEP} --rate 7"), "bitrate"),
            (&format!("{WHEP} --fail-if los>1%"), "los"),
        ] {
            let error = plan(line)
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default();
            assert!(
                error.contains(why),
                "{line}: {error:?} does not say {why:?}"
            );
        }
    }

    #[test]
    fn units_are_understood() {
        assert_eq!(rate("1.5M"), Ok(1_500_000));
        assert_eq!(rate("500k"), Ok(500_000));
        assert!(rate("NaNk").is_err() && rate("1e30M").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("-1s").is_err() && duration("infs").is_err() && duration("5").is_err());
        assert!(
            per_second("inf/s").is_err()
                && per_second("-1/s").is_err()
                && per_second("1/h").is_err()
        );
        assert_eq!((sample("1/10"), sample("3")), (Ok(10), Ok(3)));
        assert!(sample("1/0").is_err() && sample("2/3").is_err());
    }
}
