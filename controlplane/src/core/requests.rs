//! What participants ask for over their sockets, and what the management API asks of rooms.

use super::Core;
use super::signal::problem;
use crate::limits;
use crate::rooms::{Description, Input, Key, Refused, Wish};
use ion_api::names::display_name;
use ion_api::signal::client::{ClientMessage, Request, Subscribe, UpdatePublication, UpdateSelf};
use ion_api::signal::model::ParticipantState;
use ion_api::signal::server::{Answer, Pong, Problem, Reason};
use ion_sdp::SessionDescription;
use std::time::Instant;

impl Core {
    /// Does what a participant asks for, and answers.
    pub(super) fn signal(
        &mut self,
        now: Instant,
        key: Key,
        outbox: u64,
        message: ClientMessage,
        sdp: Option<&SessionDescription>,
    ) {
        if !self.signalling.is_current(key, outbox) {
            return;
        }
        let id = message.id;
        if matches!(message.request, Request::Leave(_)) {
            self.answer(key, id, Answer::Ok);
            let reason = Reason::Left;
            return self.happen(now, Input::Leave { key, reason });
        }
        let answer = match self.request(now, key, message.request, sdp) {
            Ok(answer) => answer,
            Err(problem) => Answer::Error(problem),
        };
        // What follows from a request comes before its answer.
        self.flush();
        self.answer(key, id, answer);
    }

    fn request(
        &mut self,
        now: Instant,
        key: Key,
        request: Request,
        sdp: Option<&SessionDescription>,
    ) -> Result<Answer, Problem> {
        match request {
            Request::Offer(offer) => {
                let sdp = sdp.ok_or_else(|| Problem::new(Reason::Internal, "no description"))?;
                return self.offer(now, key, &offer, sdp).map(Answer::Answer);
            }
            Request::Ping(ping) => return Ok(Answer::Pong(Pong { at: ping.at })),
            // A lite agent has no use for the peer's candidates: it learns them from checks.
            Request::Candidates(_) => {}
            Request::UpdatePublication(update) => self.update_publication(now, key, update)?,
            Request::Unpublish(request) => {
                if self.rooms.owner(request.publication) != Some(key) {
                    return Err(Problem::new(
                        Reason::NotFound,
                        "there is no such publication",
                    ));
                }
                self.ask_rooms(now, Input::Unpublish(request.publication))?;
            }
            Request::Subscribe(request) => self.choose(now, key, request)?,
            Request::UpdateSelf(update) => self.update_self(now, key, update)?,
            Request::Data(data) => self.send_data(now, key, data)?,
            Request::Join(_) | Request::Resume(_) | Request::Leave(_) => {
                return Err(Problem::new(Reason::WrongState, "it has joined already"));
            }
        }
        Ok(Answer::Ok)
    }

    fn ask_rooms(&mut self, now: Instant, input: Input) -> Result<(), Problem> {
        let effects = self
            .rooms
            .handle(input, now)
            .map_err(|refused| problem(&refused))?;
        self.apply(now, effects);
        Ok(())
    }

    /// Moderation, for the management API.
    pub(super) fn govern(&mut self, now: Instant, input: Input) -> Result<(), ion_api::Problem> {
        let effects = self
            .rooms
            .handle(input, now)
            .map_err(|refused| match &refused {
                Refused::NotFound(_) => ion_api::Problem::not_found(refused.to_string()),
                Refused::Forbidden(_) => ion_api::Problem::forbidden(refused.to_string()),
                Refused::Conflict(_) => ion_api::Problem::conflict(refused.to_string()),
                Refused::TooLarge(_) => ion_api::Problem::invalid(refused.to_string()),
                Refused::Full(_) => {
                    ion_api::Problem::overloaded(refused.to_string(), limits::FULL_RETRY_S)
                }
            })?;
        self.apply(now, effects);
        Ok(())
    }

    fn update_publication(
        &mut self,
        now: Instant,
        key: Key,
        update: UpdatePublication,
    ) -> Result<(), Problem> {
        let is_long = |text: &String| text.len() > limits::LABEL_BYTES;
        let layers = update.layers.as_ref().map_or(0, Vec::len);
        if update.name.as_ref().is_some_and(is_long)
            || layers > ion_tables::TrackConfig::MAX_ENCODINGS
        {
            return Err(Problem::new(
                Reason::TooLarge,
                "the name or list of layers is too long",
            ));
        }
        let UpdatePublication {
            publication,
            muted,
            name,
            layers,
        } = update;
        let input = Input::Redescribe {
            publication,
            key,
            muted,
            name,
            layers,
        };
        self.ask_rooms(now, input)
    }

    fn choose(&mut self, now: Instant, key: Key, request: Subscribe) -> Result<(), Problem> {
        if request.changes.len() > limits::SUBSCRIPTION_CHANGES {
            return Err(Problem::new(Reason::TooLarge, "too many changes at once"));
        }
        let wish = |change: &ion_api::signal::client::SubscriptionChange| Wish {
            publication: change.publication,
            subscribed: change.subscribed,
            bounds: change.bounds,
        };
        let changes = request.changes.iter().map(wish).collect();
        let auto = request.auto_subscribe;
        self.ask_rooms(now, Input::Subscribe { key, auto, changes })
    }

    fn update_self(&mut self, now: Instant, key: Key, update: UpdateSelf) -> Result<(), Problem> {
        let changes = Description {
            name: update.name.map(|name| display_name(&name)),
            metadata: update.metadata,
            attributes: update.attributes.unwrap_or_default(),
        };
        let is_own = true;
        self.ask_rooms(
            now,
            Input::Describe {
                key,
                changes,
                is_own,
            },
        )
    }

    /// Who gets data of a participant, if it may send any.
    pub(super) fn receivers(&self, key: Key, to: Option<&[String]>) -> Result<Vec<Key>, Problem> {
        if to.is_some_and(|to| to.len() > limits::SESSIONS_PER_ROOM) {
            let text = "`to` names more than a room can hold";
            return Err(Problem::new(Reason::TooLarge, text));
        }
        let (Some(permissions), Some(room)) =
            (self.rooms.permissions(key), self.rooms.room_of(key))
        else {
            return Err(Problem::new(Reason::NoSuchSession, "it has ended"));
        };
        let waits = self.rooms.state(key) == Some(ParticipantState::Lobby);
        if !permissions.can_publish_data || waits {
            let text = "the token lacks the grant `canPublishData`, or it waits in the lobby";
            return Err(Problem::new(Reason::Forbidden, text));
        }
        Ok(self.named_in(self.rooms.audience(room, Some(key)), to))
    }
}
