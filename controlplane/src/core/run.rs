//! The task: waits for datagrams, commands, the clock, and the end of the dataplane.

use super::udp::{Received, Sockets};
use super::{Command, Core, StartError};
use crate::limits;
use crate::metrics::UdpDrop;
use crate::rooms::Key;
use crate::session::{DtlsIntake, Output, Session};
use ion_tables::attach::{AttachError, DataplaneLink};
use ion_tables::{EventKind, MapError, RowKind};
use rustix::fd::OwnedFd;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// The attachment to a dataplane.
pub struct Dataplane {
    pub(super) sockets: Sockets,
    /// Readable when the dataplane is gone.
    gone: UnixStream,
    _event_doorbell: OwnedFd,
    link: DataplaneLink,
}

impl Dataplane {
    pub(super) fn new(
        sockets: Vec<OwnedFd>,
        event_doorbell: OwnedFd,
        link: DataplaneLink,
    ) -> io::Result<Self> {
        // Only waited upon: that it is a seqpacket socket makes no difference to that.
        let gone =
            std::os::unix::net::UnixStream::from(rustix::io::fcntl_dupfd_cloexec(link.fd(), 0)?);
        gone.set_nonblocking(true)?;
        Ok(Self {
            sockets: Sockets::new(sockets)?,
            gone: UnixStream::from_std(gone)?,
            _event_doorbell: event_doorbell,
            link,
        })
    }

    /// Whether it is really gone; a wake-up alone is no proof.
    fn is_gone(&self) -> bool {
        let is_closed = self.link.is_closed();
        if !is_closed {
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.gone.try_io(Interest::READABLE, nothing);
        }
        is_closed
    }

    pub(super) fn locals(&self) -> Vec<SocketAddr> {
        self.sockets.locals()
    }
}

/// What the task woke for.
enum Wake {
    Socket(usize),
    Command(Option<Command>),
    Tick,
    DataplaneGone,
    Stop,
}

impl Core {
    /// Runs until told to stop, or until nobody can send commands any more. Sessions
    /// are left as they are: media goes on, and the next start takes them up.
    ///
    /// # Errors
    /// [`AttachError::Map`] when the dataplane was replaced by one of another build: only a
    /// new process, of that build too, can attach to it.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), StartError> {
        let mut ticks = tokio::time::interval(limits::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut second = Instant::now();
        loop {
            let dataplane = self.dataplane.as_ref();
            let readable = async {
                match dataplane {
                    Some(dataplane) => dataplane.sockets.readable().await,
                    None => std::future::pending().await,
                }
            };
            let gone = async {
                match dataplane {
                    // An error of the descriptor says as much as its being readable.
                    Some(dataplane) => drop(dataplane.gone.readable().await),
                    None => std::future::pending().await,
                }
            };
            let wake = tokio::select! {
                index = readable => Wake::Socket(index),
                command = commands.recv() => Wake::Command(command),
                _ = ticks.tick() => Wake::Tick,
                () = gone => Wake::DataplaneGone,
                _ = &mut stop => Wake::Stop,
            };
            let now = Instant::now();
            match wake {
                Wake::Socket(index) => self.read_socket(now, index),
                Wake::Command(Some(command)) => self.command(now, command),
                Wake::Command(None) | Wake::Stop => break,
                Wake::Tick => {
                    if let Err(error) = self.tick(now) {
                        self.ready.store(false, Ordering::Relaxed);
                        return Err(error);
                    }
                    if now.saturating_duration_since(second) >= limits::SECOND {
                        second = now;
                        self.every_second(now);
                    }
                }
                Wake::DataplaneGone => self.dataplane_gone(),
            }
        }
        self.ready.store(false, Ordering::Relaxed);
        tracing::info!(
            sessions = self.sessions.len(),
            "control plane stops; media goes on"
        );
        Ok(())
    }

    fn read_socket(&mut self, now: Instant, index: usize) {
        let Some(dataplane) = &mut self.dataplane else {
            return;
        };
        let (datagrams, too_long) = dataplane.sockets.receive(index);
        for _ in 0..too_long {
            self.metrics.udp_dropped(UdpDrop::TooLong);
        }
        for datagram in datagrams {
            self.datagram(now, datagram);
        }
        self.flush();
    }

    fn datagram(&mut self, now: Instant, datagram: Received) {
        self.metrics.udp_received.inc();
        let dropped = match ion_wire::classify(&datagram.bytes) {
            ion_wire::PacketKind::Stun => self.stun(now, &datagram).err(),
            ion_wire::PacketKind::Dtls => self.dtls(now, &datagram).err(),
            _ => Some(UdpDrop::NotForUs),
        };
        if let Some(reason) = dropped {
            self.metrics.udp_dropped(reason);
        }
    }

    fn stun(&mut self, now: Instant, datagram: &Received) -> Result<(), UdpDrop> {
        let (ufrag, _) = ion_ice::username_of(&datagram.bytes).ok_or(UdpDrop::NoUsername)?;
        let key = self
            .ufrags
            .get(ufrag)
            .copied()
            .ok_or(UdpDrop::UnknownUser)?;
        let session = self.sessions.get_mut(&key).ok_or(UdpDrop::UnknownUser)?;
        let mut output = Output::default();
        session.handle_stun(
            now,
            &datagram.bytes,
            datagram.pair,
            &self.endpoint,
            &mut output,
        );
        self.act(now, key, output);
        Ok(())
    }

    fn dtls(&mut self, now: Instant, datagram: &Received) -> Result<(), UdpDrop> {
        let key = self
            .pairs
            .get(&datagram.pair)
            .copied()
            .ok_or(UdpDrop::UnvalidatedDtls)?;
        let session = self
            .sessions
            .get_mut(&key)
            .ok_or(UdpDrop::UnvalidatedDtls)?;
        let mut output = Output::default();
        let intake = session.handle_dtls(now, &datagram.bytes, datagram.pair, &mut output);
        self.act(now, key, output);
        match intake {
            DtlsIntake::Taken => Ok(()),
            DtlsIntake::Unvalidated => Err(UdpDrop::UnvalidatedDtls),
            DtlsIntake::Inherited => Err(UdpDrop::InheritedDtls),
            DtlsIntake::InheritedAlert => Err(UdpDrop::InheritedAlert),
        }
    }

    fn tick(&mut self, now: Instant) -> Result<(), StartError> {
        // Without a dataplane no answer can come: that is not the clients' fault.
        if self.dataplane.is_some() {
            let keys: Vec<Key> = self.handshaking.iter().copied().collect();
            self.timeouts(now, &keys);
            for key in std::mem::take(&mut self.moving) {
                self.write_path(now, key);
            }
            self.read_events(now);
            self.look_at_layers(now, false);
            self.flush();
            return Ok(());
        }
        self.try_reattach()
    }

    fn timeouts(&mut self, now: Instant, keys: &[Key]) {
        for key in keys {
            let Some(session) = self.sessions.get_mut(key) else {
                continue;
            };
            let mut output = Output::default();
            session.handle_timeout(now, &mut output);
            self.act(now, *key, output);
        }
    }

    /// Tells sessions when their media last came.
    fn note_media(&mut self, now: Instant) {
        let tables = std::sync::Arc::clone(self.programmer.tables());
        for session in self.sessions.values_mut() {
            let row = session.record.row;
            let counters = tables.counters::<ion_tables::Transport>(row.row);
            if let Some(counters) =
                counters.filter(|c| c.generation.load() == u64::from(row.generation))
            {
                session.media_received(now, counters.last_received_us.load());
            }
        }
    }

    /// What is looked at once a second.
    pub fn every_second(&mut self, now: Instant) {
        // Without a dataplane nobody's checks can come: that is not the clients' fault.
        if self.dataplane.is_some() {
            self.note_media(now);
            let keys: Vec<Key> = self.sessions.keys().copied().collect();
            self.timeouts(now, &keys);
        }
        let sessions = &self.sessions;
        self.ufrags.retain(|ufrag, key| {
            let answers =
                |session: &Session| session.agent().ufrags(now).any(|known| known == ufrag);
            sessions.get(key).is_some_and(answers)
        });
        self.signals_every_second(now);
        self.sample_rates(now);
        self.look_at_quality(now);
        self.ended.sweep(now);
        self.fanout.sweep(now);
        self.read_events(now);
        self.look_at_layers(now, true);
        self.heartbeat();
        self.gauge();
        self.flush();
    }

    pub(super) fn heartbeat(&self) {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let heartbeat = self.programmer.tables().header().control();
        heartbeat
            .at_unix_us
            .set(u64::try_from(since.as_micros()).unwrap_or(0));
        heartbeat.pid.set(u64::from(std::process::id()));
    }

    fn read_events(&mut self, now: Instant) {
        let tables = std::sync::Arc::clone(self.programmer.tables());
        let mut readers = std::mem::take(&mut self.events);
        for (worker, reader) in (0_u16..).zip(&mut readers) {
            let Some(ring) = tables.events(usize::from(worker)) else {
                continue;
            };
            let lost = reader.lost();
            while let Some(event) = reader.take(ring) {
                self.metrics.event(event.kind);
                self.media_said(now, worker, &event);
                if event.kind == EventKind::WorkerTrouble {
                    tracing::warn!(worker, reason = event.value, "a worker is in trouble");
                }
            }
            self.metrics.events_lost.inc_by(reader.lost() - lost);
        }
        self.events = readers;
    }

    fn sample_rates(&mut self, now: Instant) {
        use super::rates::Flow;
        use ion_tables::{Encoding, Subscription, Transport};
        let tables = std::sync::Arc::clone(self.programmer.tables());
        for session in self
            .sessions
            .values()
            .filter(|session| session.is_connected())
        {
            let row = session.record.row.row;
            if let Some(counters) = tables.counters::<Transport>(row) {
                let (kind, rates) = (RowKind::Transport, &mut self.rates);
                rates.sample(
                    now,
                    kind,
                    row,
                    Flow::Received,
                    counters.bytes_received.load(),
                );
                rates.sample(now, kind, row, Flow::Sent, counters.bytes_sent.load());
            }
            for encoding in session
                .record
                .published()
                .iter()
                .flat_map(|track| &track.encodings)
            {
                let row = encoding.row.row;
                if let Some(counters) = tables.counters::<Encoding>(row) {
                    let bytes = counters.bytes_received.load();
                    self.rates
                        .sample(now, RowKind::Encoding, row, Flow::Received, bytes);
                }
            }
            for slot in session.record.played() {
                let row = slot.row.row;
                if let Some(counters) = tables.counters::<Subscription>(row) {
                    let bytes = counters.bytes_sent.load();
                    self.rates
                        .sample(now, RowKind::Subscription, row, Flow::Sent, bytes);
                }
            }
        }
    }

    fn dataplane_gone(&mut self) {
        if !self.dataplane.as_ref().is_some_and(Dataplane::is_gone) {
            return;
        }
        // The sockets are closed at once: a new dataplane must not share the port with them.
        self.dataplane = None;
        self.ready.store(false, Ordering::Relaxed);
        tracing::warn!("the dataplane is gone; waiting for another");
    }

    /// Looks for a new dataplane, on another thread: one that hangs must not hang us.
    fn try_reattach(&mut self) -> Result<(), StartError> {
        let Some(attempt) = &mut self.reattaching else {
            let path = self.config.state_dir.join("dataplane.sock");
            let (done, attempt) = oneshot::channel();
            tokio::task::spawn_blocking(move || {
                // Nobody waits any more when the core has stopped.
                let _ = done.send(ion_tables::attach::attach(&path));
            });
            self.reattaching = Some(attempt);
            return Ok(());
        };
        let result = match attempt.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return Ok(()),
            result => result,
        };
        self.reattaching = None;
        match result {
            Ok(Ok(attached)) => {
                self.refused = None;
                if let Err(error) = self.carry_to(attached) {
                    tracing::error!(%error, "cannot attach to the new dataplane");
                }
            }
            Ok(Err(error @ AttachError::Map(MapError::Version { .. }))) => return Err(error.into()),
            // It is not there yet; the launcher starts it.
            Ok(Err(AttachError::NoDataplane { .. })) | Err(_) => {}
            Ok(Err(error)) => {
                let refused = Some(std::mem::discriminant(&error));
                if std::mem::replace(&mut self.refused, refused) != refused {
                    tracing::error!(%error, "cannot attach to the new dataplane; trying on");
                }
            }
        }
        Ok(())
    }
}
