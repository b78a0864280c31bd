//! Serves a router over TCP: HTTP/1.1, with time-outs, a connection limit and a clean stop.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::limits;
use crate::ratelimit::ClientNet;
use crate::router::ClientAddr;

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// Open connections; one more waits in the kernel's backlog.
    pub connections: usize,
    /// Of these, for one client that is not on this machine; one more is closed.
    pub connections_per_client: usize,
    /// Time in which a request head must have arrived; idle connections end after it too.
    pub header_timeout: Duration,
    /// Time for which a client may leave unread what is sent to it; the head's time-out does not run
    /// while an answer is being written. Whole milliseconds.
    pub unread_timeout: Duration,
    /// How long a stop waits for answers under way.
    pub shutdown_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            connections_per_client: limits::CONNECTIONS_PER_CLIENT,
            header_timeout: limits::HEADER_TIMEOUT,
            unread_timeout: limits::UNREAD_TIMEOUT,
            shutdown_grace: limits::SHUTDOWN_GRACE,
        }
    }
}

/// Accepts connections and serves them until `shutdown` completes; then answers what is under way,
/// within the grace period, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) {
    // Each connection holds a receiver: that there is none is how it shows that all have ended.
    let (stop, stopping) = watch::channel(());
    let places = Arc::new(Semaphore::new(config.connections));
    let clients = Arc::new(Clients::new(config.connections_per_client));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADER_FIELDS);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed, so a place always comes.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, accept(&listener, config.unread_timeout).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        let Some(seat) = clients.admit(peer.ip()) else {
            // Closed without a word: an answer would cost what is being saved.
            continue;
        };
        let router = router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ClientAddr(peer));
            let router = router.clone();
            router.oneshot(request.map(Body::new))
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut stopping = stopping.clone();
        tokio::spawn(async move {
            // Broken pipes, half requests and time-outs are the client's affair.
            let mut connection = pin!(connection.with_upgrades());
            tokio::select! {
                _ = &mut connection => {}
                _ = stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop((place, seat));
        });
    }
    drop((listener, stopping));
    let _ = stop.send(());
    if tokio::time::timeout(config.shutdown_grace, stop.closed())
        .await
        .is_err()
    {
        tracing::warn!("HTTP connections were still open at the end of the grace period");
    }
}

/// Accepts one connection. Out of descriptors, or with a connection that died in the backlog, it
/// waits a little and tries again.
async fn accept(listener: &TcpListener, unread: Duration) -> (TcpStream, SocketAddr) {
    let unread_ms = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, unread_ms);
                return (stream, peer);
            }
            Err(error) => {
                if !told {
                    tracing::warn!(kind = ?error.kind(), "cannot accept HTTP connections for now");
                    told = true;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Open connections by client, so that one of them cannot take all places.
pub(crate) struct Clients {
    max: usize,
    open: Mutex<HashMap<ClientNet, usize>>,
}

/// One connection of a client; gives its place back when dropped.
pub(crate) struct Seat {
    clients: Arc<Clients>,
    client: Option<ClientNet>,
}

impl Clients {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    /// `None` when the client has all the connections it may have. Clients on this machine are not
    /// counted: a reverse proxy is one of them.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Seat> {
        let client = (!ip.to_canonical().is_loopback()).then(|| ClientNet::of(ip));
        if let Some(client) = client {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(client).or_insert(0);
            if *count >= self.max {
                return None;
            }
            *count += 1;
        }
        Some(Seat {
            clients: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut open = self
            .clients
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_and_gets_them_back() {
        let clients = Arc::new(Clients::new(2));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let first = clients.admit(one);
        let second = clients.admit("::ffff:192.0.2.1".parse().unwrap());
        assert!(first.is_some() && second.is_some() && clients.admit(one).is_none());
        assert!(clients.admit("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        let third = clients.admit(one);
        assert!(third.is_some() && clients.admit(one).is_none());
        drop((second, third));
        assert!(clients.open.lock().unwrap().is_empty());
    }

    #[test]
    fn this_machine_is_not_counted() {
        let clients = Arc::new(Clients::new(0));
        assert!(clients.admit("127.0.0.1".parse().unwrap()).is_some());
        assert!(clients.admit("::1".parse().unwrap()).is_some());
        assert!(clients.admit("192.0.2.1".parse().unwrap()).is_none());
    }
}
