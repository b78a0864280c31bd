//! Rows of a world, as the control plane would write them.

use super::client::*;
use super::{KINDS, LOCAL, World, publisher_id, viewer_id};
use ion_srtp::{MasterKey, Opener, Profile, Sealer};
use ion_tables::rows::HasHead;
use ion_tables::*;
use ion_wire::CodecKind;
use std::net::SocketAddr;

impl World {
    /// Writes a row and has it read.
    pub fn write<R: Row>(&mut self, row: u32, config: &R::Config) {
        assert!(self.control.publish::<R>(row, config, |_| {}));
        self.configure();
    }

    pub fn free<R: Row>(&mut self, row: u32) {
        self.control.free::<R>(row);
        self.control.announce(RowRef { kind: R::KIND, row }, |_| {});
        self.configure();
    }

    pub fn row<R: Row>(&mut self) -> (u32, RowHead) {
        let row = self.next[R::KIND as usize - 1];
        self.next[R::KIND as usize - 1] += 1;
        (row, self.control.next_life::<R>(row))
    }

    pub fn edit<R: Row>(&mut self, row: u32, edit: impl FnOnce(&mut R::Config)) {
        let mut config = self.tables.config::<R>(row).unwrap().read().unwrap();
        edit(&mut config);
        self.write::<R>(row, &config);
    }

    pub fn link<R: Row>(&self, row: u32) -> RowLink {
        let config = self.tables.config::<R>(row).unwrap().read().unwrap();
        config.head().link(row)
    }

    /// A client with all extensions; publishers and viewers differ in their ids only.
    pub fn client(&mut self, worker: usize, viewer: bool) -> usize {
        let mut map = ExtensionMap::default();
        for kind in KINDS {
            map.set(
                kind,
                if viewer {
                    viewer_id(kind)
                } else {
                    publisher_id(kind)
                },
            );
        }
        let flags = if viewer {
            TransportConfig::TRANSPORT_CC_OUT
        } else {
            0
        };
        self.client_with(worker, map, flags, Profile::AeadAes128Gcm)
    }

    pub fn client_with(
        &mut self,
        worker: usize,
        map: ExtensionMap,
        flags: u32,
        profile: Profile,
    ) -> usize {
        let (row, head) = self.row::<Transport>();
        let port = 10_000 + u16::try_from(row).unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let fill = |first: u8| {
            let mut key = [0; 32];
            key[..profile.key_len()].fill(first);
            key[0] = u8::try_from(row).unwrap();
            let mut salt = [0; 16];
            salt[..profile.salt_len()].fill(first ^ 0x55);
            (key, salt)
        };
        let (rx, tx) = (fill(0x11), fill(0x22));
        let secrets = TransportSecrets::keyed(head.generation, rx, tx);
        self.control.write_secrets(row, &secrets);
        let config = TransportConfig {
            head,
            worker: u16::try_from(worker).unwrap(),
            srtp_profile: profile.id(),
            feedback_ssrc: 0xFEED_0000 + row,
            remote: address.into(),
            local: SocketAddr::new(LOCAL, 7_882).into(),
            extensions: map,
            flags,
            cname: Text::new("ion").unwrap(),
            ..TransportConfig::default()
        };
        self.write::<Transport>(row, &config);
        let master =
            |(key, salt): ([u8; 32], [u8; 16])| MasterKey::new(key, salt[..14].try_into().unwrap());
        let (sealer, opener) = (
            Sealer::new(profile, &master(rx)),
            Opener::new(profile, &master(tx)),
        );
        let client = Client::new(address, head.link(row), worker, map, sealer, opener);
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// A track of a client with one encoding for each function, which sets what
    /// differs from the usual. Returns the track's row; encodings are read from it.
    pub fn track(
        &mut self,
        client: usize,
        video: bool,
        encodings: &[&dyn Fn(&mut EncodingConfig)],
    ) -> u32 {
        let (row, head) = self.row::<Track>();
        let track = head.link(row);
        let (transport, worker) = (self.clients[client].row, self.clients[client].worker);
        let worker = u16::try_from(worker).unwrap();
        let mut codec = u8::from(if video {
            CodecKind::Vp8
        } else {
            CodecKind::Opus
        });
        let clock_rate = if video { 90_000 } else { 48_000 };
        let mut links = [RowLink::default(); TrackConfig::MAX_ENCODINGS];
        for (layer, edit) in encodings.iter().enumerate() {
            let (row, head) = self.row::<Encoding>();
            links[layer] = head.link(row);
            let mut config = EncodingConfig {
                head,
                track,
                transport,
                clock_rate,
                worker,
                layer: u8::try_from(layer).unwrap(),
                codec,
                payload_type: if video { VP8 } else { OPUS },
                rtx_payload_type: if video { VP8_RTX } else { 0 },
                red_payload_type: if video { 0 } else { RED },
                feedback: if video {
                    EncodingConfig::NACK | EncodingConfig::PLI | EncodingConfig::TRANSPORT_CC
                } else {
                    EncodingConfig::TRANSPORT_CC
                },
                mid: Text::new(if video { "1" } else { "0" }).unwrap(),
                ..EncodingConfig::default()
            };
            edit(&mut config);
            codec = config.codec;
            self.write::<Encoding>(row, &config);
        }
        let config = TrackConfig {
            head,
            transport,
            encodings: links,
            subscriber_workers: 0,
            clock_rate,
            worker,
            kind: if video {
                TrackConfig::VIDEO
            } else {
                TrackConfig::AUDIO
            },
            codec,
            ..TrackConfig::default()
        };
        self.write::<Track>(row, &config);
        row
    }

    pub fn video(&mut self, client: usize) -> u32 {
        self.track(client, true, &[&|_| ()])
    }

    pub fn audio(&mut self, client: usize) -> u32 {
        self.track(client, false, &[&|_| ()])
    }

    /// Rows of a track's encodings.
    pub fn encodings(&self, track: u32) -> Vec<RowLink> {
        let config = self.tables.config::<Track>(track).unwrap().read().unwrap();
        config
            .encodings
            .into_iter()
            .filter(|l| l.is_some())
            .collect()
    }

    /// A client watches a track. Returns the row; the SSRC is 1,000 times row plus one,
    /// that of RTX one more.
    pub fn subscribe(&mut self, client: usize, track: u32) -> u32 {
        self.subscribe_with(client, track, |_| ())
    }

    pub fn subscribe_with(
        &mut self,
        client: usize,
        track: u32,
        edit: impl FnOnce(&mut SubscriptionConfig),
    ) -> u32 {
        let (row, head) = self.row::<Subscription>();
        let source = self.tables.config::<Track>(track).unwrap().read().unwrap();
        let video = source.kind == TrackConfig::VIDEO;
        let worker = self.clients[client].worker;
        let mut config = SubscriptionConfig {
            head,
            transport: self.clients[client].row,
            track: self.link::<Track>(track),
            ssrc: media_ssrc(row),
            rtx_ssrc: if video { media_ssrc(row) + 1 } else { 0 },
            worker: u16::try_from(worker).unwrap(),
            payload_type: if video { V_VP8 } else { V_OPUS },
            rtx_payload_type: if video { V_RTX } else { 0 },
            red_payload_type: if video { 0 } else { V_RED },
            max_layer: 3,
            flags: SubscriptionConfig::NACK,
            mid: Text::new("v").unwrap(),
            clock_rate: source.clock_rate,
            ..SubscriptionConfig::default()
        };
        edit(&mut config);
        self.write::<Subscription>(row, &config);
        self.edit::<Track>(track, |t| t.subscriber_workers |= 1 << worker);
        row
    }
}

pub fn media_ssrc(subscription: u32) -> u32 {
    1_000 * (subscription + 1)
}
