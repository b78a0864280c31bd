//! The command line of `run`, and what is made of it.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use ion_api::token::{self, Claims};

use self::values::{duration, key, per_second, rate, sample};
use super::fail_if::Conditions;
use crate::media::clip::Codec;

/// Most sessions of one run, publishers, viewers and all who come by churn together.
const MAX_SESSIONS: usize = 100_000;
/// Longest run.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
const MAX_RAMP_HZ: f64 = 10_000.0;
/// Tokens are good for the run and this long, for all to join and leave.
const TOKEN_MARGIN: Duration = Duration::from_secs(3600);
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

/// Real clients, with ICE, DTLS and SRTP by str0m: WHIP publishers and WHEP viewers, or participants of the SDK's protocol.
///
/// With --signal, each session is a participant: --publishers of them publish, --viewers only play, and all play whatever
/// the others of their room publish.
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
    /// Address of the SDK's signalling: ws://127.0.0.1:7880/v1/signal
    #[arg(long, value_name = "URL", conflicts_with_all = ["whip", "whep"])]
    signal: Option<String>,
    /// Publishers over all rooms; with --mix meeting, participants of each room [default: one for each room]
    #[arg(long, value_name = "P")]
    publishers: Option<usize>,
    /// Viewers over all rooms; with --mix meeting they follow from the participants [default: 1; with --signal 0]
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
    /// Sign a token for each session with this key of the server, NAME:SECRET
    #[arg(long, env = "ION_LOADTEST_KEY", hide_env_values = true, conflicts_with = "token", value_parser = key)]
    key: Option<Key>,
    /// Use the management API at this address while sessions join, fifty requests a second, and measure its answers
    #[arg(long, value_name = "URL")]
    probe_api: Option<String>,
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

/// An API key and its secret.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl Key {
    /// A token that is good for a run of this length; `None` if the key cannot sign.
    pub(crate) fn mint(&self, claims: Claims, run: Duration) -> Option<String> {
        token::mint(&self.name, &self.secret, claims, run + TOKEN_MARGIN).ok()
    }
}

/// A run that makes sense.
pub(crate) struct Plan {
    pub(crate) whip: Option<String>,
    pub(crate) whep: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) probe_api: Option<String>,
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
    pub(crate) key: Option<Key>,
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
    /// Number within the room of the publisher that is played; participants play everybody else of their room.
    pub(crate) publisher: Option<usize>,
}

impl ViewerSpec {
    /// Which of the plan's publishers it plays, if they are ours.
    pub(crate) fn source(&self, plan: &Plan) -> Option<usize> {
        let played = PublisherSpec {
            room: self.room,
            number: self.publisher?,
        };
        plan.publishers
            .iter()
            .position(|publisher| *publisher == played)
    }
}

impl Plan {
    /// What all clients speak.
    pub(crate) fn codecs(&self) -> Vec<Codec> {
        let audio = self.mix.has_audio().then_some(Codec::Opus);
        let video = self.mix.has_video().then_some(self.codec);
        audio.into_iter().chain(video).collect()
    }

    /// The publisher of this name, if it is one of ours.
    pub(crate) fn publisher(&self, room: usize, name: &str) -> Option<usize> {
        let number = name.strip_prefix("pub-")?.parse().ok()?;
        let named = PublisherSpec { room, number };
        self.publishers.iter().position(|other| *other == named)
    }

    /// Tracks of ours that a session should receive.
    pub(crate) fn tracks_for(&self, viewer: &ViewerSpec) -> u64 {
        let publishers = match viewer.publisher {
            Some(_) => usize::from(viewer.source(self).is_some()),
            None => {
                let in_room = self
                    .publishers
                    .iter()
                    .filter(|other| other.room == viewer.room);
                let itself = usize::from(
                    viewer.number >= self.viewers.len() && viewer.number < self.sessions(),
                );
                in_room.count() - itself
            }
        };
        u64::try_from(publishers * self.codecs().len()).unwrap_or(0)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.publishers.len() + self.viewers.len()
    }
}

impl Options {
    /// Checks that the options make sense together.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        ensure!(
            self.whip.is_some() || self.whep.is_some() || self.signal.is_some(),
            "give --whip, --whep, or both; or --signal"
        );
        for (name, url) in [
            ("--whip", &self.whip),
            ("--whep", &self.whep),
            ("--probe-api", &self.probe_api),
        ] {
            let Some(url) = url else { continue };
            ensure!(
                url.starts_with("http://") || url.starts_with("https://"),
                "{name} must begin with http:// or https://, and not be {url:?}"
            );
        }
        let socket = self.signal.as_ref();
        ensure!(
            socket.is_none_or(|url| url.starts_with("ws://")),
            "--signal must begin with ws://, and not be {socket:?}"
        );
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
            signal: self.signal.clone(),
            probe_api: self.probe_api.clone(),
            ramp_hz: self.ramp,
            churn_hz: self.churn,
            token: self.token.clone(),
            key: self.key.clone(),
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
        let signal = self.signal.as_ref();
        let publishers = match (self.whip.as_ref().or(signal), self.publishers) {
            (Some(_), count) => count.unwrap_or(rooms),
            (None, None | Some(0)) => 0,
            (None, Some(_)) => bail!("--publishers needs --whip"),
        };
        let viewers = match (self.whep.as_ref().or(signal), self.viewers) {
            (Some(_), count) => count.unwrap_or(usize::from(signal.is_none())),
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
                publishers == rooms || named || signal.is_some(),
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
                        publisher: signal
                            .is_none()
                            .then(|| number / rooms % in_room(room).max(1)),
                    }
                })
                .collect(),
        ))
    }

    /// Rooms in which everybody plays everybody else.
    fn meeting(&self) -> anyhow::Result<(Vec<PublisherSpec>, Vec<ViewerSpec>)> {
        let participants = self.publishers.unwrap_or(10);
        ensure!(
            self.signal.is_some() || self.whip.is_some() && self.whep.is_some(),
            "--mix meeting needs both --whip and --whep, or --signal"
        );
        ensure!(
            self.viewers.is_none(),
            "with --mix meeting the viewers follow from --publishers: leave out --viewers"
        );
        ensure!(
            (2..=1000).contains(&participants),
            "a meeting has from 2 to 1000 --publishers, not {participants}"
        );
        ensure!(
            self.whep
                .as_ref()
                .is_none_or(|url| url.contains("{publisher}")),
            "with --mix meeting the address of --whep must say by {{publisher}} whom to play"
        );
        let sessions = if self.signal.is_some() {
            1
        } else {
            participants
        };
        let total = self.rooms * participants * sessions;
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
                if self.signal.is_some() {
                    continue;
                }
                for publisher in (0..participants).filter(|other| *other != number) {
                    viewers.push(ViewerSpec {
                        number: viewers.len(),
                        room,
                        publisher: Some(publisher),
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

#[cfg(test)]
mod tests;
