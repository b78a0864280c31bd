use crate::output::Output;
use crate::peer::PeerMessage;
use crate::time::Micros;
use ion_tables::WorkerTables;
use std::net::{IpAddr, SocketAddr};

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Packets of packet memory at most (1.6 KiB each).
    pub packets: usize,
    /// NTP time, 32.32, at [`Micros`] zero.
    pub ntp_zero: u64,
    /// How long packets are kept for retransmission, microseconds.
    pub history_us: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            packets: 65_536,
            ntp_zero: 0,
            history_us: 1_000_000,
        }
    }
}

/// The forwarding engine of one worker.
pub struct Engine {
    tables: WorkerTables,
    config: EngineConfig,
}

impl Engine {
    /// An engine that knows no rows yet. The first [`configure`](Self::configure)
    /// reads all that are live, so that a restarted worker goes on.
    pub fn new(config: EngineConfig, tables: WorkerTables) -> Self {
        Self { tables, config }
    }

    /// Takes in what the control plane announced. Allocates; call it when the
    /// command ring is not empty, between batches.
    pub fn configure(&mut self, now: Micros) {
        let _ = (now, &self.config);
        while self.tables.commands().take().is_some() {}
    }

    /// One received datagram: SRTP or SRTCP as it came from the socket.
    pub fn ingest<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        remote: SocketAddr,
        local: IpAddr,
        datagram: &[u8],
        out: &mut O,
    ) {
        let _ = (now, remote, local, datagram, out);
    }

    /// One message of another worker.
    pub fn ingest_peer<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        message: PeerMessage,
        out: &mut O,
    ) {
        let _ = (now, message, out);
    }

    /// The end of a batch of datagrams and messages: fans out what came. After this
    /// the owner sends what is in the batch.
    pub fn flush<O: Output<Message = PeerMessage>>(&mut self, now: Micros, out: &mut O) {
        let _ = (now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due, if ever.
    pub fn next_timeout(&self) -> Option<Micros> {
        None
    }

    /// Does what is due: feedback, reports, requests again. Followed by sending the batch.
    pub fn handle_timeout<O: Output<Message = PeerMessage>>(&mut self, now: Micros, out: &mut O) {
        let _ = (now, out);
    }
}
