//! What the threads of a run share.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ion_api::token::{Claims, Grants};

use super::client::Beginning;
use super::meter::Origin;
use super::options::Plan;
use super::publisher::Track;
use crate::media::clip::Codec;

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Publishers and viewers come.
    Joining,
    /// All were told to come.
    Steady,
    /// Viewers stop counting; publishers go on.
    Leaving,
    /// Everybody goes.
    Closing,
}

const PHASES: [Phase; 4] = [
    Phase::Joining,
    Phase::Steady,
    Phase::Leaving,
    Phase::Closing,
];

/// What one publisher sends.
pub(crate) struct Tracks {
    pub(crate) audio: Option<Track>,
    pub(crate) video: Option<Track>,
}

impl Tracks {
    pub(crate) fn all(&self) -> Vec<Track> {
        self.audio.iter().chain(&self.video).cloned().collect()
    }
}

pub(crate) struct Shared {
    pub(crate) plan: Plan,
    /// By publisher.
    pub(crate) tracks: Vec<Tracks>,
    /// Local address of all clients.
    pub(crate) bind: IpAddr,
    pub(crate) started: Instant,
    phase: AtomicU8,
    viewers_from: OnceLock<Instant>,
    closing_from: OnceLock<Instant>,
    viewer_numbers: AtomicUsize,
    publishers_live: AtomicUsize,
    publishers_failed: AtomicUsize,
    viewers_live: AtomicUsize,
    viewers_failed: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(plan: Plan, tracks: Vec<Tracks>, bind: IpAddr) -> Self {
        Self {
            viewer_numbers: AtomicUsize::new(plan.sessions()),
            plan,
            tracks,
            bind,
            started: Instant::now(),
            phase: AtomicU8::new(0),
            viewers_from: OnceLock::new(),
            closing_from: OnceLock::new(),
            publishers_live: AtomicUsize::new(0),
            publishers_failed: AtomicUsize::new(0),
            viewers_live: AtomicUsize::new(0),
            viewers_failed: AtomicUsize::new(0),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Acquire)).min(PHASES.len() - 1)]
    }

    pub(crate) fn enter(&self, phase: Phase) {
        if phase == Phase::Closing {
            self.closing_from.get_or_init(Instant::now);
        }
        let at = PHASES.iter().position(|other| *other == phase).unwrap_or(0);
        self.phase
            .store(u8::try_from(at).unwrap_or(0), Ordering::Release);
    }

    /// For how long everybody has been going.
    pub(crate) fn closing_for(&self, now: Instant) -> Duration {
        self.closing_from
            .get()
            .map_or(Duration::ZERO, |from| now.saturating_duration_since(*from))
    }

    pub(crate) fn publisher_due(&self, index: usize) -> Instant {
        self.started + self.ramp(index)
    }

    /// `None` until viewers may come; those who come by churn come at once.
    pub(crate) fn viewer_due(&self, number: usize) -> Option<Instant> {
        let from = *self.viewers_from.get()?;
        Some(if number < self.plan.viewers.len() {
            from + self.ramp(number)
        } else {
            from
        })
    }

    /// How long after the first the session with this index joins.
    pub(crate) fn ramp(&self, index: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred thousand")]
        Duration::from_secs_f64(index as f64 / self.plan.ramp_hz)
    }

    pub(crate) fn let_viewers_in(&self) {
        self.viewers_from.get_or_init(Instant::now);
    }

    /// The number of a further viewer.
    pub(crate) fn next_viewer(&self) -> usize {
        self.viewer_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn publisher_settled(&self, live: bool) {
        let counter = if live {
            &self.publishers_live
        } else {
            &self.publishers_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn viewer_settled(&self, live: bool) {
        let counter = if live {
            &self.viewers_live
        } else {
            &self.viewers_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishers that are live, and that failed.
    pub(crate) fn publishers(&self) -> (usize, usize) {
        (
            self.publishers_live.load(Ordering::Relaxed),
            self.publishers_failed.load(Ordering::Relaxed),
        )
    }

    /// Viewers that have joined so far, and that failed.
    pub(crate) fn viewers(&self) -> (usize, usize) {
        (
            self.viewers_live.load(Ordering::Relaxed),
            self.viewers_failed.load(Ordering::Relaxed),
        )
    }

    /// Different numbers for each publisher, the same in each run.
    pub(crate) fn beginning(&self, index: usize) -> Beginning {
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred thousand")]
        let stagger = index as f64 / self.plan.publishers.len() as f64;
        Beginning {
            stagger,
            seed: (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Where a track comes from: this publisher of ours, or somebody else.
    pub(crate) fn origin(&self, publisher: Option<usize>, video: bool) -> Origin {
        let track = publisher.and_then(|at| {
            let tracks = &self.tracks[at];
            if video {
                tracks.video.clone()
            } else {
                tracks.audio.clone()
            }
        });
        match track {
            Some(track) => Origin::Ours {
                clip: track.clip,
                log: track.log,
            },
            None => Origin::Foreign {
                clock_hz: if video {
                    90_000
                } else {
                    Codec::Opus.clock_hz()
                },
                video,
            },
        }
    }

    /// Whether all of the plan's sessions have joined, or failed to.
    pub(crate) fn all_settled(&self) -> bool {
        let count = |(live, failed): (usize, usize)| live + failed;
        let publish = self.plan.publishers.len();
        let play = self.plan.viewers.len()
            + if self.plan.signal.is_some() {
                publish
            } else {
                0
            };
        count(self.publishers()) >= publish && count(self.viewers()) >= play
    }

    pub(crate) fn names(&self, room: usize, publisher: &str, client: &str) -> Names {
        Names {
            room: format!("load-{room}"),
            publisher: publisher.to_owned(),
            client: client.to_owned(),
        }
    }
}

/// What the placeholders of a session stand for.
pub(crate) struct Names {
    room: String,
    publisher: String,
    client: String,
}

impl Names {
    pub(crate) fn fill(&self, template: &str) -> String {
        template
            .replace("{room}", &self.room)
            .replace("{publisher}", &self.publisher)
            .replace("{client}", &self.client)
    }

    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    /// What the session shows to the server.
    pub(crate) fn token(&self, shared: &Shared) -> Option<String> {
        let plan = &shared.plan;
        let Some(key) = &plan.key else {
            return plan.token.as_deref().map(|token| self.fill(token));
        };
        let claims = Claims {
            sub: self.client.clone(),
            video: Grants {
                room_join: true,
                room: self.room.clone(),
                ..Grants::default()
            },
            ..Claims::default()
        };
        key.mint(claims, plan.duration)
    }
}

/// Datagrams that overflowed a socket, by the kernel's own count (`SO_MEMINFO`, Linux 4.12).
pub(crate) fn socket_drops(socket: &UdpSocket) -> u64 {
    /// Index of the drops in what the kernel tells (`SK_MEMINFO_DROPS` of linux/sock_diag.h).
    const DROPS: usize = 8;
    let mut values = [0_u32; DROPS + 1];
    let Ok(mut len) = libc::socklen_t::try_from(size_of_val(&values)) else {
        return 0;
    };
    // SAFETY: the descriptor is open as long as `socket` is borrowed; `values` is valid for writes of `len`
    // bytes, any bytes are valid `u32`s, and the kernel writes no more than `len`.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if status == 0 {
        u64::from(values[DROPS])
    } else {
        0
    }
}
