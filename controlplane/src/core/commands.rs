//! Publishing, trickling, restarting, ending.

use super::{Command, Core, unix_seconds};
use crate::limits;
use crate::programmer::TableFull;
use crate::record::{Kind, Link, Media, Published, Record};
use crate::rooms::{Description, Input, Join, Key, Play, Publish};
use crate::session::{EndCause, Session};
use ion_api::backend::{Created, Participant, Patched, PublishRequest, SessionRef};
use ion_api::if_match::IfMatch;
use ion_api::names::{Identity, RoomName, SessionId};
use ion_api::problem::Problem;
use ion_api::signal::ParticipantId;
use ion_api::signal::model::{LayerInfo, ParticipantKind, Permissions, Source};
use ion_api::signal::server::Reason;
use ion_ice::{Agent, Credentials};
use ion_sdp::negotiate::Reject;
use ion_sdp::{
    DtlsRole, ExtensionMap, HashAlgorithm, IceCredentials, LocalParams, MediaKind, RemoteParams,
    SdpFragment, SessionDescription,
};
use ion_tables::{Encoding, RowLink, Subscription, Transport};
use std::time::Instant;

/// Our side of a session that is being made.
pub(super) struct Draft {
    pub(super) id: SessionId,
    pub(super) credentials: Credentials,
    pub(super) local: LocalParams,
    pub(super) etag: String,
    pub(super) feedback_ssrc: u32,
}

/// What was agreed on the transport.
pub(super) struct Agreed<'a> {
    pub(super) sdp: &'a SessionDescription,
    pub(super) extensions: &'a ExtensionMap,
    pub(super) remote: Option<&'a RemoteParams>,
    pub(super) media: Media,
}

impl Core {
    /// Does what a handler asks for. An answer that nobody waits for is dropped.
    pub fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Publish(request, offer, reply) => {
                let _ = reply.send(self.publish(now, &request, &offer));
            }
            Command::Play(request, offer, reply) => {
                let _ = reply.send(self.play(now, &request, &offer));
            }
            Command::Patch(session, if_match, fragment, reply) => {
                let _ = reply.send(self.patch(now, &session, &if_match, &fragment));
            }
            Command::Accept(session, answer, reply) => {
                let _ = reply.send(self.accept(now, &session, &answer));
            }
            Command::End(session, reply) => {
                let ended = self
                    .find(&session)
                    .map(|key| self.end(now, key, &EndCause::Deleted));
                let _ = reply.send(ended);
            }
            Command::Revoke(subject, reply) => {
                self.revoke(now, &subject);
                let _ = reply.send(());
            }
            Command::SignalJoin(request, answer_to, outbox, reply) => {
                // Who waits no more is not let in; who hangs up meanwhile does not know that it is.
                if !reply.is_closed() {
                    let joined = self.signal_join(now, *request, answer_to, outbox);
                    if let Err(Ok(participant)) = reply.send(joined) {
                        self.happen(now, abandoned(participant));
                    }
                }
            }
            Command::SignalResume(request, answer_to, outbox, reply) => {
                let _ = reply.send(self.signal_resume(now, &request, answer_to, outbox));
            }
            Command::Signal(key, outbox, message, sdp) => {
                self.signal(now, key, outbox, *message, sdp.as_deref());
            }
            Command::SignalClosed(key, outbox) => self.signal_closed(now, key, outbox),
            Command::Data(room, to, message, reply) => {
                let _ = reply.send(self.data_from_server(now, &room, to.as_deref(), *message));
            }
            Command::Look(look) => look(&self.rooms),
            Command::Act(room, act, reply) => drop(reply.send(self.act_in(now, &room, *act))),
            Command::Govern(input, reply) => drop(reply.send(self.govern(now, *input))),
            Command::Rooms(reply) => drop(reply.send(self.room_infos())),
            Command::Room(room, reply) => drop(reply.send(self.room_info(&room))),
            Command::Participants(room, reply) => {
                drop(reply.send(self.participant_infos(now, &room)));
            }
            Command::Ended(room, reply) => drop(reply.send(self.ended.infos(now, &room))),
            Command::Tracks(room, identity, reply) => {
                drop(reply.send(self.track_infos(&room, &identity)));
            }
            Command::Usage(key, reply) => drop(reply.send(self.usage(&key))),
            Command::Stats(room, identity, reply) => {
                drop(reply.send(self.stats(&room, &identity)));
            }
            Command::Playing(session, reply) => drop(reply.send(self.playing(&session))),
            Command::SelectLayers(session, selection, reply) => {
                drop(reply.send(self.select_layers(now, &session, &selection)));
            }
            Command::Status(reply) => drop(reply.send(self.status_info(now))),
        }
        self.flush();
    }

    /// Whom an address of WHIP or WHEP means. The id alone says: the room in the address is the one that the session began
    /// in, and it may have been moved since.
    pub(super) fn find(&self, session: &SessionRef) -> Result<Key, Problem> {
        let key = self.ids.get(session.id.as_str()).copied();
        let fits = |key: &Key| {
            let found = self.sessions.get(key);
            found.is_some_and(|found| found.record.role() == session.role)
        };
        key.filter(fits).ok_or_else(no_such_session)
    }

    pub(super) fn table_full(&self, full: TableFull) -> Problem {
        let table = crate::programmer::table_name(full.0);
        self.metrics.refused(table);
        Problem::overloaded(
            format!("the table of {table} rows is full"),
            limits::FULL_RETRY_S,
        )
    }

    pub(super) fn draft(&self) -> Result<Draft, Problem> {
        let credentials = Credentials::from_random(&Self::random()?);
        let cname: String = hex(&Self::random::<8>()?);
        let fingerprint = self.endpoint.fingerprint();
        let algorithm = match fingerprint.algorithm() {
            ion_dtls::HashAlgorithm::Sha256 => HashAlgorithm::Sha256,
            ion_dtls::HashAlgorithm::Sha384 => HashAlgorithm::Sha384,
            ion_dtls::HashAlgorithm::Sha512 => HashAlgorithm::Sha512,
        };
        let local = LocalParams {
            // RFC 8866, section 5.2: digits; 63 bits suit every parser.
            session_id: u64::from_ne_bytes(Self::random()?) >> 1,
            ice: IceCredentials {
                ufrag: credentials.ufrag().to_owned(),
                pwd: credentials.pwd().to_owned(),
            },
            fingerprint: ion_sdp::Fingerprint {
                algorithm,
                digest: fingerprint.bytes().to_vec(),
            },
            candidates: self.candidates.clone(),
            cname,
        };
        Ok(Draft {
            id: SessionId::random().map_err(|_| Problem::internal())?,
            credentials,
            local,
            etag: hex(&Self::random::<8>()?),
            feedback_ssrc: ssrc()?,
        })
    }

    fn publish(
        &mut self,
        now: Instant,
        request: &PublishRequest,
        offer: &SessionDescription,
    ) -> Result<Created, Problem> {
        self.admit(&request.room, &request.participant, true)?;
        self.learn_quota(&request.participant);
        if let Some(token) = &request.participant.token {
            self.may_publish_more(&token.key)?;
        }
        let draft = self.draft()?;
        let answer = ion_sdp::whip::answer(offer, &draft.local).map_err(rejected)?;
        for track in &answer.tracks {
            let (may, what) = match track.kind {
                MediaKind::Audio => (request.sources.audio, "audio"),
                _ => (request.sources.video, "video"),
            };
            if !may {
                return Err(Problem::forbidden(format!(
                    "the token does not allow to publish {what}"
                )));
            }
        }
        // An attempt of the same publisher that came to nothing makes way; a live one does
        // only when this one is live.
        for key in self
            .rooms
            .waiting(&request.room, &request.participant.identity)
        {
            self.end(now, key, &EndCause::Replaced);
        }
        let mut tracks: Vec<Published> = answer.tracks.iter().map(Published::new).collect();
        for track in &mut tracks {
            track.id = self.publication_id();
        }
        let agreed = Agreed {
            sdp: &answer.sdp,
            extensions: &answer.extensions,
            remote: Some(&answer.remote),
            media: Media::Publish(tracks),
        };
        let (key, created) = self.create(
            now,
            draft,
            &request.room,
            &request.participant,
            None,
            agreed,
        )?;
        self.enter_publisher(now, key);
        self.gauge();
        Ok(created)
    }

    /// Lets a WHIP publisher that has negotiated into its room.
    pub(super) fn enter_publisher(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let record = &session.record;
        let publishes: Vec<Publish> = record.published().iter().map(|t| publish(key, t)).collect();
        let join = join(key, record, ParticipantKind::Whip, Play::Nothing);
        self.happen(now, Input::Join(Box::new(join)));
        for publish in publishes {
            self.happen(now, Input::Publish(Box::new(publish)));
        }
    }

    /// Makes a session with its rows, and stores it. What has been done is undone if it
    /// cannot be done to the end.
    pub(super) fn create(
        &mut self,
        now: Instant,
        draft: Draft,
        room: &RoomName,
        participant: &Participant,
        wanted: Option<Identity>,
        agreed: Agreed<'_>,
    ) -> Result<(Key, Created), Problem> {
        let key = self.key();
        let (sdp, remote) = (agreed.sdp, agreed.remote);
        let mut record = record_of(key, &draft, room, participant, wanted, agreed);
        self.reserve_rows(&mut record)
            .map_err(|full| self.table_full(full))?;
        let agent = Agent::new(draft.credentials, None, now).with_timeouts(self.config.ice);
        let remote_ice = remote.map(|remote| remote.ice.clone());
        let created = Created {
            session: draft.id.clone(),
            sdp: sdp.to_string(),
            etag: record.etag.clone(),
            ice_servers: Vec::new(),
        };
        let role = record.role();
        self.ids.insert(record.id.clone(), key);
        self.ufrags.insert(agent.local().ufrag().to_owned(), key);
        let stored = self.put_record(now, &record);
        let mut session = Session::new(draft.id, record, agent, remote_ice);
        if session.is_offered() {
            session.wait_for_answer(now + limits::ANSWER_TIMEOUT);
        }
        self.sessions.insert(key, session);
        self.write_waiting(key);
        self.metrics.session_created(role);
        if let Err(problem) = stored {
            self.end(now, key, &EndCause::RowsLost);
            return Err(problem);
        }
        if let Some(hidden) = self.throttles.sessions.allow(now) {
            tracing::info!(session = ?created.session, ?role, hidden, "session negotiated");
        }
        Ok((key, created))
    }

    /// Takes a row for each part of a record; all or none.
    pub(super) fn reserve_rows(&mut self, record: &mut Record) -> Result<(), TableFull> {
        let transport = record.row;
        let result = self.try_reserve(record);
        if result.is_err() {
            let mut taken = record.clone();
            // Not the row that it had before.
            taken.row = if RowLink::from(transport).is_some() {
                Link::default()
            } else {
                record.row
            };
            self.release_rows(&taken);
        }
        result
    }

    fn try_reserve(&mut self, record: &mut Record) -> Result<(), TableFull> {
        let programmer = &mut self.programmer;
        if !RowLink::from(record.row).is_some() {
            record.row = programmer.reserve::<Transport>()?.into();
        }
        match &mut record.media {
            Media::Publish(tracks) => {
                for track in tracks {
                    track.row = programmer.reserve::<ion_tables::Track>()?.into();
                    for encoding in &mut track.encodings {
                        encoding.row = programmer.reserve::<Encoding>()?.into();
                    }
                }
            }
            Media::Play(slots) => {
                for slot in slots {
                    slot.row = programmer.reserve::<Subscription>()?.into();
                }
            }
            // Its offers take them one by one.
            Media::Both { .. } | Media::Offered { .. } => {}
        }
        Ok(())
    }

    fn patch(
        &mut self,
        now: Instant,
        session: &SessionRef,
        if_match: &IfMatch,
        fragment: &SdpFragment,
    ) -> Result<Patched, Problem> {
        let key = self.find(session)?;
        let Some(found) = self.sessions.get_mut(&key) else {
            return Err(no_such_session());
        };
        if !if_match.matches(&found.record.etag) {
            return Err(Problem::precondition_failed(
                "If-Match does not name the session's present ICE session",
            ));
        }
        if found.is_trickle(fragment) {
            // A lite agent has no use for the peer's candidates: it learns them from checks.
            return Ok(Patched::NoContent);
        }
        let fresh = fragment.credentials().ok_or_else(|| {
            Problem::malformed_sdp("an ICE restart needs both a=ice-ufrag and a=ice-pwd")
        })?;
        if matches!(found.record.media, Media::Offered { .. }) {
            return Err(Problem::conflict(
                "the counter-offer has to be answered before ICE can restart",
            ));
        }
        let local = Credentials::from_random(&Self::random()?);
        let ice = IceCredentials {
            ufrag: local.ufrag().to_owned(),
            pwd: local.pwd().to_owned(),
        };
        let etag = hex(&Self::random::<8>()?);
        let mut record = found.record.clone();
        record.etag.clone_from(&etag);
        record.supersede(found.remote_ice.as_ref().map(|ice| ice.ufrag.clone()));
        // First, so that nothing has changed when it fails.
        self.put_record(now, &record)?;
        let Some(found) = self.sessions.get_mut(&key) else {
            return Err(no_such_session());
        };
        self.ufrags.insert(ice.ufrag.clone(), key);
        found.restart_ice(now, local, fresh);
        found.record = record;
        let mid = found
            .record
            .first_mid
            .as_deref()
            .and_then(ion_sdp::Mid::new);
        let kind = match found.record.first_kind {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        };
        self.write_ice(key);
        let frag = SdpFragment::restart_answer(&ice, kind, mid, &self.candidates);
        Ok(Patched::Restarted {
            frag: frag.to_string(),
            etag,
        })
    }
}

fn record_of(
    key: Key,
    draft: &Draft,
    room: &RoomName,
    participant: &Participant,
    wanted: Option<Identity>,
    agreed: Agreed<'_>,
) -> Record {
    let media = &agreed.sdp.media;
    let first = media.iter().find(|media| !media.candidates.is_empty());
    let id = draft.id.as_str().to_owned();
    let identity = participant.identity.clone();
    let mut record = Record {
        name: participant.name.clone(),
        hidden: participant.hidden,
        token: participant.token.clone(),
        wanted,
        joined_at_s: unix_seconds(),
        etag: draft.etag.clone(),
        extensions: extension_pairs(agreed.extensions),
        is_rtcp_reduced: media.iter().any(|media| media.rtcp_rsize),
        first_mid: first
            .and_then(|media| media.mid.as_ref())
            .map(|mid| mid.as_str().to_owned()),
        first_kind: first.map_or(Kind::Audio, |media| Kind::of(&media.kind)),
        cname: draft.local.cname.clone(),
        feedback_ssrc: draft.feedback_ssrc,
        ..Record::new(id, key.0, room.clone(), identity, agreed.media)
    };
    if let Some(remote) = agreed.remote {
        take_remote(&mut record, remote);
    }
    record
}

/// Leaves, as nobody waited for the answer to a join.
pub(crate) fn abandoned(participant: ParticipantId) -> Input {
    Input::Leave {
        key: participant.into(),
        reason: Reason::TimedOut,
    }
}

/// A WHIP or WHEP participant as rooms know it.
pub(super) fn join(key: Key, record: &Record, kind: ParticipantKind, play: Play) -> Join {
    Join {
        key,
        room: record.room.clone(),
        identity: record.identity.clone(),
        description: Description {
            name: Some(record.name.clone()),
            ..Description::default()
        },
        kind,
        permissions: Permissions {
            hidden: record.hidden,
            ..Permissions::default()
        },
        play,
        joined_at_s: record.joined_at_s,
        token: record.token.clone(),
        // It was let in, or not, before it negotiated.
        is_admitted: true,
    }
}

/// A track of a WHIP publisher as rooms know it.
fn publish(key: Key, track: &Published) -> Publish {
    let layers = track.encodings.iter().map(|encoding| LayerInfo {
        rid: encoding.rid.clone(),
        ..LayerInfo::default()
    });
    Publish {
        key,
        id: track.id,
        cid: track.mid.clone(),
        kind: track.kind,
        codec: track.codec.clone(),
        source: match track.kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        },
        name: String::new(),
        stream: String::new(),
        layers: layers.collect(),
        scalability_mode: String::new(),
        encrypted: false,
        muted: false,
    }
}

/// Puts the peer's side of the transport into a record.
pub(super) fn take_remote(record: &mut Record, remote: &RemoteParams) {
    record.fingerprints = remote
        .fingerprints
        .iter()
        .map(ToString::to_string)
        .collect();
    record.is_dtls_client = remote.role == DtlsRole::Client;
}

pub(super) fn extension_pairs(extensions: &ExtensionMap) -> Vec<(u8, u8)> {
    extensions
        .iter()
        .map(|(kind, id)| (kind as u8, id))
        .collect()
}

pub(super) fn no_such_session() -> Problem {
    Problem::no_such_session("it never was, or it has ended")
}

pub(super) fn rejected(reject: Reject) -> Problem {
    match reject {
        Reject::Malformed(text) => Problem::malformed_sdp(text),
        Reject::Unprocessable(text) | Reject::NotAcceptable(text) => Problem::unprocessable(text),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random SSRC, not zero.
pub(super) fn ssrc() -> Result<u32, Problem> {
    Core::random().map(|bytes| u32::from_ne_bytes(bytes).max(1))
}
