use super::super::client::{Client, Now, State};
use super::super::meter::Totals;
use super::super::options::ViewerSpec;
use super::super::report::{Percentiles, ViewerRow, loss, ms};
use super::{Generator, Slot};

impl Generator<'_> {
    /// Takes a client's figures and ends its session.
    pub(super) fn close(&mut self, ticket: u64, mut slot: Slot, now: Now) {
        if let Some(mut signal) = slot.signal.take() {
            signal.leave();
            self.goodbyes.insert(ticket, signal);
        }
        self.delete(slot.client.resource.take(), slot.token.take());
        let client = &mut slot.client;
        client.say_goodbye(now, &mut self.out.counts);
        self.out.disconnects += u64::from(client.disconnected);
        self.out.socket_drops += super::super::shared::socket_drops(&client.socket);
        if slot.publisher.is_some() {
            self.publisher_figures(&mut slot);
        }
        if let Some(spec) = slot.viewer.clone() {
            if !slot.settled {
                self.shared.viewer_settled(false);
            }
            let row = self.viewer_row(&spec, &mut slot.client, now);
            self.out.rows.push(row);
        }
        slot.client.state = State::Over;
    }

    fn publisher_figures(&mut self, slot: &mut Slot) {
        let client = &mut slot.client;
        if !slot.settled {
            self.shared.publisher_settled(false);
            self.out.publishers_failed += 1;
        }
        if let Some(error) = client.error.take_if(|_| slot.viewer.is_none()) {
            self.failure("publisher", error);
        }
        self.out.keyframe_requests += client.keyframe_requests;
        for track in &client.sending {
            self.out.packets_sent += track.sent().packets;
            self.out.frames_sent += track.sent().frames;
            self.out.nacks_received += client.nacks_of(track.mid);
        }
    }

    fn failure(&mut self, who: &str, error: String) {
        let failures = &mut self.out.failures;
        *failures.entry(format!("{who}: {error}")).or_default() += 1;
    }

    fn viewer_row(&mut self, spec: &ViewerSpec, client: &mut Client, now: Now) -> ViewerRow {
        let marked_ns = if let State::Leaving { marked_ns } = client.state {
            marked_ns
        } else {
            now.wall_ns
        };
        let (error, posted, nacks) = (client.error.take(), client.posted_ns, client.nacks_sent());
        let publishes = !client.sending.is_empty();
        let Some(viewer) = &mut client.viewer else {
            return ViewerRow::default();
        };
        let joined = if viewer.sampled && !publishes {
            viewer.first_packet_ns.is_some()
        } else {
            client.live_ns.is_some()
        };
        let tracks = self.shared.plan.tracks_for(spec);
        if viewer.sampled {
            self.out.tracks_expected += tracks;
            let heard = u64::try_from(viewer.tracks_heard()).unwrap_or(0);
            self.out.tracks_silent += tracks.saturating_sub(heard);
        }
        let mut totals = Totals::default();
        let mut jitter: Option<u64> = None;
        for meter in viewer.meters() {
            // One that was lost in mid-run has missed all that was sent until now.
            if !matches!(client.state, State::Leaving { .. }) {
                meter.mark();
            }
            meter.finish(marked_ns);
            totals.add(&meter.totals());
            jitter = jitter.max(meter.jitter_ns());
        }
        let since_post = |at: Option<u64>| at.map(|at| at.saturating_sub(posted));
        let (join, first_frame) = (
            since_post(if publishes {
                client.live_ns
            } else {
                viewer.first_packet_ns
            }),
            since_post(viewer.first_frame_ns),
        );
        join.into_iter().for_each(|ns| self.out.joins.record(ns));
        first_frame
            .into_iter()
            .for_each(|ns| self.out.first_frames.record(ns));
        self.out.viewers_ok += u64::from(joined);
        self.out.viewers_failed += u64::from(!joined);
        if let Some(error) = &error {
            let who = if spec.publisher.is_some() {
                "viewer"
            } else {
                "participant"
            };
            self.failure(who, error.clone());
        }
        self.out.totals.add(&totals);
        self.out.latency.merge(&viewer.latency);
        self.out.nacks_sent += nacks;
        self.out.plis_sent += viewer.plis_sent;
        ViewerRow {
            viewer: spec.number,
            room: spec.room,
            publisher: spec.publisher,
            sampled: viewer.sampled,
            joined,
            error,
            join_ms: join.map(ms),
            first_frame_ms: first_frame.map(ms),
            packets_expected: totals.expected,
            packets_received: totals.received,
            loss: loss(&totals),
            latency_ms: Percentiles::of(&viewer.latency),
            jitter_ms: jitter.map(ms),
            frames_expected: totals.frames_expected,
            frames_complete: totals.frames_complete,
            frames_shown: totals.frames_shown,
            freezes: totals.freezes,
            frozen_ms: ms(totals.frozen_ns),
            nacks_sent: nacks,
            plis_sent: viewer.plis_sent,
        }
    }
}
