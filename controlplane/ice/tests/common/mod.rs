//! Connectivity checks built, and responses read, by another implementation of STUN.

#![allow(dead_code, reason = "every test file uses another part")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ion_ice::{Agent, Credentials, Outcome, Pair, Reason};
use stun::agent::TransactionId;
use stun::attributes::*;
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::*;
use stun::xoraddr::XorMappedAddress;

pub(crate) const PWD: &str = "localpasswordlocalpassword";

pub(crate) fn credentials(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, PWD).unwrap()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A request as a browser sends it, with room for what a test needs.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) username: Option<String>,
    pub(crate) pwd: Option<String>,
    pub(crate) nominate: bool,
    pub(crate) typ: MessageType,
    pub(crate) extra: Vec<(u16, Vec<u8>)>,
    pub(crate) behind_integrity: Vec<(u16, Vec<u8>)>,
    pub(crate) is_plain: bool,
}

impl Check {
    pub(crate) fn to(ufrag: &str) -> Self {
        Self {
            username: Some(format!("{ufrag}:remote")),
            pwd: Some(PWD.to_owned()),
            nominate: false,
            typ: BINDING_REQUEST,
            extra: Vec::new(),
            behind_integrity: Vec::new(),
            is_plain: false,
        }
    }

    pub(crate) fn nominating(mut self) -> Self {
        self.nominate = true;
        self
    }

    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.extra.push((kind, value.to_vec()));
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut m = Message::new();
        m.transaction_id = TransactionId([7; 12]);
        m.typ = self.typ;
        m.write_header();
        if let Some(username) = &self.username {
            m.add(ATTR_USERNAME, username.as_bytes());
        }
        if !self.is_plain {
            m.add(AttrType(0xc057), &[0, 1, 0, 10]);
            m.add(ATTR_ICE_CONTROLLING, &[9; 8]);
            m.add(ATTR_PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]);
        }
        if self.nominate {
            m.add(ATTR_USE_CANDIDATE, &[]);
        }
        for (kind, value) in &self.extra {
            m.add(AttrType(*kind), value);
        }
        if let Some(pwd) = &self.pwd {
            MessageIntegrity::new_short_term_integrity(pwd.clone())
                .add_to(&mut m)
                .unwrap();
        }
        for (kind, value) in &self.behind_integrity {
            m.add(AttrType(*kind), value);
        }
        FINGERPRINT.add_to(&mut m).unwrap();
        m.raw
    }
}

/// An agent with one peer, and where time stands.
pub(crate) struct Bench {
    pub(crate) agent: Agent,
    pub(crate) now: Instant,
    pub(crate) reply: Vec<u8>,
    pub(crate) pair: Pair,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let pair = Pair {
            local: addr("192.0.2.1:7882"),
            remote: addr("198.51.100.7:40000"),
        };
        Self::with(Agent::new(credentials("local123"), None, now), now, pair)
    }

    pub(crate) fn with(agent: Agent, now: Instant, pair: Pair) -> Self {
        Self {
            agent,
            now,
            reply: vec![0xee; 3],
            pair,
        }
    }

    pub(crate) fn handle(&mut self, packet: &[u8]) -> Outcome {
        let Pair { local, remote } = self.pair;
        self.agent
            .handle(self.now, packet, remote, local, &mut self.reply)
    }

    /// Handles a check that comes from another port of the peer.
    pub(crate) fn handle_from(&mut self, port: u16, check: &Check) -> Outcome {
        self.pair.remote.set_port(port);
        self.handle(&check.build())
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn response(&self) -> Message {
        let mut m = Message::new();
        m.unmarshal_binary(&self.reply).unwrap();
        FINGERPRINT.check(&m).unwrap();
        assert_eq!(m.transaction_id, TransactionId([7; 12]));
        m
    }

    /// The address in a success response that is signed with `pwd`.
    pub(crate) fn mapped_address(&self) -> SocketAddr {
        let mut m = self.response();
        assert_eq!(m.typ, BINDING_SUCCESS);
        MessageIntegrity::new_short_term_integrity(PWD.to_owned())
            .check(&mut m)
            .unwrap();
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&m).unwrap();
        SocketAddr::new(mapped.ip, mapped.port)
    }

    /// The code of an error response, and whether it is signed.
    pub(crate) fn error(&self) -> (u16, bool) {
        let mut m = self.response();
        assert_eq!(m.typ, BINDING_ERROR);
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&m).unwrap();
        let key = MessageIntegrity::new_short_term_integrity(PWD.to_owned());
        (code.code.0, key.check(&mut m).is_ok())
    }

    pub(crate) fn assert_refused(&mut self, packet: &[u8], reason: Reason, error: (u16, bool)) {
        assert_eq!(self.handle(packet), Outcome::Refused(reason));
        assert_eq!(self.error(), error);
        assert!(
            self.reply.len() <= packet.len(),
            "{} > {}",
            self.reply.len(),
            packet.len()
        );
    }

    pub(crate) fn assert_ignored(&mut self, packet: &[u8], reason: Reason) {
        assert_eq!(self.handle(packet), Outcome::Ignored(reason));
        assert!(self.reply.is_empty());
    }
}
