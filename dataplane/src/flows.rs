use ion_ebpf::{Flow, FlowKey, Flows};
use ion_tables::{Transport, TransportConfig, WorkerTables};
use std::collections::HashMap;

/// Keeps the flow map of the eBPF programs as one worker's transports say: the packets of a
/// client go to the worker that owns its transport, by socket or by ring.
pub(crate) struct FlowTable {
    map: Flows,
    /// What each transport row has in the map.
    known: HashMap<u32, FlowKey>,
    /// Which row a flow is of: the younger transport of a client takes it over.
    owners: HashMap<FlowKey, u32>,
    worker: u16,
}

impl FlowTable {
    /// Of a worker that has none in the map yet.
    pub(crate) fn new(map: Flows, worker: usize) -> Self {
        Self {
            map,
            known: HashMap::new(),
            owners: HashMap::new(),
            worker: u16::try_from(worker).unwrap_or(u16::MAX),
        }
    }

    /// Takes in a transport row that changed. A system call or two, and only if its addresses did.
    pub(crate) fn update(&mut self, tables: &WorkerTables, row: u32) {
        let config = tables.tables().config::<Transport>(row).map(|c| c.read());
        let Some(Ok(config)) = config else {
            return; // Torn: it is told of again.
        };
        let key = self.key_of(&config);
        let before = self.known.get(&row).copied();
        if before == key {
            return;
        }
        if let Some(before) = before {
            self.known.remove(&row);
            if self.owners.get(&before) == Some(&row) {
                self.owners.remove(&before);
                self.tell(|map| map.remove(before));
            }
        }
        if let Some(key) = key {
            self.known.insert(row, key);
            self.owners.insert(key, row);
            let flow = Flow::of_worker(self.worker);
            self.tell(|map| map.set(key, flow));
        }
    }

    /// The flow of a transport of ours that has a client.
    fn key_of(&self, config: &TransportConfig) -> Option<FlowKey> {
        let ours = config.head.live == 1 && config.worker == self.worker;
        let remote = config.remote.socket_addr().filter(|_| ours)?;
        let local = config.local.socket_addr()?;
        // A wildcard's packets carry an address of this host, which nobody knows yet.
        (!local.ip().is_unspecified()).then(|| FlowKey::new(remote, local))
    }

    fn tell(&mut self, change: impl FnOnce(&mut Flows) -> Result<(), ion_ebpf::Error>) {
        if let Err(error) = change(&mut self.map) {
            // Its packets are steered by hash then, and handed over; XDP drops them.
            tracing::warn!("the flow map: {error}");
        }
    }
}
