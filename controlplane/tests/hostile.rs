//! What bad input gets: an answer or a counter, and nobody else notices.

mod common;

use common::client::{Answered, Client, OfferOf, PLAY, PUBLISH};
use common::{Folder, Plane, Server, config, publish_request, wait};
use ion_api::backend::{Backend, Sources};
use ion_api::model::{Role, SessionState};
use ion_api::names::RoomName;
use ion_dtls::{DtlsVersion, SrtpProfile};
use ion_tables::{Subscription, Transport};
use std::time::Duration;

/// A server with one publisher that must not notice anything.
struct Quiet {
    folder: Folder,
    plane: Plane,
    server: Server,
    bystander: Client,
    to: Answered,
}

async fn quiet() -> Quiet {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let mut config = config(&folder.0);
    config.ice.connect = Duration::from_secs(2);
    config.dtls.handshake_timeout = Duration::from_secs(2);
    config.dtls.srtp_profiles = vec![SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm];
    let server = Server::try_start(config).await.unwrap();
    let mut bystander = Client::new().await;
    let created = server
        .publish("quiet", "ann", bystander.offer(&PUBLISH))
        .await
        .unwrap();
    let to = Answered::new("quiet", Role::Publisher, &created);
    bystander.connect(&to).await;
    let state = ("ann".to_owned(), SessionState::Connected);
    wait("the bystander", async || {
        server.states("quiet").await.contains(&state)
    })
    .await;
    Quiet {
        folder,
        plane,
        server,
        bystander,
        to,
    }
}

impl Quiet {
    /// The bystander is answered, and its rows are the only ones.
    async fn is_quiet(&self) {
        assert!(
            self.bystander.ping(&self.to, false).await,
            "the bystander is not answered"
        );
        assert_eq!(
            self.plane.tables.live::<Transport>().count(),
            1,
            "rows are left over"
        );
        assert_eq!(self.plane.tables.live::<Subscription>().count(), 0);
    }

    async fn ended(&self, cause: &str) {
        let line = format!("ion_sessions_ended_total{{cause=\"{cause}\"}}");
        self.server.wait_metric(&line, 1).await;
        let ended = self
            .server
            .handle
            .ended(RoomName::parse("r").unwrap())
            .await;
        assert_eq!(ended.last().unwrap().cause, cause);
        assert!(!ended.last().unwrap().detail.is_empty());
    }

    async fn failed(&self, cause: &str) {
        self.ended(cause).await;
        let line = format!("ion_handshake_failures_total{{cause=\"{cause}\"}}");
        assert_eq!(self.server.metric(&line).await, 1);
        self.is_quiet().await;
    }

    async fn publish(&self, client: &Client, offer: String) -> Answered {
        let created = self.server.publish("r", "eve", offer).await.unwrap();
        let to = Answered::new("r", Role::Publisher, &created);
        assert!(client.ping(&to, true).await);
        to
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_the_announced_one() {
    let quiet = quiet().await;
    let mut client = Client::new().await;
    client.fingerprint = client.fingerprint.replace('A', "B").replace('1', "2");
    let to = quiet.publish(&client, client.offer(&PUBLISH)).await;
    let _ = client.try_handshake(&to).await;
    quiet.failed("dtls_fingerprint_mismatch").await;
}

#[tokio::test]
async fn no_srtp_profile_in_common() {
    let quiet = quiet().await;
    for max_version in [DtlsVersion::V1_2, DtlsVersion::V1_3] {
        let mut client = Client::with(ion_dtls::Config {
            srtp_profiles: vec![SrtpProfile::Aes128CmSha1_80],
            max_version,
            ..ion_dtls::Config::default()
        })
        .await;
        let to = quiet.publish(&client, client.offer(&PUBLISH)).await;
        assert!(client.try_handshake(&to).await.is_none());
        wait("its end", async || {
            quiet.plane.tables.live::<Transport>().count() == 1
        })
        .await;
    }
    let line = "ion_sessions_ended_total{cause=\"dtls_no_srtp_profile\"}";
    assert_eq!(quiet.server.metric(line).await, 2);
    let ended = quiet
        .server
        .handle
        .ended(RoomName::parse("r").unwrap())
        .await;
    assert_eq!(
        ended[0].detail,
        "DTLS: no SRTP protection profile in common"
    );
    quiet.is_quiet().await;
}

#[tokio::test]
async fn a_peer_that_never_checks_and_one_that_never_shakes_hands() {
    let quiet = quiet().await;
    let client = Client::new().await;
    quiet
        .server
        .publish("r", "mute", client.offer(&PUBLISH))
        .await
        .unwrap();
    quiet.failed("ice_timeout").await;
    let client = Client::new().await;
    let to = quiet.publish(&client, client.offer(&PUBLISH)).await;
    // Garbage of all kinds, from a pair that ICE has validated.
    for first in [20_u8, 21, 22, 23, 25, 40, 63] {
        let mut garbage = vec![first; 200];
        client.send(&to, &garbage).await;
        garbage[1..13].copy_from_slice(&[254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 187]);
        client.send(&to, &garbage).await;
    }
    assert!(client.ping(&to, false).await, "still there");
    quiet.failed("dtls_timeout").await;
}

#[tokio::test]
async fn datagrams_of_strangers() {
    let quiet = quiet().await;
    let stranger = Client::new().await;
    let mut to = quiet.to.clone();
    let dropped = |reason: &str| format!("ion_control_dropped_total{{reason=\"{reason}\"}}");
    // DTLS from nowhere.
    stranger.send(&to, &[22; 300]).await;
    quiet
        .server
        .wait_metric(&dropped("unvalidated_dtls"), 1)
        .await;
    // RTP, and nothing at all; the dataplane keeps such from us, but who knows.
    stranger.send(&to, &[0x80; 100]).await;
    stranger.send(&to, &[]).await;
    quiet.server.wait_metric(&dropped("not_for_us"), 2).await;
    // STUN for nobody.
    to.ufrag = "nobody".to_owned();
    stranger.send(&to, &stranger.check(&to, true, 1)).await;
    quiet.server.wait_metric(&dropped("unknown_user"), 1).await;
    // STUN for somebody, with a wrong password: an error, no longer than the request.
    to = quiet.to.clone();
    to.pwd = "wrongpasswordwrongpassword".to_owned();
    let request = stranger.check(&to, true, 2);
    stranger.send(&to, &request).await;
    quiet
        .server
        .wait_metric("ion_stun_ignored_total{reason=\"bad_integrity\"}", 1)
        .await;
    let reply = stranger
        .receive_within(Duration::from_millis(300))
        .await
        .unwrap_or_default();
    assert!(reply.len() <= request.len(), "amplified");
    // And it has not become the place where media goes.
    let (_, row) = quiet.plane.tables.live::<Transport>().next().unwrap();
    assert_eq!(
        row.remote.socket_addr(),
        quiet.bystander.socket.local_addr().ok()
    );
    stranger
        .send(&to, &[vec![0, 1], vec![0xff; 3_000]].concat())
        .await;
    quiet.server.wait_metric(&dropped("too_long"), 1).await;
    quiet.is_quiet().await;
}

#[tokio::test]
async fn offers_that_cannot_be_served() {
    let quiet = quiet().await;
    let client = Client::new().await;
    let good = client.offer(&PUBLISH);
    let cases = [
        ("garbage", 400, "this is no SDP".to_owned()),
        ("a recvonly publisher", 422, client.offer(&PLAY)),
        ("unknown codecs", 422, good.replace("VP8", "THEORA")),
        (
            "no fingerprint",
            422,
            good.replace("a=fingerprint", "a=finger"),
        ),
        (
            "no credentials",
            422,
            good.replace("a=ice-ufrag", "a=ice-frag"),
        ),
        (
            "an impossible fingerprint",
            400,
            good.replace("sha-256 ", "sha-256 G"),
        ),
        (
            "10,000 m-lines",
            422,
            good.clone() + &"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(10_000),
        ),
        (
            "10,000 candidates",
            422,
            good.clone() + &"a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(10_000),
        ),
        ("a megabyte", 422, good.clone() + &"a=x\r\n".repeat(200_000)),
    ];
    for (what, status, offer) in cases {
        let refused = quiet.server.publish("r", "eve", offer).await.unwrap_err();
        assert_eq!(
            refused.status.as_u16(),
            status,
            "{what}: {}",
            refused.detail
        );
        assert!(!refused.detail.is_empty(), "{what}");
    }
    let refused = quiet
        .server
        .play("quiet", "eve", good.clone())
        .await
        .unwrap_err();
    assert_eq!(refused.status.as_u16(), 422, "a sendonly player");
    let mut request = publish_request("r", "eve", good);
    request.sources = Sources {
        video: false,
        audio: true,
    };
    let refused = quiet.server.handle.publish(request).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 403);
    assert_eq!(
        quiet
            .server
            .metric("ion_sessions_created_total{kind=\"publisher\"}")
            .await,
        1
    );
    quiet.is_quiet().await;
}

#[tokio::test]
async fn a_full_table_refuses_and_gives_back_what_it_took() {
    let quiet = quiet().await;
    let (client, tables) = (Client::new().await, &quiet.plane.tables);
    // Eight tracks, twelve encodings: four publishers of two. Each has an own identity.
    let mut sessions = Vec::new();
    for n in 0..3 {
        let who = format!("p{n}");
        let created = quiet
            .server
            .publish("r", &who, client.offer(&PUBLISH))
            .await
            .unwrap();
        sessions.push(Answered::new("r", Role::Publisher, &created).session);
    }
    for _ in 0..3 {
        let full = quiet
            .server
            .publish("r", "more", client.offer(&PUBLISH))
            .await
            .unwrap_err();
        assert_eq!(
            (full.status.as_u16(), full.retry_after_s.is_some()),
            (503, true)
        );
        assert!(full.detail.contains("track"), "{}", full.detail);
    }
    assert_eq!(
        quiet
            .server
            .metric("ion_requests_refused_total{reason=\"track\"}")
            .await,
        3
    );
    assert_eq!(
        tables.live::<Transport>().count(),
        4,
        "a refused one left its transport"
    );
    // Six viewers' sections fill the subscriptions.
    for n in 0..6 {
        let who = format!("v{n}");
        let created = quiet
            .server
            .play("quiet", &who, client.offer(&PLAY))
            .await
            .unwrap();
        sessions.push(Answered::new("quiet", Role::Viewer, &common::answer(created)).session);
    }
    let full = quiet
        .server
        .play("quiet", "more", client.offer(&PLAY))
        .await
        .unwrap_err();
    assert_eq!(full.status.as_u16(), 503);
    assert_eq!(tables.live::<Transport>().count(), 10);
    for session in &sessions {
        quiet.server.end(session).await.unwrap();
    }
    quiet.is_quiet().await;
    for table in ["transport", "track", "encoding", "subscription"] {
        let used = quiet
            .server
            .metric(&format!("ion_rows_used{{table=\"{table}\"}}"))
            .await;
        assert_eq!(
            used,
            match table {
                "transport" => 1,
                "subscription" => 0,
                _ => 2,
            },
            "{table}"
        );
    }
    // And all of it can be had again.
    let offer = OfferOf {
        ssrc: 77,
        ..PUBLISH
    };
    quiet
        .server
        .publish("r", "again", client.offer(&offer))
        .await
        .unwrap();
    drop(quiet.folder);
}

#[tokio::test]
async fn a_publisher_that_retries_leaves_one_attempt_behind() {
    let quiet = quiet().await;
    let client = Client::new().await;
    for _ in 0..20 {
        quiet
            .server
            .publish("r", "eve", client.offer(&PUBLISH))
            .await
            .unwrap();
    }
    assert_eq!(quiet.plane.tables.live::<Transport>().count(), 2);
    assert_eq!(
        quiet
            .server
            .metric("ion_sessions_ended_total{cause=\"replaced\"}")
            .await,
        19
    );
    let ended = quiet
        .server
        .handle
        .ended(RoomName::parse("r").unwrap())
        .await;
    assert!(ended.len() <= 16, "the list is bounded");
}
