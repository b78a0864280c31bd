use crate::net::{OURS, PATIENCE, ip};
use ion_ebpf::{Flow, FlowKey, Programs, Settings, Xdp as Program, XdpMode};
use ion_engine::{Path, TransmitBatch};
use ion_io::xdp::{CopyMode, Frame, RingState, TxChecksum, XdpConfig};
use ion_io::{Backend, Doorbell, MediaPort, ReceiveReport, SendReport};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What came: from where, to which address of ours, and what.
pub(crate) type Owned = (SocketAddr, IpAddr, Vec<u8>);

/// The XDP program, attached anew when its interface was made anew.
pub(crate) struct Attachment {
    programs: Programs,
    program: Option<Program>,
}

impl Attachment {
    pub(crate) fn attach(&mut self) {
        self.detach();
        let program = self.programs.attach_xdp("ion0", XdpMode::Native);
        self.program = Some(program.unwrap());
    }

    pub(crate) fn detach(&mut self) {
        self.program = None;
        // A process that another test is just starting may still hold the descriptor.
        let end = Instant::now() + PATIENCE;
        while ip("-o link show ion0").contains("xdp") {
            assert!(Instant::now() < end, "the program is detached");
        }
    }

    pub(crate) fn flow(&self, client: SocketAddr, media: SocketAddr) {
        let key = FlowKey::new(client, media);
        let mut flows = self.programs.flows().unwrap();
        flows.set(key, Flow::of_worker(0)).unwrap();
    }
}

pub(crate) struct Rig {
    pub(crate) backend: Backend,
    pub(crate) batch: TransmitBatch<Frame>,
    pub(crate) attachment: Arc<Mutex<Attachment>>,
    /// Media addresses, as they were given.
    pub(crate) media: Vec<SocketAddr>,
    /// Of all polls so far.
    pub(crate) received: ReceiveReport,
    batch_frames: usize,
    _port: MediaPort,
}

pub(crate) fn config(attachment: &Arc<Mutex<Attachment>>, queues: Vec<u32>) -> XdpConfig {
    let attachment = Arc::clone(attachment);
    let register = move |queue, fd: rustix::fd::BorrowedFd<'_>| {
        let mut attachment = attachment.lock().unwrap();
        let attached = attachment.program.as_ref();
        if !attached.is_some_and(|program| program.is_attached().unwrap_or(false)) {
            attachment.attach();
        }
        let program = attachment.program.as_mut().unwrap();
        program.set_socket(queue, fd).map_err(std::io::Error::other)
    };
    let mut config = XdpConfig::new("ion0", queues, Arc::new(register));
    // Small, so that rings go round.
    (config.rx_ring, config.tx_ring, config.batch) = (256, 256, 128);
    config
}

impl Rig {
    /// On our addresses, with these queues.
    pub(crate) fn new(queues: u32, adjust: impl FnOnce(&mut XdpConfig)) -> Self {
        Self::on(&OURS, queues, adjust)
    }

    pub(crate) fn on(addresses: &[&str], queues: u32, adjust: impl FnOnce(&mut XdpConfig)) -> Self {
        let address = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), 7_882);
        let media: Vec<_> = addresses.iter().map(address).collect();
        let mut port = MediaPort::bind(&media, 1).unwrap();
        let sockets = std::mem::take(&mut port.workers[0]);
        let settings = Settings::new(&media, 1).unwrap();
        let programs = Programs::load(&settings).unwrap();
        let attachment = Arc::new(Mutex::new(Attachment {
            programs,
            program: None,
        }));
        let mut config = config(&attachment, (0..queues).collect());
        adjust(&mut config);
        let batch_frames = config.batch as usize;
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let mut backend = match Backend::open_xdp(config, sockets, doorbell) {
            Ok(backend) => backend,
            Err(refused) => panic!("{}", refused.error),
        };
        let batch = backend.batch(1 << 20, 1_000);
        Self {
            backend,
            batch,
            attachment,
            media,
            received: ReceiveReport::default(),
            batch_frames,
            _port: port,
        }
    }

    pub(crate) fn knows(&self, client: &UdpSocket, media: SocketAddr) {
        let client = client.local_addr().unwrap();
        self.attachment.lock().unwrap().flow(client, media);
    }

    pub(crate) fn state(&self) -> RingState {
        self.backend.xdp().unwrap().state()
    }

    /// One turn of the worker's loop that only takes in.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Vec<Owned> {
        let mut got = Vec::new();
        self.backend.poll(Some(timeout)).unwrap();
        let (arrivals, _) = self.backend.split();
        self.received += arrivals.for_each(|r| got.push((r.remote, r.local, r.data.to_vec())));
        got
    }

    pub(crate) fn receive(&mut self, count: usize) -> Vec<Owned> {
        let end = Instant::now() + PATIENCE;
        let mut got = Vec::new();
        while got.len() < count {
            assert!(Instant::now() < end, "{} of {count} came", got.len());
            got.extend(self.turn(Duration::from_millis(100)));
        }
        assert_eq!(got.len(), count);
        got
    }

    /// Turns until `done`, as a worker without traffic does.
    pub(crate) fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "{what}");
            self.turn(Duration::from_millis(20));
        }
    }

    pub(crate) fn send(&mut self, packets: &[(Path, Vec<u8>)]) -> SendReport {
        let mut report = SendReport::default();
        let (_, mut sender) = self.backend.split();
        for (path, bytes) in packets {
            if self.batch.space(bytes.len()).is_none() {
                report += sender.send(&mut self.batch).unwrap();
                self.batch.clear();
            }
            let space = self.batch.space(bytes.len()).unwrap();
            space.copy_from_slice(bytes);
            self.batch.commit(path, bytes.len());
        }
        report += sender.send(&mut self.batch).unwrap();
        self.batch.clear();
        report
    }

    pub(crate) fn echo(&mut self, got: &[Owned]) -> SendReport {
        let packets: Vec<_> = got
            .iter()
            .map(|(remote, local, data)| {
                let path = Path {
                    remote: *remote,
                    local: *local,
                };
                (path, data.clone())
            })
            .collect();
        self.send(&packets)
    }

    /// A datagram to us and back, all by the ring.
    pub(crate) fn round_trip(&mut self, client: &UdpSocket, media: SocketAddr) {
        let sent = datagram(7, 300);
        client.send_to(&sent, media).unwrap();
        let before = self.received;
        let got = self.receive(1);
        assert_eq!(self.received.ring - before.ring, 1, "came by the ring");
        let report = self.echo(&got);
        assert_eq!((report.ring, report.datagrams), (1, 1), "{report:?}");
        assert_eq!(expect(client, media), sent);
    }
}

/// Every frame is accounted for, and none is under way.
impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let batch = self.batch_frames;
        self.wait_for("all frames are back", |rig| {
            rig.turn(Duration::ZERO);
            let count = rig.backend.xdp().unwrap().frames();
            let whole = count.free + count.receiving + count.outstanding() + batch;
            assert_eq!((whole, count.batch), (count.total, batch), "{count:?}");
            assert_eq!(count.bogus, 0, "{count:?}");
            count.outstanding() == 0
        });
    }
}

/// A datagram that is RTP by its first byte, recognisable by the rest.
pub(crate) fn datagram(number: usize, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|n| (n * 7 + number * 13) as u8).collect();
    (bytes[0], bytes[1]) = (0x80, 96);
    bytes
}

/// What the client gets, which must come from there.
pub(crate) fn expect(client: &UdpSocket, from: SocketAddr) -> Vec<u8> {
    let mut buffer = [0; 4_096];
    let (len, source) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(source, from);
    buffer[..len].to_vec()
}

/// Nothing but these is asked of every test.
pub(crate) fn plain(_: &mut XdpConfig) {}

pub(crate) fn copy_mode_in_software(config: &mut XdpConfig) {
    config.mode = CopyMode::Copy;
    config.checksum = TxChecksum::Software;
}
