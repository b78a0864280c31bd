//! What a worker counts of everything together.

use crate::DropReason;
use crate::counters::Counter;

/// Counters of one worker.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct WorkerCounters {
    /// Datagrams received.
    pub packets_received: Counter,
    /// UDP payload bytes of those.
    pub bytes_received: Counter,
    /// Datagrams sent.
    pub packets_sent: Counter,
    /// UDP payload bytes of those.
    pub bytes_sent: Counter,
    /// Sends handed to the kernel (a GSO send of ten datagrams counts once).
    pub sends: Counter,
    /// System calls made by the worker's loop.
    pub syscalls: Counter,
    /// Receive batches.
    pub batches: Counter,
    /// Packets given to other workers.
    pub packets_crossed_out: Counter,
    /// Packets taken from other workers.
    pub packets_crossed_in: Counter,
    /// Datagrams that arrived here and belong to another worker.
    pub handed_over: Counter,
    /// Whole scans of the tables.
    pub rescans: Counter,
    /// Rows seen torn and left alone.
    pub rows_torn: Counter,
    /// Buffers of packet memory in use.
    pub buffers_used: Counter,
    /// Buffers of packet memory in all.
    pub buffers_total: Counter,
    /// The worker's time of the last loop, microseconds of the dataplane's clock.
    pub heartbeat_us: Counter,
    /// Datagrams received through AF_XDP rings; part of `packets_received`.
    pub ring_received: Counter,
    /// Datagrams sent through AF_XDP rings; part of `packets_sent`.
    pub ring_sent: Counter,
    /// System calls that told the kernel of frames in a TX ring.
    pub ring_kicks: Counter,
    /// Datagrams dropped because the TX ring was full; part of the drops.
    pub ring_full: Counter,
    /// AF_XDP: 0 is not in use, 1 in use, 2 the link is down, 3 lost and not back yet.
    pub ring_state: Counter,
    /// Frames of the UMEM that are on their way: arrived and not given back, or being sent.
    pub ring_frames: Counter,
    /// Packets that the kernel dropped for lack of room in RX or fill rings; looked at each second.
    pub ring_dropped: Counter,
    /// Sequence numbers that viewers asked for again.
    pub nacks_received: Counter,
    /// Retransmissions sent to viewers.
    pub retransmitted_sent: Counter,
    /// Sequence numbers that publishers were asked for again.
    pub nacks_sent: Counter,
    /// Retransmissions of publishers that filled a gap.
    pub retransmitted_received: Counter,
    /// Keyframes that publishers were asked for.
    pub keyframes_asked: Counter,
    /// Changes of what viewers are sent: of encoding, and of layer inside one.
    pub layer_switches: Counter,
    /// Gaps between pictures sent that a viewer must have seen as freezes.
    pub freezes: Counter,
    /// UDP payload bytes sent to find out what networks carry.
    pub probe_bytes: Counter,
    /// Packets received with a congestion mark (RFC 3168).
    pub congestion_marks_received: Counter,
    /// Packets sent that arrived with such a mark, as clients report.
    pub congestion_marks: Counter,
    /// Of the retransmissions to viewers, those that arrived, as the viewers say.
    pub retransmitted_arrived: Counter,
    /// Repair packets (FlexFEC) made for viewers.
    pub fec_packets_sent: Counter,
    /// Of those, the ones that arrived, as the viewers say.
    pub fec_packets_arrived: Counter,
    /// Zero.
    pub reserved: [Counter; 13],
    /// By [`DropReason`].
    pub drops: [Counter; DropReason::SLOTS],
}

impl WorkerCounters {
    /// Counts `n` packets dropped.
    pub fn drop_packets(&self, reason: DropReason, n: u64) {
        self.drops[reason as usize].add(n);
    }
}

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<WorkerCounters>() == 640);
};
