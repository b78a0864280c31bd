//! A generator thread: its clients, their sockets and timers in one epoll loop.

/// What is left of a client when it goes.
mod figures;
/// Participants of the SDK's protocol.
mod participants;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::mem::MaybeUninit;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::client::{Beginning, Client, Counts, Now, ReceiveBuffer, State, Wish};
use super::clock::{thread_cpu_ns, thread_starved_ns};
use super::histogram::Histogram;
use super::http::{Http, Job, Mailbox, Outcome, Request};
use super::meter::Totals;
use super::options::ViewerSpec;
use super::report::ViewerRow;
use super::send_log::MAX_AGE_S;
use super::shared::{Phase, Shared};
use super::signal::Signal;

/// Engines' timers are looked at this often: a look at each of hundreds of clients is cheap, one at every datagram is not.
const SWEEP: Duration = Duration::from_millis(10);
/// Sweeps between looks for viewers that wait for a picture.
const SWEEPS_PER_REPAIR: u32 = 10;
/// A session that has no media by then has failed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Nobody comes in the place of another so late that the end of the run would be taken for a failure to join.
const LAST_JOIN: Duration = Duration::from_secs(3);
/// What is still on its way when a viewer leaves has this long to arrive.
const GRACE_NS: u64 = 1_000_000_000;
/// After this time, and as long as the joins took, deletions are not waited for any more.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(15);
/// Sockets served before timers are looked at again.
const EVENTS: usize = 32;
/// Ticket of the doorbell; clients have smaller ones.
const DOORBELL: u64 = u64::MAX;
/// Set in the ticket of a client's WebSocket.
const SIGNAL: u64 = 1 << 62;

/// What a thread reports each second.
pub(crate) struct Tick {
    /// Seconds since the start of the run.
    pub(crate) second: u64,
    pub(crate) viewers: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) latency: Histogram,
}

/// CPU time and datagrams of the time when all were there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Steady {
    pub(crate) cpu_ns: u64,
    pub(crate) starved_ns: u64,
    pub(crate) datagrams: u64,
    pub(crate) seconds: f64,
}

/// What a thread hands over at its end.
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) rows: Vec<ViewerRow>,
    pub(crate) totals: Totals,
    pub(crate) latency: Histogram,
    pub(crate) jitter: Histogram,
    pub(crate) joins: Histogram,
    pub(crate) first_frames: Histogram,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) viewers_ok: u64,
    pub(crate) viewers_failed: u64,
    pub(crate) publishers_ok: u64,
    pub(crate) publishers_failed: u64,
    pub(crate) packets_sent: u64,
    pub(crate) frames_sent: u64,
    pub(crate) nacks_sent: u64,
    pub(crate) nacks_received: u64,
    pub(crate) plis_sent: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) disconnects: u64,
    pub(crate) deletes_failed: u64,
    pub(crate) tracks_expected: u64,
    pub(crate) tracks_silent: u64,
    pub(crate) counts: Counts,
    pub(crate) socket_drops: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) steady: Steady,
}

struct Slot {
    client: Client,
    /// Whom it plays, if anybody. Who plays nobody publishes.
    viewer: Option<ViewerSpec>,
    token: Option<String>,
    /// The participant's socket, once it has joined.
    signal: Option<Box<Signal>>,
    /// Which of the plan's publishers it is.
    publisher: Option<usize>,
    /// Whether its join has been counted.
    settled: bool,
}

pub(crate) struct Generator<'a> {
    shared: &'a Shared,
    http: Http,
    mailbox: Mailbox,
    replies: Receiver<(u64, Outcome)>,
    ticks: Sender<Tick>,
    epoll: OwnedFd,
    /// By ticket; a ticket is never used twice.
    slots: BTreeMap<u64, Slot>,
    next_ticket: u64,
    publishers: VecDeque<usize>,
    viewers: VecDeque<ViewerSpec>,
    /// When publishers' next frames are due: nanoseconds of the Unix epoch, ticket.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    /// Deletions that are under way, and those that wait for their turn.
    deletes: usize,
    to_delete: VecDeque<(String, Option<String>)>,
    next_delete: Instant,
    /// Sockets of participants who said that they leave, until the server closes them.
    goodbyes: BTreeMap<u64, Box<Signal>>,
    /// When the next viewer leaves for another, and when no more do.
    churning: Option<(Instant, Instant)>,
    /// Seconds after which a packet that has not come is lost.
    age_s: usize,
    buffer: ReceiveBuffer,
    /// Datagrams and bytes at the last tick.
    ticked: (u64, u64),
    steady_from: Option<(Instant, Steady)>,
    out: Outcomes,
}

impl<'a> Generator<'a> {
    /// The thread with this index takes every so manieth publisher and viewer.
    pub(crate) fn new(
        shared: &'a Shared,
        index: usize,
        http: Http,
        ticks: Sender<Tick>,
    ) -> anyhow::Result<Self> {
        let threads = shared.plan.threads;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (mailbox, replies) = Mailbox::new()?;
        epoll::add(
            &epoll,
            mailbox.doorbell(),
            epoll::EventData::new_u64(DOORBELL),
            epoll::EventFlags::IN,
        )?;
        let viewers = shared
            .plan
            .viewers
            .iter()
            .filter(|viewer| viewer.number % threads == index)
            .cloned()
            .collect();
        Ok(Self {
            shared,
            http,
            mailbox,
            replies,
            ticks,
            epoll,
            slots: BTreeMap::new(),
            next_ticket: 0,
            publishers: (0..shared.plan.publishers.len())
                .filter(|at| at % threads == index)
                .collect(),
            viewers,
            due: BinaryHeap::new(),
            deletes: 0,
            to_delete: VecDeque::new(),
            next_delete: Instant::now(),
            goodbyes: BTreeMap::new(),
            churning: None,
            age_s: 1,
            buffer: ReceiveBuffer::new(),
            ticked: (0, 0),
            steady_from: None,
            out: Outcomes::default(),
        })
    }

    /// Runs until the run is over and all sessions are deleted.
    pub(crate) fn run(mut self) -> anyhow::Result<Outcomes> {
        let start = Instant::now();
        let (mut next_sweep, mut next_tick, mut sweeps) =
            (start, start + Duration::from_secs(1), 0_u32);
        loop {
            let now = Now::read();
            let phase = self.shared.phase();
            self.take_replies(now);
            self.join_due(phase, now)?;
            self.publish_due(now);
            self.churn(phase, now);
            self.delete_due(now);
            if now.instant >= next_sweep {
                next_sweep = now.instant + SWEEP;
                sweeps = sweeps.wrapping_add(1);
                self.sweep(phase, now, sweeps.is_multiple_of(SWEEPS_PER_REPAIR));
            }
            if now.instant >= next_tick {
                next_tick += Duration::from_secs(1);
                self.tick(now);
            }
            self.watch_steady(phase, now);
            if phase == Phase::Closing && self.finished(now) {
                break;
            }
            self.wait_and_receive(next_sweep)?;
        }
        self.out.cpu_ns = thread_cpu_ns();
        Ok(self.out)
    }

    fn take_replies(&mut self, now: Now) {
        while let Ok((ticket, outcome)) = self.replies.try_recv() {
            if let Outcome::Deleted(deleted) = outcome {
                self.deletes = self.deletes.saturating_sub(1);
                if let Err(reason) = deleted {
                    self.out.deletes_failed += 1;
                    *self
                        .out
                        .failures
                        .entry(format!("DELETE: {reason}"))
                        .or_default() += 1;
                }
                continue;
            }
            let Some(slot) = self.slots.get_mut(&ticket) else {
                // It failed meanwhile: what the server set up all the same is ended.
                match outcome {
                    Outcome::Answered(answer) => self.delete(answer.resource, None),
                    Outcome::Joined(mut signal, _) => signal.leave(),
                    _ => {}
                }
                continue;
            };
            let result = match outcome {
                Outcome::Joined(signal, asked) => {
                    slot.client.posted_ns = now.wall_ns_of(asked);
                    self.joined(ticket, signal)
                }
                Outcome::Answered(answer) => {
                    slot.client.posted_ns = now.wall_ns_of(answer.posted);
                    slot.client.resource = answer.resource;
                    slot.client.answered(&answer.sdp, now, &mut self.out.counts)
                }
                Outcome::Refused(reason) => Err(reason),
                Outcome::Deleted(_) => Ok(()),
            };
            if let (Err(reason), Some(slot)) = (result, self.slots.get_mut(&ticket)) {
                slot.client.error.get_or_insert(reason);
            }
        }
    }

    /// Starts the sessions whose turn it is.
    fn join_due(&mut self, phase: Phase, now: Now) -> anyhow::Result<()> {
        if phase >= Phase::Leaving {
            return Ok(());
        }
        while let Some(index) = self.publishers.front().copied() {
            if self.shared.publisher_due(index) > now.instant {
                break;
            }
            self.publishers.pop_front();
            self.publish(index, now)?;
        }
        while let Some(viewer) = self.viewers.front() {
            if self
                .shared
                .viewer_due(viewer.number)
                .is_none_or(|due| due > now.instant)
            {
                break;
            }
            let Some(viewer) = self.viewers.pop_front() else {
                break;
            };
            self.play(viewer, now)?;
        }
        Ok(())
    }

    fn publish(&mut self, index: usize, now: Now) -> anyhow::Result<()> {
        let plan = &self.shared.plan;
        let spec = &plan.publishers[index];
        let name = format!("pub-{}", spec.number);
        if plan.signal.is_some() {
            let viewer = ViewerSpec {
                number: plan.viewers.len() + index,
                room: spec.room,
                publisher: None,
            };
            return self.participate(&name, viewer, Some(index), now);
        }
        let names = self.shared.names(spec.room, &name, &name);
        let mut client = Client::new(&plan.codecs(), None, self.shared.bind, now)?;
        let wish = Wish {
            send: self.shared.tracks[index].all(),
            ..Wish::default()
        };
        let offer = client.offer(wish, self.shared.beginning(index))?.sdp;
        let url = names.fill(plan.whip.as_deref().unwrap_or_default());
        let token = names.token(self.shared);
        self.seat(
            client,
            None,
            Some(index),
            token,
            Request::Post { url, offer },
        )
    }

    fn play(&mut self, viewer: ViewerSpec, now: Now) -> anyhow::Result<()> {
        let plan = &self.shared.plan;
        let name = format!("viewer-{}", viewer.number);
        let Some(publisher) = viewer.publisher else {
            return self.participate(&name, viewer, None, now);
        };
        let names = self
            .shared
            .names(viewer.room, &format!("pub-{publisher}"), &name);
        let source = viewer.source(plan);
        let mut play = Vec::new();
        if plan.mix.has_audio() {
            play.push(self.shared.origin(source, false));
        }
        if plan.mix.has_video() {
            play.push(self.shared.origin(source, true));
        }
        let sampled = viewer.number.is_multiple_of(plan.decrypt_sample);
        let mut client = Client::new(&plan.codecs(), Some(sampled), self.shared.bind, now)?;
        let wish = Wish {
            play,
            ..Wish::default()
        };
        let offer = client.offer(wish, Beginning::default())?.sdp;
        let url = names.fill(plan.whep.as_deref().unwrap_or_default());
        let token = names.token(self.shared);
        self.seat(
            client,
            Some(viewer),
            None,
            token,
            Request::Post { url, offer },
        )
    }

    /// Gives a client its place, and asks the server to let it in.
    fn seat(
        &mut self,
        client: Client,
        viewer: Option<ViewerSpec>,
        publisher: Option<usize>,
        token: Option<String>,
        request: Request,
    ) -> anyhow::Result<()> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        epoll::add(
            &self.epoll,
            &client.socket,
            epoll::EventData::new_u64(ticket),
            epoll::EventFlags::IN,
        )?;
        self.http.ask(Job {
            request,
            token: token.clone(),
            ticket,
            mailbox: self.mailbox.clone(),
        });
        if publisher.is_some() {
            self.due.push(Reverse((0, ticket)));
        }
        self.slots.insert(
            ticket,
            Slot {
                client,
                viewer,
                token,
                signal: None,
                publisher,
                settled: false,
            },
        );
        Ok(())
    }

    fn publish_due(&mut self, now: Now) {
        while let Some(Reverse((due, ticket))) = self.due.peek().copied() {
            if due > now.wall_ns {
                break;
            }
            self.due.pop();
            let Some(slot) = self.slots.get_mut(&ticket) else {
                continue;
            };
            let next = slot.client.publish(now, &mut self.out.counts);
            // Before it is connected, look again soon.
            let next = next.unwrap_or(now.wall_ns + 5_000_000);
            if slot.client.state != State::Over {
                self.due.push(Reverse((next, ticket)));
            }
        }
    }

    /// Lets the viewer that is longest there leave, and another one come, as often as was asked for.
    fn churn(&mut self, phase: Phase, now: Now) {
        if self.shared.plan.churn_hz <= 0.0 || phase != Phase::Steady {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 256 threads")]
        let every =
            Duration::from_secs_f64(self.shared.plan.threads as f64 / self.shared.plan.churn_hz);
        let last = now.instant + self.shared.plan.duration.saturating_sub(LAST_JOIN);
        let (next, last) = *self.churning.get_or_insert((now.instant + every, last));
        if now.instant < next || now.instant > last {
            return;
        }
        self.churning = Some((next + every, last));
        let oldest = self.slots.values_mut().find_map(|slot| {
            let spec = slot.viewer.clone().filter(|_| slot.publisher.is_none())?;
            (slot.client.state == State::Live).then_some((spec, &mut slot.client))
        });
        if let Some((spec, client)) = oldest {
            mark(client, now);
            let number = self.shared.next_viewer();
            self.viewers.push_front(ViewerSpec { number, ..spec });
        }
    }

    /// Timers, joins that take too long, sessions that ended.
    fn sweep(&mut self, phase: Phase, now: Now, repair: bool) {
        let mut over = Vec::new();
        for (ticket, slot) in &mut self.slots {
            let client = &mut slot.client;
            if client.timeout <= now.instant {
                client.on_timeout(now, &mut self.out.counts);
            }
            if repair {
                client.repair(now);
                if let Some(signal) = &mut slot.signal {
                    signal.keep_alive(now.instant);
                }
            }
            match client.state {
                State::Posting | State::Connecting | State::Connected
                    if now.instant.duration_since(client.opened) > JOIN_TIMEOUT =>
                {
                    let stage = match client.state {
                        State::Posting if slot.signal.is_some() => {
                            "joined, but nobody publishes, or no answer"
                        }
                        State::Posting => "no answer",
                        State::Connecting => "no connection (ICE, DTLS)",
                        _ => "connected, but no media",
                    };
                    client
                        .error
                        .get_or_insert(format!("{stage} within {} s", JOIN_TIMEOUT.as_secs()));
                }
                State::Live if !slot.settled => {
                    slot.settled = true;
                    if slot.publisher.is_some() {
                        self.shared.publisher_settled(true);
                        self.out.publishers_ok += 1;
                    }
                    if slot.viewer.is_some() {
                        self.shared.viewer_settled(true);
                    }
                }
                _ => {}
            }
            let viewer = slot.viewer.is_some();
            if viewer && phase >= Phase::Leaving && !matches!(client.state, State::Leaving { .. }) {
                if client.state != State::Live {
                    client
                        .error
                        .get_or_insert("the run ended before it had joined".into());
                }
                mark(client, now);
            }
            let leaving = matches!(client.state, State::Leaving { .. });
            if leaving && !client.has_all(GRACE_NS, now) {
                client.receive(&mut self.buffer, now, &mut self.out.counts);
            }
            let left = leaving && client.has_all(GRACE_NS, now);
            let failed = client.error.is_some() && !leaving;
            let done = !viewer && phase == Phase::Closing;
            if left || failed || done {
                over.push(*ticket);
            }
        }
        for ticket in over {
            if let Some(slot) = self.slots.remove(&ticket) {
                self.close(ticket, slot, now);
            }
        }
    }

    fn delete(&mut self, resource: Option<String>, token: Option<String>) {
        if let Some(url) = resource {
            self.to_delete.push_back((url, token));
        }
    }

    /// Deletes no faster than sessions were made: servers limit both.
    fn delete_due(&mut self, now: Now) {
        while now.instant >= self.next_delete {
            let Some((url, token)) = self.to_delete.pop_front() else {
                break;
            };
            #[expect(clippy::cast_precision_loss, reason = "at most 256 threads")]
            let every = self.shared.plan.threads as f64 / self.shared.plan.ramp_hz;
            self.next_delete = now.instant + Duration::from_secs_f64(every);
            self.deletes += 1;
            self.http.ask(Job {
                request: Request::Delete { url },
                token,
                ticket: 0,
                mailbox: self.mailbox.clone(),
            });
        }
    }

    fn tick(&mut self, now: Now) {
        let mut tick = Tick {
            second: self.shared.started.elapsed().as_secs(),
            viewers: 0,
            packets: self.out.counts.datagrams - self.ticked.0,
            bytes: self.out.counts.bytes - self.ticked.1,
            received: 0,
            lost: 0,
            latency: Histogram::default(),
        };
        self.ticked = (self.out.counts.datagrams, self.out.counts.bytes);
        std::mem::swap(&mut tick.latency, &mut self.out.counts.second);
        // What waits in our own sockets is not lost yet: a second, and twice as long as any of it had to wait lately.
        let waited_s = std::mem::take(&mut self.out.counts.longest_wait_ns).div_ceil(500_000_000);
        let age_s = usize::try_from(1 + waited_s)
            .unwrap_or(MAX_AGE_S)
            .max(self.age_s.saturating_sub(1))
            .min(MAX_AGE_S);
        self.age_s = age_s;
        for slot in self.slots.values_mut() {
            let client = &mut slot.client;
            client
                .sending
                .iter()
                .for_each(super::publisher::Sending::tick);
            let Some(viewer) = &mut client.viewer else {
                continue;
            };
            tick.viewers += u64::from(client.state == State::Live);
            for meter in viewer.meters() {
                let decided = meter.tick(now.wall_ns, age_s);
                tick.received += decided.received;
                tick.lost += decided.lost;
                meter
                    .jitter_ns()
                    .into_iter()
                    .for_each(|ns| self.out.jitter.record(ns));
            }
        }
        // The main thread listens as long as the run lasts.
        let _ = self.ticks.send(tick);
    }

    /// CPU time and packets of the steady part.
    fn watch_steady(&mut self, phase: Phase, now: Now) {
        match (phase, self.steady_from) {
            (Phase::Steady, None) => {
                let mark = Steady {
                    cpu_ns: thread_cpu_ns(),
                    starved_ns: thread_starved_ns(),
                    datagrams: self.out.counts.datagrams,
                    seconds: 0.0,
                };
                self.steady_from = Some((now.instant, mark));
            }
            (Phase::Leaving | Phase::Closing, Some((from, mark)))
                if self.out.steady.seconds == 0.0 =>
            {
                self.out.steady = Steady {
                    cpu_ns: thread_cpu_ns() - mark.cpu_ns,
                    starved_ns: thread_starved_ns().saturating_sub(mark.starved_ns),
                    datagrams: self.out.counts.datagrams - mark.datagrams,
                    seconds: now.instant.duration_since(from).as_secs_f64(),
                };
            }
            _ => {}
        }
    }

    /// Whether nothing is left to be done, or waiting for it has taken too long.
    fn finished(&mut self, now: Now) -> bool {
        let sessions = self.shared.plan.viewers.len() + self.shared.plan.publishers.len();
        let allowed = CLOSING_TIMEOUT + self.shared.ramp(sessions);
        let late = self.shared.closing_for(now.instant) > allowed;
        let left = self.deletes + self.to_delete.len() + self.goodbyes.len();
        if late {
            self.out.deletes_failed += u64::try_from(left).unwrap_or(0);
        }
        late || self.slots.is_empty() && left == 0
    }

    fn wait_and_receive(&mut self, next_sweep: Instant) -> anyhow::Result<()> {
        let now = Now::read();
        let until_sweep = next_sweep.saturating_duration_since(now.instant);
        let until_frame = self.due.peek().map_or(until_sweep, |Reverse((due, _))| {
            Duration::from_nanos(due.saturating_sub(now.wall_ns))
        });
        let timeout = Timespec::try_from(until_sweep.min(until_frame))?;
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let ready = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = Now::read();
        for event in ready {
            let ticket = event.data.u64();
            if ticket == DOORBELL {
                let _ = rustix::io::read(self.mailbox.doorbell(), &mut [0_u8; 8]);
            } else if ticket & SIGNAL != 0 {
                self.hear(ticket & !SIGNAL, now);
            } else if let Some(slot) = self.slots.get_mut(&ticket) {
                slot.client
                    .receive(&mut self.buffer, now, &mut self.out.counts);
            }
        }
        Ok(())
    }
}

/// From now on nothing new counts for this viewer.
fn mark(client: &mut Client, now: Now) {
    client.state = State::Leaving {
        marked_ns: now.wall_ns,
    };
    if let Some(viewer) = &mut client.viewer {
        viewer.meters().for_each(super::meter::Meter::mark);
    }
}
