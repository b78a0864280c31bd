//! The workers' and the XDP program's counters, read from the shared memory.

use super::Shared;
use ion_ebpf_types::Verdict;
use ion_tables::{Counter, DropReason, Tables, WorkerCounters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::PoisonError;

/// Reads the dataplane's counters in the shared memory at the scrape.
pub(super) struct Dataplane(pub(super) Shared);

impl fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dataplane")
    }
}

type Reader = fn(&WorkerCounters) -> &Counter;

const COUNTERS: [(&str, &str, Reader); 29] = [
    ("worker_packets_received", "Datagrams received", |c| {
        &c.packets_received
    }),
    ("worker_bytes_received", "UDP payload bytes received", |c| {
        &c.bytes_received
    }),
    ("worker_packets_sent", "Datagrams sent", |c| &c.packets_sent),
    ("worker_bytes_sent", "UDP payload bytes sent", |c| {
        &c.bytes_sent
    }),
    ("worker_sends", "Sends handed to the kernel", |c| &c.sends),
    (
        "worker_syscalls",
        "System calls of the worker's loop",
        |c| &c.syscalls,
    ),
    ("worker_batches", "Receive batches", |c| &c.batches),
    (
        "worker_packets_crossed_out",
        "Packets given to other workers",
        |c| &c.packets_crossed_out,
    ),
    (
        "worker_packets_crossed_in",
        "Packets taken from other workers",
        |c| &c.packets_crossed_in,
    ),
    (
        "worker_handed_over",
        "Datagrams that belonged to another worker",
        |c| &c.handed_over,
    ),
    ("worker_rescans", "Scans of whole tables", |c| &c.rescans),
    (
        "worker_ring_packets_received",
        "Datagrams received through AF_XDP",
        |c| &c.ring_received,
    ),
    (
        "worker_ring_packets_sent",
        "Datagrams sent through AF_XDP",
        |c| &c.ring_sent,
    ),
    ("worker_ring_kicks", "System calls for a TX ring", |c| {
        &c.ring_kicks
    }),
    (
        "worker_ring_dropped",
        "Packets that found no room in RX or fill rings",
        |c| &c.ring_dropped,
    ),
    (
        "worker_ring_full",
        "Datagrams for which a TX ring had no room",
        |c| &c.ring_full,
    ),
    (
        "worker_nacks_received",
        "Sequence numbers that viewers asked for again",
        |c| &c.nacks_received,
    ),
    (
        "worker_retransmitted_packets_sent",
        "Retransmissions sent to viewers",
        |c| &c.retransmitted_sent,
    ),
    (
        "worker_retransmitted_packets_arrived",
        "Retransmissions that arrived, as viewers say",
        |c| &c.retransmitted_arrived,
    ),
    (
        "worker_fec_packets_sent",
        "Repair packets made for viewers",
        |c| &c.fec_packets_sent,
    ),
    (
        "worker_fec_packets_arrived",
        "Repair packets that arrived, as viewers say",
        |c| &c.fec_packets_arrived,
    ),
    (
        "worker_nacks_sent",
        "Sequence numbers that publishers were asked for again",
        |c| &c.nacks_sent,
    ),
    (
        "worker_retransmitted_packets_received",
        "Retransmissions of publishers that filled a gap",
        |c| &c.retransmitted_received,
    ),
    (
        "worker_keyframes_asked",
        "Keyframes that publishers were asked for",
        |c| &c.keyframes_asked,
    ),
    (
        "worker_layer_switches",
        "Changes of the layers that viewers are sent",
        |c| &c.layer_switches,
    ),
    (
        "worker_freezes",
        "Gaps between pictures sent that viewers must have seen as freezes",
        |c| &c.freezes,
    ),
    (
        "worker_probe_bytes_sent",
        "Bytes sent to find out what networks carry",
        |c| &c.probe_bytes,
    ),
    (
        "worker_packets_received_with_ce",
        "Packets received with a congestion mark (ECN CE)",
        |c| &c.congestion_marks_received,
    ),
    (
        "worker_packets_arrived_with_ce",
        "Packets sent that clients report to have arrived with a congestion mark",
        |c| &c.congestion_marks,
    ),
];

const GAUGES: [(&str, &str, Reader); 5] = [
    (
        "worker_buffers_used",
        "Buffers of packet memory in use",
        |c| &c.buffers_used,
    ),
    ("worker_buffers_total", "Buffers of packet memory", |c| {
        &c.buffers_total
    }),
    ("worker_rows_torn", "Rows seen torn", |c| &c.rows_torn),
    (
        "worker_ring_state",
        "AF_XDP: 0 not in use, 1 in use, 2 link down, 3 lost",
        |c| &c.ring_state,
    ),
    (
        "worker_ring_frames",
        "AF_XDP frames arrived or being sent",
        |c| &c.ring_frames,
    ),
];

/// One family of series with labels.
pub(super) struct Series<'a>(MetricEncoder<'a>);

impl<'a> Series<'a> {
    pub(super) fn new<'b: 'a>(
        encoder: &'a mut DescriptorEncoder<'b>,
        (name, help): (&'a str, &str),
        kind: MetricType,
    ) -> Result<Self, fmt::Error> {
        Ok(Self(encoder.encode_descriptor(
            name,
            help,
            None::<&Unit>,
            kind,
        )?))
    }

    pub(super) fn put(
        &mut self,
        labels: &impl EncodeLabelSet,
        value: impl EncodeMetric,
    ) -> fmt::Result {
        value.encode(self.0.encode_family(labels)?)
    }
}

fn gauge(counter: &Counter) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(counter.load()).unwrap_or(i64::MAX))
}

fn workers(tables: &Tables) -> impl Iterator<Item = (String, &WorkerCounters)> {
    (0..tables.workers())
        .filter_map(|worker| Some((worker.to_string(), tables.worker_counters(worker)?)))
}

impl Collector for Dataplane {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tables) = tables.clone() else {
            return Ok(());
        };
        for (name, help, read) in COUNTERS {
            let mut series = Series::new(&mut encoder, (name, help), MetricType::Counter)?;
            for (worker, counters) in workers(&tables) {
                series.put(
                    &[("worker", worker)],
                    ConstCounter::new(read(counters).load()),
                )?;
            }
        }
        for (name, help, read) in GAUGES {
            let mut series = Series::new(&mut encoder, (name, help), MetricType::Gauge)?;
            for (worker, counters) in workers(&tables) {
                series.put(&[("worker", worker)], gauge(read(counters)))?;
            }
        }
        let drops = ("worker_drops", "Packets dropped, by reason");
        let mut series = Series::new(&mut encoder, drops, MetricType::Counter)?;
        for (worker, counters) in workers(&tables) {
            for reason in DropReason::ALL {
                let labels = [("worker", worker.as_str()), ("reason", reason.name())];
                let count = counters.drops[reason as usize].load();
                series.put(&labels, ConstCounter::new(count))?;
            }
        }
        super::viewers::encode(&tables, &mut encoder)?;
        let bypass = tables.header().bypass();
        let attached = (
            "xdp_attached",
            "The XDP program: 0 none, 1 in the driver, 2 behind it",
        );
        let series = Series::new(&mut encoder, attached, MetricType::Gauge)?;
        gauge(&bypass.attached).encode(series.0)?;
        let frames = (
            "xdp_frames",
            "Frames that the XDP program saw, by what became of them",
        );
        let mut series = Series::new(&mut encoder, frames, MetricType::Counter)?;
        for (verdict, count) in Verdict::ALL.into_iter().zip(&bypass.verdicts) {
            series.put(
                &[("verdict", verdict.name())],
                ConstCounter::new(count.load()),
            )?;
        }
        Ok(())
    }
}
