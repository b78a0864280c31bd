use crate::cipher::Cipher;
use crate::kdf::SessionKeys;
use crate::opener::{roc_bytes, rtcp_aad, rtcp_ssrc};
use crate::{
    MasterKey, Profile, RTCP_CLEAR_LEN, RTCP_E_BIT, RTCP_INDEX_LEN, RTP_HEADER_LEN, SrtpError,
};

/// Encrypts and authenticates what is sent to one peer over one transport.
pub struct Sealer {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Number of RTP indices: 32 bits of rollover counter, 16 of sequence number.
const RTP_INDICES: u64 = 1 << 48;

impl Sealer {
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

    /// Seals `payload`, which lies elsewhere and is shared by many viewers, behind the header that
    /// `out[..header_len]` already holds. Returns the length of the SRTP packet in `out`.
    ///
    /// `index` is the rollover counter and sequence number of the header, `ssrc` its SSRC. The same pair must
    /// never be used for another packet.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] (no RTP header), [`SrtpError::BufferTooSmall`],
    /// [`SrtpError::IndexExhausted`]. `out` is unchanged then.
    #[inline]
    pub fn seal_rtp(
        &mut self,
        header_len: usize,
        index: u64,
        ssrc: u32,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let plain_len = header_len
            .checked_add(payload.len())
            .ok_or(SrtpError::BufferTooSmall)?;
        let (sealed, tag) = self.prepare_rtp(header_len, plain_len, index, out)?;
        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let (header, ciphertext) = sealed.split_at_mut(header_len);
                gcm.seal(ssrc, index, header, payload, ciphertext, tag);
            }
            Cipher::Cm(cm) => {
                let (_, ciphertext) = sealed.split_at_mut(header_len);
                ciphertext.copy_from_slice(payload);
                cm.apply(ssrc, index, ciphertext);
                tag.copy_from_slice(&cm.tag(sealed, &roc_bytes(index)));
            }
        }
        Ok(plain_len + self.profile.rtp_overhead())
    }

    /// Seals the RTP packet that `buf[..plain_len]` holds, header and payload, in its place. Returns the
    /// length of the SRTP packet. For RTX and small packets, whose payload is the viewer's own.
    ///
    /// # Errors
    /// As [`Self::seal_rtp`]; [`SrtpError::TooShort`] also where `plain_len` is less than `header_len`.
    #[inline]
    pub fn seal_rtp_in_place(
        &mut self,
        header_len: usize,
        plain_len: usize,
        index: u64,
        ssrc: u32,
        buf: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let (sealed, tag) = self.prepare_rtp(header_len, plain_len, index, buf)?;
        let (header, payload) = sealed.split_at_mut(header_len);
        match &self.rtp {
            Cipher::Gcm(gcm) => gcm.seal_in_place(ssrc, index, header, payload, tag),
            Cipher::Cm(cm) => {
                cm.apply(ssrc, index, payload);
                tag.copy_from_slice(&cm.tag(sealed, &roc_bytes(index)));
            }
        }
        Ok(plain_len + self.profile.rtp_overhead())
    }

    /// Checks what both ways of sealing need and cuts `buf` into packet and tag.
    fn prepare_rtp<'a>(
        &self,
        header_len: usize,
        plain_len: usize,
        index: u64,
        buf: &'a mut [u8],
    ) -> Result<(&'a mut [u8], &'a mut [u8]), SrtpError> {
        if header_len < RTP_HEADER_LEN || plain_len < header_len {
            return Err(SrtpError::TooShort);
        }
        if index >= RTP_INDICES {
            return Err(SrtpError::IndexExhausted);
        }
        let (sealed, rest) = buf
            .split_at_mut_checked(plain_len)
            .ok_or(SrtpError::BufferTooSmall)?;
        let tag = rest
            .get_mut(..self.profile.tag_len())
            .ok_or(SrtpError::BufferTooSmall)?;
        Ok((sealed, tag))
    }

    /// Seals a compound RTCP packet into `out` and returns the length of the SRTCP packet. `index` counts
    /// the packets of its sender SSRC under this key and must never be used twice.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] (fewer than 8 bytes), [`SrtpError::BufferTooSmall`],
    /// [`SrtpError::IndexExhausted`] (2^31 or more). `out` is unchanged then.
    #[inline]
    pub fn seal_rtcp(
        &mut self,
        index: u32,
        packet: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        if packet.len() < RTCP_CLEAR_LEN {
            return Err(SrtpError::TooShort);
        }
        if index & RTCP_E_BIT != 0 {
            return Err(SrtpError::IndexExhausted);
        }
        let ssrc = rtcp_ssrc(packet).ok_or(SrtpError::TooShort)?;
        let word = index | RTCP_E_BIT;
        let len = packet.len() + self.profile.rtcp_overhead();
        let out = out.get_mut(..len).ok_or(SrtpError::BufferTooSmall)?;
        let (sealed, trailer) = out.split_at_mut(packet.len());
        let (header, plaintext) = packet.split_at(RTCP_CLEAR_LEN);
        let (out_header, ciphertext) = sealed.split_at_mut(RTCP_CLEAR_LEN);
        out_header.copy_from_slice(header);
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let (tag, index_bytes) = trailer.split_at_mut(self.profile.tag_len());
                let aad = rtcp_aad(header, word);
                gcm.seal(ssrc, u64::from(index), &aad, plaintext, ciphertext, tag);
                index_bytes.copy_from_slice(&word.to_be_bytes());
            }
            Cipher::Cm(cm) => {
                let (index_bytes, tag) = trailer.split_at_mut(RTCP_INDEX_LEN);
                index_bytes.copy_from_slice(&word.to_be_bytes());
                ciphertext.copy_from_slice(plaintext);
                cm.apply(ssrc, u64::from(index), ciphertext);
                tag.copy_from_slice(&cm.tag(sealed, index_bytes));
            }
        }
        Ok(len)
    }
}
