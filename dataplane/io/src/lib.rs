//! Packet backends: io_uring and plain sockets.
