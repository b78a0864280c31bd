//! A participant as the SDK is one: a WebSocket of foreign code, and the client's ICE and DTLS.

use super::Server;
use super::client::{Answered, Client};
use super::world::channels_are_open;
use futures_util::{SinkExt, StreamExt};
use ion_api::accounts::Accounts;
use ion_api::auth::Auth;
use ion_api::names::SessionId;
use ion_api::server::ServerConfig;
use ion_api::signal::client::{ClientMessage, Join, Offer, Request, Resume, TrackOffer};
use ion_api::signal::model::{PublicationInfo, Source};
use ion_api::signal::server::{Answer, Event, Joined, OfferAnswer, Problem, ServerMessage};
use ion_api::signal::{PROTOCOL, PublicationId};
use ion_api::token::Keys;
use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier as Ppi, StreamEvent,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Serves HTTP for a core, as `--dev` does.
pub(crate) async fn serve(server: &Server) -> SocketAddr {
    serve_with(server, |_| {}).await
}

pub(crate) async fn serve_with(
    server: &Server,
    change: impl FnOnce(&mut ion_api::Config),
) -> SocketAddr {
    let accounts = Arc::new(Accounts::ephemeral(Keys::default()).unwrap());
    let config = ion_api::Config::new(Auth {
        accounts,
        dev: true,
    });
    let mut config = config.unwrap();
    change(&mut config);
    let router = ion_api::router(Arc::clone(&server.handle), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let never = std::future::pending();
    tokio::spawn(ion_api::server::serve(
        listener,
        router,
        ServerConfig::default(),
        never,
    ));
    address
}

/// A section of an offer.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) kind: &'static str,
    pub(crate) direction: &'static str,
    pub(crate) ssrc: u32,
}

pub(crate) struct Sdk {
    pub(crate) client: Client,
    pub(crate) joined: Joined,
    pub(crate) peer: String,
    pub(crate) sections: Vec<Section>,
    pub(crate) tracks: BTreeMap<String, TrackOffer>,
    pub(crate) subscriptions: BTreeMap<String, PublicationId>,
    pub(crate) seq: u64,
    pub(crate) events: VecDeque<Event>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u32,
}

impl Sdk {
    pub(crate) async fn join(http: SocketAddr, room: &str, who: &str) -> Self {
        let join = Join {
            room: Some(room.to_owned()),
            identity: Some(who.to_owned()),
            ..Join::default()
        };
        Self::enter(http, join).await
    }

    pub(crate) async fn enter(http: SocketAddr, join: Join) -> Self {
        let mut socket = knock(http, join).await;
        let joined = match hear(&mut socket).await {
            Some(ServerMessage::Answer {
                id: 1,
                answer: Answer::Joined(joined),
            }) => *joined,
            other => panic!("{other:?}"),
        };
        Self {
            client: Client::new().await,
            joined,
            peer: "pc1".to_owned(),
            sections: Vec::new(),
            tracks: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            seq: 0,
            events: VecDeque::new(),
            socket,
            next_id: 2,
        }
    }

    /// Drops the socket without a word, and goes on over another.
    pub(crate) async fn resume(&mut self, http: SocketAddr) -> Result<u64, Problem> {
        let url = format!("ws://{http}/v1/signal");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        self.socket = socket;
        let resume = Resume {
            session: self.joined.session.clone(),
            seq: self.seq,
        };
        match self.ask(Request::Resume(resume)).await? {
            Answer::Resumed(resumed) => Ok(resumed.next_seq),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Result<Answer, Problem> {
        let id = self.next_id;
        self.next_id += 1;
        say(&mut self.socket, id, request).await;
        loop {
            match hear(&mut self.socket).await.expect("the socket is closed") {
                ServerMessage::Answer { id: to, answer } if to == id => {
                    return match answer {
                        Answer::Error(problem) => Err(problem),
                        answer => Ok(answer),
                    };
                }
                ServerMessage::Event { seq, event } => self.take(seq, event),
                other => panic!("{other:?}"),
            }
        }
    }

    fn take(&mut self, seq: u64, event: Event) {
        let is_anew = matches!(event, Event::Room(_));
        assert!(seq == self.seq + 1 || is_anew, "{} after {}", seq, self.seq);
        self.seq = seq;
        self.events.push_back(event);
    }

    /// The next event of a kind; others are passed over.
    pub(crate) async fn event<T>(&mut self, mut is_it: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(found) = is_it(&event) {
                    return found;
                }
            }
            match hear(&mut self.socket).await.expect("the socket is closed") {
                ServerMessage::Event { seq, event } => self.take(seq, event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the server says of the subscriptions next.
    pub(crate) async fn subscriptions(&mut self) -> Vec<PublicationId> {
        self.event(|event| match event {
            Event::Subscriptions(s) => {
                Some(s.subscriptions.iter().map(|s| s.publication).collect())
            }
            _ => None,
        })
        .await
    }

    /// Adds a section that sends.
    pub(crate) fn send(&mut self, kind: &'static str, cid: &str) {
        let mid = self.sections.len();
        self.sections.push(Section {
            kind,
            direction: "sendonly",
            ssrc: 1_000 + 10 * u32::try_from(mid).unwrap(),
        });
        let track = TrackOffer {
            cid: cid.to_owned(),
            source: match kind {
                "audio" => Source::Microphone,
                _ => Source::Camera,
            },
            ..TrackOffer::default()
        };
        self.tracks.insert(mid.to_string(), track);
    }

    /// Adds a section that receives.
    pub(crate) fn receive(&mut self, kind: &'static str, id: PublicationId) {
        let mid = self.sections.len();
        self.sections.push(Section {
            kind,
            direction: "recvonly",
            ssrc: 0,
        });
        self.subscriptions.insert(mid.to_string(), id);
    }

    /// Adds a section for data channels.
    pub(crate) fn data(&mut self) {
        self.sections.push(Section {
            kind: "application",
            direction: "sendrecv",
            ssrc: 0,
        });
    }

    fn sdp(&self) -> String {
        let mids: Vec<String> = (0..self.sections.len())
            .map(|mid| mid.to_string())
            .collect();
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
            mids.join(" ")
        );
        for (mid, section) in self.sections.iter().enumerate() {
            sdp += &self.section(mid, section);
        }
        sdp
    }

    fn section(&self, mid: usize, section: &Section) -> String {
        let Client {
            ufrag,
            pwd,
            fingerprint,
            ..
        } = &self.client;
        let Section {
            kind,
            direction,
            ssrc,
        } = section;
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=fingerprint:{fingerprint}\r\na=setup:actpass\r\n"
        );
        if *kind == "application" {
            return format!(
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{transport}\
                 a=sctp-port:5000\r\na=max-message-size:262144\r\n"
            );
        }
        let (pts, codecs) = match *kind {
            "audio" => ("111", "a=rtpmap:111 opus/48000/2\r\n"),
            _ => (
                "96 97",
                "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
                 a=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
            ),
        };
        let mut text = format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pts}\r\n{transport}a={direction}\r\na=rtcp-mux\r\n\
             a=rtcp-rsize\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
             {codecs}"
        );
        if *ssrc != 0 {
            text += &format!("a=ssrc:{ssrc} cname:c\r\n");
        }
        text
    }

    pub(crate) async fn offer(&mut self) -> Result<OfferAnswer, Problem> {
        let offer = Offer {
            peer: self.peer.clone(),
            sdp: self.sdp(),
            tracks: self.tracks.clone(),
            subscriptions: self.subscriptions.clone(),
        };
        match self.ask(Request::Offer(offer)).await? {
            Answer::Answer(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// Where the answer says to connect to.
    pub(crate) fn to(answer: &OfferAnswer) -> Answered {
        let created = ion_api::backend::Created {
            session: SessionId::random().unwrap(),
            sdp: answer.sdp.clone(),
            etag: String::new(),
            ice_servers: Vec::new(),
        };
        Answered::new("r", ion_api::model::Role::Participant, &created)
    }

    /// Offers, and connects what is agreed.
    pub(crate) async fn connect(&mut self) -> (Answered, Vec<PublicationInfo>) {
        let answer = self.offer().await.unwrap();
        let to = Self::to(&answer);
        self.client.connect(&to).await;
        (to, answer.publications.into_values().collect())
    }

    /// True once the server has closed the socket.
    pub(crate) async fn is_closed(&mut self) -> bool {
        while let Some(message) = hear(&mut self.socket).await {
            if let ServerMessage::Event { seq, event } = message {
                self.take(seq, event);
            }
        }
        true
    }
}

/// SCTP on the client's DTLS, with channels opened by hand (RFC 8832).
pub(crate) struct Channels {
    endpoint: Endpoint,
    association: Association,
    pub(crate) received: Vec<Vec<u8>>,
}

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);

impl Channels {
    pub(crate) fn new() -> Self {
        let mut config = EndpointConfig::new();
        config.max_payload_size(1_100);
        let mut endpoint = Endpoint::new(Arc::new(config), None);
        let (_, association) = endpoint.connect(ClientConfig::new(), PEER).unwrap();
        Self {
            endpoint,
            association,
            received: Vec::new(),
        }
    }

    /// With a reliable channel, which the server has taken.
    pub(crate) async fn opened(sdk: &mut Sdk, to: &Answered) -> Self {
        let mut channels = Self::new();
        channels.turns(&mut sdk.client, to, 4).await;
        channels.open(0, "reliable");
        channels.turns(&mut sdk.client, to, 4).await;
        sdk.event(|event| channels_are_open(event).filter(|is_open| *is_open))
            .await;
        channels
    }

    pub(crate) fn open(&mut self, id: u16, label: &str) {
        let length = u8::try_from(label.len()).unwrap();
        let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0];
        open.extend(label.as_bytes());
        let mut stream = self.association.open_stream(id, Ppi::Binary).unwrap();
        stream.write_with_ppi(&open, Ppi::Dcep).unwrap();
    }

    pub(crate) fn send(&mut self, id: u16, message: &[u8]) {
        self.association
            .stream(id)
            .unwrap()
            .write_with_ppi(message, Ppi::Binary)
            .unwrap();
    }

    /// Lets packets go to and fro so many times.
    pub(crate) async fn turns(&mut self, client: &mut Client, to: &Answered, count: u32) {
        let mut turns = 0;
        let until = |_: &mut Self| {
            turns += 1;
            turns == count
        };
        self.exchange(client, to, until).await;
    }

    /// Lets packets go to and fro until something is true.
    pub(crate) async fn exchange(
        &mut self,
        client: &mut Client,
        to: &Answered,
        mut until: impl FnMut(&mut Self) -> bool,
    ) {
        for _ in 0..200 {
            let mut out = Vec::new();
            while let Some(transmit) = self.association.poll_transmit(Instant::now()) {
                if let Payload::RawEncode(packets) = transmit.payload {
                    out.extend(packets.iter().map(|packet| packet.to_vec()));
                }
            }
            for packet in client.exchange(to, &out).await {
                let now = Instant::now();
                if let Some((_, DatagramEvent::AssociationEvent(event))) =
                    self.endpoint.handle(now, PEER, None, None, packet.into())
                {
                    self.association.handle_event(event);
                }
            }
            while let Some(event) = self.association.poll() {
                if let sctp_proto::Event::Stream(StreamEvent::Readable { id }) = event {
                    let mut stream = self.association.stream(id).unwrap();
                    while let Ok(Some(chunks)) = stream.read_sctp() {
                        let mut bytes = vec![0; chunks.len()];
                        chunks.read(&mut bytes).unwrap();
                        if chunks.ppi == Ppi::Binary {
                            self.received.push(bytes);
                        }
                    }
                }
            }
            if until(self) {
                return;
            }
        }
        panic!("waited in vain");
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A socket that has asked to be let in.
async fn knock(http: SocketAddr, join: Join) -> Socket {
    let join = Join {
        protocol: PROTOCOL,
        ..join
    };
    let url = format!("ws://{http}/v1/signal");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    say(&mut socket, 1, Request::Join(join)).await;
    socket
}

/// Asks to be let in; what is said to that, `None` if the socket is closed instead.
pub(crate) async fn asks_in_vain(http: SocketAddr, join: Join) -> Option<ServerMessage> {
    hear(&mut knock(http, join).await).await
}

async fn say(socket: &mut Socket, id: u32, request: Request) {
    let id = Some(id);
    let text = serde_json::to_string(&ClientMessage { id, request }).unwrap();
    socket.send(Message::Text(text.into())).await.unwrap();
}

/// The next message; `None` when the socket is closed.
async fn hear(socket: &mut Socket) -> Option<ServerMessage> {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), socket.next());
        match next.await.expect("nothing was said") {
            Some(Ok(Message::Text(text))) => {
                let parsed = serde_json::from_str(&text);
                return Some(parsed.unwrap_or_else(|error| panic!("{error}: {text}")));
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}
