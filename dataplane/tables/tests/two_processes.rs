//! One memfd in two real processes: the child is a control plane that writes as
//! fast as it can and is killed in the middle of it; the parent is a dataplane
//! that must never see half a row, nor lose track of the announcements.
#![cfg(not(loom))]

use ion_tables::attach::{AttachError, ControlLink, Listener, Offer, attach};
use ion_tables::command::Command as Announcement;
use ion_tables::{
    Capacities, ControlTables, RowHead, RowKind, RowLink, Subscription, SubscriptionConfig, Tables,
    Transport, TransportSecrets,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

const CHILD: &str = "ION_TABLES_TEST_CHILD";
const ROWS: u32 = 64;

/// A config whose every field tells which write it comes from.
fn config_of(n: u32) -> SubscriptionConfig {
    SubscriptionConfig {
        head: RowHead {
            generation: n,
            live: 1,
        },
        transport: RowLink {
            row: n,
            generation: n,
        },
        track: RowLink {
            row: n,
            generation: n,
        },
        ssrc: n,
        rtx_ssrc: n,
        clock_rate: n,
        ..SubscriptionConfig::default()
    }
}

fn assert_whole(config: &SubscriptionConfig) {
    let n = config.head.generation;
    let numbers = [
        config.transport.row,
        config.transport.generation,
        config.track.row,
        config.track.generation,
        config.ssrc,
        config.rtx_ssrc,
        config.clock_rate,
    ];
    assert!(
        numbers.iter().all(|&m| m == n),
        "half a row: {n} {numbers:?}"
    );
}

struct Dataplane {
    directory: PathBuf,
    listener: Listener,
    tables: Tables,
    event_doorbell: OwnedFd,
    worker_doorbell: OwnedFd,
}

impl Dataplane {
    fn start(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("ion-tables-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let capacities = Capacities {
            transports: ROWS,
            tracks: ROWS,
            encodings: ROWS,
            subscriptions: ROWS,
        };
        Self {
            listener: Listener::bind(&directory.join("dataplane.sock")).unwrap(),
            tables: Tables::create(capacities, 1, 7, 0).unwrap(),
            event_doorbell: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            worker_doorbell: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            directory,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("dataplane.sock")
    }

    fn accept(&self, attached: Option<&ControlLink>) -> Option<ControlLink> {
        let timeout = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let listener = self.listener.fd();
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        assert_eq!(
            poll(&mut fds, Some(&timeout)).unwrap(),
            1,
            "nobody came to attach"
        );
        let offer = Offer {
            tables: &self.tables,
            event_doorbell: self.event_doorbell.as_fd(),
            worker_doorbells: vec![self.worker_doorbell.as_fd()],
            sockets: Vec::new(),
        };
        self.listener.accept(&offer, attached).unwrap()
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn_child(test: &str, socket: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, socket)
        .spawn()
        .unwrap()
}

/// The child's whole life: attach, repair what a killed one left, write until killed.
fn hammer(socket: &Path) -> ! {
    let attached = attach(socket).unwrap();
    let control = ControlTables::new(Arc::new(attached.tables));
    let highest = (0..ROWS)
        .map(|row| control.next_life::<Subscription>(row).generation)
        .max()
        .unwrap_or(1);
    // Torn rows yield arbitrary generations; keep the numbers small and growing.
    let mut n = if highest > 1 << 30 { 1 } else { highest };
    loop {
        for row in 0..ROWS {
            n = n.wrapping_add(1).max(1);
            control.publish::<Subscription>(row, &config_of(n), |_| {});
        }
        // Where both processes share a core: a few rows, and then again more than the ring holds.
        if n % 16_384 < 4 * ROWS {
            std::thread::yield_now();
        }
    }
}

#[test]
fn rows_stay_whole_while_the_writer_is_killed() {
    if let Some(socket) = std::env::var_os(CHILD) {
        hammer(Path::new(&socket));
    }
    let dataplane = Dataplane::start("hammer");
    let ring = dataplane.tables.commands(0).unwrap();
    let mut reads = 0_u64;
    let mut announced = 0_u64;
    let mut rescans = 0_u64;
    for _ in 0..5 {
        let mut child = spawn_child(
            "rows_stay_whole_while_the_writer_is_killed",
            &dataplane.socket(),
        );
        let link = dataplane.accept(None).expect("the child attaches");
        assert_eq!(link.pid, child.id());
        let goal = reads + 1_000_000;
        while reads < goal {
            for command in std::iter::from_fn(|| ring.take()).take(4_096) {
                match command {
                    Announcement::Changed(changed) => {
                        assert!(changed.kind == RowKind::Subscription && changed.row < ROWS);
                        announced += 1;
                    }
                    Announcement::Rescan => rescans += 1,
                }
            }
            for row in 0..ROWS {
                // A torn read is allowed (the writer may be descheduled); half a row is not.
                if let Ok(config) = dataplane.tables.config::<Subscription>(row).unwrap().read() {
                    assert_whole(&config);
                }
                reads += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(link.is_closed(), "its end is seen");
    }
    assert!(
        announced > 0 && rescans > 0,
        "{announced} announced, {rescans} rescans"
    );

    // What the last one left torn, a new control plane repairs.
    let control = ControlTables::new(Arc::new(Tables::map(dup(&dataplane)).unwrap()));
    for row in 0..ROWS {
        control.free::<Subscription>(row);
        assert_eq!(
            dataplane
                .tables
                .config::<Subscription>(row)
                .unwrap()
                .read()
                .unwrap()
                .head
                .live,
            0
        );
    }
}

fn dup(dataplane: &Dataplane) -> OwnedFd {
    dataplane.tables.memfd().try_clone_to_owned().unwrap()
}

#[test]
fn one_control_plane_at_a_time_and_one_dataplane() {
    if let Some(socket) = std::env::var_os(CHILD) {
        let _attached = attach(Path::new(&socket)).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let dataplane = Dataplane::start("refuse");
    let mut child = spawn_child(
        "one_control_plane_at_a_time_and_one_dataplane",
        &dataplane.socket(),
    );
    let link = dataplane.accept(None).unwrap();

    let socket = dataplane.socket();
    let second = std::thread::spawn(move || attach(&socket).map(|_| ()));
    assert!(dataplane.accept(Some(&link)).is_none());
    let refusal = second.join().unwrap().unwrap_err();
    assert!(
        matches!(refusal, AttachError::ControlRuns { pid } if pid == child.id()),
        "{refusal}"
    );

    let refusal = Listener::bind(&dataplane.socket()).map(|_| ()).unwrap_err();
    assert!(
        matches!(refusal, AttachError::DataplaneRuns { .. }),
        "{refusal}"
    );

    child.kill().unwrap();
    child.wait().unwrap();
    // The dead one's place is free even if nobody noticed its death yet.
    let socket = dataplane.socket();
    let third = std::thread::spawn(move || attach(&socket).map(|a| a.tables.header().epoch()));
    assert!(dataplane.accept(Some(&link)).is_some());
    assert_eq!(third.join().unwrap().unwrap(), 7);
}

#[test]
fn visitors_that_say_nonsense_are_refused() {
    let dataplane = Dataplane::start("nonsense");
    let missing = attach(&dataplane.directory.join("nobody.sock"))
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(missing, AttachError::NoDataplane { .. }),
        "{missing}"
    );

    use rustix::net::{
        AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket,
    };
    let visitor = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&visitor, &SocketAddrUnix::new(dataplane.socket()).unwrap()).unwrap();
    send(&visitor, b"GET / HTTP/1.1\r\n\r\n", SendFlags::NOSIGNAL).unwrap();
    assert!(dataplane.accept(None).is_none());
}

#[test]
fn foreign_and_unsealed_memory_is_not_mapped() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    let unsealed = memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&unsealed, 1 << 20).unwrap();
    assert!(Tables::map(unsealed).is_err());

    let dataplane = Dataplane::start("foreign");
    let tables = Tables::map(dup(&dataplane)).unwrap();
    assert_eq!(tables.capacities(), dataplane.tables.capacities());
    assert!(
        tables.config::<Subscription>(ROWS).is_none(),
        "rows end at the capacity"
    );
    assert!(
        ftruncate(tables.memfd(), 4_096).is_err(),
        "sealed against shrinking"
    );
}

#[test]
fn freed_rows_leave_no_keys_and_no_way_back() {
    let dataplane = Dataplane::start("freed");
    let control = ControlTables::new(Arc::new(Tables::map(dup(&dataplane)).unwrap()));
    let head = control.next_life::<Transport>(3);
    let link = head.link(3);
    let config = ion_tables::TransportConfig {
        head,
        ..Default::default()
    };
    control.write_secrets(
        3,
        &TransportSecrets {
            rx_key: [7; 32],
            keyed: 1,
            ..Default::default()
        },
    );
    assert!(control.write::<Transport>(3, &config));
    assert!(dataplane.tables.follow::<Transport>(link).is_some());

    control.free::<Transport>(3);
    assert!(dataplane.tables.follow::<Transport>(link).is_none(), "dead");
    assert_eq!(
        dataplane.tables.secrets(3).unwrap().read().unwrap().rx_key,
        [0; 32]
    );

    let again = control.next_life::<Transport>(3);
    assert!(again.generation > head.generation);
    control.write::<Transport>(
        3,
        &ion_tables::TransportConfig {
            head: again,
            ..config
        },
    );
    assert!(
        dataplane.tables.follow::<Transport>(link).is_none(),
        "stale"
    );
}
