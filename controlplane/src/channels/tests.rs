use super::*;
use ion_api::signal::Backlog;
use sctp_proto::ClientConfig;

/// A client of the same library, with channels opened by hand.
struct Peer {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    received: Vec<(StreamId, Ppi, Vec<u8>)>,
}

impl Peer {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (handle, association) = endpoint.connect(ClientConfig::new(), PEER).unwrap();
        Self {
            endpoint,
            handle,
            association,
            received: Vec::new(),
        }
    }

    fn open(&mut self, id: StreamId, kind: u8, label: &str) {
        let length = u8::try_from(label.len()).unwrap();
        let mut open = vec![DCEP_OPEN, kind, 0, 0, 0, 0, 0, 0, 0, length, 0, 0];
        open.extend(label.as_bytes());
        let mut stream = self.association.open_stream(id, Ppi::Binary).unwrap();
        stream.write_with_ppi(&open, Ppi::Dcep).unwrap();
    }

    fn exchange(&mut self, now: Instant, channels: &mut Channels) {
        for _ in 0..50 {
            let mut out = Vec::new();
            let queue = |transmit: Transmit, out: &mut Vec<Bytes>| {
                if let Payload::RawEncode(packets) = transmit.payload {
                    out.extend(packets);
                }
            };
            while let Some(transmit) = self.endpoint.poll_transmit() {
                queue(transmit, &mut out);
            }
            while let Some(transmit) = self.association.poll_transmit(now) {
                queue(transmit, &mut out);
            }
            for packet in out {
                channels.handle(now, &packet);
            }
            while let Some(packet) = channels.poll_packet() {
                assert!(packet.len() <= ion_dtls::session::MAX_APPLICATION_DATA);
                let data = Bytes::from(packet);
                if let Some((handle, DatagramEvent::AssociationEvent(event))) =
                    self.endpoint.handle(now, PEER, None, None, data)
                {
                    assert_eq!(handle, self.handle);
                    self.association.handle_event(event);
                }
            }
            while let Some(event) = self.association.poll() {
                if let Event::Stream(StreamEvent::Readable { id }) = event {
                    let mut stream = self.association.stream(id).unwrap();
                    while let Ok(Some(chunks)) = stream.read_sctp() {
                        let mut bytes = vec![0; chunks.len()];
                        chunks.read(&mut bytes).unwrap();
                        self.received.push((id, chunks.ppi, bytes));
                    }
                }
            }
        }
    }
}

fn channels(now: Instant) -> Channels {
    Channels::new(now, Backlog::default().share())
}

fn events(channels: &mut Channels) -> Vec<ChannelEvent> {
    std::iter::from_fn(|| channels.poll_event()).collect()
}

#[test]
fn channels_are_opened_carry_messages_both_ways_and_strangers_are_reset() {
    let now = Instant::now();
    let (mut channels, mut peer) = (channels(now), Peer::new());
    peer.exchange(now, &mut channels);
    peer.open(0, 0, "reliable");
    peer.open(2, 0x81, "lossy");
    peer.open(4, 0, "mine");
    peer.exchange(now, &mut channels);
    let opened = events(&mut channels);
    assert_eq!(opened.len(), 2, "{opened:?}");
    assert!(channels.is_open(Label::Reliable) && channels.is_open(Label::Lossy));
    assert!(peer.received.contains(&(0, Ppi::Dcep, vec![DCEP_ACK])));
    peer.received.clear();

    let large = vec![7; limits::DATA_CHANNEL_BYTES as usize];
    peer.association
        .stream(0)
        .unwrap()
        .write_with_ppi(&large, Ppi::Binary)
        .unwrap();
    peer.exchange(now, &mut channels);
    assert_eq!(
        events(&mut channels),
        [ChannelEvent::Message(Label::Reliable, large.clone())]
    );
    channels.send(now, Label::Reliable, &large).unwrap();
    channels.send(now, Label::Lossy, b"now").unwrap();
    channels.send(now, Label::Lossy, b"").unwrap();
    peer.exchange(now, &mut channels);
    assert!(peer.received.contains(&(0, Ppi::Binary, large)));
    assert!(peer.received.contains(&(2, Ppi::Binary, b"now".to_vec())));
    assert!(
        peer.received
            .iter()
            .any(|(_, ppi, _)| *ppi == Ppi::BinaryEmpty)
    );
}

#[test]
fn who_does_not_read_fills_its_own_channel_only_so_far() {
    let now = Instant::now();
    let (mut channels, mut peer) = (channels(now), Peer::new());
    assert_eq!(
        channels.send(now, Label::Reliable, b"x"),
        Err(NotSent::NoChannel)
    );
    peer.exchange(now, &mut channels);
    peer.open(0, 0, "reliable");
    peer.exchange(now, &mut channels);
    let message = vec![0; 16_384];
    let sent = (0..1_000).take_while(|_| channels.send(now, Label::Reliable, &message).is_ok());
    // The byte that says the channel is open may still wait too.
    let most = limits::CHANNEL_BUFFER_BYTES as usize / message.len();
    assert!((most - 1..=most).contains(&sent.count()));
    assert_eq!(
        channels.send(now, Label::Reliable, &message),
        Err(NotSent::Full)
    );
}

#[test]
fn what_all_clients_leave_unread_is_bounded_and_each_may_have_a_little() {
    let now = Instant::now();
    let little = ion_api::limits::QUEUED_BYTES_EACH;
    let backlog = Backlog::of(3 * little);
    let message = vec![0; little / 2];
    let open = || {
        let (mut channels, mut peer) = (Channels::new(now, backlog.share()), Peer::new());
        peer.exchange(now, &mut channels);
        peer.open(0, 0, "reliable");
        peer.exchange(now, &mut channels);
        (channels, peer)
    };
    let fill = |channels: &mut Channels| {
        let mut sends = (0..100).map(|_| channels.send(now, Label::Reliable, &message));
        let sent = sends.by_ref().take_while(Result::is_ok).count();
        (sent, channels.send(now, Label::Reliable, &message))
    };
    let (mut slow, _deaf) = open();
    let (sent, refused) = fill(&mut slow);
    assert_eq!(refused, Err(NotSent::AllFull));
    // The byte that says the channel is open may still wait too.
    assert!((5..=6).contains(&sent), "{sent}");
    let (mut other, mut peer) = open();
    let (sent, refused) = fill(&mut other);
    assert!((1..=2).contains(&sent), "{sent}");
    assert_eq!(refused, Err(NotSent::AllFull));
    // What was taken waits no more; nor does what ends with its channels.
    peer.exchange(now, &mut other);
    other.send(now, Label::Reliable, &message).unwrap();
    slow.close(now);
    assert!(backlog.bytes() <= little);
    drop(other);
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn a_flood_of_what_cannot_be_lost_ends_the_channels() {
    let now = Instant::now();
    let (mut channels, mut peer) = (channels(now), Peer::new());
    peer.exchange(now, &mut channels);
    peer.open(0, 0, "reliable");
    peer.exchange(now, &mut channels);
    events(&mut channels);
    for _ in 0..=limits::CHANNEL_MESSAGES_PER_SECOND {
        peer.association
            .stream(0)
            .unwrap()
            .write_with_ppi(b"x", Ppi::Binary)
            .unwrap();
        peer.exchange(now, &mut channels);
    }
    let messages = events(&mut channels);
    assert_eq!(messages.last(), Some(&ChannelEvent::Closed));
    // Opening the channel was one of those that are allowed.
    assert_eq!(messages.len(), limits::CHANNEL_MESSAGES_PER_SECOND as usize);
    assert!(!channels.is_open(Label::Reliable));
}

#[test]
fn of_many_associations_only_the_last_is_known() {
    let now = Instant::now();
    let mut channels = channels(now);
    for _ in 0..5 {
        let mut peer = Peer::new();
        peer.exchange(now, &mut channels);
        peer.open(0, 0, "reliable");
        peer.exchange(now, &mut channels);
        assert!(channels.is_open(Label::Reliable));
    }
    let known = format!("{:#?}", channels.endpoint);
    assert_eq!(known.matches("AssociationMeta").count(), 1);
}

#[test]
fn a_channel_opened_again_and_again_is_not_answered_without_end() {
    let now = Instant::now();
    let (mut channels, mut peer) = (channels(now), Peer::new());
    peer.exchange(now, &mut channels);
    peer.open(0, 0, "reliable");
    peer.exchange(now, &mut channels);
    let again = |peer: &mut Peer| {
        let open = [
            &[DCEP_OPEN, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0][..],
            b"reliable",
        ]
        .concat();
        let mut stream = peer.association.stream(0).unwrap();
        stream.write_with_ppi(&open, Ppi::Dcep).unwrap();
    };
    peer.received.clear();
    for _ in 0..100 {
        again(&mut peer);
    }
    peer.exchange(now, &mut channels);
    let answers = peer.received.len();
    assert!((1..=3 * ANSWERS_WAITING).contains(&answers), "{answers}");
    for _ in 0..limits::CHANNEL_MESSAGES_PER_SECOND {
        again(&mut peer);
        peer.exchange(now, &mut channels);
    }
    assert_eq!(events(&mut channels).last(), Some(&ChannelEvent::Closed));
}

#[test]
fn junk_is_nothing() {
    let now = Instant::now();
    let mut channels = channels(now);
    for length in 0..64_u8 {
        let junk: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
        channels.handle(now, &junk);
    }
    assert_eq!(events(&mut channels), []);
    for bad in [
        &[][..],
        &[3],
        &[3, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, b'x'],
        &[9; 12],
    ] {
        assert_eq!(parse_open(bad), None);
    }
}
