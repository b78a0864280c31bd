use crate::clock::ClockMapping;
use crate::frames::FrameReader;
use crate::history::History;
use crate::keyframe::KeyframeRequests;
use crate::limits::{HISTORY_AUDIO, HISTORY_VIDEO, PENDING, RECEIVE_WINDOW};
use crate::nack::NackGenerator;
use crate::packet::Packet;
use crate::positions::Positions;
use crate::rates::Rates;
use crate::reception::Reception;
use crate::repair::Repair;
use crate::speech::Speech;
use crate::time::Micros;
use crate::voice::{Loudness, Pauses};
use crate::watched::Watched;
use crate::window::Window;
use ion_tables::{EncodingConfig, EncodingState, RowLink};
use ion_wire::CodecKind;
use ion_wire::ext::PlayoutDelay;
use std::sync::Arc;

/// One RTP stream of a track, as a worker knows it. The worker of its publisher has
/// the receiver; every worker with subscribers of the track has the feed.
pub(crate) struct Encoding {
    pub(crate) link: RowLink,
    pub(crate) config: EncodingConfig,
    pub(crate) codec: CodecKind,
    pub(crate) keyframe: KeyframeRequests,
    pub(crate) feed: Option<Box<Feed>>,
    pub(crate) receiver: Option<Box<Receiver>>,
}

impl Encoding {
    pub(crate) fn new(link: RowLink, config: EncodingConfig) -> Self {
        Self {
            link,
            config,
            codec: CodecKind::try_from(config.codec).unwrap_or_default(),
            keyframe: KeyframeRequests::default(),
            feed: None,
            receiver: None,
        }
    }

    /// Whether only a dependency descriptor says what layers its frames are of.
    pub(crate) fn frames_are_described(&self) -> bool {
        self.codec.is_video() && !matches!(self.codec, CodecKind::Vp8 | CodecKind::Vp9)
    }
}

/// What subscribers on this worker are served from.
pub(crate) struct Feed {
    pub(crate) history: History,
    /// Packets of this batch, in order of arrival.
    pub(crate) pending: Vec<Arc<Packet>>,
    /// When the last packet came; `None` before the first.
    pub(crate) last_packet: Option<Micros>,
    /// Packets came, and not a second ago while other layers of the track went on.
    pub(crate) live: bool,
    /// By the publisher's sender reports.
    pub(crate) reported: Option<ClockMapping>,
    /// By the arrival of the newest packet, until there is a report.
    pub(crate) arrived: Option<ClockMapping>,
    /// How much comes.
    pub(crate) rates: Rates,
    /// Whether anybody here is sent it, or would be.
    pub(crate) watched: Watched,
    /// What the publisher last said of the delay until pictures are shown.
    pub(crate) playout: Option<PlayoutDelay>,
}

impl Feed {
    pub(crate) fn new(video: bool) -> Self {
        Self {
            history: History::new(if video { HISTORY_VIDEO } else { HISTORY_AUDIO }),
            pending: Vec::with_capacity(PENDING),
            last_packet: None,
            live: false,
            reported: None,
            arrived: None,
            rates: Rates::new(video),
            watched: Watched::default(),
            playout: None,
        }
    }

    /// How the timestamps of an SSRC relate to our wallclock.
    pub(crate) fn mapping(&self, ssrc: u32) -> Option<ClockMapping> {
        let of = |mapping: Option<ClockMapping>| mapping.filter(|m| m.ssrc == ssrc);
        of(self.reported).or(of(self.arrived))
    }
}

const RECEIVE_WORDS: usize = RECEIVE_WINDOW / 64;
/// Packets before the first that came are still taken, for reordering at the start.
const REORDER_AT_START: u64 = 32;

/// What the worker of an encoding's publisher keeps of it.
pub(crate) struct Receiver {
    /// SSRC in use; 0 is none yet.
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    /// When that SSRC was bound.
    pub(crate) bound: Micros,
    /// Which indices came, by whatever way.
    pub(crate) window: Window<RECEIVE_WORDS>,
    pub(crate) positions: Positions,
    /// Highest position given, plus one.
    pub(crate) next_position: u64,
    pub(crate) nack: NackGenerator,
    pub(crate) reception: Reception,
    pub(crate) frames: FrameReader,
    pub(crate) speech: Speech,
    pub(crate) loudness: Loudness,
    pub(crate) pauses: Pauses,
    /// Of a publisher that may send repair packets.
    pub(crate) repair: Option<Box<Repair>>,
    /// Middle of the NTP time of the last sender report, and when it came.
    pub(crate) last_report: Option<(u32, Micros)>,
    pub(crate) mapping: Option<ClockMapping>,
    /// RTP timestamp of the keyframe counted last.
    pub(crate) last_keyframe: Option<u32>,
    /// Sequence number of full intra requests.
    pub(crate) fir_sequence: u8,
    pub(crate) last_packet: Option<Micros>,
    /// When it went on from a state that another worker left.
    pub(crate) resumed: Option<Micros>,
    pub(crate) stalled: bool,
    /// When the publisher said BYE.
    pub(crate) ended: Option<Micros>,
    /// Its state is to be stored at the end of the batch.
    pub(crate) touched: bool,
    pub(crate) state: EncodingState,
}

impl Receiver {
    /// A receiver that goes on where `state` says, if it is of the same life.
    pub(crate) fn new(config: &EncodingConfig, state: EncodingState) -> Self {
        let generation = config.head.generation;
        let state = if state.generation == generation {
            state
        } else {
            EncodingState {
                generation,
                ..EncodingState::default()
            }
        };
        let next = state.srtp_next;
        Self {
            ssrc: if next > 0 { state.ssrc } else { 0 },
            rtx_ssrc: state.rtx_ssrc,
            bound: Micros(0),
            window: Window::from(next),
            positions: Positions::new(state.position_offset),
            next_position: next.checked_add_signed(state.position_offset).unwrap_or(0),
            // What was lost while nobody received is asked for like any other loss.
            nack: NackGenerator::after(next.checked_sub(1)),
            reception: Reception::new(config.clock_rate, next),
            frames: FrameReader::new(),
            speech: Speech::new(),
            loudness: Loudness::default(),
            pauses: Pauses::default(),
            repair: None,
            last_report: None,
            mapping: None,
            last_keyframe: None,
            fir_sequence: 0,
            last_packet: None,
            resumed: None,
            stalled: false,
            ended: None,
            touched: false,
            state,
        }
    }

    /// Makes room for repair, if repair packets were agreed on.
    pub(crate) fn expect_repair(&mut self, config: &EncodingConfig) {
        if config.fec_payload_type == 0 {
            self.repair = None;
        } else if self.repair.is_none() {
            self.repair = Some(Box::new(Repair::new()));
        }
    }

    /// A stream begins: with the packet of this index, under this SSRC.
    pub(crate) fn bind(&mut self, now: Micros, ssrc: u32, index: u64, clock_rate: u32) {
        self.begin_at(index);
        self.ssrc = ssrc;
        self.bound = now;
        self.nack.reset();
        self.reception = Reception::new(clock_rate, index);
        self.frames.restart();
        self.last_report = None;
        self.mapping = None;
        self.ended = None;
        self.state.ssrc = ssrc;
        // The stored index belongs to the SSRC: another one counts from its own start.
        self.state.srtp_next = 0;
        self.state.sr_ntp = 0;
    }

    /// Takes a leap of the sequence numbers, too wide for anything in between to be
    /// asked for: viewers see a small gap instead, so that none of them can lose count
    /// of its rollovers.
    pub(crate) fn take_leap(&mut self, index: u64) {
        if index >= self.window.next() + RECEIVE_WINDOW as u64 {
            self.begin_at(index);
        }
    }

    /// The stream goes on with this index, at a place beyond all that were given.
    fn begin_at(&mut self, index: u64) {
        let first = index.saturating_sub(REORDER_AT_START);
        if self.state.ssrc == 0 && self.next_position == 0 {
            self.positions = Positions::new(0);
        } else {
            self.positions.restart(first, self.next_position + 1);
        }
        self.window = Window::from(first);
    }
}
