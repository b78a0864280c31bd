use crate::room::{Control, room};
use crate::support::{Dataplane, StateDir, command, until, without};
use ion_tables::{DropReason, Subscription};
use std::net::UdpSocket;

fn every_viewer_gets_every_packet(io: &str, owner: usize) {
    let state_dir = StateDir::new();
    let arguments = ["--media", "127.0.0.1:0", "--workers", "2", "--io", io];
    let mut command = command(&state_dir, &arguments);
    // Classic BPF steers by hash, whoever owns the transport.
    without(&mut command, libc::SYS_bpf);
    let mut dataplane = Dataplane::spawn(command);
    let control = Control::attach(&state_dir);
    room(&control, owner).publish(100..600);
    assert_eq!(control.all_dropped(), []);
    assert_eq!(control.sum(|c| c.packets_crossed_out.load()), 500);
    assert_eq!(control.sum(|c| c.packets_crossed_in.load()), 500);
    let handed_over = if owner == 0 { 0 } else { 500 };
    assert_eq!(control.sum(|c| c.handed_over.load()), handed_over);
    // A worker counts its sends when they are done, maybe after they have arrived.
    until("the sends are counted", || {
        control.sum(|c| c.packets_sent.load()) >= 2_000
    });
    assert!(control.sum(|c| c.batches.load()) > 0);
    assert!(control.sum(|c| c.syscalls.load()) > 0);
    assert_eq!(dataplane.terminate().code(), Some(0));
    let log = dataplane.log();
    assert!(!log.contains("127.0.0.1"), "no addresses in logs: {log}");
}

#[test]
fn every_viewer_gets_every_packet_over_io_uring() {
    every_viewer_gets_every_packet("uring", 0);
}

#[test]
fn every_viewer_gets_every_packet_over_sockets() {
    every_viewer_gets_every_packet("socket", 0);
}

#[test]
fn packets_that_arrive_at_another_than_their_owner_are_handed_over() {
    every_viewer_gets_every_packet("uring", 1);
}

#[test]
fn where_ebpf_steers_packets_arrive_at_their_owner() {
    let state_dir = StateDir::new();
    let arguments = ["--media", "127.0.0.1:0", "--workers", "2"];
    let dataplane = Dataplane::start(&state_dir, &arguments);
    if dataplane.log().contains("flows are steered by classic BPF") {
        eprintln!("skipped: no eBPF here: {}", dataplane.log());
        return;
    }
    let control = Control::attach(&state_dir);
    // By hash they would arrive at worker 0.
    let mut room = room(&control, 1);
    // The owner writes the flow map when it reads its rows, which is before it forwards anything.
    room.publish(100..110);
    let at_first = control.sum(|c| c.handed_over.load());
    room.publish(110..600);
    assert_eq!(control.all_dropped(), []);
    assert_eq!(control.sum(|c| c.handed_over.load()), at_first);
}

/// They come by sockets of their own, which no worker waits for.
fn reports_of_viewers_are_read(io: &str, ebpf: bool) {
    let state_dir = StateDir::new();
    let arguments = ["--media", "127.0.0.1:0", "--workers", "2", "--io", io];
    let mut command = command(&state_dir, &arguments);
    if !ebpf {
        without(&mut command, libc::SYS_bpf);
    }
    let _dataplane = Dataplane::spawn(command);
    let control = Control::attach(&state_dir);
    let mut room = room(&control, 0);
    // More than one system call takes; who is sent sound alone has nothing to report on.
    room.report(40);
    until("all reports are read", || {
        control.dropped(DropReason::FeedbackRefused) + control.dropped(DropReason::RateLimited)
            == 160
    });
    room.publish(100..200);
    room.report(1);
    let replayed = || control.dropped(DropReason::Replayed);
    until("reports between media are read", || replayed() == 4);
    assert_eq!(control.sum(|c| c.handed_over.load()), 0);
}

#[test]
fn reports_are_read_over_io_uring() {
    reports_of_viewers_are_read("uring", true);
}

#[test]
fn reports_are_read_over_sockets_where_classic_bpf_steers() {
    reports_of_viewers_are_read("socket", false);
}

#[test]
fn media_goes_on_without_a_control_plane_and_the_next_one_finds_all() {
    let state_dir = StateDir::new();
    let arguments = ["--media", "127.0.0.1:0", "--workers", "2"];
    let _dataplane = Dataplane::start(&state_dir, &arguments);
    let control = Control::attach(&state_dir);
    let mut room = room(&control, 0);
    room.publish(1..101);
    let epoch = control.tables().header().epoch();
    drop(control);
    room.publish(101..301);

    let control = Control::attach(&state_dir);
    assert_eq!(control.tables().header().epoch(), epoch);
    room.publish(301..401);
    control.settle();
    room.publish(401..501);
    assert_eq!(control.all_dropped(), []);
    assert_eq!(control.tables().live::<Subscription>().count(), 4);
}

#[test]
fn what_must_not_be_forwarded_is_counted_and_disturbs_nobody() {
    let state_dir = StateDir::new();
    let arguments = ["--media", "127.0.0.1:0", "--workers", "2"];
    let _dataplane = Dataplane::start(&state_dir, &arguments);
    let control = Control::attach(&state_dir);
    let mut room = room(&control, 0);
    room.publish(1..11);

    let media = room.media;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let genuine = room.publisher.seal(11);
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    let old = room.publisher.seal(5);
    stranger.send_to(&genuine, media).unwrap();
    let own = &room.publisher.socket;
    own.send_to(&forged, media).unwrap();
    own.send_to(&old, media).unwrap();
    own.send_to(&genuine[..20], media).unwrap();
    own.send_to(&[0x80; 3_000], media).unwrap();
    for (reason, count) in [
        (DropReason::UnknownAddress, 1),
        (DropReason::Replayed, 1),
        (DropReason::Truncated, 1),
    ] {
        until(reason.name(), || control.dropped(reason) == count);
    }
    // The forged packet and the cut one; the latter may also count as malformed.
    let bad =
        || control.dropped(DropReason::AuthFailed) + control.dropped(DropReason::MalformedRtp);
    until("both are counted", || bad() == 2);
    // Nothing of it reached a viewer, and the stream goes on.
    room.publish(11..51);
    assert_eq!(control.sum(|c| c.drops.iter().map(|d| d.load()).sum()), 5);
}
