use super::rooms::{Rooms, TRANSPORT_CC_ID, Way, master_key};
use super::traffic::now_ns;
use ion_srtp::Sealer;
use ion_wire::rtcp::twcc::{self, TwccHeader};
use ion_wire::rtp::RtpHeader;
use quinn_udp::{Transmit, UdpSocketState};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Between two reports of one viewer, nanoseconds: as browsers do from 1.1 Mbit/s up.
const INTERVAL_NS: u64 = 50_000_000;
/// Packets of one report at most.
const MAX_PACKETS: usize = 512;
/// SSRCs that reports are sent under: this and the client's number.
const REPORTER_SSRC: u32 = 0x4000_0000;
/// Bytes of a report, sealed.
const MAX_BYTES: usize = 1_200;

/// Transport-wide feedback of all viewers, each in its turn.
pub(super) struct Feedback {
    media: SocketAddr,
    /// By client; those without a subscription never report.
    reporters: Vec<Option<Reporter>>,
    /// By subscription: its client.
    clients: Vec<u32>,
    /// Whose turn it is, and when, nanoseconds of the monotonic clock.
    turn: usize,
    due_ns: u64,
    /// Reports sent.
    sent: u64,
}

struct Reporter {
    address: IpAddr,
    sealer: Sealer,
    index: u32,
    /// Number of the first packet to be reported.
    first: Option<u16>,
    /// When that and those after it arrived, microseconds.
    arrivals: Vec<Option<u64>>,
}

impl Feedback {
    pub(super) fn new(rooms: &Rooms, media: SocketAddr) -> Self {
        let clients: Vec<_> = rooms.subscriptions.iter().map(|sent| sent.client).collect();
        let mut reporters: Vec<Option<Reporter>> = Vec::new();
        reporters.resize_with(rooms.clients.len(), || None);
        for &client in &clients {
            let key = master_key(rooms.profile, client, Way::In);
            reporters[client as usize] = key.ok().map(|key| Reporter {
                address: rooms.clients[client as usize].address.ip(),
                sealer: Sealer::new(rooms.profile, &key),
                index: 0,
                first: None,
                arrivals: Vec::with_capacity(MAX_PACKETS),
            });
        }
        Self {
            media,
            reporters,
            clients,
            turn: 0,
            due_ns: now_ns(),
            sent: 0,
        }
    }

    /// Reports sent since the last time that this was asked.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// A packet of a subscription arrived; of it at least the header is there.
    pub(super) fn note(&mut self, subscription: usize, datagram: &[u8], now_us: u64) {
        let number = RtpHeader::parse(datagram).ok().and_then(|header| {
            let [value] = header.find_extensions(datagram, &[TRANSPORT_CC_ID]);
            value?.try_into().ok().map(u16::from_be_bytes)
        });
        let client = self.clients.get(subscription);
        let slot = client.and_then(|&client| self.reporters.get_mut(client as usize));
        if let (Some(number), Some(Some(reporter))) = (number, slot) {
            reporter.note(number, now_us);
        }
    }

    /// Sends what is due.
    pub(super) fn send_due(&mut self, socket: &UdpSocket, state: &UdpSocketState) {
        let now_ns = now_ns();
        let step = INTERVAL_NS / (self.reporters.len() as u64).max(1);
        // After a pause nobody's turn is made up for.
        self.due_ns = self.due_ns.max(now_ns.saturating_sub(INTERVAL_NS));
        while self.due_ns <= now_ns {
            self.due_ns += step.max(1);
            self.turn = (self.turn + 1) % self.reporters.len().max(1);
            let Some(Some(reporter)) = self.reporters.get_mut(self.turn) else {
                continue;
            };
            let mut memory = [0; MAX_BYTES];
            let Some(len) = reporter.write(self.turn, &mut memory) else {
                continue;
            };
            let transmit = Transmit {
                destination: self.media,
                ecn: None,
                contents: &memory[..len],
                segment_size: None,
                src_ip: Some(reporter.address),
            };
            // One that finds no room is lost, as on a network.
            if state.try_send(socket.into(), &transmit).is_ok() {
                self.sent += 1;
            }
        }
    }
}

impl Reporter {
    fn note(&mut self, number: u16, now_us: u64) {
        let first = *self.first.get_or_insert(number);
        let at = usize::from(number.wrapping_sub(first));
        // Late ones, before the first, are far away in this order.
        if at < MAX_PACKETS {
            if at >= self.arrivals.len() {
                self.arrivals.resize(at + 1, None);
            }
            self.arrivals[at] = Some(now_us);
        }
    }

    /// Writes and seals a report of what arrived since the last one. `None` when nothing did.
    fn write(&mut self, client: usize, out: &mut [u8; MAX_BYTES]) -> Option<usize> {
        let header = TwccHeader {
            sender_ssrc: REPORTER_SSRC.wrapping_add(u32::try_from(client).ok()?),
            media_ssrc: 0,
            base_sequence: self.first?,
            #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
            feedback_count: self.index as u8,
        };
        let mut plain = [0; MAX_BYTES - 64];
        let written = twcc::write(&mut plain, &header, &self.arrivals);
        self.first = None;
        self.arrivals.clear();
        let plain = plain.get(..written.ok()?.len)?;
        let len = self.sealer.seal_rtcp(self.index, plain, out).ok()?;
        self.index += 1;
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_srtp::{MasterKey, Opener, Profile, RtcpRx};
    use ion_wire::rtcp::{Compound, Packet, Rtpfb};

    const PROFILE: Profile = Profile::AeadAes128Gcm;

    fn key() -> MasterKey {
        master_key(PROFILE, 7, Way::In).unwrap()
    }

    fn reporter() -> Reporter {
        Reporter {
            address: [127, 16, 0, 1].into(),
            sealer: Sealer::new(PROFILE, &key()),
            index: 0,
            first: None,
            arrivals: Vec::new(),
        }
    }

    #[test]
    fn a_report_tells_what_arrived_since_the_last_one() {
        let mut reporter = reporter();
        let mut opener = Opener::new(PROFILE, &key());
        let mut rx = RtcpRx::new();
        // Over the wrap, with a hole, and one that is older than the report.
        for (number, us) in [(65_535, 1_000), (1, 2_000), (65_530, 3_000)] {
            reporter.note(number, us);
        }
        for expected in [&[(65_535, true), (0, false), (1, true)][..], &[(2, true)]] {
            let mut sealed = [0; MAX_BYTES];
            let len = reporter.write(7, &mut sealed).unwrap();
            let mut plain = [0; MAX_BYTES];
            let len = opener
                .open_rtcp(&sealed[..len], &mut rx, &mut plain)
                .unwrap();
            let packet = Compound::iter(&plain[..len]).next().unwrap().unwrap();
            let Packet::Rtpfb(Rtpfb::Twcc(twcc)) = packet else {
                panic!("{packet:?}");
            };
            let arrived: Vec<_> = twcc
                .arrivals_us()
                .map(|(n, at)| (n, at.is_some()))
                .collect();
            assert_eq!(arrived, expected);
            reporter.note(2, 4_000);
        }
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert!(reporter().write(7, &mut [0; MAX_BYTES]).is_none());
    }
}
