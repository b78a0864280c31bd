use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stun_types::attribute::ErrorCode;
use stun_types::message::{IntegrityAlgorithm, IntegrityKey};

use crate::credentials::Credentials;
use crate::packet::Request;
use crate::response;

/// Pairs remembered per agent; beyond it the one checked longest ago is forgotten, never the selected.
pub const MAX_PAIRS: usize = 16;
/// Superseded credentials still answered: two, for a restart that is restarted.
const MAX_SUPERSEDED: usize = 2;

/// A local address and the peer's address as seen from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Our address, as the packet was addressed to.
    pub local: SocketAddr,
    /// The peer's address, as the packet came from.
    pub remote: SocketAddr,
}

/// Peers' addresses are personal data and stay out of logs; the address family does not.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.remote.is_ipv4() {
            "Pair(v4)"
        } else {
            "Pair(v6)"
        })
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing changed and there is nothing to send.
    Ignored(Reason),
    /// Nothing changed; the error response in the reply buffer is to be sent to the source.
    Refused(Reason),
    /// A valid check; the success response in the reply buffer is to be sent to the source.
    Reply {
        /// The pair that this check has proven.
        pair: Pair,
        /// The pair was not known, or its consent had expired.
        newly_validated: bool,
        /// The pair that the peer has just selected, when that is another than before.
        nominated: Option<Pair>,
    },
}

/// Why a packet was ignored or refused; [`Reason::index`] is its counter's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No STUN message, or one whose lengths are wrong.
    Malformed,
    /// FINGERPRINT is missing or does not match.
    Fingerprint,
    /// An indication: keepalives need no answer.
    Indication,
    /// A response: we never send requests.
    Response,
    /// A request of another method than Binding.
    Method,
    /// USERNAME or MESSAGE-INTEGRITY is missing (400).
    BadRequest,
    /// The username is not one of this session (401).
    UnknownUser,
    /// MESSAGE-INTEGRITY does not match (401).
    BadIntegrity,
    /// An unknown comprehension-required attribute (420).
    UnknownAttribute,
    /// The peer believes itself to be controlled (487).
    RoleConflict,
    /// The response could not be written; not reached while the limits here hold.
    Internal,
}

impl Reason {
    /// Number of reasons, for a table of counters.
    pub const COUNT: usize = Self::Internal as usize + 1;

    /// Index of this reason's counter, below [`Reason::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable name, for metrics labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Fingerprint => "fingerprint",
            Self::Indication => "indication",
            Self::Response => "response",
            Self::Method => "method",
            Self::BadRequest => "bad_request",
            Self::UnknownUser => "unknown_user",
            Self::BadIntegrity => "bad_integrity",
            Self::UnknownAttribute => "unknown_attribute",
            Self::RoleConflict => "role_conflict",
            Self::Internal => "internal",
        }
    }

    const fn error_code(self) -> u16 {
        match self {
            Self::UnknownUser | Self::BadIntegrity => ErrorCode::UNAUTHORIZED,
            Self::UnknownAttribute => ErrorCode::UNKNOWN_ATTRIBUTE,
            Self::RoleConflict => ErrorCode::ROLE_CONFLICT,
            _ => ErrorCode::BAD_REQUEST,
        }
    }
}

/// How long an agent waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start to the first valid check. Default 15 s.
    pub connect: Duration,
    /// From the last valid check until the peer counts as gone (RFC 7675 §5.1). Default 30 s.
    pub consent: Duration,
    /// How long superseded credentials stay valid after a restart, and after each valid check made
    /// with them. Default 30 s.
    pub restart: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            consent: Duration::from_secs(30),
            restart: Duration::from_secs(30),
        }
    }
}

/// Local credentials with their key ready for use.
struct Keyed {
    credentials: Credentials,
    key: IntegrityKey,
}

impl Keyed {
    fn new(credentials: Credentials) -> Self {
        Self {
            key: credentials.key(),
            credentials,
        }
    }
}

struct Superseded {
    local: Keyed,
    until: Instant,
}

struct KnownPair {
    pair: Pair,
    last_seen: Instant,
}

/// The ICE-lite side of one transport.
pub struct Agent {
    local: Keyed,
    remote: Option<Credentials>,
    superseded: Vec<Superseded>,
    pairs: Vec<KnownPair>,
    selected: Option<Pair>,
    timeouts: Timeouts,
    started: Instant,
    last_seen: Option<Instant>,
}

impl Agent {
    /// Starts an agent that waits for its first check.
    ///
    /// The peer's credentials are kept for the caller; a lite agent sends no checks and so needs none.
    #[must_use]
    pub fn new(local: Credentials, remote: Option<Credentials>, now: Instant) -> Self {
        Self {
            local: Keyed::new(local),
            remote,
            superseded: Vec::new(),
            pairs: Vec::new(),
            selected: None,
            timeouts: Timeouts::default(),
            started: now,
            last_seen: None,
        }
    }

    /// Takes up a session that was connected before this process started: checks are answered at once,
    /// and the peer has a whole consent period to send one.
    #[must_use]
    pub fn resume(
        local: Credentials,
        remote: Option<Credentials>,
        selected: Pair,
        now: Instant,
    ) -> Self {
        let mut agent = Self::new(local, remote, now);
        agent.touch(selected, now);
        agent.selected = Some(selected);
        agent
    }

    /// Sets other than the default waiting times.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The waiting times.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Handles a STUN packet that came from `remote` to our address `local`.
    ///
    /// `reply` is overwritten; it holds the response to send to `remote` from `local` when the outcome is
    /// [`Outcome::Reply`] or [`Outcome::Refused`], and is empty when it is [`Outcome::Ignored`].
    pub fn handle(
        &mut self,
        now: Instant,
        packet: &[u8],
        remote: SocketAddr,
        local: SocketAddr,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        reply.clear();
        self.superseded.retain(|old| now < old.until);
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(reason) => return Outcome::Ignored(reason),
        };
        let (current, algorithm) = match self.authenticate(&request) {
            Ok(found) => found,
            Err(reason) => return refuse(&request, reason, None, reply),
        };
        let key = current.map_or(&self.local.key, |old| &self.superseded[old].local.key);
        let signature = (key, algorithm);
        // RFC 8489 §6.3.1 and RFC 8445 §7.3.1.1, in this order, and after authentication.
        if !request.unknown().is_empty() {
            return refuse(&request, Reason::UnknownAttribute, Some(signature), reply);
        }
        if request.controlled {
            return refuse(&request, Reason::RoleConflict, Some(signature), reply);
        }
        if response::success(&request, remote, signature, reply).is_err() {
            reply.clear();
            return Outcome::Ignored(Reason::Internal);
        }
        if let Some(old) = current {
            // The peer may have rolled its restart back and go on as before: as long as it does, and
            // nominates nothing with the new credentials, its session is healthy.
            self.superseded[old].until = now + self.timeouts.restart;
        }
        let pair = Pair { local, remote };
        let newly_validated = self.touch(pair, now);
        let nominated = if request.use_candidate {
            self.nominate(pair, current)
        } else {
            None
        };
        Outcome::Reply {
            pair,
            newly_validated,
            nominated,
        }
    }

    /// Finds the credentials of a request: `None` for the present ones, else an index of `superseded`.
    fn authenticate(
        &self,
        request: &Request<'_>,
    ) -> Result<(Option<usize>, IntegrityAlgorithm), Reason> {
        // RFC 8489 §9.1.3: what is missing is a bad request, what is wrong is unauthorized.
        let (ufrag, _) = request.username.ok_or(Reason::BadRequest)?;
        if !request.has_integrity() {
            return Err(Reason::BadRequest);
        }
        // RFC 8445 §7.3: a username is valid by its first half, which is ours.
        let (index, local) = if ufrag == self.local.credentials.ufrag() {
            (None, &self.local)
        } else {
            let is_match = |old: &Superseded| ufrag == old.local.credentials.ufrag();
            let index = self
                .superseded
                .iter()
                .position(is_match)
                .ok_or(Reason::UnknownUser)?;
            (Some(index), &self.superseded[index].local)
        };
        let algorithm = request.verify(&local.key).ok_or(Reason::BadIntegrity)?;
        Ok((index, algorithm))
    }

    /// The latest nomination wins, so that a peer whose address changed needs no restart.
    fn nominate(&mut self, pair: Pair, superseded: Option<usize>) -> Option<Pair> {
        if superseded.is_none() {
            // The restart, if there was one, is complete (RFC 8445 §9): what is still under way with the
            // old credentials must not bring the old pair back.
            self.superseded.clear();
        }
        (self.selected.replace(pair) != Some(pair)).then_some(pair)
    }

    /// Notes a valid check; gives true when the pair had no consent before it.
    fn touch(&mut self, pair: Pair, now: Instant) -> bool {
        self.last_seen = Some(now);
        if let Some(known) = self.pairs.iter_mut().find(|known| known.pair == pair) {
            let expired = now >= known.last_seen + self.timeouts.consent;
            known.last_seen = now;
            return expired;
        }
        if self.pairs.len() == MAX_PAIRS {
            let selected = self.selected;
            let others = self
                .pairs
                .iter()
                .enumerate()
                .filter(|(_, k)| Some(k.pair) != selected);
            if let Some((oldest, _)) = others.min_by_key(|(_, known)| known.last_seen) {
                self.pairs.swap_remove(oldest);
            }
        }
        self.pairs.push(KnownPair {
            pair,
            last_seen: now,
        });
        true
    }

    /// Restarts ICE (RFC 8445 §9): the new credentials are valid at once.
    ///
    /// The old ones stay valid until the peer nominates a pair with the new ones, or until no valid
    /// check has come with them for [`Timeouts::restart`]; the selected pair stays selected until then, so that media goes on.
    pub fn restart(&mut self, now: Instant, local: Credentials, remote: Option<Credentials>) {
        let old = std::mem::replace(&mut self.local, Keyed::new(local));
        self.superseded.insert(
            0,
            Superseded {
                local: old,
                until: now + self.timeouts.restart,
            },
        );
        self.superseded.truncate(MAX_SUPERSEDED);
        self.remote = remote;
    }

    /// True while superseded credentials are still answered.
    #[must_use]
    pub fn is_restarting(&self, now: Instant) -> bool {
        self.superseded.iter().any(|old| now < old.until)
    }

    /// Every local username fragment that is answered now, the present one first: the keys under which
    /// the caller routes unknown sources to this agent.
    pub fn ufrags(&self, now: Instant) -> impl Iterator<Item = &str> {
        let superseded = self.superseded.iter().filter(move |old| now < old.until);
        std::iter::once(&self.local)
            .chain(superseded.map(|old| &old.local))
            .map(Keyed::ufrag)
    }

    /// Our present credentials.
    #[must_use]
    pub fn local(&self) -> &Credentials {
        &self.local.credentials
    }

    /// The peer's present credentials, as the caller gave them.
    #[must_use]
    pub fn remote(&self) -> Option<&Credentials> {
        self.remote.as_ref()
    }

    /// The pair that the peer nominated last: where media goes.
    #[must_use]
    pub fn selected(&self) -> Option<Pair> {
        self.selected
    }

    /// True when a check on this pair was valid within the consent period; DTLS is answered on such pairs only.
    #[must_use]
    pub fn is_validated(&self, pair: Pair, now: Instant) -> bool {
        let fresh = |known: &KnownPair| now < known.last_seen + self.timeouts.consent;
        self.pairs
            .iter()
            .any(|known| known.pair == pair && fresh(known))
    }

    /// Takes in that authenticated media came over the selected pair: the peer is there.
    ///
    /// Some publishers (libnice) send no checks once a pair is nominated, only indications
    /// that prove nothing. Consent (RFC 7675) protects the one who is sent to; it need not be
    /// renewed to go on listening. Not for peers that are sent media.
    pub fn media_seen(&mut self, now: Instant) {
        let selected = self.selected;
        if let Some(known) = self
            .pairs
            .iter_mut()
            .find(|known| Some(known.pair) == selected)
        {
            known.last_seen = now;
            self.last_seen = Some(now);
        }
    }

    /// The pairs remembered, with the time of the last valid check of each.
    pub fn pairs(&self) -> impl Iterator<Item = (Pair, Instant)> {
        self.pairs.iter().map(|known| (known.pair, known.last_seen))
    }

    /// Time of the last valid check on any pair.
    #[must_use]
    pub fn last_seen(&self) -> Option<Instant> {
        self.last_seen
    }

    /// When the peer counts as gone if nothing more comes: the connect timeout before the first valid
    /// check, the consent timeout after it.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        match self.last_seen {
            None => self.started + self.timeouts.connect,
            Some(last_seen) => last_seen + self.timeouts.consent,
        }
    }

    /// True when [`Agent::expires_at`] has come.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        now >= self.expires_at()
    }
}

impl Keyed {
    fn ufrag(&self) -> &str {
        self.credentials.ufrag()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("local", &self.local.credentials)
            .field("pairs", &self.pairs.len())
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

/// Writes the error response for `reason`, unless it would amplify.
fn refuse(
    request: &Request<'_>,
    reason: Reason,
    signature: Option<response::Signature<'_>>,
    reply: &mut Vec<u8>,
) -> Outcome {
    let written = response::error(request, reason.error_code(), signature, reply);
    if written.is_ok() && !reply.is_empty() {
        Outcome::Refused(reason)
    } else {
        reply.clear();
        Outcome::Ignored(reason)
    }
}
