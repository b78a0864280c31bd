//! Handshakes with another implementation, over an in-memory pipe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use boring::hash::MessageDigest;
use dtls::config::{ClientAuthType, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile as TheirProfile;
use ion_dtls::{
    Config, Connected, DtlsEvent, DtlsSession, DtlsVersion, Endpoint, Fingerprint, HashAlgorithm,
    Identity, SrtpProfile,
};
use webrtc_util::KeyingMaterialExporter;
use webrtc_util::conn::Conn;
use webrtc_util::conn::conn_pipe::pipe;

/// Runs our side until it is connected and the other side is done with `messages` of data.
async fn drive(
    mut session: Box<dyn DtlsSession>,
    wire: impl Conn,
    messages: usize,
) -> (Connected, Vec<Vec<u8>>) {
    let mut buffer = vec![0; 2048];
    let mut connected = None;
    let mut data = Vec::new();
    loop {
        while let Some(datagram) = session.poll_datagram() {
            wire.send(&datagram).await.unwrap();
        }
        while let Some(event) = session.poll_event() {
            match event {
                DtlsEvent::Connected(event) => connected = Some(*event),
                DtlsEvent::ApplicationData(received) => {
                    session.send(Instant::now(), &received).unwrap();
                    data.push(received);
                }
                other => panic!("{other:?}"),
            }
        }
        while let Some(datagram) = session.poll_datagram() {
            wire.send(&datagram).await.unwrap();
        }
        if data.len() == messages
            && let Some(connected) = connected.take()
        {
            return (connected, data);
        }
        let pause = session.next_timeout().map_or(Duration::from_secs(1), |at| {
            at.saturating_duration_since(Instant::now())
        });
        match tokio::time::timeout(pause, wire.recv(&mut buffer)).await {
            Ok(len) => session.handle_datagram(Instant::now(), &buffer[..len.unwrap()]),
            Err(_) => session.handle_timeout(Instant::now()),
        }
    }
}

async fn handshake(they_are_client: bool, profiles: Vec<TheirProfile>, expected: SrtpProfile) {
    // Built together with the load generator, rustls has two providers and wants to be told;
    // the other test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = Certificate::generate_self_signed(vec!["peer".to_owned()]).unwrap();
    let hash = boring::hash::hash(MessageDigest::sha256(), &certificate.certificate[0]).unwrap();
    let theirs = Fingerprint::new(HashAlgorithm::Sha256, &hash).unwrap();
    let config = dtls::config::Config {
        certificates: vec![certificate],
        srtp_protection_profiles: profiles,
        client_auth: ClientAuthType::RequireAnyClientCert,
        extended_master_secret: ExtendedMasterSecretType::Require,
        insecure_skip_verify: true,
        ..Default::default()
    };
    let ours = Endpoint::new(Identity::generate().unwrap(), Config::default()).unwrap();
    let session = if they_are_client {
        ours.accept(Instant::now(), &[theirs]).unwrap()
    } else {
        ours.connect(Instant::now(), &[theirs]).unwrap()
    };
    let (near, far) = pipe();
    let peer = tokio::spawn(async move {
        let far: Arc<dyn Conn + Send + Sync> = Arc::new(far);
        let conn = DTLSConn::new(far, config, they_are_client, None)
            .await
            .unwrap();
        conn.write(b"over DTLS", None).await.unwrap();
        let mut echo = vec![0; 100];
        let len = conn.read(&mut echo, None).await.unwrap();
        assert_eq!(&echo[..len], b"over DTLS");
        let len = 2 * (expected.key_len() + expected.salt_len());
        let state = conn.connection_state().await;
        let keys = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], len)
            .await
            .unwrap();
        (keys, conn.selected_srtpprotection_profile() as u16)
    });
    let (connected, data) = drive(Box::new(session), near, 1).await;
    let (keys, profile) = peer.await.unwrap();
    assert_eq!(data, [b"over DTLS".to_vec()]);
    assert_eq!(connected.version, DtlsVersion::V1_2);
    assert_eq!(connected.profile, expected);
    assert_eq!(profile, expected.id());
    assert_eq!(connected.keying_material.as_bytes(), keys);
}

#[tokio::test]
async fn another_client_with_our_server() {
    let offer = vec![
        TheirProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        TheirProfile::Srtp_Aead_Aes_128_Gcm,
    ];
    handshake(true, offer, SrtpProfile::AeadAes128Gcm).await;
    let offer = vec![TheirProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
    handshake(true, offer, SrtpProfile::Aes128CmSha1_80).await;
}

#[tokio::test]
async fn our_client_with_another_server() {
    let profiles = vec![TheirProfile::Srtp_Aead_Aes_128_Gcm];
    handshake(false, profiles, SrtpProfile::AeadAes128Gcm).await;
}
