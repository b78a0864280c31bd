use super::dataplane::Target;
use super::place::Place;
use super::{Mix, Options};
use ion_srtp::{MasterKey, Profile};
use ion_tables::steer::worker_of;
use ion_tables::{
    Capacities, Encoding, EncodingConfig, ExtensionKind, ExtensionMap, RowLink, Subscription,
    SubscriptionConfig, Text, Track, TrackConfig, Transport, TransportConfig, TransportSecrets,
};
use ion_wire::codec::CodecKind;
use std::net::{Ipv4Addr, SocketAddr};

/// Payload types on both legs.
pub(super) const VIDEO_PT: u8 = 96;
pub(super) const AUDIO_PT: u8 = 111;
const RTX_PT: u8 = 97;
/// SSRCs that publishers send under: this and the encoding's number.
pub(super) const PUBLISHED_SSRC: u32 = 0x1000_0000;
/// SSRCs that viewers get: this and the subscription's number.
pub(super) const VIEWED_SSRC: u32 = 0x2000_0000;
const RTX_SSRC: u32 = 0x3000_0000;
/// Header extension ids: on both legs, but for the level of sound, which only publishers tell.
pub(super) const MID_ID: u8 = 1;
pub(super) const LEVEL_ID: u8 = 2;
pub(super) const TRANSPORT_CC_ID: u8 = 3;

/// A client: one transport.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    worker: u16,
}

/// A published source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// Number of its publisher's [`Client`].
    pub(super) client: u32,
    pub(super) audio: bool,
    /// Number of its first encoding; those above follow.
    pub(super) encoding: u32,
    /// Encodings, lowest quality first.
    pub(super) layers: u8,
    /// How many get it.
    pub(super) viewers: u32,
    /// Bit `w`: a viewer that gets it by itself is owned by worker `w`.
    pub(super) workers: u64,
    /// Number of the first seat of the stage that it speaks on: then viewers get the seats.
    pub(super) stage: Option<u32>,
}

/// A place on a stage, that goes to the one who speaks.
#[derive(Debug, Clone, Copy)]
struct Seat {
    /// On its stage, from 0.
    place: u8,
    /// Owner of its source's transport.
    worker: u16,
    /// Bit `w`: a viewer is owned by worker `w`.
    workers: u64,
}

/// A source, or a seat of its stage, sent to a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    source: u32,
    seat: Option<u32>,
    pub(super) client: u32,
}

/// Who is in which room, as tables to be written.
pub(super) struct Rooms {
    pub(super) profile: Profile,
    /// Participants have an address each, from this one up.
    first_address: u32,
    pub(super) clients: Vec<Client>,
    pub(super) sources: Vec<Source>,
    /// Seats of each stage.
    slots: u8,
    seats: Vec<Seat>,
    pub(super) subscriptions: Vec<Sent>,
}

impl Rooms {
    /// Lays out the rooms of a run. Publishers send from `publish_port`, viewers receive at `view_port`.
    pub(super) fn plan(
        options: &Options,
        place: &Place,
        publish_port: u16,
        view_port: u16,
    ) -> Self {
        let mut rooms = Self {
            profile: options.cipher.into(),
            first_address: place.first_client(),
            clients: Vec::new(),
            sources: Vec::new(),
            slots: options.slots,
            seats: Vec::new(),
            subscriptions: Vec::new(),
        };
        for _ in 0..options.rooms {
            match options.mix {
                Mix::Meeting => rooms.add_meeting(options, publish_port, view_port),
                _ => rooms.add_stage(options, publish_port, view_port),
            }
        }
        rooms
    }

    fn add_client(&mut self, port: u16, workers: u16) -> u32 {
        let number = count(&self.clients);
        let ip = Ipv4Addr::from_bits(self.first_address + number);
        let address = SocketAddr::new(ip.into(), port);
        let worker = worker_of(address, usize::from(workers));
        self.clients.push(Client {
            address,
            worker: u16::try_from(worker).unwrap_or(0),
        });
        number
    }

    fn add_source(&mut self, client: u32, audio: bool, layers: u8) -> u32 {
        let stage = (audio && self.slots > 0).then_some(count(&self.seats));
        self.sources.push(Source {
            client,
            audio,
            encoding: self.encodings(),
            layers,
            viewers: 0,
            workers: 0,
            stage,
        });
        let worker = self.clients[client as usize].worker;
        let seats = (0..self.slots).filter(|_| stage.is_some());
        self.seats.extend(seats.map(|place| Seat {
            place,
            worker,
            workers: 0,
        }));
        count(&self.sources) - 1
    }

    /// Encodings of all sources so far.
    fn encodings(&self) -> u32 {
        let last = self.sources.last();
        last.map_or(0, |source| source.encoding + u32::from(source.layers))
    }

    fn subscribe(&mut self, client: u32, source: u32) {
        let worker = 1 << self.clients[client as usize].worker;
        let track = &mut self.sources[source as usize];
        track.viewers += 1;
        let sent = Sent {
            source,
            seat: None,
            client,
        };
        let Some(first) = track.stage else {
            track.workers |= worker;
            return self.subscriptions.push(sent);
        };
        for seat in first..first + u32::from(self.slots) {
            self.seats[seat as usize].workers |= worker;
            let seat = Some(seat);
            self.subscriptions.push(Sent { seat, ..sent });
        }
    }

    /// One publisher and its viewers.
    fn add_stage(&mut self, options: &Options, publish_port: u16, view_port: u16) {
        let publisher = self.add_client(publish_port, options.workers);
        let kinds: &[bool] = match options.mix {
            Mix::Video | Mix::Simulcast => &[false],
            Mix::Audio => &[true],
            Mix::Broadcast | Mix::Meeting => &[true, false],
        };
        let layers = if options.mix == Mix::Simulcast { 3 } else { 1 };
        let sources: Vec<_> = kinds
            .iter()
            .map(|&audio| self.add_source(publisher, audio, layers))
            .collect();
        for _ in 0..options.viewers {
            let viewer = self.add_client(view_port, options.workers);
            for &source in &sources {
                self.subscribe(viewer, source);
            }
        }
    }

    /// Everyone publishes and gets everyone else. A participant is two clients, as with
    /// WHIP and WHEP: one that publishes, one that views.
    fn add_meeting(&mut self, options: &Options, publish_port: u16, view_port: u16) {
        let participants: Vec<_> = (0..options.viewers)
            .map(|_| {
                let publisher = self.add_client(publish_port, options.workers);
                let sources = [true, false].map(|audio| self.add_source(publisher, audio, 1));
                (self.add_client(view_port, options.workers), sources)
            })
            .collect();
        for (viewer, own) in &participants {
            for (_, sources) in &participants {
                if sources != own {
                    sources
                        .iter()
                        .for_each(|&source| self.subscribe(*viewer, source));
                }
            }
        }
    }

    /// Rows that the tables must have.
    pub(super) fn capacities(&self) -> Capacities {
        Capacities {
            transports: count(&self.clients).max(1),
            tracks: (count(&self.sources) + count(&self.seats)).max(1),
            encodings: self.encodings().max(1),
            subscriptions: count(&self.subscriptions).max(1),
        }
    }

    /// Writes all rows, and waits until the workers have read them.
    pub(super) fn program(&self, target: &Target) -> anyhow::Result<()> {
        let transports: Vec<_> = (0..count(&self.clients))
            .map(|row| self.write_transport(target, row))
            .collect();
        let mut seats = Vec::new();
        for seat in &self.seats {
            seats.push(self.write_seat(target, seat, &seats));
        }
        let tracks: Vec<_> = (0..count(&self.sources))
            .map(|row| self.write_track(target, row, &transports, &seats))
            .collect();
        for row in 0..count(&self.subscriptions) {
            self.write_subscription(target, row, &transports, (&tracks, &seats));
        }
        target.settle()
    }

    fn write_transport(&self, target: &Target, row: u32) -> RowLink {
        let rows = target.rows();
        let client = self.clients[row as usize];
        let head = rows.next_life::<Transport>(row);
        let (rx, tx) = (static_key(row, Way::In), static_key(row, Way::Out));
        let secrets = TransportSecrets::keyed(head.generation, rx, tx);
        rows.write_secrets(row, &secrets);
        let mut extensions = ExtensionMap::default();
        extensions.set(ExtensionKind::Mid, MID_ID);
        extensions.set(ExtensionKind::TransportCc, TRANSPORT_CC_ID);
        if self.sources.iter().any(|source| source.client == row) {
            extensions.set(ExtensionKind::AudioLevel, LEVEL_ID);
        }
        let config = TransportConfig {
            head,
            worker: client.worker,
            srtp_profile: self.profile.id(),
            feedback_ssrc: 1,
            remote: client.address.into(),
            local: target.media().into(),
            extensions,
            flags: TransportConfig::TRANSPORT_CC_OUT | TransportConfig::RTCP_REDUCED_SIZE,
            cname: Text::new("ion").unwrap_or_default(),
            ..TransportConfig::default()
        };
        target.publish::<Transport>(row, &config);
        head.link(row)
    }

    /// Writes a seat, whose row is behind those of the sources; `before` are the seats before it.
    fn write_seat(&self, target: &Target, seat: &Seat, before: &[RowLink]) -> RowLink {
        let row = count(&self.sources) + count(before);
        let head = target.rows().next_life::<Track>(row);
        let link = head.link(row);
        let first = before.len() - usize::from(seat.place);
        let config = TrackConfig {
            head,
            subscriber_workers: seat.workers,
            clock_rate: 48_000,
            worker: seat.worker,
            kind: TrackConfig::AUDIO,
            codec: CodecKind::Opus.into(),
            stage: before.get(first).copied().unwrap_or(link),
            seat: seat.place + 1,
            ..TrackConfig::default()
        };
        target.publish::<Track>(row, &config);
        link
    }

    /// Writes a track and its encodings.
    fn write_track(
        &self,
        target: &Target,
        row: u32,
        transports: &[RowLink],
        seats: &[RowLink],
    ) -> RowLink {
        let rows = target.rows();
        let source = self.sources[row as usize];
        let transport = transports[source.client as usize];
        let worker = self.clients[source.client as usize].worker;
        let head = rows.next_life::<Track>(row);
        let track = head.link(row);
        let (codec, clock_rate, kind, payload_type) = if source.audio {
            (CodecKind::Opus, 48_000, TrackConfig::AUDIO, AUDIO_PT)
        } else {
            (CodecKind::Vp8, 90_000, TrackConfig::VIDEO, VIDEO_PT)
        };
        let mut encodings = [RowLink::default(); TrackConfig::MAX_ENCODINGS];
        for (layer, slot) in (0..source.layers).zip(&mut encodings) {
            let row = source.encoding + u32::from(layer);
            let head_of_layer = rows.next_life::<Encoding>(row);
            let config = EncodingConfig {
                head: head_of_layer,
                track,
                transport,
                ssrc: PUBLISHED_SSRC + row,
                clock_rate,
                worker,
                layer,
                codec: codec.into(),
                payload_type,
                feedback: EncodingConfig::NACK | EncodingConfig::PLI | EncodingConfig::TRANSPORT_CC,
                ..EncodingConfig::default()
            };
            target.publish::<Encoding>(row, &config);
            *slot = head_of_layer.link(row);
        }
        let config = TrackConfig {
            head,
            transport,
            encodings,
            subscriber_workers: source.workers,
            clock_rate,
            worker,
            kind,
            codec: codec.into(),
            stage: source
                .stage
                .map_or_else(RowLink::default, |seat| seats[seat as usize]),
            ..TrackConfig::default()
        };
        target.publish::<Track>(row, &config);
        track
    }

    fn write_subscription(
        &self,
        target: &Target,
        row: u32,
        transports: &[RowLink],
        (tracks, seats): (&[RowLink], &[RowLink]),
    ) {
        let Sent {
            source,
            seat,
            client,
        } = self.subscriptions[row as usize];
        let track = seat.map_or_else(|| tracks[source as usize], |seat| seats[seat as usize]);
        let audio = self.sources[source as usize].audio;
        let config = SubscriptionConfig {
            head: target.rows().next_life::<Subscription>(row),
            transport: transports[client as usize],
            track,
            ssrc: VIEWED_SSRC + row,
            rtx_ssrc: if audio { 0 } else { RTX_SSRC + row },
            worker: self.clients[client as usize].worker,
            payload_type: if audio { AUDIO_PT } else { VIDEO_PT },
            rtx_payload_type: if audio { 0 } else { RTX_PT },
            max_layer: 3,
            flags: if audio { 0 } else { SubscriptionConfig::NACK },
            mid: Text::new(if audio { "0" } else { "1" }).unwrap_or_default(),
            clock_rate: if audio { 48_000 } else { 90_000 },
            ..SubscriptionConfig::default()
        };
        target.publish::<Subscription>(row, &config);
    }
}

/// Length of a table; a run has 65,536 clients at most.
fn count<T>(table: &[T]) -> u32 {
    u32::try_from(table.len()).unwrap_or(u32::MAX)
}

/// Which way a key is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// From a client.
    In = 1,
    /// To a client.
    Out = 2,
}

/// The key and salt of a client. They are known to everybody: for measurements only.
fn static_key(client: u32, way: Way) -> ([u8; 32], [u8; 16]) {
    let (mut key, mut salt) = ([way as u8; 32], [way as u8; 16]);
    key[..4].copy_from_slice(&client.to_be_bytes());
    salt[..4].copy_from_slice(&client.to_be_bytes());
    (key, salt)
}

/// The same, as the ciphers take it.
pub(super) fn master_key(
    profile: Profile,
    client: u32,
    way: Way,
) -> Result<MasterKey, ion_srtp::SrtpError> {
    let (key, salt) = static_key(client, way);
    MasterKey::from_slices(
        profile,
        &key[..profile.key_len()],
        &salt[..profile.salt_len()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        raw: Options,
    }

    fn rooms(arguments: &[&str]) -> Rooms {
        let arguments = [&["raw"], arguments].concat();
        Rooms::plan(
            &Command::parse_from(arguments).raw,
            &Place::loopback(),
            1_000,
            2_000,
        )
    }

    #[test]
    fn a_stage_has_one_source_and_everyone_else_views() {
        let rooms = rooms(&["--rooms", "3", "--viewers", "5"]);
        assert_eq!(rooms.clients.len(), 3 * 6);
        assert_eq!(rooms.sources.len(), 3);
        assert_eq!(rooms.subscriptions.len(), 3 * 5);
        assert!(
            rooms
                .sources
                .iter()
                .all(|source| source.viewers == 5 && !source.audio)
        );
        let addresses: std::collections::HashSet<_> =
            rooms.clients.iter().map(|client| client.address).collect();
        assert_eq!(addresses.len(), rooms.clients.len(), "an address each");
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn in_a_meeting_everyone_gets_everyone_else_and_not_oneself() {
        let rooms = rooms(&["--mix", "meeting", "--viewers", "4", "--rooms", "2"]);
        assert_eq!(rooms.sources.len(), 2 * 4 * 2);
        assert_eq!(rooms.subscriptions.len(), 2 * 4 * 3 * 2);
        for sent in &rooms.subscriptions {
            // A participant's publisher is the client before its viewer.
            let own = rooms.sources[sent.source as usize].client + 1 == sent.client;
            assert!(!own, "{sent:?}");
        }
    }

    #[test]
    fn viewers_of_a_room_with_slots_get_its_seats() {
        let mix = ["--mix", "broadcast", "--rooms", "2", "--viewers", "3"];
        let rooms = rooms(&[&mix[..], &["--slots", "2"]].concat());
        assert_eq!(
            rooms.subscriptions.len(),
            2 * 3 * (1 + 2),
            "video and seats"
        );
        let seats: Vec<_> = rooms.subscriptions.iter().filter_map(|s| s.seat).collect();
        assert_eq!(seats, [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]);
        assert_eq!(rooms.capacities().tracks, 2 * (2 + 2));
        let sound = rooms.sources.iter().filter(|source| source.audio);
        let sound: Vec<_> = sound.map(|source| (source.workers, source.stage)).collect();
        assert_eq!(sound, [(0, Some(0)), (0, Some(2))]);
        assert!(rooms.seats.iter().all(|seat| seat.workers == 1));
    }

    #[test]
    fn workers_of_a_source_are_those_of_its_viewers() {
        let rooms = rooms(&["--viewers", "200", "--workers", "4"]);
        assert_eq!(rooms.sources[0].workers, 0b1111);
    }
}
