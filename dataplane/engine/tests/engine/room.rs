//! A room that speaks: publishers, a stage, and viewers with a subscription for each of its seats.

use crate::harness::*;
use ion_tables::*;
use ion_wire::CodecKind;

pub struct Speaker {
    pub client: usize,
    pub track: u32,
    ssrc: u32,
    /// Index and timestamp of its next packet.
    index: u64,
    timestamp: u32,
}

pub struct Room {
    pub world: World,
    pub seats: Vec<u32>,
    pub speakers: Vec<Speaker>,
    /// Clients, and their subscriptions by seat.
    pub viewers: Vec<(usize, Vec<u32>)>,
    events: EventReader,
}

/// The level of a speaker, and of one who does not speak, -dBov.
pub const SPEAKS: u8 = 30;
pub const SILENT: u8 = 127;

impl Room {
    /// Publishers and viewers are spread over the workers; the stage belongs to the last.
    pub fn new(workers: usize, seats: usize, speakers: usize) -> Self {
        let mut room = Self {
            world: World::new(workers),
            seats: Vec::new(),
            speakers: Vec::new(),
            viewers: Vec::new(),
            events: EventReader::default(),
        };
        for seat in 0..seats {
            room.seat(workers - 1, seat);
        }
        for number in 0..speakers {
            let client = room.world.client(number % workers, false);
            room.speaker(client);
        }
        room
    }

    fn seat(&mut self, worker: usize, place: usize) {
        let (row, head) = self.world.row::<Track>();
        self.seats.push(row);
        let mut config = TrackConfig {
            head,
            kind: TrackConfig::AUDIO,
            codec: CodecKind::Opus.into(),
            clock_rate: 48_000,
            worker: u16::try_from(worker).unwrap(),
            seat: u8::try_from(place + 1).unwrap(),
            ..TrackConfig::default()
        };
        config.stage = match place {
            0 => head.link(row),
            _ => self.stage(),
        };
        self.world.write::<Track>(row, &config);
    }

    pub fn stage(&self) -> RowLink {
        self.world.link::<Track>(self.seats[0])
    }

    pub fn speaker(&mut self, client: usize) -> usize {
        let track = self.world.audio(client);
        let stage = self.stage();
        self.world.edit::<Track>(track, |t| t.stage = stage);
        let number = self.speakers.len();
        let ssrc = 100 + u32::try_from(number).unwrap();
        self.speakers.push(Speaker {
            client,
            track,
            ssrc,
            index: 1_000 * (number as u64 + 1),
            timestamp: 7_000_000 * ssrc,
        });
        number
    }

    pub fn viewer(&mut self, worker: usize, edit: impl Fn(&mut SubscriptionConfig)) -> usize {
        let client = self.world.client(worker, true);
        self.view(client, edit)
    }

    pub fn view(&mut self, client: usize, edit: impl Fn(&mut SubscriptionConfig)) -> usize {
        let seats = self.seats.clone();
        let subscribe = |&seat: &u32| self.world.subscribe_with(client, seat, &edit);
        let subs = seats.iter().map(subscribe).collect();
        self.viewers.push((client, subs));
        self.viewers.len() - 1
    }

    /// The next packet of a speaker: its payload says who it is of, and which. `None` as a level is a frame of comfort
    /// noise.
    pub fn packet(&mut self, number: usize, level: Option<u8>) -> Rtp {
        let speaker = &mut self.speakers[number];
        let mut payload = vec![u8::try_from(number).unwrap(); 12];
        payload[1..9].copy_from_slice(&speaker.index.to_be_bytes());
        if level.is_none() {
            payload.truncate(1);
        }
        let packet = Rtp::new(
            speaker.ssrc,
            OPUS,
            speaker.index,
            speaker.timestamp,
            &payload,
        );
        speaker.index += 1;
        speaker.timestamp = speaker.timestamp.wrapping_add(960);
        packet
            .with(ExtensionKind::Mid, b"0")
            .with(ExtensionKind::AudioLevel, &[level.unwrap_or(SILENT)])
    }

    pub fn say(&mut self, number: usize, level: Option<u8>) {
        let packet = self.packet(number, level);
        let client = self.speakers[number].client;
        self.world.rtp(client, &packet);
    }

    /// So many moments of 20 ms, in which these speak and all others are silent.
    pub fn talk(&mut self, moments: usize, speaking: &[usize]) {
        for _ in 0..moments {
            for number in 0..self.speakers.len() {
                let speaks = speaking.contains(&number);
                self.say(number, Some(if speaks { SPEAKS } else { SILENT }));
            }
            self.world.flush();
            self.world.advance(20_000);
        }
    }

    /// Who a packet is of, and its index there.
    pub fn origin(got: &Got) -> (usize, u64) {
        let index = got.payload[1..9].try_into().unwrap();
        (got.payload[0].into(), u64::from_be_bytes(index))
    }

    /// Whose packets a viewer has got since a moment, by seat.
    pub fn heard(&self, viewer: usize, since: ion_engine::Micros) -> Vec<Vec<usize>> {
        let (client, subs) = &self.viewers[viewer];
        let of = |&sub: &u32| {
            let got = self.world.clients[*client].of(media_ssrc(sub));
            let got = got.into_iter().filter(|got| got.at >= since);
            let mut who: Vec<_> = got.map(|got| Self::origin(got).0).collect();
            who.dedup();
            who
        };
        subs.iter().map(of).collect()
    }

    /// What was told of the seats since last time: place, and who has it.
    pub fn told(&mut self) -> Vec<(usize, Option<usize>)> {
        let worker = self.world.workers.len() - 1;
        let ring = self.world.tables.events(worker).unwrap();
        let reader = &mut self.events;
        let events: Vec<_> = std::iter::from_fn(|| reader.take(ring)).collect();
        let seats = events
            .iter()
            .filter(|event| event.kind == EventKind::SeatTaken);
        seats
            .map(|event| {
                let seat = self.seats.iter().position(|&row| row == event.row.row);
                let source = RowLink::unpack(event.value);
                let who = |speaker: &Speaker| speaker.track == source.row && source.is_some();
                (seat.unwrap(), self.speakers.iter().position(who))
            })
            .collect()
    }

    /// Who has each seat, as the rows say.
    pub fn seated(&self) -> Vec<Option<usize>> {
        let holder = |&seat: &u32| {
            let state = self
                .world
                .tables
                .state::<Track>(seat)
                .unwrap()
                .read()
                .unwrap();
            let found = self
                .speakers
                .iter()
                .position(|s| s.track == state.source.row);
            found.filter(|_| state.source.is_some())
        };
        self.seats.iter().map(holder).collect()
    }
}
