//! Nothing on the packet path of a backend allocates.

/// An allocator that counts.
#[path = "support/counting.rs"]
mod counting;

use ion_engine::{Path, TransmitBatch};
use ion_io::uring::UringConfig;
use ion_io::xdp::Frame;
use ion_io::{Backend, Doorbell, IoMode, MediaPort};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

/// One turn: takes what is there and sends it back.
fn turn(backend: &mut Backend, batch: &mut TransmitBatch<Frame>) -> u64 {
    backend.poll(Some(Duration::from_secs(10))).unwrap();
    let (arrivals, mut sender) = backend.split();
    let report = arrivals.for_each(|received| {
        let len = received.data.len();
        batch.space(len).unwrap()[..len].copy_from_slice(received.data);
        let path = Path {
            remote: received.remote,
            local: received.local,
        };
        batch.commit(&path, len);
    });
    sender.send(batch).unwrap();
    batch.clear();
    report.datagrams
}

#[test]
fn receiving_and_sending_do_not_allocate() {
    for mode in [IoMode::Uring, IoMode::Socket] {
        let mut port = MediaPort::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
        let sockets = std::mem::take(&mut port.workers[0]);
        let media = sockets[0].local();
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let config = UringConfig {
            buffers: 32,
            ..UringConfig::default()
        };
        let (mut backend, _) = Backend::open(mode, &config, sockets, doorbell).unwrap();
        let mut batch = backend.batch(1 << 18, 64);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut allocated = None;
        for round in 0..20 {
            // More than there are buffers: the re-arm is part of the path.
            for len in 0..50 {
                client
                    .send_to(&[0x80; 200][..100 + len / 10], media)
                    .unwrap();
            }
            let before = counting::allocations();
            let mut left = 50;
            while left > 0 {
                left -= turn(&mut backend, &mut batch);
            }
            // The first round is for what a library sets up once.
            if round > 0 {
                *allocated.get_or_insert(0) += counting::allocations() - before;
            }
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            for _ in 0..50 {
                client.recv(&mut [0; 300]).unwrap();
            }
        }
        assert_eq!(allocated, Some(0), "{mode:?}");
    }
}
