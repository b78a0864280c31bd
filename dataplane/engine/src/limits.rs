//! Every limit of the engine, and how they relate.

/// Bytes of one packet of packet memory: more than an Ethernet frame carries.
pub const PACKET_BYTES: usize = 1_536;
/// Bytes of one datagram that may be sent, at most; a transport may ask for less.
pub const MAX_DATAGRAM: usize = 1_472;
/// Bytes of one RTCP datagram of ours, before SRTCP's own.
pub const MAX_RTCP: usize = 1_100;
/// Packets made when the engine starts; more are made, in steps, as they are needed.
pub const PACKETS_AT_START: usize = 256;
/// Packets made in one step.
pub const PACKETS_STEP: usize = 256;
/// Packets lent to other workers that are looked at when one is needed.
pub const LENT_PROBES: usize = 32;

/// Packets of a video encoding that are kept at most; a power of two.
pub const HISTORY_VIDEO: usize = 2_048;
/// Packets of an audio encoding that are kept at most; a power of two.
pub const HISTORY_AUDIO: usize = 256;
/// Packets of one encoding that wait for the end of the batch; then it is fanned out at once.
pub const PENDING: usize = 256;

/// Bytes of RTP padding that a packet may get to be as long as its neighbours.
pub const PADDING_MAX: usize = 16;

/// SSRCs that one transport may send with.
pub const STREAMS_PER_TRANSPORT: usize = 32;
/// SSRCs that one transport may send RTCP with: a sender each, and one for reports.
pub const RTCP_SENDERS: usize = 64;
/// An encoding may change its SSRC this often, microseconds.
pub const REBIND_INTERVAL_US: u64 = 500_000;
/// SSRCs that one transport may ever have been sent with.
pub const SSRCS_SENT: usize = 4_096;
/// Sequence numbers, by which reordered packets are told from duplicates; whole words.
pub const RECEIVE_WINDOW: usize = 2_048;
/// The same on the sending side: a sequence number is never used twice for two packets.
pub const SEND_WINDOW: usize = 2_048;
/// Padding-only packets that are remembered so that viewers see no gap.
pub const SKIPPED: usize = 64;
/// Changes of source that are remembered to answer NACKs from before them.
pub const EPOCHS: usize = 8;

/// Stretches without a packet left out that are remembered of what a viewer is sent, to answer NACKs from: as many
/// as a second has pictures, at 60 a second.
pub const RUNS: usize = 64;
/// Changes of layer that are remembered of what a viewer is sent, to judge late packets by.
pub const TURNS: usize = 8;
/// Frame numbers that are remembered to tell what has been sent or received; whole words. VP9 takes eight of them for
/// a picture.
pub const SENT_FRAMES: usize = 512;

/// Packets missing of one encoding that are asked for.
pub const MISSING: usize = 512;
/// Requests for one packet.
pub const NACK_TRIES: u8 = 10;
/// A packet is given up after this long, microseconds.
pub const NACK_GIVE_UP_US: u64 = 1_000_000;
/// A gap is taken for reordering for this long, microseconds ...
pub const NACK_REORDER_US: u64 = 10_000;
/// ... or until this many packets after it have come.
pub const NACK_REORDER_PACKETS: u64 = 2;
/// Sequence numbers in one NACK message of ours.
pub const NACK_BATCH: usize = 128;
/// Round-trip time taken where none is known, microseconds.
pub const RTT_DEFAULT_US: u64 = 100_000;
/// Least time between two requests for the same packet, microseconds.
pub const NACK_INTERVAL_MIN_US: u64 = 20_000;

/// Least time between two keyframe requests for one encoding, and after which it is asked for again while somebody
/// waits, microseconds. Browsers heed no request within 300 ms of the one before, for whichever layer that was.
pub const KEYFRAME_THROTTLE_US: u64 = 400_000;
/// That a viewer waits for a keyframe is told after this long, microseconds.
pub const KEYFRAME_WAIT_US: u64 = 1_000_000;
/// Keyframe requests of one viewer's RTCP that are looked at in [`VIEWER_PERIOD_US`].
pub const VIEWER_KEYFRAMES: u32 = 32;
/// A viewer that was sent a keyframe and asks for another is heeded this often, microseconds, as each of them costs all
/// other viewers quality, ...
pub const VIEWER_KEYFRAME_US: u64 = 1_000_000;
/// ... after so many at once.
pub const VIEWER_KEYFRAME_BURST: u64 = 8;

/// Sequence numbers of a viewer's NACKs that are looked at in [`VIEWER_PERIOD_US`].
pub const VIEWER_NACKS: u32 = 1_024;
/// Period of the limits on what one viewer may make us do, microseconds.
pub const VIEWER_PERIOD_US: u64 = 100_000;
/// Bytes of retransmission for one viewer that may be saved up.
pub const RTX_CREDIT_MAX: u64 = 512 * 1_024;
/// Bytes of retransmission for one viewer that every period adds.
pub const RTX_CREDIT_PERIOD: u64 = 32 * 1_024;
/// A packet is not sent again to a viewer within half its round trip: at least this,
/// microseconds, ...
pub const RTX_REPEAT_MIN_US: u64 = 25_000;
/// ... and at most this.
pub const RTX_REPEAT_MAX_US: u64 = 250_000;
/// A publisher's sender reports of one stream are not taken sooner one after the other, microseconds.
pub const SENDER_REPORT_MIN_US: u64 = 20_000;
/// Retransmissions that are remembered to suppress repeats; a power of two.
pub const RTX_REMEMBERED: usize = 256;
/// Of audio, the same for a subscription's packets sent, runs and retransmissions: a fifth as many packets a second, and
/// nothing but pauses is left out of them.
pub const AUDIO_SEND_WINDOW: usize = 256;
/// See [`AUDIO_SEND_WINDOW`] and [`RUNS`].
pub const AUDIO_RUNS: usize = EPOCHS;
/// See [`AUDIO_SEND_WINDOW`] and [`RTX_REMEMBERED`].
pub const AUDIO_RTX_REMEMBERED: usize = 32;

/// A viewer is asked to hold its pictures back when it loses more than one in the first
/// number of packets, and no longer when it loses less than one in the second ...
pub const PLAYOUT_LOSS: (u64, u64) = (50, 100);
/// ... as counted over one to two such spans, microseconds ...
pub const PLAYOUT_SPAN_US: u64 = 5_000_000;
/// ... of which this many packets count when nothing was lost before.
pub const PLAYOUT_CLEAN: u32 = 200;
/// What a viewer takes to ask again for a retransmission that does not come: 100 ms
/// where it knows no round trip, the 20 ms of its timer, and some to decode, microseconds.
pub const PLAYOUT_REPEAT_US: u64 = 150_000;
/// Longest that a viewer is asked to hold pictures back, milliseconds.
pub const PLAYOUT_MAX_MS: u16 = 500;
/// The delay is lowered by this each second after the loss, milliseconds ...
pub const PLAYOUT_LOWER_MS: u16 = 20;
/// ... and when it has come to nothing, that is said for so many seconds.
pub const PLAYOUT_ZEROS: u8 = 3;
/// Longest delay that is said where the publisher says nothing: what players take by
/// themselves, milliseconds.
pub const PLAYOUT_MAX_DEFAULT_MS: u16 = 10_000;

/// Speech begins with a window in which this share of packets ...
pub const SPEECH_SHARE: (u32, u32) = (2, 5);
/// ... of this length, microseconds, ...
pub const SPEECH_WINDOW_US: u64 = 200_000;
/// ... is as loud as this, -dBov, ...
pub const SPEECH_STARTS: u8 = 45;
/// ... goes on while it is as loud as this ...
pub const SPEECH_GOES_ON: u8 = 55;
/// ... and ends after so many windows in which it is not.
pub const SPEECH_QUIET_WINDOWS: u8 = 4;

/// A source is loud enough for a stage from this on, decibels above silence ...
pub const STAGE_LOUDNESS: u8 = 127 - SPEECH_GOES_ON;
/// ... and the stage is told this often while it is, microseconds.
pub const STAGE_TELL_US: u64 = 100_000;
/// Who has a seat gives way to anybody when not told of for this long, microseconds ...
pub const STAGE_QUIET_US: u64 = 800_000;
/// ... or to somebody louder by so many decibels ...
pub const STAGE_LOUDER: u8 = 6;
/// ... after having had it for this long, microseconds.
pub const STAGE_LEAST_US: u64 = 2_000_000;
/// Other workers are told again of who has a seat and speaks this often, microseconds.
pub const STAGE_RETELL_US: u64 = 1_000_000;
/// Audio is silence when it says that it is no louder than this, -dBov, and no voice ...
pub const SILENCE_LEVEL: u8 = 60;
/// ... and has been for this long, microseconds: the ends of words are quiet ...
pub const SILENCE_HANGOVER_US: u64 = 300_000;
/// ... or when a packet has no more bytes than these.
pub const DTX_BYTES: u16 = 2;

/// Earlier frames in a RED packet for a viewer, at most.
pub const RED_BLOCKS: usize = 2;
/// A viewer gets one when it reports this loss, in 1/256 ...
pub const RED_LEAST_LOSS: u64 = 8;
/// ... and two from this on ...
pub const RED_SECOND_LOSS: u64 = 26;
/// ... until that has been less for so long, microseconds.
pub const RED_HOLD_US: u64 = 10_000_000;

/// A viewer gets repair packets when it reports this loss, in 1/256 ...
pub const FEC_LEAST_LOSS: u64 = 5;
/// ... and a round trip as long as this, microseconds: a retransmission then comes later than players wait by
/// themselves.
pub const FEC_LEAST_RTT_US: u64 = 80_000;
/// One repair packet protects so many packets that this is lost of them on average, in 1/256: mostly none or one ...
pub const FEC_LOSS_PER_SPAN: u64 = 90;
/// ... and no fewer or more than these. Pictures end groups of half the size: no more is added than one packet to two.
pub const FEC_SPAN: (u64, u64) = (3, 10);
/// Where packets are lost in a row, neighbours are dealt out to so many repair packets ...
pub const FEC_GROUPS: usize = 2;
/// ... which is decided after so many losses, ...
pub const FEC_BURST_LOSSES: u32 = 32;
/// ... by the share of them that follow right after another, as a fraction.
pub const FEC_BURST_SHARE: (u32, u32) = (2, 5);
/// Less is added after loss has asked for less for so long, microseconds.
pub const FEC_HOLD_US: u64 = 10_000_000;

/// Packets of an encoding that repair packets can be used with; a power of two.
pub const FEC_RECENT: usize = 256;
/// Repair packets of an encoding that wait for more of what they protect.
pub const FEC_PENDING: usize = 16;
/// Repair packets and retransmissions may run ahead of the stream by this much: when its last packets were lost.
pub const REPAIR_AHEAD: u64 = 16;
/// What repair packets are used with is no longer kept when none came for so long, microseconds.
pub const FEC_IDLE_US: u64 = 5_000_000;

/// Arrivals that one transport remembers for transport-wide feedback; a power of two.
pub const TWCC_WINDOW: usize = 2_048;
/// Feedback is sent this often at most, microseconds ...
pub const TWCC_MIN_US: u64 = 50_000;
/// ... and this often at least, while packets come.
pub const TWCC_MAX_US: u64 = 100_000;
/// Packets reported in one feedback message.
pub const TWCC_REPORTED: usize = 400;

/// Packets of one transport that wait for a report by RFC 8888: a twentieth of a second at 20,000 packets a second.
pub const CCFB_ARRIVALS: usize = 1_024;
/// Of those in one message, with what is missing between them ...
pub const CCFB_REPORTED: usize = 400;
/// ... of so many streams.
pub const CCFB_STREAMS_REPORTED: usize = 16;
/// Packets back from the newest of a stream that are reported on.
pub const CCFB_SPAN: u64 = 256;

/// Packets sent to one viewer that its feedback may still come for; a power of two: a quarter of
/// a second at 20 Mbit/s, a second at 5.
pub const SENT_PACKETS: usize = 512;
/// Of those, retransmissions and repair packets whose arrival is counted.
pub const EXTRAS: usize = 128;
/// Feedback on a packet sent longer ago than this is not taken, microseconds.
pub const SENT_TOO_OLD_US: u64 = 10_000_000;
/// Streams of one RFC 8888 message that are looked at: a viewer has two for each track.
pub const CCFB_STREAMS: usize = 64;
/// Feedback messages of one viewer that are looked at in [`VIEWER_PERIOD_US`].
pub const VIEWER_FEEDBACKS: u32 = 32;

/// A viewer's estimate is looked after this often while packets are sent, microseconds.
pub const BANDWIDTH_US: u64 = 100_000;
/// A viewer that has reported on nothing for this long is sent no ECN bits any more: its path may
/// drop what has them, microseconds.
pub const ECN_SILENCE_US: u64 = 1_500_000;
/// Ways to send a video track that its allocation chooses from.
pub const ALLOCATION_STEPS: usize = 16;
/// Bits per second of a layer are measured over this long, microseconds.
pub const LAYER_RATE_US: u64 = 500_000;
/// Video is paused when three quarters of its lowest layer have not fitted for this long,
/// microseconds: longer than a network stalls now and then.
pub const VIDEO_SHORT_US: u64 = 2_000_000;
/// A layer counts as unwatched after this long, microseconds.
pub const LAYERS_UNWATCHED_US: u64 = 3_000_000;
/// That it still is unwatched is told again this often, microseconds.
pub const LAYERS_RETOLD_US: u64 = 5_000_000;
/// Packets of the history that one probe sends again; then padding.
pub const PROBE_REPEATS: u64 = 48;
/// Bytes of one packet of padding: as many as RTP's count can say.
pub const PROBE_PADDING: usize = 255;
/// What a limited viewer is sent in a moment, of its target, as a fraction.
pub const PACE: (u64, u64) = (3, 2);
/// Least burst, bytes: two packets.
pub const PACE_BURST_BYTES: i64 = 2_500;
/// What waits goes out within this, whatever the target, microseconds, ...
pub const PACE_DRAIN_US: u64 = 500_000;
/// ... or not at all if it would take longer than this at the viewer's pace, and another encoding is to be sent instead.
pub const PACE_LEAVE_US: u64 = 600_000;
/// How far away a viewer was found to be is forgotten by one part in so many of the time that passes.
pub const DISTANCE_FORGETS: u64 = 256;

/// Feedback messages sent in one go.
pub const TWCC_MESSAGES: usize = 8;
/// A publisher that adapts by REMB only is told so many times, as a fraction, what it
/// sends: room to grow, with its own loss as the bound ...
pub const REMB_FACTOR: (u64, u64) = (3, 2);
/// ... and never less than this, bits per second.
pub const REMB_FLOOR_BPS: u64 = 3_000_000;

/// Sender and receiver reports are sent this often, microseconds.
pub const REPORT_INTERVAL_US: u64 = 1_000_000;
/// Report blocks in one receiver report (five bits).
pub const REPORT_BLOCKS: usize = 31;
/// An encoding counts as live for this long after a packet, microseconds.
pub const LIVE_US: u64 = 1_000_000;
/// A layer of a track is no longer chosen when nothing came of it for this long while others go on, microseconds.
pub const LAYER_SILENT_US: u64 = 600_000;
/// Upkeep of an encoding: history that is too old, layers that went away.
pub const UPKEEP_US: u64 = 200_000;
/// The clock of a publisher is followed by this much with each of its reports, microseconds ...
pub const CLOCK_SLEW_US: i64 = 1_000;
/// ... unless it is off by more than this.
pub const CLOCK_STEP_US: i64 = 1_000_000;

/// A row that was torn is read again after this long, microseconds.
pub const TORN_RETRY_US: u64 = 100_000;
/// Torn rows that are remembered; with more, all rows are read again.
pub const TORN_ROWS: usize = 64;

/// Resolution of the timers, microseconds.
pub const TICK_US: u64 = 5_000;
/// Ticks that a timer may lie in the future.
pub const WHEEL_SLOTS: usize = 256;

const _: () = {
    assert!(MAX_DATAGRAM <= PACKET_BYTES);
    assert!(MAX_RTCP + 64 <= MAX_DATAGRAM);
    assert!(HISTORY_VIDEO.is_power_of_two() && HISTORY_AUDIO.is_power_of_two());
    assert!(SENT_PACKETS.is_power_of_two());
    assert!(FEC_RECENT.is_power_of_two() && FEC_RECENT > ion_wire::flexfec::MAX_PROTECTED as usize);
    assert!(RTX_REMEMBERED.is_power_of_two() && TWCC_WINDOW.is_power_of_two());
    assert!(RECEIVE_WINDOW.is_multiple_of(64) && SEND_WINDOW.is_multiple_of(64));
    // A NACK must be answerable as long as its packet is in the history.
    assert!(SEND_WINDOW >= HISTORY_VIDEO && AUDIO_SEND_WINDOW >= HISTORY_AUDIO);
    // What may be missing must be inside the window that tells duplicates.
    assert!(MISSING <= RECEIVE_WINDOW / 2);
    assert!(TWCC_REPORTED <= TWCC_WINDOW / 2);
    // The report that RTCP begins with, and the longest CNAME.
    assert!(
        12 + 4 + 8 * CCFB_STREAMS_REPORTED + 2 * CCFB_REPORTED + 2 * CCFB_STREAMS_REPORTED + 48
            <= MAX_RTCP
    );
    assert!(CCFB_SPAN <= CCFB_REPORTED as u64);
    // Every timer fits the wheel.
    assert!(REPORT_INTERVAL_US < TICK_US * (WHEEL_SLOTS as u64 - 1));
    assert!(KEYFRAME_THROTTLE_US < TICK_US * (WHEEL_SLOTS as u64 - 1));
    // Silence is noticed at an upkeep, and within a second.
    assert!(LAYER_SILENT_US + UPKEEP_US < 1_000_000);
    assert!(SENT_FRAMES.is_multiple_of(64));
    // Who speaks is told of often enough not to be taken for quiet.
    assert!(4 * STAGE_TELL_US <= STAGE_QUIET_US);
    assert!(TWCC_MIN_US <= TWCC_MAX_US && NACK_INTERVAL_MIN_US >= TICK_US);
};

/// What a viewer's network is taken to carry at first, bits per second. Everything is sent before anything
/// was heard of it: the first feedback must not take away what it has just seen arrive.
pub const START_BPS: u64 = 10_000_000;

/// Transport-wide numbers that a successor leaves out. They are stored with each report only, and a
/// number that the viewer has seen before is never reported on again: it would be taken for lost. More than
/// are sent between two reports, and few enough to be a step forward (less than a quarter of 2^16).
pub(crate) const TRANSPORT_CC_SKIP: u64 = 8_192;
