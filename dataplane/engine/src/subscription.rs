use crate::allocate::Patience;
use crate::arrived::Reported;
use crate::freezes::Freezes;
use crate::layers::{Layer, Target};
use crate::limits::{
    AUDIO_RTX_REMEMBERED, AUDIO_RUNS, AUDIO_SEND_WINDOW, EPOCHS, RTX_REMEMBERED, RUNS, SEND_WINDOW,
};
use crate::playout::Playout;
use crate::protection::Protection;
use crate::redundancy::Redundancy;
use crate::rewrite::Running;
use crate::runs::Runs;
use crate::selection::Selection;
use crate::time::Micros;
use crate::window::{Seen, Window};
use ion_tables::{RowLink, SubscriptionConfig, SubscriptionState};
use ion_wire::codec::vp8;

mod admit;
mod numbers;
mod repair;
mod wish;

pub(crate) use numbers::{Epoch, Manner, Numbers, Source, Verdict};

const SEND_WORDS: usize = SEND_WINDOW / 64;

/// A track sent to one viewer: numbers only, no packets.
///
/// Invariant: **an index is sealed for one content only.** `sent` holds the indices
/// that have been used and refuses those too old to tell. A packet is sealed again
/// under its own index only for a viewer without RTX, from the same plaintext, with
/// a header made from the same epoch and the same config (`plain_floor`), without
/// the extensions that depend on the moment: byte by byte the same.
pub(crate) struct Subscriber {
    pub(crate) link: RowLink,
    pub(crate) config: SubscriptionConfig,
    /// SSRC of retransmissions; 0 is none.
    pub(crate) rtx_ssrc: u32,
    pub(crate) audio: bool,
    /// The viewer can make out one spatial layer of an encoding only.
    flat: bool,
    /// Its transport.
    pub(crate) transport: u32,
    /// The row of the track and its life.
    pub(crate) track: RowLink,
    /// What the viewer's network carries.
    wish: Target,
    /// The encoding it should get.
    pub(crate) target: Option<RowLink>,
    /// Not even the lowest is carried: nothing is sent.
    pub(crate) starved: bool,
    /// Since when not even the lowest fits.
    pub(crate) short_since: Option<Micros>,
    patience: Patience,
    /// The pacer sends what is at this position of the source and beyond.
    pub(crate) behind: Option<u64>,
    /// Since when it waits for a keyframe of the target.
    pub(crate) waiting: Option<Micros>,
    pub(crate) wait_told: bool,
    /// The current epoch is the last of `epochs`; `None` before the first packet, and
    /// after a pause.
    pub(crate) source: Option<Source>,
    /// Packets below this position of the source are not forwarded.
    first_position: u64,
    epochs: [Option<Epoch>; EPOCHS],
    /// Positions and indices, of all those epochs.
    runs: Runs,
    /// Which layers of the source are sent.
    pub(crate) selection: Selection,
    /// Number of the newest frame that was left out.
    left_out: u64,
    /// Silence was left out, or of another source all that follows.
    hushed: bool,
    /// Running numbers of the newest packet.
    running: Running,
    sent: Window<SEND_WORDS>,
    /// The [`Manner`] of each packet in `sent`, so that one sent again is the same again.
    manners: Box<[u8]>,
    last_timestamp: u32,
    last_sent: Option<Micros>,
    /// Indices below this one are not sent again as they were.
    pub(crate) plain_floor: u64,
    /// Index and millisecond of recent retransmissions, by index.
    repeats: Box<[(u32, u32)]>,
    pub(crate) rtx_next: u64,
    /// What receiver reports say of retransmissions, and of repair packets.
    pub(crate) rtx_reported: Reported,
    pub(crate) fec_reported: Reported,
    pub(crate) rtt_us: u64,
    /// How long the viewer is asked to hold pictures back.
    pub(crate) playout: Playout,
    /// Frames sent more than once.
    pub(crate) redundancy: Redundancy,
    /// Of a viewer that takes repair packets.
    pub(crate) protection: Option<Box<Protection>>,
    /// Last full intra request of the viewer.
    pub(crate) fir_sequence: Option<u8>,
    /// Timestamp of the keyframe counted last, and the index of its first packet.
    pub(crate) last_keyframe: Option<(u32, u64)>,
    /// Of what it asked for keyframes: the index of the one it had then, and until when others are paid for.
    asked_after: Option<u64>,
    keyframes_due: Micros,
    pub(crate) freezes: Freezes,
    pub(crate) state: SubscriptionState,
}

/// Where the indices of an SSRC begin: below half the sequence space, so that both
/// ends agree on the rollover counter (RFC 3711, 3.3.1).
fn first_index(ssrc: u32) -> u64 {
    u64::from(ssrc.wrapping_mul(0x9E37_79B1) >> 18) + 1
}

/// Next indices of the SSRCs of a subscription. Without one, there is no such stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) media: u64,
    pub(crate) rtx: Option<u64>,
    pub(crate) fec: Option<u64>,
}

impl Subscriber {
    /// A subscriber that goes on where `state` says, if it is of the same life.
    /// `used` are the next indices of its SSRCs, as far as the transport has sent with them before.
    pub(crate) fn new(
        config: SubscriptionConfig,
        link: RowLink,
        audio: bool,
        state: SubscriptionState,
        used: Used,
    ) -> Self {
        let resumed = state.generation == link.generation && state.srtp_next > 0;
        let mut state = if resumed {
            state
        } else {
            SubscriptionState {
                generation: link.generation,
                ..SubscriptionState::default()
            }
        };
        let begin = |stored: u64, used: Option<u64>, ssrc| {
            let used = used.unwrap_or(0);
            stored.max(used).max(first_index(ssrc))
        };
        state.srtp_next = begin(state.srtp_next, Some(used.media), config.ssrc);
        state.rtx_srtp_next = begin(state.rtx_srtp_next, used.rtx, config.rtx_ssrc);
        state.fec_srtp_next = begin(state.fec_srtp_next, used.fec, config.fec_ssrc);
        let fec_next = used.fec.map(|_| state.fec_srtp_next);
        let mut subscriber = Self {
            link,
            rtx_ssrc: used.rtx.map_or(0, |_| config.rtx_ssrc),
            config,
            audio,
            flat: false,
            transport: config.transport.row,
            track: config.track,
            wish: Target::TOP,
            target: None,
            starved: false,
            short_since: None,
            patience: Patience::new(),
            behind: None,
            waiting: None,
            wait_told: false,
            source: None,
            first_position: 0,
            epochs: [None; EPOCHS],
            runs: Runs::new(0),
            selection: Selection::new(),
            left_out: 0,
            hushed: false,
            running: Running {
                payload: vp8::Numbers {
                    picture_id: state.picture_id,
                    tl0_picidx: state.tl0_picidx,
                    keyidx: state.keyidx,
                },
                frame: state.frame_number,
            },
            sent: Window::from(state.srtp_next),
            manners: Box::default(),
            last_timestamp: state.timestamp,
            last_sent: None,
            plain_floor: state.srtp_next,
            repeats: Box::default(),
            rtx_next: state.rtx_srtp_next,
            rtx_reported: Reported::before(state.rtx_srtp_next),
            fec_reported: Reported::before(state.fec_srtp_next),
            rtt_us: 0,
            playout: Playout::new(state.playout_ms, state.sender_packets),
            redundancy: Redundancy::default(),
            protection: fec_next.map(|next| Box::new(Protection::new(next))),
            fir_sequence: None,
            last_keyframe: None,
            asked_after: None,
            keyframes_due: Micros(0),
            freezes: Freezes::default(),
            state,
        };
        subscriber.forget();
        subscriber.bound_selection();
        subscriber
    }

    /// Remembers nothing of what was sent, and makes room for as much as its kind needs. Allocates.
    fn forget(&mut self) {
        let (window, runs, repeats) = if self.audio {
            (AUDIO_SEND_WINDOW, AUDIO_RUNS, AUDIO_RTX_REMEMBERED)
        } else {
            (SEND_WINDOW, RUNS, RTX_REMEMBERED)
        };
        self.manners = vec![0; window].into_boxed_slice();
        self.runs = Runs::new(runs);
        self.repeats = vec![(0, 0); repeats].into_boxed_slice();
        self.plain_floor = self.next_index();
    }

    /// Takes in a config of the same life, transport and SSRCs.
    pub(crate) fn configure(&mut self, config: SubscriptionConfig, audio: Option<bool>) {
        let header = |c: &SubscriptionConfig| {
            let types = (c.payload_type, c.rtx_payload_type, c.red_payload_type);
            (types, c.mid, c.flags & SubscriptionConfig::NACK)
        };
        if header(&config) != header(&self.config) {
            self.plain_floor = self.next_index();
        }
        if config.track != self.track {
            // Another publication: the stream goes on when that allows it.
            self.track = config.track;
            self.target = None;
            self.waiting = None;
            self.stop();
        }
        self.config = config;
        if let Some(audio) = audio.filter(|&audio| audio != self.audio) {
            self.audio = audio;
            self.forget();
            self.stop();
        }
        self.bound_selection();
        if self.is_switched_off() {
            self.freezes = Freezes::default();
        }
        if self.is_paused() {
            self.waiting = None;
            self.stop();
        }
    }

    /// Goes on with the source of the stored state, if that is still the same stream:
    /// `encoding` is its row as it is now, `ssrc` what is being received under.
    pub(crate) fn resume(&mut self, encoding: RowLink, ssrc: u32, next_position: u64) {
        let source = Source { encoding, ssrc };
        let state = self.state;
        if state.sender_packets == 0 || ssrc == 0 {
            return;
        }
        // What was taken in before the restart was sent, or is lost for this viewer.
        let Some(start) = next_position.checked_add_signed(state.sequence_offset) else {
            return;
        };
        let start = start.max(state.srtp_next);
        self.begin(Epoch {
            start,
            source,
            timestamp_offset: state.timestamp_offset,
            running: Running {
                payload: vp8::Numbers {
                    picture_id: state.picture_id_offset,
                    tl0_picidx: state.tl0_picidx_offset,
                    keyidx: state.keyidx_offset,
                },
                frame: state.frame_number_offset,
            },
        });
        self.first_position = start.saturating_add_signed(-state.sequence_offset);
        self.runs.begin(self.first_position, start);
        self.selection.begin(Some(Layer {
            spatial: state.spatial,
            temporal: state.temporal,
        }));
    }

    fn begin(&mut self, epoch: Epoch) {
        self.behind = None;
        self.epochs.rotate_left(1);
        self.epochs[EPOCHS - 1] = Some(epoch);
        self.source = Some(epoch.source);
    }

    /// The epoch that packets are sent in now.
    pub(crate) fn epoch(&self) -> Option<&Epoch> {
        self.epochs[EPOCHS - 1]
            .as_ref()
            .filter(|_| self.source.is_some())
    }

    /// The epoch that packets were last sent in.
    pub(crate) fn last_epoch(&self) -> Option<&Epoch> {
        self.epochs[EPOCHS - 1].as_ref()
    }

    /// The epoch that an index was sent in.
    fn epoch_of(&self, index: u64) -> Option<&Epoch> {
        self.epochs
            .iter()
            .rev()
            .flatten()
            .find(|epoch| epoch.start <= index)
    }

    /// Next index that has never been used.
    pub(crate) fn next_index(&self) -> u64 {
        self.sent.next()
    }

    /// Whether a packet has been sent, so that there is something to report.
    pub(crate) fn has_sent(&self) -> bool {
        self.state.sender_packets != 0
    }

    /// Whether nothing is to be sent: the control plane paused it, or the network carries nothing.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_switched_off() || self.starved
    }

    /// Whether the control plane paused it.
    pub(crate) fn is_switched_off(&self) -> bool {
        self.config.flags & SubscriptionConfig::PAUSED != 0
    }

    /// RTP timestamp sent last.
    pub(crate) fn last_timestamp(&self) -> u32 {
        self.last_timestamp
    }

    /// Nothing more is sent until [`admit`](Self::admit) starts a source anew.
    pub(crate) fn stop(&mut self) {
        self.source = None;
        self.behind = None;
    }

    /// Whether what is forwarded is the target and has the layer that is wanted, or there is no target.
    pub(crate) fn is_settled(&self) -> bool {
        match (self.source, self.target) {
            (_, None) => true,
            (Some(source), Some(target)) => {
                source.encoding == target && self.selection.lacks.is_none()
            }
            (None, Some(_)) => false,
        }
    }

    /// Whether what is forwarded is to be replaced by another encoding, whose keyframe is waited for.
    pub(crate) fn is_leaving(&self) -> bool {
        let source = self.source.map(|source| source.encoding);
        source.is_some() && self.target.is_some() && source != self.target
    }

    /// Takes down that these numbers were used. Returns false, and the packet must not
    /// be sealed, if the index was used before.
    pub(crate) fn used(&mut self, numbers: Numbers, now: Micros, payload_len: usize) -> bool {
        let newest = numbers.index >= self.sent.next();
        if self.sent.insert(numbers.index) != Seen::New {
            return false;
        }
        let slot = self.slot(numbers.index);
        self.manners[slot] = numbers.manner.pack();
        if newest {
            self.last_timestamp = numbers.timestamp;
            self.last_sent = Some(now);
            self.hushed = false;
            if !numbers.manner.blank {
                self.running = numbers.running;
            }
        }
        let octets = u32::try_from(payload_len).unwrap_or(u32::MAX);
        self.state.sender_packets = self.state.sender_packets.wrapping_add(1).max(1);
        self.state.sender_octets = self.state.sender_octets.wrapping_add(octets);
        true
    }

    /// Whether an index was sent, as far as is remembered.
    pub(crate) fn was_sent(&self, index: u64) -> bool {
        self.sent.contains(index)
    }

    /// Whether a packet was sent that pictures since the last keyframe may need.
    pub(crate) fn is_missed(&self, index: u64) -> bool {
        let begins = self.last_keyframe.map_or(0, |(_, index)| index);
        !self.audio && self.was_sent(index) && index >= begins
    }

    /// The state to store: what a successor needs to go on.
    pub(crate) fn snapshot(&mut self) -> &SubscriptionState {
        let epoch = self.epochs[EPOCHS - 1];
        let state = &mut self.state;
        state.srtp_next = self.sent.next();
        state.rtx_srtp_next = self.rtx_next;
        if let Some(protection) = self.protection.as_deref() {
            state.fec_srtp_next = protection.next_index();
        }
        state.timestamp = self.last_timestamp;
        state.encoding = self.source.map_or(0, |source| source.encoding.row + 1);
        state.playout_ms = self.playout.told_ms();
        let Running { payload, frame } = self.running;
        state.picture_id = payload.picture_id;
        state.tl0_picidx = payload.tl0_picidx;
        state.keyidx = payload.keyidx;
        state.frame_number = frame;
        if let Some(epoch) = epoch {
            let Running { payload, frame } = epoch.running;
            state.sequence_offset = self.runs.offset();
            state.timestamp_offset = epoch.timestamp_offset;
            state.picture_id_offset = payload.picture_id.wrapping_sub(self.runs.left_out());
            state.tl0_picidx_offset = payload.tl0_picidx;
            state.keyidx_offset = payload.keyidx;
            state.frame_number_offset = frame;
        }
        let layer = self.selection.layer().unwrap_or(Layer::TOP);
        (state.spatial, state.temporal) = (layer.spatial, layer.temporal);
        state
    }
}
