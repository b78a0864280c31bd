use crate::arrivals::Arrivals;
use crate::bandwidth::{Bandwidth, MakeEstimator};
use crate::clock::PublisherClock;
use crate::congestion::Ecn;
use crate::limits::{
    MAX_DATAGRAM, RTCP_SENDERS, RTX_CREDIT_MAX, RTX_CREDIT_PERIOD, SSRCS_SENT,
    STREAMS_PER_TRANSPORT, TRANSPORT_CC_SKIP, VIEWER_FEEDBACKS, VIEWER_KEYFRAMES, VIEWER_NACKS,
    VIEWER_PERIOD_US,
};
use crate::time::Micros;
use crate::transmit::Path;
use crate::twcc::TwccReceiver;
use ion_srtp::opener::rtcp_ssrc;
use ion_srtp::{MasterKey, Opener, Profile, RtcpRx, RxIndex, Sealer, SrtpError};
use ion_tables::values::EXTENSION_KINDS;
use ion_tables::{
    EncodingState, ExtensionKind, ExtensionMap, RowLink, TransportConfig, TransportSecrets,
    TransportState,
};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr};

/// What an SSRC carries: media, retransmissions of it, or repair packets for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    Media,
    Rtx,
    Fec,
}

/// An SSRC of a publisher, and what it was found to belong to.
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    /// Row of the encoding.
    pub(crate) encoding: u32,
    pub(crate) kind: StreamKind,
    pub(crate) rx: RxIndex,
    pub(crate) last_packet: Micros,
}

/// An SSRC that we send with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Row of the subscription.
    pub(crate) subscription: u32,
    pub(crate) kind: StreamKind,
}

/// SRTP contexts of a client.
pub(crate) struct Keys {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
    /// Replay windows of the senders of RTCP, by SSRC: each counts for itself.
    rtcp: Vec<(u32, RtcpRx)>,
}

fn master(key: &[u8; 32], salt: &[u8; 16]) -> MasterKey {
    let mut used = [0; 14];
    used.copy_from_slice(&salt[..14]);
    MasterKey::new(*key, used)
}

impl Keys {
    /// Opens an SRTCP packet. State of a sender never heard of is made only after its
    /// packet was authenticated; with too many, the first heard of is forgotten.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet).ok_or(SrtpError::TooShort)?;
        if let Some((_, rx)) = self.rtcp.iter_mut().find(|(known, _)| *known == ssrc) {
            return self.opener.open_rtcp(packet, rx, out);
        }
        let mut rx = RtcpRx::new();
        let len = self.opener.open_rtcp(packet, &mut rx, out)?;
        if self.rtcp.len() == RTCP_SENDERS {
            self.rtcp.remove(0);
        }
        self.rtcp.push((ssrc, rx));
        Ok(len)
    }
}

/// Extensions that are carried over from a publisher's packet, with the id that the
/// viewer negotiated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried {
    len: usize,
    list: [Option<(ExtensionKind, u8)>; EXTENSION_KINDS],
}

/// Extensions whose values are passed on as they are. MID, transport-wide numbers
/// and send times are made anew; stream ids and layer allocations are the
/// publisher's leg's own.
const PASSED_ON: [ExtensionKind; 8] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::DependencyDescriptor,
    ExtensionKind::ColorSpace,
    ExtensionKind::ContentType,
    ExtensionKind::VideoTiming,
    ExtensionKind::AbsCaptureTime,
];

impl Carried {
    fn of(map: &ExtensionMap) -> Self {
        let mut carried = Self::default();
        for kind in PASSED_ON {
            if let Some(id) = map.id(kind) {
                carried.list[carried.len] = Some((kind, id));
                carried.len += 1;
            }
        }
        carried
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + Clone + '_ {
        self.list[..self.len].iter().flatten().copied()
    }
}

/// What one client may make us do in a period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    period: u64,
    nacks: u32,
    keyframes: u32,
    feedbacks: u32,
    /// Bytes of retransmission left.
    rtx_bytes: u64,
}

impl Budget {
    fn new() -> Self {
        Self {
            period: 0,
            nacks: VIEWER_NACKS,
            keyframes: VIEWER_KEYFRAMES,
            feedbacks: VIEWER_FEEDBACKS,
            rtx_bytes: RTX_CREDIT_MAX / 4,
        }
    }

    fn renew(&mut self, now: Micros) {
        let period = now.0 / VIEWER_PERIOD_US;
        if period != self.period {
            let passed = period - self.period.min(period);
            self.period = period;
            self.nacks = VIEWER_NACKS;
            self.keyframes = VIEWER_KEYFRAMES;
            self.feedbacks = VIEWER_FEEDBACKS;
            self.rtx_bytes =
                (self.rtx_bytes + passed.min(100) * RTX_CREDIT_PERIOD).min(RTX_CREDIT_MAX);
        }
    }

    /// Half of what is sent may be sent again, besides the fixed share.
    pub(crate) fn earn(&mut self, sent_bytes: u64) {
        self.rtx_bytes = (self.rtx_bytes + sent_bytes / 2).min(RTX_CREDIT_MAX);
    }

    pub(crate) fn take_nack(&mut self, now: Micros) -> bool {
        self.renew(now);
        let ok = self.nacks > 0;
        self.nacks -= u32::from(ok);
        ok
    }

    pub(crate) fn take_keyframe(&mut self, now: Micros) -> bool {
        self.renew(now);
        let ok = self.keyframes > 0;
        self.keyframes -= u32::from(ok);
        ok
    }

    pub(crate) fn take_feedback(&mut self, now: Micros) -> bool {
        self.renew(now);
        let ok = self.feedbacks > 0;
        self.feedbacks -= u32::from(ok);
        ok
    }

    pub(crate) fn take_rtx(&mut self, bytes: u64) -> bool {
        let ok = self.rtx_bytes >= bytes;
        self.rtx_bytes -= if ok { bytes } else { 0 };
        ok
    }
}

/// A client of this worker: both its legs, as publisher and as viewer.
pub(crate) struct Transport {
    pub(crate) link: RowLink,
    pub(crate) config: TransportConfig,
    pub(crate) path: Option<Path>,
    pub(crate) keys: Option<Keys>,
    /// Keyed hash of what `keys` were made from, to see whether that changes; the
    /// material itself stays in its locked pages.
    fingerprint: u64,
    pub(crate) carried: Carried,
    pub(crate) streams: Vec<Stream>,
    pub(crate) twcc: Option<TwccReceiver>,
    /// Of a publisher that takes feedback by RFC 8888, and none by transport-wide numbers.
    pub(crate) arrivals: Option<Box<Arrivals>>,
    pub(crate) clock: PublisherClock,
    pub(crate) sent: HashMap<u32, Sent>,
    /// Next index of every SSRC ever sent with under these keys and now out of use:
    /// whoever gets the SSRC next goes on from there.
    ledger: HashMap<u32, u64>,
    pub(crate) budget: Budget,
    /// Of a viewer of video.
    pub(crate) bandwidth: Option<Box<Bandwidth>>,
    /// What media goes out with: that of `bandwidth`, near the path.
    pub(crate) ecn: Ecn,
    /// Bytes received since the last report, for REMB.
    pub(crate) bytes_since_report: u64,
    pub(crate) last_feedback: Micros,
    pub(crate) state: TransportState,
}

impl Transport {
    pub(crate) fn new(link: RowLink, config: TransportConfig, state: TransportState) -> Self {
        let state = if state.generation == link.generation {
            TransportState {
                transport_cc_next: state.transport_cc_next + TRANSPORT_CC_SKIP,
                ..state
            }
        } else {
            TransportState {
                generation: link.generation,
                ..TransportState::default()
            }
        };
        let mut transport = Self {
            link,
            config,
            path: None,
            keys: None,
            fingerprint: 0,
            carried: Carried::default(),
            streams: Vec::new(),
            twcc: None,
            arrivals: None,
            clock: PublisherClock::default(),
            sent: HashMap::new(),
            ledger: HashMap::new(),
            budget: Budget::new(),
            bandwidth: None,
            ecn: Ecn::NotEct,
            bytes_since_report: 0,
            last_feedback: Micros(0),
            state,
        };
        transport.configure(config);
        transport
    }

    /// Looks after the viewer's network from now on.
    pub(crate) fn watch_bandwidth(&mut self, make: MakeEstimator) {
        let bandwidth = Bandwidth::new(make, &self.config, self.state.transport_cc_next);
        self.ecn = bandwidth.marking.ecn();
        self.bandwidth = Some(Box::new(bandwidth));
    }

    /// Takes in a config of the same life.
    pub(crate) fn configure(&mut self, config: TransportConfig) {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.path = config.remote.socket_addr().map(|remote| Path {
            remote,
            local: config
                .local
                .socket_addr()
                .map_or(unspecified, |local| local.ip()),
        });
        self.carried = Carried::of(&config.extensions);
        self.config = config;
    }

    /// Takes in secrets: makes the contexts if the keys are new. Contexts and windows
    /// of keys that stay are kept.
    pub(crate) fn rekey(&mut self, secrets: &TransportSecrets) {
        let profile = Profile::try_from(self.config.srtp_profile).ok();
        let usable = secrets.generation == self.link.generation && secrets.keyed == 1;
        let Some(profile) = profile.filter(|_| usable) else {
            return;
        };
        let fingerprint = self.sent.hasher().hash_one((
            self.config.srtp_profile,
            (secrets.rx_key, secrets.rx_salt),
            (secrets.tx_key, secrets.tx_salt),
        ));
        if fingerprint == self.fingerprint && self.keys.is_some() {
            return;
        }
        if self.keys.is_some() {
            // New keys in the same life: the client begins its indices anew, ours run on.
            self.streams.clear();
        }
        self.keys = Some(Keys {
            opener: Opener::new(profile, &master(&secrets.rx_key, &secrets.rx_salt)),
            sealer: Sealer::new(profile, &master(&secrets.tx_key, &secrets.tx_salt)),
            rtcp: Vec::with_capacity(RTCP_SENDERS),
        });
        self.fingerprint = fingerprint;
    }

    /// Whether packets can be sent: there are keys and an address.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.is_some() && self.path.is_some()
    }

    /// Bytes that one datagram to this client may have.
    pub(crate) fn max_datagram(&self) -> usize {
        match self.config.max_datagram as usize {
            0 => MAX_DATAGRAM,
            limit => limit.min(MAX_DATAGRAM),
        }
    }

    /// Goes on receiving an encoding where its stored state says.
    pub(crate) fn resume_streams(&mut self, encoding: u32, now: Micros, state: &EncodingState) {
        self.streams
            .reserve_exact(STREAMS_PER_TRANSPORT - self.streams.len());
        let streams = [
            (StreamKind::Media, state.ssrc, state.srtp_next),
            (StreamKind::Rtx, state.rtx_ssrc, state.rtx_srtp_next),
            (StreamKind::Fec, state.fec_ssrc, state.fec_srtp_next),
        ];
        for (kind, ssrc, next) in streams {
            if ssrc != 0 && next > 0 && self.stream(ssrc).is_none() {
                self.learn(Stream {
                    ssrc,
                    encoding,
                    kind,
                    rx: RxIndex::restore(next.checked_sub(1)),
                    last_packet: now,
                });
            }
        }
    }

    /// Place of an SSRC in `streams`.
    pub(crate) fn stream(&self, ssrc: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.ssrc == ssrc)
    }

    /// Adds an SSRC that has been authenticated; the one silent for longest goes if
    /// there are too many.
    pub(crate) fn learn(&mut self, stream: Stream) -> usize {
        if self.streams.len() == STREAMS_PER_TRANSPORT
            && let Some(oldest) =
                (0..self.streams.len()).min_by_key(|&i| self.streams[i].last_packet)
        {
            self.streams.swap_remove(oldest);
        }
        self.streams.push(stream);
        self.streams.len() - 1
    }

    /// Claims an SSRC to send with. Returns the index to begin with at least, or
    /// `None` if it is in use, or if the transport has used too many.
    pub(crate) fn claim(&mut self, ssrc: u32, sent: Sent) -> Option<u64> {
        if ssrc == 0 || self.sent.contains_key(&ssrc) || self.sent.len() >= SSRCS_SENT {
            return None;
        }
        let next = self.ledger.remove(&ssrc).unwrap_or(0);
        self.sent.insert(ssrc, sent);
        Some(next)
    }

    /// Gives up an SSRC whose next index is `next`.
    pub(crate) fn disclaim(&mut self, ssrc: u32, next: u64) {
        if self.sent.remove(&ssrc).is_some() {
            self.ledger.insert(ssrc, next);
        }
    }

    /// Whether so many SSRCs were used that no further one can be remembered.
    pub(crate) fn is_ledger_full(&self) -> bool {
        self.ledger.len() >= SSRCS_SENT
    }
}
