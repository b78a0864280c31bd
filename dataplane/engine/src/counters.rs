use ion_tables::{Counter, EncodingCounters, SubscriptionCounters, TransportCounters};

/// Counters of a row that begin anew with every life of it.
pub(crate) trait Renew {
    /// The life that is counted for.
    fn generation(&self) -> &Counter;
    /// All others.
    fn all(&self) -> impl Iterator<Item = &Counter>;

    /// Zeroes the counters if they are of another life.
    fn renew(&self, generation: u32) {
        if self.generation().load() != u64::from(generation) {
            self.all().for_each(|counter| counter.set(0));
            self.generation().set(u64::from(generation));
        }
    }
}

macro_rules! renew {
    ($t:ty: $($field:ident),+ $(,)?) => {
        impl Renew for $t {
            fn generation(&self) -> &Counter { &self.generation }
            fn all(&self) -> impl Iterator<Item = &Counter> { [$(&self.$field),+].into_iter() }
        }
    };
}

renew!(TransportCounters:
    packets_received, bytes_received, packets_sent, bytes_sent, rtcp_received, rtcp_sent,
    dropped, transport_cc_sent, rtt_us, estimate_bps, last_received_us, pacer_packets,
    probe_bytes, congestion_marks, congestion_marks_received,
);
renew!(EncodingCounters:
    packets_received, bytes_received, packets_lost, jitter_us, frames_received,
    key_frames_received, nacks_sent, nack_messages_sent, plis_sent, firs_sent,
    retransmitted_received, retransmitted_useless, packets_crossed, last_received_us, rtt_us,
    fec_recovered, audio_level, fec_packets_received, fec_bytes_received, fec_packets_discarded,
    retransmitted_bytes, red_received,
);
renew!(SubscriptionCounters:
    packets_sent, bytes_sent, retransmitted_sent, retransmitted_bytes, nacks_received,
    nacks_missed, nacks_suppressed, plis_received, firs_received, packets_lost,
    fraction_lost, jitter_us, rtt_us, switches, packets_withheld, packets_of_other_layers,
    packets_blanked, layer_switches, layer_in_use, layer_wanted, red_sent,
    fec_packets_sent, fec_bytes_sent, frames_sent, key_frames_sent,
    nack_messages_received, freezes, freeze_us, limit, packets_of_silence,
    retransmitted_arrived, fec_packets_arrived,
);
