use aya_ebpf::btf_maps::{
    Array, DevMapHash, HashMap, LruHashMap, PerCpuArray, ReusePortSockArray, RingBuf, XskMap,
};
use aya_ebpf::macros::btf_map;
use ion_ebpf_types::{
    Endpoint, Flow, FlowKey, MAX_DEVICES, MAX_FLOWS, MAX_QUEUES, MAX_SOCKETS, MAX_SOURCES,
    SAMPLE_RING_BYTES, Sample, Settings, Verdict,
};

/// One entry: what user space wants.
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

/// Flows that user space has told of.
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, Flow, { MAX_FLOWS as usize }> = HashMap::new();

/// Frames by what became of them.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Verdict::COUNT }> = PerCpuArray::new();

/// Buckets by source, see `ion_ebpf_types::policy::source_of`.
#[btf_map]
pub(crate) static SOURCES: LruHashMap<Endpoint, u64, { MAX_SOURCES as usize }> = LruHashMap::new();

/// One bucket for all sources.
#[btf_map]
pub(crate) static TOTAL: Array<u64, 1> = Array::new();

/// One bucket per CPU for samples.
#[btf_map]
pub(crate) static SAMPLING: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Samples of dropped packets.
#[btf_map]
pub(crate) static SAMPLES: RingBuf<Sample, { SAMPLE_RING_BYTES as usize }> = RingBuf::new();

/// AF_XDP sockets by receive queue.
#[btf_map]
pub(crate) static XSKS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();

/// Interfaces that relayed packets leave by, under their index.
#[btf_map]
pub(crate) static DEVICES: DevMapHash<{ MAX_DEVICES as usize }> = DevMapHash::new();

/// Sockets of the reuseport groups: by media address, then worker, then the control plane's, then by worker those for reports on packets.
#[btf_map]
pub(crate) static SOCKETS: ReusePortSockArray<{ MAX_SOCKETS as usize }> = ReusePortSockArray::new();
