//! Test vectors of RFC 3711 (appendix B), RFC 6188 (section 7) and RFC 7714 (sections 16 and 17).

use zeroize::Zeroizing;

use crate::cipher::{apply_keystream, ctr_key};
use crate::kdf::{Label, SessionKeys, derive};
use crate::{MasterKey, Opener, Profile, RtcpRx, RxIndex, Sealer};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}

/// RFC 3711 appendix B.2: the AES-CM key stream under a given session key and salt.
#[test]
fn rfc_3711_counter_mode_key_stream() {
    let key = ctr_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C"));
    let mut block = [0; 16];
    block[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    let mut stream = vec![0; 0xff02 * 16];
    apply_keystream(&key, block, &mut stream);
    for (at, want) in [
        (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
        (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
        (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ] {
        assert_eq!(stream[at * 16..][..16], hex(want), "block {at:#x}");
    }
}

fn master() -> MasterKey {
    MasterKey::from_slices(
        Profile::Aes128CmSha1_80,
        &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &hex("0EC675AD498AFEEBB6960B3AABE6"),
    )
    .unwrap()
}

/// RFC 3711 appendix B.3: session key, salt and authentication key.
#[test]
fn rfc_3711_key_derivation() {
    let keys = SessionKeys::rtp(Profile::Aes128CmSha1_80, &master());
    assert_eq!(keys.key[..16], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(keys.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        keys.auth[..],
        hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

/// RFC 6188 §7.3: key derivation under a master key of 256 bits.
#[test]
fn rfc_6188_key_derivation() {
    let key = ctr_key(&hex(
        "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6",
    ));
    let salt = hex("3b04803de51ee7c96423ab5b78d2");
    for (label, want) in [
        (
            Label::RtpEncryption,
            "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4",
        ),
        (Label::RtpSalt, "fa31791685ca444a9e07c6c64e93"),
        (
            Label::RtpAuthentication,
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        ),
    ] {
        let want = hex(want);
        let mut out = vec![0; want.len()];
        derive(&key, &salt, label, &mut out);
        assert_eq!(out, want);
    }
}

/// A packet under the master key of appendix B.3, as other implementations test themselves with.
#[test]
fn counter_mode_packet() {
    let plain = [&hex("800f1234decafbadcafebabe")[..], &[0xab; 16]].concat();
    let sealed = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402
                      b78d6acc99ea179b8dbb");
    check_rtp(
        &mut Sealer::new(Profile::Aes128CmSha1_80, &master()),
        &mut Opener::new(Profile::Aes128CmSha1_80, &master()),
        &plain,
        &sealed,
    );
}

/// Both ways of sealing, and opening.
fn check_rtp(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8], sealed: &[u8]) {
    let sequence = u16::from_be_bytes([plain[2], plain[3]]);
    let ssrc = u32::from_be_bytes(plain[8..12].try_into().unwrap());
    let mut out = [0; 256];
    out[..12].copy_from_slice(&plain[..12]);
    let len = sealer
        .seal_rtp(12, sequence.into(), ssrc, &plain[12..], &mut out)
        .unwrap();
    assert_eq!(out[..len], *sealed);
    out[..plain.len()].copy_from_slice(plain);
    let len = sealer
        .seal_rtp_in_place(12, plain.len(), sequence.into(), ssrc, &mut out)
        .unwrap();
    assert_eq!(out[..len], *sealed);
    let mut rx = RxIndex::new();
    let len = opener
        .open_rtp(12, ssrc, sequence, sealed, &mut rx, &mut out)
        .unwrap();
    assert_eq!(out[..len], *plain);
    assert_eq!(rx.highest(), Some(sequence.into()));
}

/// The session key 00 01 02 … and the salt "Quid pro quo" of all vectors of RFC 7714.
fn session_keys() -> SessionKeys {
    let mut key = Zeroizing::new([0; 32]);
    for (byte, value) in key.iter_mut().zip(0..) {
        *byte = value;
    }
    let mut salt = Zeroizing::new([0; 14]);
    salt[..12].copy_from_slice(b"Quid pro quo");
    SessionKeys {
        key,
        auth: Zeroizing::new([0; 20]),
        salt,
    }
}

/// RFC 7714 §16.1 and §16.2.
#[test]
fn rfc_7714_srtp() {
    let plain = [
        &hex("8040f17b 8041f8d3 5501a0b2")[..],
        b"Gallia est omnis divisa in partes tres",
    ]
    .concat();
    for (profile, sealed) in [
        (
            Profile::AeadAes128Gcm,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
             42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Profile::AeadAes256Gcm,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
             b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ] {
        let keys = session_keys();
        check_rtp(
            &mut Sealer::from_session_keys(profile, &keys, &keys),
            &mut Opener::from_session_keys(profile, &keys, &keys),
            &plain,
            &hex(sealed),
        );
    }
}

/// RFC 7714 §17.1 and §17.2.
#[test]
fn rfc_7714_srtcp() {
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    for (profile, sealed) in [
        (
            Profile::AeadAes128Gcm,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1
             730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            Profile::AeadAes256Gcm,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1
             110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let sealed = hex(sealed);
        let keys = session_keys();
        let mut out = [0; 256];
        let mut sealer = Sealer::from_session_keys(profile, &keys, &keys);
        let len = sealer.seal_rtcp(0x5d4, &plain, &mut out).unwrap();
        assert_eq!(out[..len], sealed);
        let mut opener = Opener::from_session_keys(profile, &keys, &keys);
        let mut rx = RtcpRx::new();
        let len = opener.open_rtcp(&sealed, &mut rx, &mut out).unwrap();
        assert_eq!(out[..len], plain);
        assert_eq!(rx.highest(), Some(0x5d4));
    }
}
