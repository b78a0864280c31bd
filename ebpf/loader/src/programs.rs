use crate::{Error, Flows, Xdp, XdpMode};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, ReusePortSockArray, RingBuf, XskMap};
use aya::programs::SkReuseport;
use aya::{Ebpf, EbpfLoader};
use ion_ebpf_types::settings::MAX_MEDIA;
use ion_ebpf_types::{GROUP_LEN, Sample, Settings, Verdict};
use rustix::fd::{AsFd, BorrowedFd};
use zerocopy::{FromBytes, transmute};

const XDP: &str = "ion_xdp";
const REUSEPORT: &str = "ion_reuseport";

/// Frames by what became of them, since the programs were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters([u64; Verdict::COUNT]);

impl Counters {
    /// How many frames had this verdict.
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    /// All counters with their verdicts.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL.into_iter().zip(self.0)
    }
}

/// The programs and their maps, as long as this or what was attached from it lives.
pub struct Programs {
    ebpf: Ebpf,
    settings: Settings,
    counters: PerCpuArray<MapData, u64>,
    samples: RingBuf<MapData>,
    sockets: ReusePortSockArray<MapData>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").finish_non_exhaustive()
    }
}

impl Programs {
    /// Makes the maps and puts the settings there. The programs themselves meet the verifier when they
    /// are attached.
    ///
    /// # Errors
    /// [`Error::Permission`] or [`Error::Os`].
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let mut ebpf = EbpfLoader::new()
            .load(crate::object())
            .map_err(|e| Error::aya("loading the eBPF maps", e))?;
        let mut programs = Self {
            counters: take(&mut ebpf, "COUNTERS")?,
            samples: take(&mut ebpf, "SAMPLES")?,
            sockets: take(&mut ebpf, "SOCKETS")?,
            settings: *settings,
            ebpf,
        };
        programs.configure(settings)?;
        Ok(programs)
    }

    /// Replaces the settings; the next packets are judged by them.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel refuses.
    pub fn configure(&mut self, settings: &Settings) -> Result<(), Error> {
        let bytes: [u8; size_of::<Settings>()] = transmute!(*settings);
        let map = self.map("SETTINGS")?;
        let map = Array::<MapData, [u8; size_of::<Settings>()]>::try_from(map);
        map.and_then(|mut map| map.set(0, bytes, 0))
            .map_err(|e| Error::aya("writing the settings", e))?;
        self.settings = *settings;
        Ok(())
    }

    /// A handle of the flow map, one for each thread that wants to change it.
    ///
    /// # Errors
    /// [`Error::Os`] if there is no descriptor left.
    pub fn flows(&self) -> Result<Flows, Error> {
        Flows::new(self.map("FLOWS")?)
    }

    /// Puts the XDP program before an interface of this network namespace, which only one caller at a time
    /// may have.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Busy`], [`Error::NoNative`], [`Error::Permission`], [`Error::Rejected`].
    pub fn attach_xdp(&mut self, interface: &str, mode: XdpMode) -> Result<Xdp, Error> {
        let wrong = |e| Error::aya("opening a map", e);
        let sockets = self.xsk_map()?;
        let devices = self.map("DEVICES")?.try_into().map_err(wrong)?;
        let program = self.xdp_program()?;
        let program = program.fd().map_err(|e| Error::load("XDP", e))?;
        Xdp::attach(program.as_fd(), interface, mode, sockets, devices)
    }

    /// The AF_XDP sockets by queue, for tests without an interface.
    #[doc(hidden)]
    pub fn xsk_map(&self) -> Result<XskMap<MapData>, Error> {
        let map = self.map("XSKS")?;
        map.try_into().map_err(|e| Error::aya("opening a map", e))
    }

    /// Loads the XDP program without attaching it, for `BPF_PROG_TEST_RUN`.
    #[doc(hidden)]
    pub fn xdp_program(&mut self) -> Result<&mut aya::programs::Xdp, Error> {
        let program = self.ebpf.program_mut(XDP);
        let program = program.ok_or_else(|| Error::Object(format!("no program {XDP}")))?;
        let program: &mut aya::programs::Xdp =
            program.try_into().map_err(|e| Error::load("XDP", e))?;
        if program.fd().is_err() {
            program.load().map_err(|e| Error::load("XDP", e))?;
        }
        Ok(program)
    }

    /// Puts the reuseport program before the group of sockets that receives at media address number
    /// `media` of the settings: the workers' in order, the control plane's, and the workers' for reports on packets. It
    /// replaces whatever steered the group, and stays as long as one of its sockets is open.
    ///
    /// # Errors
    /// [`Error::TooMany`] if that is not a group of the settings; [`Error::Permission`],
    /// [`Error::Rejected`], or [`Error::Os`] if a socket is not bound with `SO_REUSEPORT`.
    pub fn steer(&mut self, media: usize, sockets: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let group = u32::try_from(media).unwrap_or(u32::MAX);
        let members = 2 * self.settings.workers() + 1;
        if group >= MAX_MEDIA || sockets.len() != members as usize {
            return Err(Error::TooMany {
                what: "a reuseport group of",
                number: sockets.len(),
                limit: members,
            });
        }
        let program = self.ebpf.program_mut(REUSEPORT);
        let program = program.ok_or_else(|| Error::Object(format!("no program {REUSEPORT}")))?;
        let program: &mut SkReuseport = program
            .try_into()
            .map_err(|e| Error::load("reuseport", e))?;
        if program.fd().is_err() {
            program.load().map_err(|e| Error::load("reuseport", e))?;
        }
        for (index, socket) in (group * GROUP_LEN..).zip(sockets) {
            self.sockets
                .set(index, socket, 0)
                .map_err(|e| Error::aya("giving the reuseport program a socket", e))?;
        }
        let Some(first) = sockets.first() else {
            return Ok(());
        };
        program
            .attach(first)
            .map_err(|e| Error::aya("attaching the reuseport program", e))
    }

    /// The counters, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel refuses.
    pub fn counters(&self) -> Result<Counters, Error> {
        let mut counters = Counters([0; Verdict::COUNT]);
        for (index, counter) in (0..).zip(&mut counters.0) {
            let values = self.counters.get(&index, 0);
            let values = values.map_err(|e| Error::aya("reading the counters", e))?;
            *counter = values.iter().sum();
        }
        Ok(counters)
    }

    /// The samples of dropped packets that have come in since the last call.
    pub fn samples(&mut self) -> impl Iterator<Item = Sample> + '_ {
        std::iter::from_fn(|| {
            let entry = self.samples.next()?;
            Sample::read_from_bytes(&entry).ok()
        })
    }

    /// Another handle of a map that stays with the programs.
    fn map(&self, name: &'static str) -> Result<Map, Error> {
        let wrong = |e| Error::aya("opening a map", e);
        let map = self.ebpf.map(name);
        let Some(Map::Array(data) | Map::HashMap(data) | Map::XskMap(data) | Map::DevMapHash(data)) =
            map
        else {
            return Err(Error::Object(format!("no map {name}")));
        };
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|e| Error::os("duplicating a map's descriptor", e))?;
        MapData::from_fd(fd)
            .and_then(Map::from_map_data)
            .map_err(wrong)
    }
}

/// A map that only this has.
fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name);
    let map = map.ok_or_else(|| Error::Object(format!("no map {name}")))?;
    map.try_into().map_err(|e| Error::aya("opening a map", e))
}
