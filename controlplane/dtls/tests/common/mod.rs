//! Two sessions and a wire between them, in virtual time.

#![allow(dead_code, reason = "every test file uses another part")]

use std::time::{Duration, Instant};

use ion_dtls::{
    Config, Connected, DtlsError, DtlsEvent, DtlsSession, DtlsVersion, Endpoint, Identity, Session,
};

/// Highest versions to run a test with.
pub(crate) const VERSIONS: [DtlsVersion; 2] = [DtlsVersion::V1_3, DtlsVersion::V1_2];

pub(crate) fn config(max_version: DtlsVersion) -> Config {
    Config {
        max_version,
        ..Config::default()
    }
}

pub(crate) fn endpoint(config: Config) -> Endpoint {
    Endpoint::new(Identity::generate().unwrap(), config).unwrap()
}

/// What one side has told its owner.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: Option<Connected>,
    pub(crate) data: Vec<Vec<u8>>,
    pub(crate) closed: bool,
    pub(crate) failed: Option<DtlsError>,
}

pub(crate) struct Side {
    pub(crate) session: Session,
    pub(crate) seen: Seen,
}

impl Side {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            seen: Seen::default(),
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                DtlsEvent::Connected(connected) => {
                    assert!(self.seen.connected.replace(*connected).is_none());
                }
                DtlsEvent::ApplicationData(data) => self.seen.data.push(data),
                DtlsEvent::Closed(_) => self.seen.closed = true,
                DtlsEvent::Failed(error) => {
                    assert!(self.seen.failed.replace(error).is_none());
                }
            }
        }
    }

    pub(crate) fn connected(&self) -> &Connected {
        self.seen
            .connected
            .as_ref()
            .unwrap_or_else(|| panic!("not connected: {:?}", self.seen))
    }
}

/// A client, a server, and what has been sent between them.
pub(crate) struct Wire {
    pub(crate) client: Side,
    pub(crate) server: Side,
    pub(crate) now: Instant,
    /// Datagrams sent so far, in both directions.
    pub(crate) sent: usize,
    pub(crate) longest: usize,
}

/// What the wire does with a datagram.
pub(crate) enum Fate {
    Deliver,
    Lose,
    /// Deliver these to the receiver first, then the datagram itself.
    Precede(Vec<Vec<u8>>),
}

impl Wire {
    pub(crate) fn new(client: &Endpoint, server: &Endpoint) -> Self {
        let now = Instant::now();
        let accepting = server.accept(now, &[client.fingerprint().clone()]).unwrap();
        let connecting = client
            .connect(now, &[server.fingerprint().clone()])
            .unwrap();
        Self::of(connecting, accepting, now)
    }

    pub(crate) fn of(client: Session, server: Session, now: Instant) -> Self {
        let (client, server) = (Side::new(client), Side::new(server));
        Self {
            client,
            server,
            now,
            sent: 0,
            longest: 0,
        }
    }

    /// Moves datagrams and time until nothing is left to do or 60 s have gone by. `fate` decides by the number
    /// of the datagram and whether it goes to the server.
    pub(crate) fn run_with(&mut self, mut fate: impl FnMut(usize, bool) -> Fate) {
        let end = self.now + Duration::from_secs(60);
        for _ in 0..10_000 {
            let mut is_quiet = true;
            for to_server in [true, false] {
                let (from, to) = if to_server {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                while let Some(datagram) = from.session.poll_datagram() {
                    is_quiet = false;
                    self.longest = self.longest.max(datagram.len());
                    let number = self.sent;
                    self.sent += 1;
                    match fate(number, to_server) {
                        Fate::Lose => continue,
                        Fate::Deliver => {}
                        Fate::Precede(others) => {
                            for other in others {
                                to.session.handle_datagram(self.now, &other);
                            }
                        }
                    }
                    to.session.handle_datagram(self.now, &datagram);
                }
                from.collect();
                to.collect();
            }
            if is_quiet {
                let timeouts = [&self.client, &self.server].map(|side| side.session.next_timeout());
                match timeouts.into_iter().flatten().min() {
                    Some(at) if at <= end => self.now = self.now.max(at),
                    _ => return,
                }
                for side in [&mut self.client, &mut self.server] {
                    side.session.handle_timeout(self.now);
                    side.collect();
                }
            }
        }
        panic!("the two sides never came to rest");
    }

    pub(crate) fn run(&mut self) {
        self.run_with(|_, _| Fate::Deliver);
    }

    /// Both sides are connected with each other, and with the same keys.
    pub(crate) fn assert_connected(&self) {
        let (client, server) = (self.client.connected(), self.server.connected());
        assert_eq!(client.version, server.version);
        assert_eq!(client.cipher, server.cipher);
        assert_eq!(client.profile, server.profile);
        let (ours, theirs) = (&client.keying_material, &server.keying_material);
        assert_eq!(ours.as_bytes(), theirs.as_bytes());
        assert_eq!(ours.local(), theirs.remote());
        assert_eq!(ours.remote(), theirs.local());
        assert_ne!(ours.local(), ours.remote());
        assert!(ours.as_bytes().iter().any(|byte| *byte != 0));
        assert_eq!(
            (&self.client.seen.failed, &self.server.seen.failed),
            (&None, &None)
        );
    }
}
