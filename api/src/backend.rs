//! What the control plane does for the HTTP surface.
//!
//! Everything a [`Backend`] is given has been bounded and parsed, and permission has been checked;
//! SDP is text of at most [`crate::limits::BODY_BYTES`]. What it returns becomes the answer: status
//! codes beyond success come as [`Problem`]s.

use std::fmt;
use std::future::Future;
use std::time::SystemTime;

use crate::accounts::{Quota, Subject, Versioned};
use crate::govern::{Act, Member, RoomDetails};
use crate::if_match::IfMatch;
use crate::model::access::KeyUsage;
use crate::model::stats::ParticipantStats;
use crate::model::{EndedInfo, ParticipantInfo, Role, RoomInfo, Status, TrackInfo};
use crate::names::{Identity, RoomName, SessionId};
use crate::problem::Problem;
use crate::signal::client::Resume;
use crate::signal::model::SubscriptionInfo;
use crate::signal::{self, ClientMessage, JoinRequest, Outbox, ParticipantId, Reason};
use crate::token::TokenRef;
use crate::whep::extensions::{LayerSelection, Playing};

fn not_served() -> signal::server::Problem {
    signal::server::Problem::new(Reason::Internal, "signalling is not served here")
}

/// A participant as its token describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Unique in the room.
    pub identity: Identity,
    /// Display name; may be empty.
    pub name: String,
    /// Not shown to others, nor in lists.
    pub hidden: bool,
    /// Need not wait in a lobby: it may govern the room.
    pub passes_lobby: bool,
    /// The token; guests have none.
    pub token: Option<TokenRef>,
    /// What the key of its token may take.
    pub quota: Quota,
}

/// Which kinds of media a token lets its holder send (`canPublishSources`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    /// Camera or screen.
    pub video: bool,
    /// Microphone or the screen's sound.
    pub audio: bool,
}

/// `POST /whip/{room}`.
#[derive(Clone)]
pub struct PublishRequest {
    /// Where to publish.
    pub room: RoomName,
    /// Who publishes.
    pub participant: Participant,
    /// What may be sent. Offers for more are refused by the backend with 403.
    pub sources: Sources,
    /// The SDP offer.
    pub offer: String,
}

/// `POST /whep/{room}` and `POST /whep/{room}/{participant}`.
#[derive(Clone)]
pub struct PlayRequest {
    /// Which room to play from.
    pub room: RoomName,
    /// Whose tracks to play; `None` for the room's first publisher.
    pub publisher: Option<Identity>,
    /// Who plays.
    pub participant: Participant,
    /// The SDP offer.
    pub offer: String,
}

// Descriptions hold addresses and ICE passwords, which stay out of logs.

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("room", &self.room)
            .field("participant", &self.participant)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PlayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayRequest")
            .field("room", &self.room)
            .field("publisher", &self.publisher)
            .field("participant", &self.participant)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Created")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Patched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoContent => "NoContent",
            Self::Restarted { .. } => "Restarted",
        })
    }
}

/// A session as a path names it. The backend answers [`Problem::no_such_session`] when id, room and
/// role are not those of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// The unguessable id.
    pub id: SessionId,
    /// Room in the path.
    pub room: RoomName,
    /// [`Role::Publisher`] under `/whip`, [`Role::Viewer`] under `/whep`.
    pub role: Role,
}

/// A STUN or TURN server for the client, sent as a `Link` header (RFC 9725 §4.6).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:…` or `turn:…` URI.
    pub url: String,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

/// A new session.
#[derive(Clone)]
pub struct Created {
    /// Its id; becomes the last segment of `Location`.
    pub session: SessionId,
    /// The SDP answer; for [`Play::CounterOffer`] the SDP offer.
    pub sdp: String,
    /// Entity tag of the ICE session, without quotes: visible ASCII, no `"`.
    pub etag: String,
    /// Servers for the client's ICE agent.
    pub ice_servers: Vec<IceServer>,
}

/// Outcome of a play request.
#[derive(Debug, Clone)]
pub enum Play {
    /// 201 with an answer.
    Answer(Created),
    /// 406 with an offer of the server's own, to be answered by a PATCH.
    CounterOffer {
        /// The session that waits for the answer.
        created: Created,
        /// Until when; sent as `valid-until` of the content type.
        valid_until: Option<SystemTime>,
    },
}

/// Outcome of a trickle or restart.
#[derive(Clone, PartialEq, Eq)]
pub enum Patched {
    /// 204: candidates were taken in, or silently dropped where unusable.
    NoContent,
    /// 200: ICE was restarted.
    Restarted {
        /// `application/trickle-ice-sdpfrag` with the new ufrag, pwd and all own candidates.
        frag: String,
        /// Entity tag of the new ICE session, without quotes.
        etag: String,
    },
}

/// What the control plane implements.
///
/// Each call runs to its end as a task of its own, even when the client hangs up or the call takes
/// longer than [`crate::limits::BACKEND_TIMEOUT`]: a session made for nobody is torn down by its own
/// ICE time-out. A call that panics is a 500 to its client and nothing to the others.
pub trait Backend: Send + Sync + 'static {
    /// WHIP: makes a publishing session of an offer.
    fn publish(
        &self,
        request: PublishRequest,
    ) -> impl Future<Output = Result<Created, Problem>> + Send;

    /// WHEP: makes a playing session of an offer.
    fn play(&self, request: PlayRequest) -> impl Future<Output = Result<Play, Problem>> + Send;

    /// PATCH with an SDP fragment: trickled candidates, or new credentials for an ICE restart.
    /// 412 when `if_match` does not match the session's entity tag.
    fn trickle_or_restart(
        &self,
        session: SessionRef,
        if_match: IfMatch,
        frag: String,
    ) -> impl Future<Output = Result<Patched, Problem>> + Send;

    /// PATCH with the SDP answer to a counter-offer. 409 when none is waiting.
    fn accept(
        &self,
        session: SessionRef,
        answer: String,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    /// DELETE: ends the session and frees everything.
    fn end(&self, session: SessionRef) -> impl Future<Output = Result<(), Problem>> + Send;

    /// A socket enters a room. The answer, with this id, goes through the outbox, and so does all
    /// that follows. Where nobody waits until this is ready, nobody is in the room.
    fn signal_join(
        &self,
        request: JoinRequest,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> impl Future<Output = Result<ParticipantId, signal::server::Problem>> + Send {
        let _ = (request, answer_to, outbox);
        std::future::ready(Err(not_served()))
    }

    /// A socket goes on with a session. Likewise.
    fn signal_resume(
        &self,
        request: Resume,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> impl Future<Output = Result<ParticipantId, signal::server::Problem>> + Send {
        let _ = (request, answer_to, outbox);
        std::future::ready(Err(not_served()))
    }

    /// A request of a participant; answered through the outbox of this id, unless it is refused here.
    ///
    /// # Errors
    /// What cannot be handed on.
    fn signal(
        &self,
        from: ParticipantId,
        outbox: u64,
        message: ClientMessage,
    ) -> Result<(), signal::server::Problem> {
        let _ = (from, outbox, message);
        Err(not_served())
    }

    /// The socket of a participant with the outbox of this id is gone.
    fn signal_closed(&self, from: ParticipantId, outbox: u64) {
        let _ = (from, outbox);
    }

    /// All rooms.
    fn rooms(&self) -> impl Future<Output = Vec<RoomInfo>> + Send;

    /// One room, `None` when nobody is in it.
    fn room(&self, room: RoomName) -> impl Future<Output = Option<RoomInfo>> + Send;

    /// Participants of a room, without hidden ones; `None` when nobody is in it.
    fn participants(
        &self,
        room: RoomName,
    ) -> impl Future<Output = Option<Vec<ParticipantInfo>>> + Send;

    /// Sessions of a room that ended in the last minutes, the oldest first. A backend that keeps no
    /// such list shows none.
    fn ended(&self, room: RoomName) -> impl Future<Output = Vec<EndedInfo>> + Send {
        let _ = room;
        std::future::ready(Vec::new())
    }

    /// Tracks of a participant, `None` when it is not there.
    fn tracks(
        &self,
        room: RoomName,
        identity: Identity,
    ) -> impl Future<Output = Option<Vec<TrackInfo>>> + Send;

    /// What a viewer's session may be sent, `None` when there is none such.
    fn playing(&self, session: SessionRef) -> impl Future<Output = Option<Playing>> + Send {
        let _ = session;
        std::future::ready(None)
    }

    /// Bounds what a viewer's session is sent of a video. 422 when there is no such layer.
    fn select_layers(
        &self,
        session: SessionRef,
        selection: LayerSelection,
    ) -> impl Future<Output = Result<(), Problem>> + Send {
        let _ = (session, selection);
        std::future::ready(Err(Problem::no_such_session("this server has none")))
    }

    /// What was counted of a participant's media, `None` when it is not there. A backend that counts
    /// nothing knows nobody.
    fn stats(
        &self,
        room: RoomName,
        identity: Identity,
    ) -> impl Future<Output = Option<ParticipantStats>> + Send {
        let _ = (room, identity);
        std::future::ready(None)
    }

    /// Does something in a room. A backend that governs nothing knows no room.
    ///
    /// # Errors
    /// 404 for who or what is not there, 409 for what contradicts what is, 412 where the room is
    /// another one than expected, 422 for what is too large, 503 where there is no place.
    fn act(&self, room: RoomName, act: Act) -> impl Future<Output = Result<(), Problem>> + Send {
        let _ = (room, act);
        std::future::ready(Err(Problem::not_found("there is no such room")))
    }

    /// Ends the sessions of tokens that were revoked. A backend without sessions has nothing to end.
    ///
    /// # Errors
    /// 503 when the backend is stopping.
    fn revoke(&self, subject: Subject) -> impl Future<Output = Result<(), Problem>> + Send {
        let _ = subject;
        std::future::ready(Ok(()))
    }

    /// What the sessions of a key take now.
    fn usage(&self, key: String) -> impl Future<Output = KeyUsage> + Send {
        let _ = key;
        std::future::ready(KeyUsage::default())
    }

    /// How a room is set up, `None` when it is not there.
    fn details(
        &self,
        room: RoomName,
    ) -> impl Future<Output = Option<Versioned<RoomDetails>>> + Send {
        let _ = room;
        std::future::ready(None)
    }

    /// Who is in a room, in full, `None` when it is not there.
    fn members(&self, room: RoomName) -> impl Future<Output = Option<Vec<Member>>> + Send {
        let _ = room;
        std::future::ready(None)
    }

    /// What a participant receives, `None` when it is not there.
    fn subscriptions(
        &self,
        room: RoomName,
        identity: Identity,
    ) -> impl Future<Output = Option<Vec<SubscriptionInfo>>> + Send {
        let _ = (room, identity);
        std::future::ready(None)
    }

    /// State of the server.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Prometheus or OpenMetrics text of everything the backend counts.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// Whether sessions can be taken.
    ///
    /// # Errors
    /// What is missing, in words fit for the public.
    fn ready(&self) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_secrets_stay_out_of_logs() {
        let secret = "a=ice-pwd:secret 192.0.2.1";
        let (room, identity) = (
            RoomName::parse("r").unwrap(),
            Identity::parse("vera").unwrap(),
        );
        let participant = Participant {
            identity,
            name: String::new(),
            hidden: false,
            passes_lobby: false,
            token: None,
            quota: Quota::default(),
        };
        let request = PlayRequest {
            room: room.clone(),
            publisher: None,
            participant: participant.clone(),
            offer: secret.to_owned(),
        };
        let publish = PublishRequest {
            room,
            participant,
            sources: Sources {
                video: true,
                audio: true,
            },
            offer: secret.to_owned(),
        };
        let server = IceServer {
            url: "turn:t".to_owned(),
            username: Some("user".to_owned()),
            credential: Some(secret.to_owned()),
        };
        let created = Created {
            session: SessionId::random().unwrap(),
            sdp: secret.to_owned(),
            etag: secret.to_owned(),
            ice_servers: vec![server.clone()],
        };
        let restarted = Patched::Restarted {
            frag: secret.to_owned(),
            etag: secret.to_owned(),
        };
        let shown = format!("{request:?} {publish:?} {server:?} {created:?} {restarted:?}");
        assert!(shown.contains("vera") && shown.contains("turn:t"));
        assert!(
            !shown.contains("secret") && !shown.contains("192.0.2"),
            "{shown}"
        );
    }
}
