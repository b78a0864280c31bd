//! A client: offers, connectivity checks, a DTLS handshake.

use ion_api::backend::{Created, SessionRef};
use ion_api::model::Role;
use ion_dtls::{Connected, DtlsEvent, DtlsSession, Endpoint, Fingerprint, Identity};
use ion_sdp::SessionDescription;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stun::agent::TransactionId;
use stun::attributes::*;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::*;
use tokio::net::UdpSocket;

/// What an offer says.
#[derive(Clone)]
pub(crate) struct OfferOf {
    pub(crate) direction: &'static str,
    pub(crate) video: &'static str,
    pub(crate) setup: &'static str,
    pub(crate) ssrc: u32,
}

pub(crate) const PUBLISH: OfferOf = OfferOf {
    direction: "sendonly",
    video: "VP8",
    setup: "actpass",
    ssrc: 1000,
};
pub(crate) const PLAY: OfferOf = OfferOf {
    direction: "recvonly",
    video: "VP8",
    setup: "actpass",
    ssrc: 0,
};

pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    pub(crate) endpoint: Endpoint,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprint: String,
    session: Option<ion_dtls::Session>,
}

/// What a client learned from an answer.
#[derive(Clone)]
pub(crate) struct Answered {
    pub(crate) session: SessionRef,
    pub(crate) etag: String,
    pub(crate) sdp: SessionDescription,
    pub(crate) remote: SocketAddr,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Answered {
    pub(crate) fn new(room: &str, role: Role, created: &Created) -> Self {
        let sdp = SessionDescription::parse(created.sdp.as_bytes()).unwrap();
        let media = sdp
            .media
            .iter()
            .find(|media| !media.candidates.is_empty())
            .unwrap();
        let remote = media
            .candidates
            .iter()
            .filter_map(ion_sdp::Candidate::socket_addr);
        Self {
            session: super::session_ref(room, role, &created.session),
            etag: created.etag.clone(),
            remote: remote.clone().find(SocketAddr::is_ipv4).unwrap(),
            ufrag: media.ice_ufrag.clone().unwrap(),
            pwd: media.ice_pwd.clone().unwrap(),
            sdp,
        }
    }
}

impl Client {
    pub(crate) async fn new() -> Self {
        Self::with(ion_dtls::Config::default()).await
    }

    pub(crate) async fn with(config: ion_dtls::Config) -> Self {
        let endpoint = Endpoint::new(Identity::generate().unwrap(), config).unwrap();
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            ufrag: "clientufrag".to_owned(),
            pwd: "clientpasswordclientpassword".to_owned(),
            fingerprint: endpoint.fingerprint().to_string(),
            endpoint,
            session: None,
        }
    }

    /// An offer of Opus and one video codec, the latter with RTX.
    pub(crate) fn offer(&self, of: &OfferOf) -> String {
        let mut sdp = String::from(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n",
        );
        for (mid, kind) in [(0, "audio"), (1, "video")] {
            sdp += &self.section(of, mid, kind);
        }
        sdp
    }

    /// The same without the audio section.
    pub(crate) fn video_offer(&self, of: &OfferOf) -> String {
        let offer = self.offer(of).replace("BUNDLE 0 1", "BUNDLE 1");
        let (head, rest) = offer.split_once("m=audio").unwrap();
        format!("{head}m=video{}", rest.split_once("m=video").unwrap().1)
    }

    fn section(&self, of: &OfferOf, mid: u32, kind: &str) -> String {
        let Self {
            ufrag,
            pwd,
            fingerprint,
            ..
        } = self;
        let OfferOf {
            direction,
            video,
            setup,
            ssrc,
        } = of;
        let (pts, codecs) = match kind {
            "audio" => ("111", "a=rtpmap:111 opus/48000/2\r\n".to_owned()),
            _ => (
                "96 97",
                format!(
                    "a=rtpmap:96 {video}/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
                     a=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
                ),
            ),
        };
        let mut section = format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pts}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n\
             a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n{codecs}"
        );
        if *ssrc != 0 {
            let first = ssrc + mid * 10;
            section += &format!("a=ssrc:{first} cname:c\r\n");
            if kind == "video" {
                let second = first + 1;
                section +=
                    &format!("a=ssrc:{second} cname:c\r\na=ssrc-group:FID {first} {second}\r\n");
            }
        }
        section
    }

    /// A connectivity check.
    pub(crate) fn check(&self, to: &Answered, nominate: bool, transaction: u8) -> Vec<u8> {
        let mut m = Message::new();
        m.transaction_id = TransactionId([transaction; 12]);
        m.typ = BINDING_REQUEST;
        m.write_header();
        m.add(
            ATTR_USERNAME,
            format!("{}:{}", to.ufrag, self.ufrag).as_bytes(),
        );
        m.add(ATTR_ICE_CONTROLLING, &[9; 8]);
        m.add(ATTR_PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]);
        if nominate {
            m.add(ATTR_USE_CANDIDATE, &[]);
        }
        MessageIntegrity::new_short_term_integrity(to.pwd.clone())
            .add_to(&mut m)
            .unwrap();
        FINGERPRINT.add_to(&mut m).unwrap();
        m.raw
    }

    pub(crate) async fn send(&self, to: &Answered, bytes: &[u8]) {
        self.socket.send_to(bytes, to.remote).await.unwrap();
    }

    /// The next datagram, or nothing for as long as answers take at most.
    pub(crate) async fn receive(&self) -> Option<Vec<u8>> {
        self.receive_within(Duration::from_secs(5)).await
    }

    pub(crate) async fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        let (len, _) = tokio::time::timeout(time, self.socket.recv_from(&mut buffer))
            .await
            .ok()?
            .unwrap();
        buffer.truncate(len);
        Some(buffer)
    }

    /// The next STUN message; what DTLS has left in the socket is passed over.
    pub(crate) async fn receive_stun(&self) -> Vec<u8> {
        loop {
            let datagram = self.receive().await.expect("no answer");
            if datagram[0] <= 3 {
                return datagram;
            }
        }
    }

    /// Checks until an answer comes; true if it is a success.
    pub(crate) async fn ping(&self, to: &Answered, nominate: bool) -> bool {
        self.send(to, &self.check(to, nominate, 7)).await;
        while let Some(datagram) = self.receive().await {
            if datagram[0] <= 3 {
                let mut m = Message::new();
                m.unmarshal_binary(&datagram).unwrap();
                if m.typ == BINDING_SUCCESS {
                    MessageIntegrity::new_short_term_integrity(to.pwd.clone())
                        .check(&mut m)
                        .unwrap();
                    return true;
                }
                return false;
            }
        }
        false
    }

    /// ICE and DTLS, as client or as server by what the answer says.
    pub(crate) async fn connect(&mut self, to: &Answered) -> Connected {
        assert!(
            self.ping(to, true).await,
            "no answer to a connectivity check"
        );
        self.handshake(to).await
    }

    pub(crate) async fn handshake(&mut self, to: &Answered) -> Connected {
        self.try_handshake(to).await.expect("the handshake fails")
    }

    pub(crate) async fn try_handshake(&mut self, to: &Answered) -> Option<Connected> {
        let media = to
            .sdp
            .media
            .iter()
            .find(|media| !media.fingerprints.is_empty())
            .unwrap();
        let expected: Fingerprint = media.fingerprints[0].to_string().parse().unwrap();
        let now = Instant::now();
        let session = match media.setup {
            Some(ion_sdp::Setup::Active) => self.endpoint.accept(now, &[expected]),
            _ => self.endpoint.connect(now, &[expected]),
        };
        self.session = Some(session.unwrap());
        let mut connected = None;
        for _ in 0..100 {
            self.flush(to).await;
            while let Some(event) = self.session.as_mut().unwrap().poll_event() {
                match event {
                    DtlsEvent::Connected(event) => connected = Some(*event),
                    DtlsEvent::Failed(_) | DtlsEvent::Closed(_) => return None,
                    DtlsEvent::ApplicationData(_) => {}
                }
            }
            self.flush(to).await;
            if connected.is_some() {
                return connected;
            }
            match self.receive_within(Duration::from_millis(500)).await {
                Some(datagram) if datagram[0] >= 20 => {
                    self.session
                        .as_mut()
                        .unwrap()
                        .handle_datagram(Instant::now(), &datagram);
                }
                Some(_) => {}
                None => self
                    .session
                    .as_mut()
                    .unwrap()
                    .handle_timeout(Instant::now()),
            }
        }
        None
    }

    async fn flush(&mut self, to: &Answered) {
        while let Some(datagram) = self.session.as_mut().unwrap().poll_datagram() {
            self.send(to, &datagram).await;
        }
    }

    /// Sends application data over DTLS, and takes what comes for a moment.
    pub(crate) async fn exchange(&mut self, to: &Answered, out: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let session = self.session.as_mut().unwrap();
        for packet in out {
            session.send(Instant::now(), packet).unwrap();
        }
        self.flush(to).await;
        let mut received = Vec::new();
        while let Some(datagram) = self.receive_within(Duration::from_millis(20)).await {
            let session = self.session.as_mut().unwrap();
            if datagram[0] >= 20 {
                session.handle_datagram(Instant::now(), &datagram);
            }
            while let Some(event) = session.poll_event() {
                if let DtlsEvent::ApplicationData(data) = event {
                    received.push(data);
                }
            }
        }
        received
    }

    /// True once the server has closed DTLS.
    pub(crate) async fn is_closed(&mut self) -> bool {
        while let Some(datagram) = self.receive().await {
            let session = self.session.as_mut().unwrap();
            session.handle_datagram(Instant::now(), &datagram);
            while let Some(event) = session.poll_event() {
                if matches!(event, DtlsEvent::Closed(_)) {
                    return true;
                }
            }
        }
        false
    }

    /// Closes DTLS in good order.
    pub(crate) async fn close(&mut self, to: &Answered) {
        self.session.as_mut().unwrap().close(Instant::now());
        self.flush(to).await;
    }
}
