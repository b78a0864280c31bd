//! Raw mode: the dataplane alone, as fast as it goes.
//!
//! Starts `ion-dataplane`, takes the control plane's place, writes rows with static keys, sends SRTP to
//! it and counts what comes out. One thread does all of it, on a core of its own: it publishes a frame,
//! drains the sink, and never lets more be under way than the sink's buffer holds. So what is lost is
//! lost by the dataplane, and `CPU per packet` is the dataplane's own CPU time over packets that arrived.
//!
//! Everything stays on loopback, where viewers are addresses of 127.0.0.0/8 that one socket receives for, or with
//! `--veth` between two network namespaces that are made for the run and have no way out.

/// The process under test, and its CPU time.
mod dataplane;
/// How far apart the cores are.
mod distance;
/// What viewers say of the packets that they got.
mod feedback;
/// Loopback, or two namespaces.
mod place;
/// What a plain `sendto` costs here and now.
mod plain_send;
/// What a run found.
mod report;
/// The rooms of a run: who publishes, who views, as rows.
mod rooms;
/// Where viewers' packets end.
mod sink;
/// Publishers and their packets.
mod traffic;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use dataplane::Target;
use place::{End, Place};
use report::Report;
use rooms::Rooms;
use sink::Sink;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use traffic::Publishers;

/// Viewers of a run at most: those that the address range holds.
const MAX_VIEWERS: u32 = 65_536;
/// Packets under way at most: what the sink's buffer holds. Enough for [`traffic::Publishers::window`] of 5,000 viewers: with less,
/// a large room would have one frame under way where a small one has two, and be measured in another way.
const MAX_UNDER_WAY: u64 = 200_000;
/// Time without a single packet after which a run is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What publishers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mix {
    /// 30 frames a second in 235 packets of about 1,155 bytes, split as browsers split them.
    Video,
    /// 50 packets a second of about 129 bytes.
    Audio,
    /// The same video, and besides it two smaller encodings of it that no viewer needs.
    Simulcast,
    /// Video and audio, by one publisher to viewers of both.
    Broadcast,
    /// Everyone publishes both and gets both of all others (Table 1 of Scallop, SIGCOMM '25).
    Meeting,
}

/// Ciphers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cipher {
    /// AEAD_AES_128_GCM.
    Gcm128,
    /// AEAD_AES_256_GCM.
    Gcm256,
    /// AES_CM_128_HMAC_SHA1_80.
    Cm80,
}

impl From<Cipher> for ion_srtp::Profile {
    fn from(cipher: Cipher) -> Self {
        match cipher {
            Cipher::Gcm128 => Self::AeadAes128Gcm,
            Cipher::Gcm256 => Self::AeadAes256Gcm,
            Cipher::Cm80 => Self::Aes128CmSha1_80,
        }
    }
}

/// Options of `ion-loadtest raw`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The program under test.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "target/release/ion-dataplane"
    )]
    pub(crate) dataplane: PathBuf,
    /// Further arguments for it, such as `--io socket`; separated by spaces.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) dataplane_args: String,
    /// Its forwarding threads.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// What is sent.
    #[arg(long, value_enum, default_value_t = Mix::Video)]
    pub(crate) mix: Mix,
    /// Rooms.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rooms: u32,
    /// Viewers of each room's publisher; for `meeting`, participants of each room.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) viewers: u32,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Times real time; 0 sends the next frame when the last ones have arrived.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) speed: f64,
    /// Packets of a frame that are sent at once; 0 is the whole frame.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) burst: u16,
    /// The cipher of both legs.
    #[arg(long, value_enum, default_value_t = Cipher::Gcm128)]
    pub(crate) cipher: Cipher,
    /// Audio slots of each room, in `audio` and `broadcast`: viewers get so many seats that go to who speaks, in place of
    /// the publisher's own sound.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub(crate) slots: u8,
    /// Viewers send transport-wide feedback every 50 ms, as browsers do, so that congestion control has work to do.
    /// With `--speed 1`: at other speeds the dataplane sees viewers of another bitrate.
    #[arg(long)]
    pub(crate) feedback: bool,
    /// Receive with UDP GRO: then the kernel does not segment at all on loopback, which no
    /// real network does for you. For the highest rate, not for figures.
    #[arg(long)]
    pub(crate) gro: bool,
    /// Between two network namespaces that a veth pair connects, in place of loopback: for `--dataplane-args '--io xdp'`
    /// and the like, the dataplane gets its end as `--interface`. Needs root, `ip` and `ethtool`.
    #[arg(long)]
    pub(crate) veth: bool,
    /// Core of the generator; by default the last one that no worker is pinned to.
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<usize>,
    /// Print the result as JSON only.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        let receivers = u64::from(self.rooms) * u64::from(self.viewers);
        ensure!(
            receivers <= u64::from(MAX_VIEWERS),
            "{} rooms of {} are {receivers} receivers, at most {MAX_VIEWERS} are possible: use fewer",
            self.rooms,
            self.viewers
        );
        ensure!(
            self.mix != Mix::Meeting || (2..=100).contains(&self.viewers),
            "--viewers {}: a meeting has 2 to 100 participants",
            self.viewers
        );
        ensure!(
            self.slots == 0 || matches!(self.mix, Mix::Audio | Mix::Broadcast),
            "--slots {}: for --mix audio and broadcast only",
            self.slots
        );
        ensure!(
            (0.0..=1_000.0).contains(&self.speed),
            "--speed {}: 0 to 1000",
            self.speed
        );
        Ok(())
    }
}

/// Runs one measurement and prints it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.check()?;
    let report = measure(options)?;
    let text = if options.json {
        report.json()
    } else {
        report.table()
    };
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("writing the report")
}

fn measure(options: &Options) -> anyhow::Result<Report> {
    dataplane::pin(options)?;
    let place = if options.veth {
        Place::veth(options.workers)?
    } else {
        Place::loopback()
    };
    let plain_before_ns = plain_send::cost_ns(&place)?;
    let distance_before_ns = distance::round_trip_ns(options);
    let (mut sink, mut publishers) = place.at(End::Client, || {
        Ok((Sink::open(options)?, Publishers::open(options)?))
    })?;
    let rooms = Rooms::plan(options, &place, publishers.port(), sink.port());
    let target = place.at(End::Server, || Target::start(options, &place, &rooms))?;
    rooms.program(&target)?;
    sink.expect(&rooms, options.feedback.then(|| target.media()));
    publishers.join(&rooms, target.media());

    let mut pump = Pump {
        options,
        publishers: &mut publishers,
        sink: &mut sink,
    };
    if options.slots > 0 {
        pump.take_seats().context("taking seats")?;
    }
    pump.run(Duration::from_secs(1)).context("warming up")?;
    let before = target.figures()?;
    pump.sink.begin();
    let started = Instant::now();
    let (sent, expected) = pump.run(Duration::from_secs(options.seconds))?;
    let elapsed = started.elapsed();
    let after = target.figures()?;
    // The machine may have become slower or faster meanwhile.
    let plain_send_ns = f64::midpoint(plain_before_ns, plain_send::cost_ns(&place)?);
    Ok(Report {
        plain_send_ns,
        distances_ns: [distance_before_ns, distance::round_trip_ns(options)],
        elapsed,
        published: sent,
        expected,
        used: after - before,
        sink: sink.end(),
        drops: target.drops(),
    })
}

/// Sends and sinks, in turn.
struct Pump<'a> {
    options: &'a Options,
    publishers: &'a mut Publishers,
    sink: &'a mut Sink,
}

impl Pump<'_> {
    /// Has everybody take a seat: it is given to who is heard for the second time, so that nobody gets the first packet.
    fn take_seats(&mut self) -> anyhow::Result<()> {
        self.publishers.begin(Instant::now(), 0.0);
        for _ in 0..3 * self.publishers.sources() {
            self.publishers.send_due(Instant::now())?;
            self.sink.drain()?;
        }
        let quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_millis(200) {
            self.sink.drain()?;
        }
        Ok(())
    }

    /// Publishes for a while, then waits until everything has arrived or nothing more comes. Returns
    /// packets published and packets that should have arrived.
    fn run(&mut self, duration: Duration) -> anyhow::Result<(u64, u64)> {
        let started = Instant::now();
        let before = self.sink.received();
        let (mut sent, mut expected) = (0, 0);
        let mut lost = 0;
        let mut last_arrival = started;
        self.publishers.begin(started, self.options.speed);
        loop {
            let now = Instant::now();
            let over = now.duration_since(started) >= duration;
            let arrived = self.sink.received() - before;
            let under_way = expected - lost - arrived.min(expected - lost);
            if over && under_way == 0 {
                return Ok((sent, expected));
            }
            // What one frame makes at most always fits: a large room has a frame in flight at least.
            let room = under_way < self.publishers.window()
                && under_way + self.publishers.largest() <= MAX_UNDER_WAY;
            if !over && (under_way == 0 || room) {
                let batch = self.publishers.send_due(now)?;
                sent += batch.packets;
                expected += batch.expected;
            }
            // Media only: reports come even when nothing else does.
            let media = self.sink.received();
            let drained = self.sink.drain()?;
            if self.sink.received() > media {
                last_arrival = now;
            } else if drained == 0
                && now.duration_since(last_arrival) > Duration::from_millis(200)
                && under_way > 0
            {
                // What has not come by now does not come.
                lost += under_way;
                last_arrival = now;
            }
            ensure!(
                arrived > 0 || now.duration_since(started) < PATIENCE,
                "nothing arrived in {} s: {} packets were sent",
                PATIENCE.as_secs(),
                sent
            );
            self.publishers.drain();
        }
    }
}
