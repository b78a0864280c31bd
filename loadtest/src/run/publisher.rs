//! A publisher: sends its clips in a loop, in time, and jumps to a keyframe when one is asked for.

use std::sync::Arc;
use std::time::Instant;

use str0m::Rtc;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpWrite, Ssrc};

use super::clock::wall_ns;
use super::send_log::{Cursor, SendLog};
use crate::media::clip::{Clip, Codec};
use crate::media::vp8;

/// Requests for keyframes are answered at most this often, as encoders do; one that comes sooner waits. It also bounds how
/// soon a packet of the loop can be sent again.
const KEYFRAME_INTERVAL_NS: u64 = 300_000_000;
/// A publisher that fell behind by more than this leaves the past out.
const MAX_BEHIND_NS: u64 = 500_000_000;

/// A clip and the log of what was sent of it.
#[derive(Clone)]
pub(crate) struct Track {
    pub(crate) clip: Arc<Clip>,
    pub(crate) log: Arc<SendLog>,
}

impl Track {
    pub(crate) fn new(clip: &Arc<Clip>) -> Self {
        Self {
            clip: Arc::clone(clip),
            log: Arc::new(SendLog::new(clip)),
        }
    }
}

/// One track under way.
pub(crate) struct Sending {
    track: Track,
    pub(crate) mid: Mid,
    route: Option<(Pt, Ssrc)>,
    /// Frame of the clip that comes next.
    position: usize,
    cursor: Cursor,
    /// Sequence number of the first packet.
    first_seq: u64,
    /// RTP timestamp of the first frame.
    first_timestamp: u32,
    /// RTP ticks from the first frame to the next one.
    ticks: u64,
    started_ns: Option<u64>,
    last_keyframe_ns: u64,
    keyframe_wanted: bool,
    /// The frame whose packets are being handed to the network: packets of the clip, and the ordinal of the first.
    leaving: (std::ops::Range<usize>, u64),
}

impl Sending {
    /// `stagger` (0 to 1) shifts where in the loop it begins, so that publishers do not send their keyframes together.
    pub(crate) fn new(track: &Track, mid: Mid, stagger: f64, seed: u64) -> Self {
        let keyframes: Vec<usize> = track
            .clip
            .frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.keyframe)
            .map(|(at, _)| at)
            .collect();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few hundred"
        )]
        let start = (keyframes.len() as f64 * stagger.clamp(0.0, 1.0)) as usize;
        Self {
            track: track.clone(),
            mid,
            route: None,
            position: keyframes.get(start).copied().unwrap_or(0),
            cursor: Cursor::default(),
            // Below 2^15, so that a lost first packet cannot confuse the rollover counter (RFC 3711 §3.3.1).
            first_seq: seed & 0x3fff,
            first_timestamp: u32::try_from((seed >> 16) & 0xffff_ffff).unwrap_or(0),
            ticks: 0,
            started_ns: None,
            last_keyframe_ns: 0,
            keyframe_wanted: false,
            leaving: (0..0, 0),
        }
    }

    /// Finds what the server agreed to; an error if it did not take this track.
    pub(crate) fn negotiated(&mut self, rtc: &mut Rtc) -> Result<(), String> {
        let codec = self.track.clip.codec;
        let refused = || format!("the server did not accept {codec:?}");
        let media = rtc.media(self.mid).ok_or_else(refused)?;
        let agreed = media.remote_pts().to_vec();
        if media.disabled() || media.stopped() || !media.direction().is_sending() {
            return Err(refused());
        }
        let wanted = match codec {
            Codec::Vp8 => str0m::format::Codec::Vp8,
            Codec::H264 => str0m::format::Codec::H264,
            Codec::Opus => str0m::format::Codec::Opus,
        };
        let pt = rtc
            .codec_config()
            .params()
            .iter()
            .filter(|params| params.spec().codec == wanted)
            // FU-A and STAP-A need packetization-mode 1 (RFC 6184 §6.3).
            .filter(|params| {
                codec != Codec::H264 || params.spec().format.packetization_mode == Some(1)
            })
            .map(str0m::format::PayloadParams::pt)
            .find(|pt| agreed.is_empty() || agreed.contains(pt))
            .ok_or_else(refused)?;
        let ssrc = rtc
            .direct_api()
            .stream_tx_by_mid(self.mid, None)
            .ok_or_else(refused)?
            .ssrc();
        self.route = Some((pt, ssrc));
        Ok(())
    }

    /// When the next frame is to be sent, in nanoseconds of the Unix epoch; `None` before [`Self::start`].
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let hz = u64::from(self.track.clip.codec.clock_hz());
        // In two steps, since ticks times 10^9 would overflow within days.
        let (seconds, rest) = (self.ticks / hz, self.ticks % hz);
        Some(self.started_ns? + seconds * 1_000_000_000 + rest * 1_000_000_000 / hz)
    }

    pub(crate) fn start(&mut self, now_ns: u64) {
        self.started_ns.get_or_insert(now_ns);
    }

    /// Writes the frame that is due; the engine has to be drained afterwards.
    pub(crate) fn write(&mut self, rtc: &mut Rtc, now: Instant, now_ns: u64) {
        let (Some((pt, ssrc)), Some(due)) = (self.route, self.due_ns()) else {
            return;
        };
        if now_ns.saturating_sub(due) > MAX_BEHIND_NS {
            self.started_ns = self.started_ns.map(|started| started + (now_ns - due));
        }
        self.jump(now_ns);
        let Track { clip, log } = &self.track;
        let frame = &clip.frames[self.position];
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx(&ssrc) else {
            return;
        };
        log.begin_frame(self.position, self.cursor.frames);
        #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap")]
        let timestamp = self.first_timestamp.wrapping_add(self.ticks as u32);
        for (at, index) in frame.packets.clone().enumerate() {
            let content = &clip.packets[index].content;
            let payload: Arc<[u8]> = match clip.codec {
                Codec::Vp8 => {
                    let picture_id = u16::try_from(self.cursor.frames & 0x7fff).unwrap_or(0);
                    [&vp8::descriptor(at == 0, picture_id)[..], content]
                        .concat()
                        .into()
                }
                Codec::H264 | Codec::Opus => Arc::clone(content),
            };
            let seq = self.first_seq + self.cursor.packets + u64::try_from(at).unwrap_or(0);
            let last = index + 1 == frame.packets.end;
            let video = !clip.codec.is_audio();
            let write = RtpWrite::new(pt, seq.into(), timestamp, now, payload);
            stream.write_rtp(write.marker(last && video).nackable(video));
        }
        self.leaving = (frame.packets.clone(), self.cursor.packets);
        if frame.keyframe {
            self.last_keyframe_ns = now_ns;
            self.keyframe_wanted = false;
        }
        self.cursor.frames += 1;
        self.cursor.packets += u64::try_from(frame.packets.len()).unwrap_or(0);
        self.ticks += step(clip, self.position);
        self.position = (self.position + 1) % clip.frames.len();
    }

    /// A datagram goes out: if it is one of the frame just written, its time is noted.
    pub(crate) fn transmitting(&self, datagram: &[u8]) {
        let Some((_, ssrc)) = self.route else { return };
        let Some(header) = datagram.first_chunk::<12>() else {
            return;
        };
        if header[8..12] != ssrc.to_be_bytes() || (64..96).contains(&(header[1] & 0x7f)) {
            return;
        }
        let (packets, ordinal) = &self.leaving;
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let first_seq = (self.first_seq + ordinal) as u16;
        let at = u16::from_be_bytes([header[2], header[3]]).wrapping_sub(first_seq);
        if usize::from(at) < packets.len() {
            self.track.log.sending(
                packets.start + usize::from(at),
                ordinal + u64::from(at),
                wall_ns(),
            );
        }
    }

    /// All datagrams of the frame have gone out.
    pub(crate) fn written(&self) {
        self.track.log.advance(self.cursor);
    }

    /// A viewer, or the server for one, needs a keyframe.
    pub(crate) fn keyframe_requested(&mut self) {
        self.keyframe_wanted = true;
    }

    /// Goes on to the next keyframe of the loop if one is wanted and the last was not a moment ago.
    fn jump(&mut self, now_ns: u64) {
        if !self.keyframe_wanted
            || now_ns.saturating_sub(self.last_keyframe_ns) < KEYFRAME_INTERVAL_NS
        {
            return;
        }
        let frames = &self.track.clip.frames;
        let mut ahead = (0..frames.len()).map(|offset| (self.position + offset) % frames.len());
        if let Some(keyframe) = ahead.find(|at| frames[*at].keyframe) {
            self.position = keyframe;
        }
    }

    pub(crate) fn tick(&self) {
        self.track.log.tick();
    }

    pub(crate) fn sent(&self) -> Cursor {
        self.cursor
    }
}

/// RTP ticks from one frame of the loop to the next.
fn step(clip: &Clip, position: usize) -> u64 {
    let at = clip.frames[position].at_ticks;
    match clip.frames.get(position + 1) {
        Some(next) => next.at_ticks - at,
        None => clip.loop_ticks - at + clip.frames[0].at_ticks,
    }
}
