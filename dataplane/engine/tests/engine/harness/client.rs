//! A publisher or viewer: what it sends, and what it got.

use super::publisher_id;
use ion_engine::Micros;
use ion_srtp::opener::rtcp_ssrc;
use ion_srtp::{Opener, RtcpRx, RxIndex, Sealer, SrtpError};
use ion_tables::*;
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter, RtpHeader, RtpView};
use ion_wire::{PacketKind, classify};
use std::collections::HashMap;
use std::net::SocketAddr;

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub header: RtpHeader,
    pub index: u64,
    pub payload: Vec<u8>,
    /// All of it, in plain.
    pub plain: Vec<u8>,
    /// Extensions, by the viewer's ids.
    pub extensions: Vec<(ExtensionKind, Vec<u8>)>,
    /// Byte by byte what had been received before.
    pub again: bool,
    pub at: Micros,
}

impl Got {
    pub fn extension(&self, kind: ExtensionKind) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, value)| &value[..])
    }
}

pub struct Client {
    pub address: SocketAddr,
    pub row: RowLink,
    pub worker: usize,
    pub map: ExtensionMap,
    sealer: Sealer,
    opener: Opener,
    rx: HashMap<u32, RxIndex>,
    rtcp_rx: HashMap<u32, RtcpRx>,
    seen: HashMap<(u32, u64), Vec<u8>>,
    rtcp_index: u32,
    pub rtp: Vec<Got>,
    /// Compounds, in order.
    pub rtcp: Vec<(Micros, Vec<u8>)>,
}

impl Client {
    pub fn new(
        address: SocketAddr,
        row: RowLink,
        worker: usize,
        map: ExtensionMap,
        sealer: Sealer,
        opener: Opener,
    ) -> Self {
        Self {
            address,
            row,
            worker,
            map,
            sealer,
            opener,
            rx: HashMap::new(),
            rtcp_rx: HashMap::new(),
            seen: HashMap::new(),
            rtcp_index: 0,
            rtp: Vec::new(),
            rtcp: Vec::new(),
        }
    }

    /// RTP got under an SSRC.
    pub fn of(&self, ssrc: u32) -> Vec<&Got> {
        self.rtp.iter().filter(|g| g.header.ssrc == ssrc).collect()
    }

    /// Seals an RTP packet as this client.
    pub fn seal(&mut self, spec: &Rtp) -> Vec<u8> {
        let (header_len, plain) = spec.plain();
        let mut buffer = vec![0; 2_048];
        buffer[..header_len].copy_from_slice(&plain[..header_len]);
        let payload = &plain[header_len..];
        let len = self
            .sealer
            .seal_rtp(header_len, spec.index, spec.ssrc, payload, &mut buffer)
            .unwrap();
        buffer.truncate(len);
        buffer
    }

    /// Seals an RTCP compound as this client.
    pub fn seal_rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 2_048];
        let index = self.rtcp_index;
        self.rtcp_index += 1;
        let len = self.sealer.seal_rtcp(index, compound, &mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    pub fn receive(&mut self, now: Micros, datagram: &[u8]) {
        let mut plain = vec![0; 2_048];
        if classify(datagram) == PacketKind::Rtcp {
            let ssrc = rtcp_ssrc(datagram).unwrap();
            let rx = self.rtcp_rx.entry(ssrc).or_default();
            let len = self.opener.open_rtcp(datagram, rx, &mut plain).unwrap();
            plain.truncate(len);
            ion_wire::rtcp::Compound::check(&plain).expect("well-formed compound");
            self.rtcp.push((now, plain));
            return;
        }
        let header = RtpHeader::parse(datagram).unwrap();
        let rx = self.rx.entry(header.ssrc).or_default();
        let index = rx.estimate(header.sequence).unwrap();
        let key = (header.ssrc, index);
        let header_len = usize::from(header.header_len);
        let mut again = false;
        let opened = self.opener.open_rtp(
            header_len,
            header.ssrc,
            header.sequence,
            datagram,
            rx,
            &mut plain,
        );
        let len = match opened {
            Ok(len) => len,
            // Behind the client's window, and new all the same: it came very late.
            Err(error @ (SrtpError::Replayed | SrtpError::TooOld)) => {
                let before = self.seen.get(&key).map(Vec::as_slice);
                again = before.is_some();
                assert!(
                    before == Some(datagram) || (!again && error == SrtpError::TooOld),
                    "index {index} of {} sealed for two contents",
                    header.ssrc
                );
                let mut fresh = RxIndex::restore(index.checked_sub(1));
                self.opener
                    .open_rtp(
                        header_len,
                        header.ssrc,
                        header.sequence,
                        datagram,
                        &mut fresh,
                        &mut plain,
                    )
                    .unwrap()
            }
            Err(error) => panic!("client cannot open what it was sent: {error}"),
        };
        self.seen.entry(key).or_insert_with(|| datagram.to_vec());
        let view = RtpView::parse(&plain[..len]).expect("well-formed RTP");
        let extensions = view
            .extensions()
            .map(|element| {
                let (id, value) = element.unwrap();
                let kind = self.map.kind(id).expect("only negotiated extensions");
                (kind, value.to_vec())
            })
            .collect();
        self.rtp.push(Got {
            header: *view.header(),
            index,
            payload: view.payload().to_vec(),
            plain: plain[..len].to_vec(),
            extensions,
            again,
            at: now,
        });
    }
}

/// An RTP packet to be sent by a client.
#[derive(Debug, Clone)]
pub struct Rtp {
    pub ssrc: u32,
    pub pt: u8,
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub padding: u8,
    pub extensions: Vec<(ExtensionKind, Vec<u8>)>,
}

impl Rtp {
    pub fn new(ssrc: u32, pt: u8, index: u64, timestamp: u32, payload: &[u8]) -> Self {
        Self {
            ssrc,
            pt,
            index,
            timestamp,
            marker: false,
            payload: payload.to_vec(),
            padding: 0,
            extensions: Vec::new(),
        }
    }

    /// The packet before it is sealed, and the length of its header.
    pub fn plain(&self) -> (usize, Vec<u8>) {
        let mut buffer = vec![0; 2_048];
        #[expect(clippy::cast_possible_truncation, reason = "low half")]
        let fields = HeaderFields {
            marker: self.marker,
            payload_type: self.pt,
            sequence: self.index as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let form = self
            .extensions
            .iter()
            .fold(ExtForm::OneByte, |form, (kind, value)| {
                form.and(ExtForm::fitting(publisher_id(*kind), value.len()))
            });
        let mut writer = HeaderWriter::new(&mut buffer, &fields, form).unwrap();
        for (kind, value) in &self.extensions {
            writer.push_extension(publisher_id(*kind), value).unwrap();
        }
        let header_len = writer.finish();
        buffer.truncate(header_len);
        buffer.extend(&self.payload);
        if self.padding > 0 {
            buffer[0] |= 0x20;
            buffer.resize(buffer.len() + usize::from(self.padding) - 1, 0);
            buffer.push(self.padding);
        }
        (header_len, buffer)
    }

    pub fn with(mut self, kind: ExtensionKind, value: &[u8]) -> Self {
        self.extensions.push((kind, value.to_vec()));
        self
    }

    pub fn padded(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }
}

/// A VP8 payload: one packet of a picture.
pub fn vp8(keyframe: bool, tag: u64) -> Vec<u8> {
    let mut payload = vec![0x10, u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a];
    payload.extend(tag.to_be_bytes());
    payload
}

/// Payload types at publishers and viewers.
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;
pub const OPUS: u8 = 111;
pub const RED: u8 = 63;
pub const FEC: u8 = 49;
pub const V_VP8: u8 = 120;
pub const V_RTX: u8 = 121;
pub const V_OPUS: u8 = 109;
pub const V_RED: u8 = 110;
pub const V_FEC: u8 = 122;

/// A NACK of a viewer.
pub fn nack(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    let mut buffer = vec![0; 1_400];
    let len = ion_wire::rtcp::build::nack(&mut buffer, 7, ssrc, sequences).unwrap();
    buffer.truncate(len);
    buffer
}

/// A PLI of a viewer.
pub fn pli(ssrc: u32) -> Vec<u8> {
    let mut buffer = vec![0; 64];
    let len = ion_wire::rtcp::build::pli(&mut buffer, 7, ssrc).unwrap();
    buffer.truncate(len);
    buffer
}
