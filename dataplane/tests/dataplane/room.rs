//! A control plane, a publisher and viewers on loopback, with keys agreed beforehand.

use crate::support::{StateDir, attach_when_free, until};
use ion_srtp::{MasterKey, Opener, Profile, RxIndex, Sealer};
use ion_tables::attach::Attached;
use ion_tables::steer::worker_of;
use ion_tables::{
    ControlTables, DropReason, Encoding, EncodingConfig, Row, RowLink, Subscription,
    SubscriptionConfig, Tables, Text, Track, TrackConfig, Transport, TransportConfig,
    TransportSecrets,
};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const PROFILE: Profile = Profile::AeadAes128Gcm;
const HEADER: usize = 12;
const CLOCK_RATE: u32 = 48_000;
/// Opus, by `ion_wire::codec::CodecKind`: forwarded from the first packet on.
const OPUS: u8 = 1;
const PUBLISHED_SSRC: u32 = 4_711;
const PUBLISHED_PT: u8 = 111;
const VIEWED_PT: u8 = 96;

/// Somebody on loopback with keys of its own.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    row: u32,
    sealer: Sealer,
    opener: Opener,
    rx: RxIndex,
}

fn keys(row: u32, first: u8) -> ([u8; 32], [u8; 16]) {
    let mut key = [0; 32];
    key[..PROFILE.key_len()].fill(first);
    key[0] = u8::try_from(row).unwrap();
    let mut salt = [0; 16];
    salt[..PROFILE.salt_len()].fill(first ^ 0x5a);
    (key, salt)
}

fn master((key, salt): ([u8; 32], [u8; 16])) -> MasterKey {
    MasterKey::from_slices(
        PROFILE,
        &key[..PROFILE.key_len()],
        &salt[..PROFILE.salt_len()],
    )
    .unwrap()
}

impl Client {
    /// A client whose packets arrive at worker `arrives_at` of two.
    fn new(row: u32, arrives_at: usize) -> Self {
        let mut others = Vec::new();
        let socket = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            if worker_of(socket.local_addr().unwrap(), 2) == arrives_at {
                break socket;
            }
            others.push(socket);
        };
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self {
            socket,
            row,
            sealer: Sealer::new(PROFILE, &master(keys(row, 1))),
            opener: Opener::new(PROFILE, &master(keys(row, 2))),
            rx: RxIndex::new(),
        }
    }

    /// The packet of an index, sealed.
    pub(crate) fn seal(&mut self, index: u64) -> Vec<u8> {
        let mut packet = vec![0; 1_400];
        packet[..2].copy_from_slice(&[0x80, PUBLISHED_PT]);
        packet[2..4].copy_from_slice(&index.to_be_bytes()[6..]);
        let timestamp = u32::try_from(index).unwrap() * 960;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..HEADER].copy_from_slice(&PUBLISHED_SSRC.to_be_bytes());
        let len = self
            .sealer
            .seal_rtp(HEADER, index, PUBLISHED_SSRC, &payload(index), &mut packet)
            .unwrap();
        packet.truncate(len);
        packet
    }

    /// A sealed report on one packet, transport-wide.
    fn report(&mut self, index: u32) -> Vec<u8> {
        let mut plain = [0; 24];
        plain[..4].copy_from_slice(&[0x8f, 205, 0, 5]);
        plain[4..8].copy_from_slice(&self.row.to_be_bytes());
        // One status, of a packet that arrived after no time.
        plain[15] = 1;
        plain[20..22].copy_from_slice(&[0x20, 1]);
        let mut sealed = [0; 64];
        let len = self.sealer.seal_rtcp(index, &plain, &mut sealed).unwrap();
        sealed[..len].to_vec()
    }

    /// The next RTP packet that comes: its sequence number and payload.
    fn receive(&mut self) -> (u16, Vec<u8>) {
        let mut datagram = [0; 2_048];
        loop {
            let len = self.socket.recv(&mut datagram).expect("no packet is lost");
            let packet = &datagram[..len];
            // RTCP (RFC 5761, section 4): reports, which are another test's.
            if (192..=223).contains(&packet[1]) {
                continue;
            }
            assert_eq!(packet[1] & 0x7f, VIEWED_PT);
            let extended = packet[0] & 0x10 != 0;
            let header = if extended {
                HEADER + 4 + 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]))
            } else {
                HEADER
            };
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            let mut plain = [0; 2_048];
            let len = self
                .opener
                .open_rtp(
                    header,
                    viewed_ssrc(self.row),
                    sequence,
                    packet,
                    &mut self.rx,
                    &mut plain,
                )
                .unwrap();
            return (sequence, plain[header..len].to_vec());
        }
    }
}

/// Sizes differ from packet to packet, as those of frames do.
pub(crate) fn payload(index: u64) -> Vec<u8> {
    let len = 40 + usize::try_from(index % 7).unwrap() * 150;
    let mut payload = vec![0; len];
    payload[..8].copy_from_slice(&index.to_be_bytes());
    payload
}

fn viewed_ssrc(row: u32) -> u32 {
    9_000 + row
}

/// The control plane's part.
pub(crate) struct Control {
    attached: Attached,
    rows: ControlTables,
}

impl Control {
    pub(crate) fn attach(state_dir: &StateDir) -> Self {
        let mut attached = attach_when_free(state_dir);
        // The mapping is moved to where rows are written; the memfd stays the same.
        let memfd = attached.tables.memfd().try_clone_to_owned().unwrap();
        let tables = std::mem::replace(&mut attached.tables, Tables::map(memfd).unwrap());
        Self {
            attached,
            rows: ControlTables::new(Arc::new(tables)),
        }
    }

    pub(crate) fn tables(&self) -> &Tables {
        self.rows.tables()
    }

    fn ring(&self, worker: usize) {
        rustix::io::write(
            &self.attached.worker_doorbells[worker],
            &1_u64.to_ne_bytes(),
        )
        .unwrap();
    }

    fn publish<R: Row>(&self, row: u32, config: &R::Config) {
        let ring = |worker| self.ring(worker);
        assert!(self.rows.publish::<R>(row, config, ring));
    }

    fn transport(&self, client: &Client, owner: usize, media: SocketAddr) -> RowLink {
        let row = client.row;
        let head = self.rows.next_life::<Transport>(row);
        let secrets = TransportSecrets::keyed(head.generation, keys(row, 1), keys(row, 2));
        self.rows.write_secrets(row, &secrets);
        let config = TransportConfig {
            head,
            worker: u16::try_from(owner).unwrap(),
            srtp_profile: PROFILE.id(),
            feedback_ssrc: 1,
            remote: client.socket.local_addr().unwrap().into(),
            local: media.into(),
            cname: Text::new("ion").unwrap(),
            ..TransportConfig::default()
        };
        self.publish::<Transport>(row, &config);
        head.link(row)
    }

    fn track(&self, transport: RowLink, owner: usize, subscriber_workers: u64) -> RowLink {
        let worker = u16::try_from(owner).unwrap();
        let head = self.rows.next_life::<Track>(0);
        let encoding = self.rows.next_life::<Encoding>(0);
        let config = EncodingConfig {
            head: encoding,
            track: head.link(0),
            transport,
            ssrc: PUBLISHED_SSRC,
            clock_rate: CLOCK_RATE,
            worker,
            codec: OPUS,
            payload_type: PUBLISHED_PT,
            ..EncodingConfig::default()
        };
        self.publish::<Encoding>(0, &config);
        let mut encodings = [RowLink::default(); TrackConfig::MAX_ENCODINGS];
        encodings[0] = encoding.link(0);
        let config = TrackConfig {
            head,
            transport,
            encodings,
            subscriber_workers,
            clock_rate: CLOCK_RATE,
            worker,
            kind: TrackConfig::AUDIO,
            codec: OPUS,
            ..TrackConfig::default()
        };
        self.publish::<Track>(0, &config);
        head.link(0)
    }

    fn subscription(&self, viewer: &Client, transport: RowLink, owner: usize, track: RowLink) {
        let config = SubscriptionConfig {
            head: self.rows.next_life::<Subscription>(viewer.row),
            transport,
            track,
            ssrc: viewed_ssrc(viewer.row),
            worker: u16::try_from(owner).unwrap(),
            payload_type: VIEWED_PT,
            max_layer: 3,
            clock_rate: CLOCK_RATE,
            ..SubscriptionConfig::default()
        };
        self.publish::<Subscription>(viewer.row, &config);
    }

    /// Waits until every worker has read every row.
    pub(crate) fn settle(&self) {
        for worker in 0..self.tables().workers() {
            let counters = self.tables().worker_counters(worker).unwrap();
            let before = counters.rescans.load();
            if self.tables().commands(worker).unwrap().ask_rescan() {
                self.ring(worker);
            }
            until("the rows are read", || counters.rescans.load() > before);
        }
    }

    pub(crate) fn sum(&self, of: impl Fn(&ion_tables::WorkerCounters) -> u64) -> u64 {
        (0..self.tables().workers())
            .map(|worker| of(self.tables().worker_counters(worker).unwrap()))
            .sum()
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|counters| counters.drops[reason as usize].load())
    }

    pub(crate) fn all_dropped(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .map(|reason| (reason, self.dropped(reason)))
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .collect()
    }
}

/// The clients of one room.
pub(crate) struct Room {
    pub(crate) media: SocketAddr,
    pub(crate) publisher: Client,
    viewers: Vec<Client>,
}

/// One publisher, whose packets arrive at worker 0, owned by worker `owner`, and two
/// viewers of each worker.
pub(crate) fn room(control: &Control, owner: usize) -> Room {
    let media = rustix::net::getsockname(&control.attached.sockets[0]).unwrap();
    let media = SocketAddr::try_from(media).unwrap();
    let publisher = Client::new(0, 0);
    let transport = control.transport(&publisher, owner, media);
    let track = control.track(transport, owner, 0b11);
    let viewers: Vec<_> = [0, 0, 1, 1]
        .into_iter()
        .zip(1..)
        .map(|(worker, row)| {
            let viewer = Client::new(row, worker);
            let transport = control.transport(&viewer, worker, media);
            control.subscription(&viewer, transport, worker, track);
            viewer
        })
        .collect();
    control.settle();
    Room {
        media,
        publisher,
        viewers,
    }
}

impl Room {
    /// Has every viewer report, so many times.
    pub(crate) fn report(&mut self, times: u32) {
        for index in 0..times {
            for viewer in &mut self.viewers {
                let report = viewer.report(index);
                viewer.socket.send_to(&report, self.media).unwrap();
            }
        }
    }

    /// Publishes packets, ten at a time, and has every viewer receive each of them.
    pub(crate) fn publish(&mut self, indices: std::ops::Range<u64>) {
        for first in indices.clone().step_by(10) {
            let burst = first..(first + 10).min(indices.end);
            for index in burst.clone() {
                let packet = self.publisher.seal(index);
                self.publisher.socket.send_to(&packet, self.media).unwrap();
            }
            for viewer in &mut self.viewers {
                for index in burst.clone() {
                    let (_, received) = viewer.receive();
                    assert_eq!(received, payload(index));
                }
            }
        }
    }
}
