use crate::Error;
use aya::maps::{HashMap, MapData, MapError};
use ion_ebpf_types::{Flow, FlowKey, MAX_FLOWS};
use zerocopy::transmute;

type Key = [u8; size_of::<FlowKey>()];
type Value = [u8; size_of::<Flow>()];

/// A handle of the flow map. Handles may be used from several threads, each its own.
#[derive(Debug)]
pub struct Flows {
    map: HashMap<MapData, Key, Value>,
}

impl Flows {
    pub(crate) fn new(map: aya::maps::Map) -> Result<Self, Error> {
        let map = HashMap::try_from(map).map_err(|e| Error::aya("opening the flow map", e))?;
        Ok(Self { map })
    }

    /// Adds a flow or replaces what was known of it; seen by the programs at once.
    ///
    /// # Errors
    /// [`Error::TooMany`] if the map is full.
    pub fn set(&mut self, key: FlowKey, flow: Flow) -> Result<(), Error> {
        let (key, flow): (Key, Value) = (transmute!(key), transmute!(flow));
        self.map.insert(key, flow, 0).map_err(|error| match &error {
            MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::E2BIG) => {
                Error::TooMany {
                    what: "flow",
                    number: MAX_FLOWS as usize + 1,
                    limit: MAX_FLOWS,
                }
            }
            _ => Error::aya("adding a flow", error),
        })
    }

    /// Forgets a flow; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel refuses.
    pub fn remove(&mut self, key: FlowKey) -> Result<(), Error> {
        let key: Key = transmute!(key);
        match self.map.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(call))
                if call.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::aya("removing a flow", error)),
        }
    }

    /// What is known of a flow.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel refuses.
    pub fn get(&self, key: FlowKey) -> Result<Option<Flow>, Error> {
        let key: Key = transmute!(key);
        match self.map.get(&key, 0) {
            Ok(value) => Ok(Some(transmute!(value))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::aya("reading a flow", error)),
        }
    }
}
