use crate::cipher::Cipher;
use crate::kdf::SessionKeys;
use crate::{
    MasterKey, Profile, RTCP_CLEAR_LEN, RTCP_E_BIT, RTCP_INDEX_LEN, RTP_HEADER_LEN, RtcpRx,
    RxIndex, SrtpError,
};

/// Verifies and decrypts what one peer sends over one transport.
pub struct Opener {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// Derives the session keys. Allocates; everything after does not.
    #[must_use]
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self::from_session_keys(
            profile,
            &SessionKeys::rtp(profile, master),
            &SessionKeys::rtcp(profile, master),
        )
    }

    pub(crate) fn from_session_keys(
        profile: Profile,
        rtp: &SessionKeys,
        rtcp: &SessionKeys,
    ) -> Self {
        Self {
            profile,
            rtp: Cipher::new(profile, rtp),
            rtcp: Cipher::new(profile, rtcp),
        }
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Opens an SRTP packet into `out` and returns the length of the RTP packet there: its header,
    /// unchanged, and the payload, padding included.
    ///
    /// `header_len`, `ssrc` and `sequence` are those of the packet's header, `rx` is the state of that
    /// SSRC. It changes only if the packet is authentic. On an error `out` holds nothing of meaning.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`], [`SrtpError::BufferTooSmall`], [`SrtpError::TooOld`],
    /// [`SrtpError::Replayed`], [`SrtpError::AuthFailed`], [`SrtpError::IndexExhausted`].
    #[inline]
    pub fn open_rtp(
        &mut self,
        header_len: usize,
        ssrc: u32,
        sequence: u16,
        packet: &[u8],
        rx: &mut RxIndex,
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let plain_len = packet
            .len()
            .checked_sub(self.profile.tag_len())
            .ok_or(SrtpError::TooShort)?;
        if header_len < RTP_HEADER_LEN || header_len > plain_len {
            return Err(SrtpError::TooShort);
        }
        let out = out.get_mut(..plain_len).ok_or(SrtpError::BufferTooSmall)?;
        let index = rx.estimate(sequence)?;
        rx.check(index)?;

        let (sealed, tag) = packet.split_at(plain_len);
        let (header, ciphertext) = sealed.split_at(header_len);
        let (out_header, plaintext) = out.split_at_mut(header_len);
        match &self.rtp {
            Cipher::Gcm(gcm) => gcm.open(ssrc, index, header, ciphertext, tag, plaintext)?,
            Cipher::Cm(cm) => {
                cm.verify(sealed, &roc_bytes(index), tag)?;
                plaintext.copy_from_slice(ciphertext);
                cm.apply(ssrc, index, plaintext);
            }
        }
        out_header.copy_from_slice(header);
        rx.accept(index);
        Ok(plain_len)
    }

    /// Opens an SRTCP packet into `out` and returns the length of the compound RTCP packet there.
    ///
    /// `rx` is the state of the SSRC that the packet's first header names ([`rtcp_ssrc`]). It changes only
    /// if the packet is authentic. On an error `out` holds nothing of meaning.
    ///
    /// # Errors
    /// [`SrtpError::NotEncrypted`]: the E bit is clear. RFC 3711 and RFC 7714 allow it, WebRTC does not
    /// need it. Else as [`Self::open_rtp`].
    #[inline]
    pub fn open_rtcp(
        &mut self,
        packet: &[u8],
        rx: &mut RtcpRx,
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let plain_len = packet
            .len()
            .checked_sub(self.profile.rtcp_overhead())
            .ok_or(SrtpError::TooShort)?;
        if plain_len < RTCP_CLEAR_LEN {
            return Err(SrtpError::TooShort);
        }
        let ssrc = rtcp_ssrc(packet).ok_or(SrtpError::TooShort)?;
        let out = out.get_mut(..plain_len).ok_or(SrtpError::BufferTooSmall)?;
        let (sealed, trailer) = packet.split_at(plain_len);
        let (header, ciphertext) = sealed.split_at(RTCP_CLEAR_LEN);
        let (out_header, plaintext) = out.split_at_mut(RTCP_CLEAR_LEN);
        // AES-CM ends in index word and tag (RFC 3711 §3.4), AES-GCM in tag and index word (RFC 7714 §9.2).
        let (index_bytes, tag) = match &self.rtcp {
            Cipher::Cm(_) => trailer.split_at(RTCP_INDEX_LEN),
            Cipher::Gcm(_) => {
                let (tag, index_bytes) = trailer.split_at(self.profile.tag_len());
                (index_bytes, tag)
            }
        };
        let word = index_bytes
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes));
        let word = word.ok_or(SrtpError::TooShort)?;
        if word & RTCP_E_BIT == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        let index = word & !RTCP_E_BIT;
        rx.check(index)?;
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let aad = rtcp_aad(header, word);
                gcm.open(ssrc, u64::from(index), &aad, ciphertext, tag, plaintext)?;
            }
            Cipher::Cm(cm) => {
                cm.verify(sealed, index_bytes, tag)?;
                plaintext.copy_from_slice(ciphertext);
                cm.apply(ssrc, u64::from(index), plaintext);
            }
        }
        out_header.copy_from_slice(header);
        rx.accept(index);
        Ok(plain_len)
    }
}

/// The sender SSRC of an RTCP or SRTCP packet, which is in clear; `None` where there are fewer than 8 bytes.
#[must_use]
pub fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    packet
        .get(4..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// Rollover counter of an index, as the HMAC takes it.
pub(crate) fn roc_bytes(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

/// Additional authenticated data of an encrypted SRTCP packet: the clear 8 bytes and the index word
/// (RFC 7714 §9.2).
pub(crate) fn rtcp_aad(header: &[u8], word: u32) -> [u8; RTCP_CLEAR_LEN + RTCP_INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + RTCP_INDEX_LEN];
    for (target, byte) in aad.iter_mut().zip(header.iter().chain(&word.to_be_bytes())) {
        *target = *byte;
    }
    aad
}
