use ion_api::signal::server::Reason;
use rustix::event::epoll;
use str0m::media::Mid;

use super::super::client::{Beginning, Client, Now, State, Wish};
use super::super::http::Request;
use super::super::options::ViewerSpec;
use super::super::shared::Phase;
use super::super::signal::{Door, Heard, Signal};
use super::{Generator, SIGNAL};

impl Generator<'_> {
    /// Somebody who plays all that the others of its room publish, and publishes too if it is one of the plan's publishers.
    pub(super) fn participate(
        &mut self,
        name: &str,
        viewer: ViewerSpec,
        publisher: Option<usize>,
        now: Now,
    ) -> anyhow::Result<()> {
        let plan = &self.shared.plan;
        let names = self.shared.names(viewer.room, name, name);
        let sampled = viewer.number.is_multiple_of(plan.decrypt_sample);
        let client = Client::new(&plan.codecs(), Some(sampled), self.shared.bind, now)?;
        let token = names.token(self.shared);
        let door = Door {
            url: names.fill(plan.signal.as_deref().unwrap_or_default()),
            token: token.clone(),
            room: names.room().to_owned(),
            identity: name.to_owned(),
        };
        self.seat(client, Some(viewer), publisher, token, Request::Join(door))
    }

    /// It is in the room: from here on its socket is listened to.
    pub(super) fn joined(&mut self, ticket: u64, signal: Box<Signal>) -> Result<(), String> {
        epoll::add(
            &self.epoll,
            signal.descriptor(),
            epoll::EventData::new_u64(ticket | SIGNAL),
            epoll::EventFlags::IN,
        )
        .map_err(|error| error.to_string())?;
        if let Some(slot) = self.slots.get_mut(&ticket) {
            slot.signal = Some(signal);
        }
        self.negotiate(ticket)
    }

    /// Its socket has something.
    pub(super) fn hear(&mut self, ticket: u64, now: Now) {
        if let Some(signal) = self.goodbyes.get_mut(&ticket) {
            let heard = signal.hear();
            if heard.iter().any(|heard| matches!(heard, Heard::Ended(_))) {
                self.goodbyes.remove(&ticket);
            }
            return;
        }
        let Some(slot) = self.slots.get_mut(&ticket) else {
            return;
        };
        let heard = slot.signal.as_mut().map(|signal| signal.hear());
        for heard in heard.into_iter().flatten() {
            let Some(slot) = self.slots.get_mut(&ticket) else {
                return;
            };
            let result = match heard {
                Heard::Answer(answer) => {
                    // What was not found ended meanwhile: the server says so next.
                    let mut declined = answer.declined.into_values();
                    let declined = declined.find(|problem| problem.reason != Reason::NotFound);
                    let taken = slot.client.answered(&answer.sdp, now, &mut self.out.counts);
                    let all = declined.map_or(Ok(()), |problem| Err(problem.detail));
                    taken.and(all).and_then(|()| self.negotiate(ticket))
                }
                Heard::Subscriptions => self.negotiate(ticket),
                Heard::Ended(reason) => Err(reason),
            };
            if let (Err(reason), Some(slot)) = (result, self.slots.get_mut(&ticket)) {
                slot.client.fail(reason);
            }
        }
    }

    /// Offers what it publishes, the first time, and sections for what it does not receive yet.
    fn negotiate(&mut self, ticket: u64) -> Result<(), String> {
        let is_over = self.shared.phase() >= Phase::Leaving;
        let Some(slot) = self.slots.get_mut(&ticket) else {
            return Ok(());
        };
        let Some(signal) = &mut slot.signal else {
            return Ok(());
        };
        let leaves = matches!(slot.client.state, State::Leaving { .. } | State::Over);
        if is_over || leaves || slot.client.is_waiting() {
            return Ok(());
        }
        let wanted = signal.unserved();
        let first = slot.client.sending.is_empty();
        let publisher = slot.publisher.filter(|_| first);
        if wanted.is_empty() && publisher.is_none() {
            return Ok(());
        }
        let idle = signal.take_idle();
        let room = slot.viewer.as_ref().map_or(0, |viewer| viewer.room);
        let play = wanted.iter().map(|wanted| {
            let source = self.shared.plan.publisher(room, &wanted.identity);
            self.shared.origin(source, wanted.video)
        });
        let wish = Wish {
            send: publisher.map_or(Vec::new(), |index| self.shared.tracks[index].all()),
            play: play.collect(),
            stop: idle.iter().map(|mid| Mid::from(mid.as_str())).collect(),
        };
        let kinds: Vec<bool> = wish
            .send
            .iter()
            .map(|track| !track.clip.codec.is_audio())
            .collect();
        let beginning =
            publisher.map_or(Beginning::default(), |index| self.shared.beginning(index));
        let offered = slot
            .client
            .offer(wish, beginning)
            .map_err(|error| error.to_string())?;
        signal.offer(offered, &kinds, &wanted);
        Ok(())
    }
}
