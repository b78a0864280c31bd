//! Handshakes between two sessions of ours.

mod common;

use common::{VERSIONS, Wire, config, endpoint};
use ion_dtls::{DtlsSession, SrtpProfile};

#[test]
fn both_versions_agree_on_keys_and_carry_data() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let mut wire = Wire::new(&client, &server);
        wire.run();
        wire.assert_connected();
        assert_eq!(wire.server.connected().version, version);
        assert_eq!(wire.server.connected().profile, SrtpProfile::AeadAes128Gcm);
        assert_eq!(
            &wire.server.connected().peer_fingerprint,
            client.fingerprint()
        );
        assert!(wire.longest <= 1200, "{}", wire.longest);

        wire.client.session.send(wire.now, b"hello").unwrap();
        wire.server.session.send(wire.now, &[7; 1200]).unwrap();
        wire.run();
        assert_eq!(wire.server.seen.data, [b"hello".to_vec()]);
        assert_eq!(wire.client.seen.data, [vec![7; 1200]]);

        wire.server.session.close(wire.now);
        wire.run();
        assert!(wire.server.seen.closed && wire.client.seen.closed);
        assert!(!wire.client.session.is_connected());
    }
}
