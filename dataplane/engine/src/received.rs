use crate::congestion::Ecn;
use std::net::{IpAddr, SocketAddr};

/// One datagram that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Where it came from, without scope.
    pub remote: SocketAddr,
    /// The address of ours that it was sent to.
    pub local: IpAddr,
    /// Its ECN bits (RFC 3168); not-ECT where nobody says.
    pub ecn: Ecn,
    /// Its payload.
    pub data: &'a [u8],
}
